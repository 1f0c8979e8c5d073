package search

import (
	"math"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// span is a run of bytes of the first lane that one access may cover.
type span struct {
	addr     uint64
	at, size int
	aligned  bool // begins and ends where accesses of the window's code do
}

// spans lists what accesses may cover.
func (p *problem) spans() []span {
	l := p.rules.lane
	edge := func(i int) bool { return i == l.bytes || p.rules.edges.has(i) }
	var out []span
	for _, s := range l.segs {
		for i := range s.n {
			for size := 1; size <= 8 && i+size <= s.n; size *= 2 {
				at := s.at + i
				if !contains(&p.touched, &p.touched, at, size) {
					break
				}
				out = append(out, span{s.addr + uint64(i), at, size, edge(at) && edge(at+size)})
			}
		}
	}
	return out
}

// reach finds the offset at which a register leads to addr.
func reach(base, addr uint64) (int16, bool) {
	off := int64(addr - base)
	return int16(off), off >= math.MinInt16 && off <= math.MaxInt16
}

// pointers lists the registers that may lead to memory, of several with the
// same value only the first.
func (e *enumerator) pointers() []bpf.Register {
	var out []bpf.Register
next:
	for _, r := range e.readable {
		switch e.types.regs[r].kind {
		case flow.KindNone, flow.KindScalar, flow.KindPacketEnd, flow.KindMap, flow.KindContext:
			continue
		}
		for _, o := range out {
			if e.states[0].regs[o] == e.states[0].regs[r] {
				continue next
			}
		}
		out = append(out, r)
	}
	return out
}

// instructions calls yield with what may come next within a candidate.
func (e *enumerator) instructions(yield func(bpf.Instruction)) {
	for _, dst := range e.writable {
		e.arithmetic(dst, e.ops, e.imms, yield)
	}
	e.opaque(e.writable, yield)
	pointers := e.pointers()
	for _, s := range e.memory {
		if !s.aligned {
			continue
		}
		for _, base := range pointers {
			off, ok := reach(e.states[0].regs[base], s.addr)
			if !ok {
				continue
			}
			e.loadsTo(e.writable, base, off, s.size, yield)
			e.storesTo(base, off, s, yield)
		}
	}
}

// arithmetic yields computations of dst.
func (e *enumerator) arithmetic(dst bpf.Register, ops []bpf.Op, imms []int64, yield func(bpf.Instruction)) {
	for _, class := range e.class {
		for _, op := range ops {
			e.binary(class|op, dst, imms, yield)
		}
	}
	for _, n := range e.wide {
		yield(bpf.Instruction{Op: bpf.LoadImm64, Dst: dst, Imm: n})
	}
}

func (e *enumerator) binary(op bpf.Op, dst bpf.Register, imms []int64, yield func(bpf.Instruction)) {
	switch op.ALU() {
	case bpf.OpNeg:
		yield(bpf.Instruction{Op: op, Dst: dst})
		return
	case bpf.OpEnd:
		if op.Class() == bpf.ClassALU64 {
			e.swaps(dst, yield)
		}
		return
	case bpf.OpLsh, bpf.OpRsh, bpf.OpArsh:
		imms = e.shifts
	}
	for _, src := range e.readable {
		if src != dst || op.ALU() != bpf.OpMov || op.Class() == bpf.ClassALU {
			yield(bpf.Instruction{Op: op | bpf.SourceX, Dst: dst, Src: src})
		}
		if op.ALU() == bpf.OpMov && e.w.Level >= bpf.V4 {
			for _, width := range [...]int16{8, 16, 32} {
				if width < 32 || op.Class() == bpf.ClassALU64 {
					yield(bpf.Instruction{Op: op | bpf.SourceX, Dst: dst, Src: src, Off: width})
				}
			}
		}
	}
	for _, n := range imms {
		in := bpf.Instruction{Op: op, Dst: dst, Imm: n}
		if usefulImm(&in) {
			yield(in)
		}
	}
}

// useful leaves out arithmetic that something plainer does as well.
func useful(in *bpf.Instruction) bool {
	op := in.Op.ALU()
	if in.UsesSrc() {
		return in.Dst != in.Src || op != bpf.OpOr && op != bpf.OpAnd
	}
	return usefulImm(in)
}

// usefulImm leaves out immediates that the verifier refuses or with which the
// operation does nothing.
func usefulImm(in *bpf.Instruction) bool {
	switch in.Op.ALU() {
	case bpf.OpDiv, bpf.OpMod, bpf.OpMul:
		return in.Imm != 0 && in.Imm != 1
	case bpf.OpLsh, bpf.OpRsh, bpf.OpArsh:
		return in.Imm != 0 && (in.Op.Class() == bpf.ClassALU64 || in.Imm < 32)
	case bpf.OpAdd, bpf.OpSub, bpf.OpOr, bpf.OpXor:
		return in.Imm != 0
	case bpf.OpAnd:
		return in.Imm != -1
	}
	return true
}

// swaps yields byte swaps: to an order, which every level has, or always.
func (p *problem) swaps(dst bpf.Register, yield func(bpf.Instruction)) {
	for _, width := range [...]int64{16, 32, 64} {
		for _, order := range [...]bpf.Op{0, bpf.SourceX} {
			// To the order that the target has is but to cut off the upper
			// bits, which other instructions do without making the verifier
			// forget what it knows.
			if (order != 0) != p.w.BigEndian || width == 32 && p.w.Level < bpf.V3 {
				yield(bpf.Instruction{Op: bpf.ClassALU | bpf.OpEnd | order, Dst: dst, Imm: width})
			}
		}
		if p.w.Level >= bpf.V4 {
			yield(bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpEnd, Dst: dst, Imm: width})
		}
	}
}

