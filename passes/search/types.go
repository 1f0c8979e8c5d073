package search

import (
	"math/bits"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// typ is what the verifier takes a value for.
type typ struct {
	kind flow.Kind
	null bool
	// origin names the register or byte before the window that a value of
	// unknown kind comes from.
	origin uint8
}

func (t typ) number() bool { return t.kind == flow.KindScalar }

var scalar = typ{kind: flow.KindScalar}

// Registers are their own origins; those of bytes and of the context's fields
// follow them.
const (
	firstByte  = bpf.NumRegisters
	firstField = firstByte + maxBytes
	origins    = firstField + 64
)

// types is the types of a state's values. Bytes are those of the lane that
// types are followed in.
type types struct {
	regs [bpf.NumRegisters]typ
	mem  [maxBytes]typ
}

// rules says what candidates for a window may do with values by their types.
// Much of it follows from what the window's own code does: what that does to a
// value, the verifier has accepted.
type rules struct {
	fn       *bpf.Function
	lane     *lane
	start    types
	end      types
	numbers  [origins]bool      // origins that the code uses as numbers
	sums     map[uint64]bool    // pointers that the code computes, in the lane
	spills   map[flow.Kind]bool // regions to which the code stores non-numbers
	exact    map[place]bool     // accesses through pointers of unknown kind, and to the context
	widths   bool               // any width through pointers of unknown kind
	jump     bpf.Op             // a comparison that has to stay, zero where none has to
	learning bool
	changed  bool
	region   [maxBytes]flow.Kind // through which kind of pointer the code reaches a byte
	edges    mask                // bytes at which an access of the code begins or ends
	fields   []place             // the code's accesses to the context
	bases    []base              // what the code reaches memory through
}

// base is a register that leads to memory, with its value at the time.
type base struct {
	reg  bpf.Register
	addr uint64
}

// place is an access to memory. Atomics have their operation in imm.
type place struct {
	op   bpf.Op
	addr uint64
	imm  int64
}

// learn follows the window's own code to find what its values are.
func (p *problem) learn() bool {
	w := p.w
	r := &rules{fn: w.Fn, lane: p.lanes[0], widths: w.Confirmed,
		sums: map[uint64]bool{}, spills: map[flow.Kind]bool{}, exact: map[place]bool{}}
	p.rules = r
	r.learning = true
	for r.changed = true; r.changed; {
		r.changed = false
		r.jump, r.fields, r.bases = 0, nil, nil
		r.begin(p)
		t, s := r.start, r.lane.start
		for i := range p.body {
			if !r.step(&t, &s, &p.body[i]) || !r.lane.exec(&s, &p.body[i]) {
				return false
			}
		}
		if p.jump != nil {
			r.compares(&t, p.jump)
			if !p.bothWays() {
				// Nothing tells a right condition from a wrong one.
				r.jump = p.jump.Op
			}
		}
		r.end = t
	}
	r.learning = false
	return true
}

// begin sets up the types before the window.
func (r *rules) begin(p *problem) {
	w := p.w
	for i, v := range w.Facts.Regs {
		r.start.regs[i] = r.known(typ{kind: v.Kind, null: v.MaybeNull, origin: uint8(i)})
	}
	r.start.regs[bpf.R10] = typ{kind: flow.KindStack}
	for i := range r.start.mem {
		t := typ{kind: flow.KindAny, origin: uint8(firstByte + i)}
		if r.region[i] == flow.KindPacket {
			t = scalar
		}
		r.start.mem[i] = r.known(t)
	}
	frame := r.lane.start.regs[bpf.R10]
	for _, c := range w.Facts.Stack {
		for i := range uint64(c.Size) {
			at := r.lane.find(frame+uint64(int64(c.Off))+i, 1)
			if at >= 0 && c.Value.Kind != flow.KindAny && c.Value.Kind != flow.KindNone {
				r.start.mem[at] = typ{kind: c.Value.Kind, null: c.Value.MaybeNull}
			}
		}
	}
}

func (r *rules) known(t typ) typ {
	if t.kind == flow.KindAny && r.numbers[t.origin] {
		return scalar
	}
	return t
}

// asNumber tells whether a value may be used as a number. While learning it may,
// and is one from then on.
func (r *rules) asNumber(t typ) bool {
	if t.number() || !r.learning {
		return t.number()
	}
	if t.kind == flow.KindAny && t.origin >= firstByte && t.origin < firstField {
		// What is in a register and comes from memory is eight bytes of it.
		for i := t.origin; i < min(t.origin+8, firstField); i++ {
			r.setNumber(i)
		}
	} else if t.kind == flow.KindAny {
		r.setNumber(t.origin)
	}
	return true
}

func (r *rules) setNumber(origin uint8) {
	r.changed = r.changed || !r.numbers[origin]
	r.numbers[origin] = true
}

// step tells whether the verifier lets in happen in s, and what the types are
// behind it.
func (r *rules) step(t *types, s *state, in *bpf.Instruction) bool {
	for reads := uint(in.Reads()); reads != 0; reads &= reads - 1 {
		if t.regs[bits.TrailingZeros(reads)].kind == flow.KindNone {
			return false
		}
	}
	switch in.Op.Class() {
	case bpf.ClassALU, bpf.ClassALU64:
		v, ok := r.alu(t, s, in)
		t.regs[in.Dst] = v
		return ok
	case bpf.ClassLD:
		t.regs[in.Dst] = r.immediate(in)
		return true
	}
	return r.access(t, s, in)
}

// alu is the type of an arithmetic instruction's result.
func (r *rules) alu(t *types, s *state, in *bpf.Instruction) (typ, bool) {
	dst, src := t.regs[in.Dst], scalar
	if in.UsesSrc() {
		src = t.regs[in.Src]
	}
	if dst.kind == flow.KindNone && in.Op.ALU() != bpf.OpMov || src.kind == flow.KindNone {
		return typ{}, false
	}
	op, wide := in.Op.ALU(), in.Op.Class() == bpf.ClassALU64
	switch {
	case op == bpf.OpMov && wide && in.Off == 0:
		return src, true
	case op == bpf.OpMov:
		return scalar, r.asNumber(src)
	case (op == bpf.OpAdd || op == bpf.OpSub) && wide:
		return r.add(s, in, dst, src)
	}
	return scalar, r.asNumber(dst) && r.asNumber(src)
}

// add is the type of a 64-bit sum or difference.
func (r *rules) add(s *state, in *bpf.Instruction, dst, src typ) (typ, bool) {
	if dst.number() && src.number() {
		return scalar, true
	}
	v := dst
	switch {
	case dst.number():
		v = src
	case !src.number() && in.Op.ALU() == bpf.OpSub && dst.kind.IsPointer() && src.kind.IsPointer():
		v = scalar
	case !src.number():
		v = typ{kind: flow.KindAny, origin: dst.origin}
	}
	result := r.lane.value(s, in)
	if r.learning {
		r.sums[result] = true
		return v, true
	}
	movable := dst.kind == flow.KindStack || dst.kind == flow.KindPacket || dst.kind == flow.KindMapValue
	constant := !in.UsesSrc() && in.Ref == 0
	return v, r.sums[result] || constant && movable && !dst.null
}

func (r *rules) immediate(in *bpf.Instruction) typ {
	if in.Ref == 0 && in.Src == bpf.PseudoImm {
		return scalar
	}
	if r.fn != nil {
		if s := r.fn.Symbol(in.Ref); s != nil {
			switch s.Kind {
			case bpf.SymbolMap:
				return typ{kind: flow.KindMap}
			case bpf.SymbolData:
				return typ{kind: flow.KindMapValue}
			case bpf.SymbolCore:
				return scalar
			}
		}
	}
	return typ{kind: flow.KindOther}
}

// access judges a load, store or atomic.
func (r *rules) access(t *types, s *state, in *bpf.Instruction) bool {
	reg := in.Dst
	if in.IsLoad() || in.IsAtomic() && in.Imm == bpf.AtomicLoadAcq {
		reg = in.Src
	}
	kind, addr, size := t.regs[reg].kind, s.regs[reg]+uint64(in.Off), in.Size()
	if r.lane.inContext(addr) {
		kind = flow.KindContext
	}
	if !r.mayFollow(kind, s, in, addr) {
		return false
	}
	if kind == flow.KindContext {
		return r.field(t, in, addr)
	}
	at := r.lane.find(addr, size)
	if at < 0 {
		return false
	}
	if r.learning {
		r.bases = append(r.bases, base{reg, s.regs[reg]})
		r.edges.add(at, 1)
		if at+size < maxBytes {
			r.edges.add(at+size, 1)
		}
		for i := at; i < at+size; i++ {
			// What is reached through pointers of two kinds stays of unknown
			// kind, or learning would never end.
			next := kind
			if r.region[i] != flow.KindNone && r.region[i] != kind {
				next = flow.KindAny
			}
			r.changed = r.changed || r.region[i] != next
			r.region[i] = next
		}
	}
	return r.move(t, in, kind, at)
}

// mayFollow tells whether the pointer's kind allows the access.
func (r *rules) mayFollow(kind flow.Kind, s *state, in *bpf.Instruction, addr uint64) bool {
	here := place{op: in.Op, addr: addr}
	if in.IsAtomic() {
		here.imm = in.Imm
	}
	if r.learning {
		r.exact[here] = true
		return true
	}
	switch kind {
	case flow.KindStack:
		return (addr-s.regs[bpf.R10])%uint64(in.Size()) == 0 && (!in.IsAtomic() || r.exact[here])
	case flow.KindPacket, flow.KindMapValue:
		return !in.IsAtomic() || r.exact[here]
	case flow.KindAny, flow.KindOther:
		return r.exact[here] || r.widths && !in.IsAtomic()
	}
	return kind == flow.KindContext && r.exact[here]
}

// field judges an access to the context.
func (r *rules) field(t *types, in *bpf.Instruction, addr uint64) bool {
	if r.learning {
		r.fields = append(r.fields, place{op: in.Op, addr: addr})
	}
	if !in.IsLoad() {
		return !in.IsAtomic() && (r.learning || in.Op.Class() == bpf.ClassSTX)
	}
	v := scalar
	if mayBePointer(r.lane.context, addr-r.lane.ctx, in.Size()) {
		v = r.known(typ{kind: flow.KindAny, origin: uint8(firstField + (addr-r.lane.ctx)/4%64)})
		if r.lane.context == bpf.ContextXDP || r.lane.context == bpf.ContextSKB {
			v = typ{kind: flow.KindPacket}
			if off := addr - r.lane.ctx; off == 80 || off == 4 {
				v.kind = flow.KindPacketEnd
			}
		}
	}
	t.regs[in.Dst] = v
	return true
}

// move judges what an access reads and writes at byte at.
func (r *rules) move(t *types, in *bpf.Instruction, kind flow.Kind, at int) bool {
	bytes := t.mem[at : at+in.Size()]
	switch {
	case in.IsLoad():
		v, ok := r.read(bytes, kind)
		t.regs[in.Dst] = v
		return ok
	case in.IsStore():
		v := scalar
		if in.Op.Class() == bpf.ClassSTX {
			v = t.regs[in.Src]
		}
		return r.write(bytes, kind, v)
	}
	// Atomics are for numbers; what they do is as the window's code has it.
	for _, x := range [...]bpf.Register{in.Src, bpf.R0} {
		if in.Reads().Has(x) && x != in.Dst && !r.asNumber(t.regs[x]) {
			return false
		}
		if in.Writes().Has(x) {
			t.regs[x] = scalar
		}
	}
	if in.Writes().Has(in.Dst) {
		t.regs[in.Dst] = scalar
	}
	for i := range bytes {
		bytes[i] = scalar
	}
	return true
}

// read is the type of a number made of bytes.
func (r *rules) read(bytes []typ, kind flow.Kind) (typ, bool) {
	if len(bytes) == 8 {
		first := bytes[0]
		for _, b := range bytes {
			if b.kind == first.kind {
				continue
			}
			if b.kind.IsPointer() || first.kind.IsPointer() {
				return scalar, r.learning
			}
			first = scalar
		}
		return first, true
	}
	for _, b := range bytes {
		// Where the verifier keeps no track of pointers, a value read in
		// parts is a number.
		if b.kind == flow.KindAny && kind != flow.KindStack {
			if r.learning {
				r.setNumber(b.origin)
			}
		} else if b.kind.IsPointer() && !r.learning {
			return scalar, false
		}
	}
	return scalar, true
}

// write stores a value of type v over bytes.
func (r *rules) write(bytes []typ, kind flow.Kind, v typ) bool {
	switch {
	case len(bytes) < 8:
		if !r.asNumber(v) {
			return false
		}
		v = scalar
	case !v.number() && r.learning:
		r.spills[kind] = true
	case !v.number() && kind != flow.KindStack && !r.spills[kind]:
		return false
	}
	for i := range bytes {
		bytes[i] = v
	}
	return true
}

// compares tells whether the verifier lets a conditional jump compare its
// operands: pointers only as the window's code compares them.
func (r *rules) compares(t *types, in *bpf.Instruction) bool {
	a, b := t.regs[in.Dst], scalar
	if in.UsesSrc() {
		b = t.regs[in.Src]
	}
	if a.kind == flow.KindNone || b.kind == flow.KindNone {
		return false
	}
	if r.learning {
		if in.Op.Class() == bpf.ClassJMP32 {
			r.asNumber(a)
			r.asNumber(b)
		}
		if !a.number() || !b.number() {
			r.jump = in.Op
		}
		return true
	}
	return a.number() && b.number() || in.Op == r.jump
}

// agree tells whether the types behind a candidate are good for what follows:
// the code there may follow a pointer, or compute with a number.
func (r *rules) agree(p *problem, t *types) bool {
	same := func(a, b typ) bool {
		return a.kind == b.kind || a.kind == flow.KindScalar && b.kind == flow.KindAny
	}
	for x, need := range p.need {
		if need != 0 && !same(t.regs[x], r.end.regs[x]) {
			return false
		}
	}
	for i := range r.lane.bytes {
		if r.lane.needed.has(i) && r.region[i] == flow.KindStack && !same(t.mem[i], r.end.mem[i]) {
			return false
		}
	}
	return true
}
