package search

import (
	"math"
	"math/bits"

	"github.com/k2cc/k2cc/bpf"
)

// stretch is the problem of a part of the window's code, from instruction i to
// before j, with the rest staying as it is.
func (p *problem) stretch(i, j int) (*problem, bool) {
	code := p.w.Code
	sub := &problem{w: p.w, whole: p, prefix: code[:i], suffix: code[j:], cost: priceOf(code[i:j])}
	sub.body, sub.jump = split(code[i:j])
	sub.need = demand(p.need, code[j:])
	sub.vocabulary = newVocabulary(p.w, code[i:j])
	for _, l := range p.lanes {
		cut, ok := l.cut(code[:i], sub.body, code[j:])
		if !ok {
			return nil, false
		}
		sub.lanes = append(sub.lanes, cut)
	}
	sub.rules = p.rules.cut(sub)
	for k := range sub.body {
		sub.touched = sub.touched.or(sub.accessed(k))
	}
	sub.registers(code[i:j])
	return sub, true
}

func (m mask) or(o mask) mask {
	for i := range m {
		m[i] |= o[i]
	}
	return m
}

func (m mask) andNot(o mask) mask {
	for i := range m {
		m[i] &^= o[i]
	}
	return m
}

func (m mask) and(o mask) mask {
	for i := range m {
		m[i] &= o[i]
	}
	return m
}

// accessed is the bytes that instruction k accesses in the first lane.
func (p *problem) accessed(k int) (m mask) {
	l := p.lanes[0]
	s := l.start
	l.run(&s, p.body[:k])
	if at, size := l.bytesOf(&s, &p.body[k]); at >= 0 {
		m.add(at, size)
	}
	return m
}

// bytesOf is the bytes that an instruction accesses in s, or -1.
func (l *lane) bytesOf(s *state, in *bpf.Instruction) (at, size int) {
	if !isAccess(in) {
		return -1, 0
	}
	reg := in.Dst
	if in.IsLoad() || in.IsAtomic() && in.Imm == bpf.AtomicLoadAcq {
		reg = in.Src
	}
	return l.find(s.regs[reg]+uint64(in.Off), in.Size()), in.Size()
}

// cut is the lane of the code body between prefix and suffix.
func (l *lane) cut(prefix, body, suffix []bpf.Instruction) (*lane, bool) {
	c := *l
	s := l.start
	if !l.run(&s, prefix) {
		return nil, false
	}
	c.readable = c.readable.or(s.written)
	s.written = mask{}
	c.start = s
	if !l.run(&s, body) {
		return nil, false
	}
	c.writable = s.written
	c.goal = s
	// What the suffix reads, and what is needed in the end and not written
	// once more.
	s.written = mask{}
	c.needed = mask{}
	after, _ := split(suffix)
	for i := range after {
		if at, size := l.bytesOf(&s, &after[i]); at >= 0 && !after[i].IsStore() {
			var m mask
			m.add(at, size)
			c.needed = c.needed.or(m.andNot(s.written))
		}
		if !l.exec(&s, &after[i]) {
			return nil, false
		}
	}
	c.needed = c.needed.or(l.needed.andNot(s.written)).and(c.writable)
	return &c, true
}

// cut is the rules for a stretch.
func (r *rules) cut(sub *problem) *rules {
	c := *r
	c.learning = true
	s := c.lane.start
	walk := func(code []bpf.Instruction) {
		for i := range code {
			c.step(&c.start, &s, &code[i])
			c.lane.exec(&s, &code[i])
		}
	}
	walk(sub.prefix)
	begin := c.start
	c.edges, c.fields, c.bases = mask{}, nil, nil
	walk(sub.body)
	c.start, c.end = begin, c.start
	c.lane = sub.lanes[0]
	c.learning = false
	return &c
}

// demand is the bits of registers that are needed before code if those in need
// are needed behind it.
func demand(need [bpf.NumRegisters]uint64, code []bpf.Instruction) [bpf.NumRegisters]uint64 {
	for i := len(code) - 1; i >= 0; i-- {
		in := &code[i]
		out := uint64(0)
		if in.Writes() != 0 && !in.IsAtomic() {
			out = need[in.Dst]
			need[in.Dst] = 0
		}
		reads := in.Reads()
		for r := range bpf.Register(bpf.NumRegisters) {
			if reads.Has(r) {
				need[r] |= wanted(in, r, out)
			}
		}
	}
	need[bpf.R10] = 0
	return need
}

// wanted is the bits of register r that an instruction reads to give the bits
// out of its result.
func wanted(in *bpf.Instruction, r bpf.Register, out uint64) uint64 {
	all := uint64(math.MaxUint64)
	if in.IsALU() && in.Op.ALU() == bpf.OpEnd {
		return all // ClassALU as well swaps up to 64 bits
	}
	switch in.Op.Class() {
	case bpf.ClassALU:
		all, out = math.MaxUint32, out&math.MaxUint32
	case bpf.ClassALU64:
	case bpf.ClassJMP32:
		return math.MaxUint32
	case bpf.ClassSTX:
		if in.IsStore() && r == in.Src && r != in.Dst {
			return all >> (64 - 8*in.Size())
		}
		return all
	default:
		return all
	}
	if out == 0 {
		return 0
	}
	switch op := in.Op.ALU(); {
	case op == bpf.OpMov && in.Off == 0, op == bpf.OpXor:
		return out
	case (op == bpf.OpAnd || op == bpf.OpOr) && in.UsesSrc():
		return out
	case op == bpf.OpAnd && in.Ref == 0:
		return out & uint64(in.Imm)
	case op == bpf.OpOr && in.Ref == 0:
		return out &^ uint64(in.Imm)
	case op == bpf.OpAdd, op == bpf.OpSub, op == bpf.OpMul, op == bpf.OpNeg:
		return 1<<bits.Len64(out) - 1
	case op == bpf.OpLsh && !in.UsesSrc() && in.Ref == 0:
		return out >> in.Imm
	case op == bpf.OpRsh && !in.UsesSrc() && in.Ref == 0:
		return out << in.Imm & all
	}
	return all
}