// opaque yields instructions that stay as they are in the window's code.
func (e *enumerator) opaque(to []bpf.Register, yield func(bpf.Instruction)) {
	for _, in := range e.fixed {
		if in.IsAtomic() {
			yield(in)
			continue
		}
		for _, dst := range to {
			in.Dst = dst
			yield(in)
		}
	}
	ctx := e.lanes[0].ctx
	for _, f := range e.rules.fields {
		for _, base := range e.readable {
			if e.types.regs[base].kind != flow.KindContext || e.states[0].regs[base]-ctx >= ctxSize {
				continue
			}
			off, _ := reach(e.states[0].regs[base], f.addr)
			if f.op.Class() == bpf.ClassLDX {
				for _, dst := range to {
					yield(bpf.Instruction{Op: f.op, Dst: dst, Src: base, Off: off})
				}
				continue
			}
			for _, src := range e.readable {
				yield(bpf.Instruction{Op: f.op, Dst: base, Src: src, Off: off})
			}
		}
	}
}

func (e *enumerator) loadsTo(to []bpf.Register, base bpf.Register, off int16, size int, yield func(bpf.Instruction)) {
	for _, op := range e.loads {
		if op.Size() != size {
			continue
		}
		for _, dst := range to {
			yield(bpf.Instruction{Op: op, Dst: dst, Src: base, Off: off})
		}
	}
}

// storesTo yields stores that leave what the window's code leaves: of
// registers, and of an immediate where that is the same in all lanes.
func (e *enumerator) storesTo(base bpf.Register, off int16, s span, yield func(bpf.Instruction)) {
	if !contains(&e.lanes[0].writable, &e.lanes[0].writable, s.at, s.size) {
		return
	}
	size, _ := bpf.SizeOp(s.size)
	for _, src := range e.readable {
		yield(bpf.Instruction{Op: bpf.ClassSTX | bpf.ModeMem | size, Dst: base, Src: src, Off: off})
	}
	if n, ok := e.constant(s); ok {
		yield(bpf.Instruction{Op: bpf.ClassST | bpf.ModeMem | size, Dst: base, Off: off, Imm: n})
	}
}

// constant is the immediate whose store leaves the right bytes in a span.
func (p *problem) constant(s span) (int64, bool) {
	l := p.lanes[0]
	need := uint64(math.MaxUint64) >> (64 - 8*s.size)
	return fitImm(getBytes(l.goal.mem[s.at:s.at+s.size], l.big), need)
}
