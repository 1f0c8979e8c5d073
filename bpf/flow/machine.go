package flow

import (
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/semantics"
)

// machine reads the description of instructions over what is known of values:
// it makes a state before an instruction the state after it.
type machine struct {
	domain
	*naming
	facts *Facts
	s     *state
	block int
	index int // of the instruction in its block
	// stored is what the last store left in memory, zero-extended, if that is a
	// number.
	stored based
}

var _ semantics.Machine[number] = (*machine)(nil)

// step executes one instruction other than the jump at a block's end.
func (m *machine) step(in bpf.Instruction) error {
	var at address
	follow := false
	if in.IsLoad() || in.IsStore() {
		at, follow = m.place(in)
	}
	switch {
	case in.EndsBlock():
		return nil
	case in.IsCall():
		m.call(in)
	case in.IsPacketLoad():
		m.loseArguments()
		m.SetReg(bpf.R0, m.ZExt(unknown(8*in.Size()), 64))
	default:
		if err := semantics.Step[number](m, in); err != nil {
			return fmt.Errorf("%v: %w", in, err)
		}
	}
	m.s.Escaped = m.s.Escaped || m.leaked
	m.leaked = false
	m.note(in, at, follow)
	return nil
}

// BigEndian tells the target's byte order.
func (m *machine) BigEndian() bool { return m.facts.opts.BigEndian }

// Reg is what is known of a register.
func (m *machine) Reg(r bpf.Register) number { return number{m.s.Regs[r], 64} }

// SetReg gives a register a value. It can be read from there on, even where it was
// computed from what could not: whoever takes out what defined that has to see that
// somebody reads it.
func (m *machine) SetReg(r bpf.Register, v number) {
	if v.Kind == KindNone {
		v.Value = Unknown(KindAny)
	}
	m.s.Regs[r] = m.define(v, siteRegister).Value
}

// define gives a number that has no Base yet one of the present instruction.
func (m *machine) define(v number, which int) number {
	switch {
	case v.Kind == KindNone:
		v.Value = Unknown(KindNone)
	case v.IsConst():
		v.Value = tidy(v.Value)
	case v.Base == 0:
		v.Base, v.Offset = m.site(m.block, m.index, which), 0
	}
	return v
}

// Imm is what is known of an immediate or of the symbol that is put in its
// place.
func (m *machine) Imm(in bpf.Instruction) number {
	switch {
	case in.Ref == 0 && in.Op == bpf.LoadImm64 && in.Src != bpf.PseudoImm:
		return number{Unknown(pseudoKind(in.Src)), 64}
	case in.Ref == 0 || in.PatchesOffset():
		return constant(uint64(in.Imm), 64)
	case in.Op == bpf.LoadImm64:
		v := number{Unknown(symbolKind(m.facts.fn.Symbol(in.Ref))), 64}
		var anchor bpf.Ref
		anchor, v.Offset = m.facts.fn.Anchored(in.Ref)
		v.Base = SymbolBase(anchor)
		if s := m.facts.fn.Symbol(anchor); s != nil && s.Align > 1 {
			v.Align = s.Align
		}
		return v
	}
	v := m.SExt(unknown(32), 64)
	v.Base = narrowSymbol(in.Ref)
	return v
}

// pseudoKind is the kind of what the kernel puts in place of an immediate that
// no loader is to patch (bpf_prog_load's pseudo sources).
func pseudoKind(src bpf.Register) Kind {
	switch src {
	case bpf.PseudoMapFD, bpf.PseudoMapIdx:
		return KindMap
	case bpf.PseudoMapValue, bpf.PseudoMapIdxV:
		return KindMapValue
	}
	return KindAny
}

func symbolKind(sym *bpf.Symbol) Kind {
	if sym == nil {
		return KindAny
	}
	switch sym.Kind {
	case bpf.SymbolMap:
		return KindMap
	case bpf.SymbolData:
		return KindMapValue
	case bpf.SymbolCore:
		return KindScalar
	}
	return KindAny
}

// Load is what is known of what a load yields. Where a load may yield a pointer
// in place of the bytes that it names, the result has width 64 whatever the
// load's.
func (m *machine) Load(in bpf.Instruction, base bpf.Register) (number, error) {
	p := m.Reg(base)
	bytes := unknown(8 * in.Size())
	pointer := number{Unknown(KindAny), 64}
	switch {
	case in.PatchesOffset() && in.Ref != 0:
		if p.Kind == KindStack {
			m.s.letEscape(m.s.Stack)
		}
		return pointer, nil
	case p.Kind == KindStack:
		return m.loadStack(in, p), nil
	case in.IsAtomic() && in.Size() < 8:
		return bytes, nil
	case p.Kind == KindContext:
		return m.loadField(in, p), nil
	case in.Size() == 8 && p.Kind != KindPacket:
		return pointer, nil
	case in.Size() == 4 && (p.Kind == KindAny || p.Kind == KindNone) && in.Op.Mode() != bpf.ModeMemSX:
		// A callee may have been given a context.
		return pointer, nil
	}
	return bytes, nil
}

// loadStack reads the own frame. What is read for the first time is remembered.
func (m *machine) loadStack(in bpf.Instruction, p number) number {
	size := in.Size()
	off, ok := frameOffset(p.Value, in)
	if !ok {
		m.s.letEscape(m.s.Stack)
		if size == 8 {
			return number{Unknown(KindAny), 64}
		}
		return unknown(8 * size)
	}
	_, exact := m.s.Cell(off, size)
	v := m.s.read(&m.domain, off, size, m.facts.opts.BigEndian)
	switch {
	case in.IsAtomic() && v.Kind.IsPointer():
		m.scalar(v)
		v.Kind, v.MaybeNull = KindAny, false // what becomes of it there is a number
	case !exact && size == 8 && !v.IsConst():
		v.Kind = KindAny
	}
	v = m.define(v, siteLoad)
	if from, to := overlap(m.s.Stack, off, size); from == to {
		m.s.setCell(off, size, m.ZExt(v, 64).Value)
	}
	return v
}

// frameOffset is the offset from the frame pointer of an access through p, if
// it is known and inside the frame.
func frameOffset(p Value, in bpf.Instruction) (int64, bool) {
	off := p.Offset + int64(in.Off)
	patched := in.PatchesOffset() && in.Ref != 0
	return off, p.Base == FrameBase && !patched && OnStack(off, in.Size())
}

// loadField reads the context. A pointer that may not have moved since it was
// last read is the same.
func (m *machine) loadField(in bpf.Instruction, p number) number {
	kind, field := KindAny, -1
	if p.Base == ContextBase {
		kind, field = contextField(m.facts.fn.Context, p.Offset+int64(in.Off), in.Size())
	} else if in.Size() < 4 {
		kind = KindScalar
	}
	switch {
	case kind == KindScalar || in.Op.Mode() == bpf.ModeMemSX:
		return unknown(8 * in.Size())
	case field < 0:
		return number{Unknown(kind), 64}
	}
	v := &m.s.fields[field]
	if v.Kind == KindNone {
		*v = m.define(number{Unknown(kind), 64}, siteLoad).Value
	}
	return number{*v, 64}
}

// contextField is the kind of what a load from a context yields, and where it
// is remembered or -1 (struct xdp_md and struct __sk_buff in
// include/uapi/linux/bpf.h). A context of unknown layout may hold a pointer in
// a field of four bytes.
func contextField(ctx bpf.Context, off int64, size int) (Kind, int) {
	type layout struct{ data, meta, end int64 }
	var l layout
	switch {
	case size < 4:
		return KindScalar, -1
	case size == 8:
		return KindAny, -1
	case ctx == bpf.ContextXDP:
		l = layout{data: 0, end: 4, meta: 8}
	case ctx == bpf.ContextSKB:
		l = layout{data: 76, end: 80, meta: 140}
	case ctx == bpf.ContextPlain && off%4 == 0:
		return KindScalar, -1
	default:
		return KindAny, -1
	}
	switch off {
	case l.data:
		return KindPacket, 0
	case l.meta:
		return KindPacket, 1
	case l.end:
		return KindPacketEnd, 2
	}
	if off%4 != 0 {
		return KindAny, -1 // refused by the verifier
	}
	return KindScalar, -1
}

// Store notes what a store leaves on the stack, and what it may overwrite
// there.
func (m *machine) Store(in bpf.Instruction, base bpf.Register, v number) error {
	p := m.Reg(base)
	m.stored = based{}
	if v.Kind == KindScalar {
		m.stored = basedOf(m.ZExt(v, 64).Value)
	}
	if p.Kind == KindStack {
		m.storeStack(in, p, v)
		return nil
	}
	if v.Kind == KindStack {
		m.s.Escaped = true
	}
	if !p.Kind.IsPointer() && (m.s.Escaped || p.Kind == KindNone) {
		m.s.killAll()
	}
	return nil
}

func (m *machine) storeStack(in bpf.Instruction, p, v number) {
	off, ok := frameOffset(p.Value, in)
	if !ok {
		m.s.Escaped = m.s.Escaped || v.Kind == KindStack
		m.s.killAll()
		return
	}
	if v.Kind == KindNone {
		v = number{Unknown(KindAny), 64} // refused by the verifier
	}
	m.s.setCell(off, in.Size(), m.define(m.ZExt(v, 64), siteStore).Value)
	m.s.Written.Add(int(off), in.Size())
}

// loseArguments makes R1 to R5 unreadable, as a call does.
func (m *machine) loseArguments() {
	for r := bpf.R1; r <= bpf.R5; r++ {
		m.s.Regs[r] = Unknown(KindNone)
	}
}

// losePackets makes packet pointers mere numbers: the packet may have moved.
func (m *machine) losePackets() {
	lose := func(v *Value) {
		if v.Kind == KindPacket || v.Kind == KindPacketEnd {
			v.Kind = KindAny
		}
	}
	for r := range m.s.Regs {
		lose(&m.s.Regs[r])
	}
	m.s.eachCell(lose)
	for f := range m.s.fields {
		m.s.fields[f] = Unknown(KindNone)
	}
}
