package search

import (
	"math/rand/v2"
	"slices"

	"github.com/k2cc/k2cc/bpf"
)

// mover changes code at random.
type mover struct {
	*problem
	refs   []ref
	fields []bpf.Instruction // the window's accesses to the context
	total  int               // of the moves' weights
	moves  []weighted
}

// ref is an address as an instruction names it, with a width that fits there.
type ref struct {
	base bpf.Register
	off  int16
	size bpf.Op
	span span
}

type weighted struct {
	weight int
	move   func(*rand.Rand, []bpf.Instruction) bool
}

func newMover(p *problem) *mover {
	m := &mover{problem: p}
	m.findRefs()
	for i := range p.body {
		in := p.body[i]
		in.Pos = 0
		if isAccess(&in) && !in.IsAtomic() && m.isField(&in) && !slices.Contains(m.fields, in) {
			m.fields = append(m.fields, in)
		}
	}
	m.moves = []weighted{{20, m.replace}, {40, m.replaceOperand}, {15, m.drop}, {15, m.replaceTwo}}
	if len(m.refs) > 0 {
		m.moves = append(m.moves, weighted{5, m.exchange}, weighted{5, m.exchangeWidth})
	}
	for _, w := range m.moves {
		m.total += w.weight
	}
	return m
}

// isField tells whether an access of the window's code is one to the context,
// which moves leave as it is.
func (m *mover) isField(in *bpf.Instruction) bool {
	for _, f := range m.rules.fields {
		if f.op == in.Op && m.lanes[0].inContext(f.addr) && int16(f.addr-m.lanes[0].ctx) == in.Off {
			return true
		}
	}
	return false
}

// findRefs finds what the registers that the code reaches memory through lead
// to.
func (m *mover) findRefs() {
	bases := slices.Clone(m.rules.bases)
	for _, r := range m.readable {
		if m.rules.start.regs[r].kind.IsPointer() {
			bases = append(bases, base{r, m.lanes[0].start.regs[r]})
		}
	}
	for _, b := range bases {
		for _, s := range m.spans() {
			off, ok := reach(b.addr, s.addr)
			size, _ := bpf.SizeOp(s.size)
			r := ref{b.reg, off, size, s}
			if ok && !slices.Contains(m.refs, r) {
				m.refs = append(m.refs, r)
			}
		}
	}
}

// move changes code by one of the moves; it reports false where the move does
// not apply.
func (m *mover) move(rng *rand.Rand, code []bpf.Instruction) bool {
	n := rng.IntN(m.total)
	for _, w := range m.moves {
		if n -= w.weight; n < 0 {
			return w.move(rng, code)
		}
	}
	return false
}

func pick[T any](rng *rand.Rand, s []T) T { return s[rng.IntN(len(s))] }

// replace puts a new instruction in one's place (K2's instruction replacement).
func (m *mover) replace(rng *rand.Rand, code []bpf.Instruction) bool {
	return m.replaceAt(rng, code, rng.IntN(len(code)))
}

func (m *mover) replaceAt(rng *rand.Rand, code []bpf.Instruction, i int) bool {
	in, ok := m.random(rng)
	if code[i].IsCondJump() {
		in, ok = m.randomJump(rng), true
	}
	code[i] = in
	return ok
}

// replaceTwo does so with two neighbours (K2's replacement of contiguous
// instructions), or swaps them.
func (m *mover) replaceTwo(rng *rand.Rand, code []bpf.Instruction) bool {
	if len(code) < 2 {
		return false
	}
	i := rng.IntN(len(code) - 1)
	if rng.IntN(2) == 0 {
		if code[i+1].IsCondJump() {
			return false
		}
		code[i], code[i+1] = code[i+1], code[i]
		return true
	}
	return m.replaceAt(rng, code, i) && m.replaceAt(rng, code, i+1)
}

// drop leaves an instruction out (K2's replacement by NOP).
func (m *mover) drop(rng *rand.Rand, code []bpf.Instruction) bool {
	i := rng.IntN(len(code))
	if code[i].Op == gap || code[i].IsCondJump() {
		return false
	}
	code[i] = nop
	return true
}

// random is a new instruction.
func (m *mover) random(rng *rand.Rand) (bpf.Instruction, bool) {
	kind := rng.IntN(10)
	opaque := len(m.fixed) + len(m.fields)
	switch {
	case kind < 3 && len(m.refs) > 0:
		return m.randomAccess(rng, pick(rng, m.refs)), true
	case kind == 3 && opaque > 0:
		return m.randomOpaque(rng), true
	case len(m.writable) > 0:
		return m.randomALU(rng), true
	case len(m.refs) > 0:
		return m.randomAccess(rng, pick(rng, m.refs)), true
	}
	return nop, false
}

func (m *mover) randomALU(rng *rand.Rand) bpf.Instruction {
	in := bpf.Instruction{Op: pick(rng, m.class) | pick(rng, m.last), Dst: pick(rng, m.writable)}
	switch op := in.Op.ALU(); {
	case m.swap && rng.IntN(16) == 0:
		var swaps []bpf.Instruction
		m.swaps(in.Dst, func(in bpf.Instruction) { swaps = append(swaps, in) })
		return pick(rng, swaps)
	case op == bpf.OpNeg:
		return in
	case len(m.wide) > 0 && op == bpf.OpMov && rng.IntN(8) == 0:
		return bpf.Instruction{Op: bpf.LoadImm64, Dst: in.Dst, Imm: pick(rng, m.wide)}
	}
	m.randomSource(rng, &in)
	if !useful(&in) {
		return nop
	}
	return in
}

// randomSource gives arithmetic a new second operand.
func (m *mover) randomSource(rng *rand.Rand, in *bpf.Instruction) {
	in.Src, in.Imm, in.Off, in.Ref = 0, 0, 0, 0
	in.Op &^= bpf.SourceX
	amounts := m.shifts
	if rng.IntN(4) == 0 {
		amounts = nil
	}
	switch {
	case rng.IntN(2) == 0:
		in.Op |= bpf.SourceX
		in.Src = pick(rng, m.readable)
	case isShift(in) && len(amounts) > 0:
		in.Imm = pick(rng, amounts)
	case isShift(in):
		in.Imm = 1 + rng.Int64N(63)
	default:
		in.Imm = m.randomImm(rng)
	}
	if in.Op.Class() == bpf.ClassALU && isShift(in) {
		in.Imm &= 31
	}
}

func (m *mover) randomImm(rng *rand.Rand) int64 {
	if rng.IntN(3) == 0 {
		return pick(rng, m.all)
	}
	return pick(rng, m.imms)
}

func (m *mover) randomAccess(rng *rand.Rand, r ref) bpf.Instruction {
	if len(m.writable) > 0 && rng.IntN(2) == 0 {
		op := bpf.ClassLDX | bpf.ModeMem | r.size
		if m.w.Level >= bpf.V4 && r.span.size < 8 && rng.IntN(8) == 0 {
			op = bpf.ClassLDX | bpf.ModeMemSX | r.size
		}
		return bpf.Instruction{Op: op, Dst: pick(rng, m.writable), Src: r.base, Off: r.off}
	}
	in := bpf.Instruction{Op: bpf.ModeMem | r.size, Dst: r.base, Off: r.off}
	m.randomStored(rng, &in, r.span)
	return in
}

// randomStored gives a store a new operand: a register, an immediate, or the
// immediate that leaves what the window's code leaves.
func (m *mover) randomStored(rng *rand.Rand, in *bpf.Instruction, s span) {
	in.Op = in.Op&^(bpf.ClassSTX|bpf.ClassST) | bpf.ClassST
	in.Src, in.Imm = 0, 0
	switch rng.IntN(4) {
	case 0:
		in.Imm = m.randomImm(rng)
		return
	case 1:
		if n, ok := m.constant(s); ok {
			in.Imm = n
			return
		}
	}
	in.Op |= bpf.ClassSTX
	in.Src = pick(rng, m.readable)
}

func (m *mover) randomOpaque(rng *rand.Rand) bpf.Instruction {
	n := rng.IntN(len(m.fixed) + len(m.fields))
	var in bpf.Instruction
	if n < len(m.fixed) {
		in = m.fixed[n]
	} else {
		in = m.fields[n-len(m.fixed)]
	}
	if len(m.writable) > 0 && !in.IsAtomic() && !in.IsStore() {
		in.Dst = pick(rng, m.writable)
	}
	return in
}

func (m *mover) randomJump(rng *rand.Rand) bpf.Instruction {
	in := bpf.Instruction{Dst: pick(rng, m.readable), Target: m.jump.Target}
	for {
		in.Op = bpf.ClassJMP
		if m.w.Level >= bpf.V3 && rng.IntN(2) == 0 {
			in.Op = bpf.ClassJMP32
		}
		in.Op |= pick(rng, jumpOps[:])
		if in.Level() <= m.w.Level {
			break
		}
	}
	if rng.IntN(2) == 0 {
		in.Op |= bpf.SourceX
		in.Src = pick(rng, m.readable)
	} else {
		in.Imm = pick(rng, m.all)
	}
	return in
}

// replaceOperand changes one operand of an instruction (K2's operand
// replacement).
func (m *mover) replaceOperand(rng *rand.Rand, code []bpf.Instruction) bool {
	in := &code[rng.IntN(len(code))]
	first := rng.IntN(2) == 0
	switch {
	case in.Op == gap || in.IsAtomic() || m.isOpaque(in) && !first:
		return false
	case in.IsCondJump():
		return m.jumpOperand(rng, in, first)
	case first && in.IsStore(), !first && in.IsLoad():
		return m.replaceAddress(rng, in)
	case in.IsStore():
		s, ok := m.spanOf(in)
		if !ok {
			return false
		}
		m.randomStored(rng, in, s)
	case len(m.writable) == 0:
		return false
	case first:
		in.Dst = pick(rng, m.writable)
	case in.IsALU() && in.Op.ALU() != bpf.OpNeg && in.Op.ALU() != bpf.OpEnd:
		m.randomSource(rng, in)
		return useful(in)
	default:
		return false
	}
	return true
}

func (m *mover) jumpOperand(rng *rand.Rand, in *bpf.Instruction, first bool) bool {
	switch {
	case first:
		in.Dst = pick(rng, m.readable)
	case in.UsesSrc():
		in.Src = pick(rng, m.readable)
	default:
		in.Imm = pick(rng, m.all)
	}
	return true
}

// isOpaque tells whether an instruction has to stay as it is but for its
// destination.
func (m *mover) isOpaque(in *bpf.Instruction) bool {
	return in.Ref != 0 || in.Op == bpf.LoadImm64 || isAccess(in) && m.isField(in)
}

// replaceAddress gives a load or store another address of the same width.
func (m *mover) replaceAddress(rng *rand.Rand, in *bpf.Instruction) bool {
	if len(m.refs) == 0 || m.isOpaque(in) {
		return false
	}
	r := pick(rng, m.refs)
	if in.Size() != r.span.size {
		return false
	}
	in.Off = r.off
	if in.IsLoad() {
		in.Src = r.base
	} else {
		in.Dst = r.base
	}
	return true
}

// spanOf is what an access covers, if it is an address that the moves know.
func (m *mover) spanOf(in *bpf.Instruction) (span, bool) {
	base := in.Dst
	if in.IsLoad() {
		base = in.Src
	}
	for _, r := range m.refs {
		if r.base == base && r.off == in.Off && r.span.size == in.Size() {
			return r.span, true
		}
	}
	return span{}, false
}

// exchange gives a load or store another width and another register or
// immediate (K2's memory exchange, type 1).
func (m *mover) exchange(rng *rand.Rand, code []bpf.Instruction) bool {
	in, ok := m.newWidth(rng, code)
	if !ok {
		return false
	}
	if s, ok := m.spanOf(in); in.IsStore() && ok {
		m.randomStored(rng, in, s)
	} else if in.IsStore() {
		return false
	} else if len(m.writable) > 0 {
		in.Dst = pick(rng, m.writable)
	}
	return true
}

// exchangeWidth gives a load or store another width (K2's memory exchange, type
// 2).
func (m *mover) exchangeWidth(rng *rand.Rand, code []bpf.Instruction) bool {
	_, ok := m.newWidth(rng, code)
	return ok
}

func (m *mover) newWidth(rng *rand.Rand, code []bpf.Instruction) (*bpf.Instruction, bool) {
	var at []int
	for i := range code {
		if (code[i].IsLoad() || code[i].IsStore()) && !m.isOpaque(&code[i]) {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return nil, false
	}
	in := &code[pick(rng, at)]
	size, _ := bpf.SizeOp(1 << rng.IntN(4))
	in.Op = in.Op&^bpf.SizeDW | size
	return in, in.Op.Mode() != bpf.ModeMemSX || size != bpf.SizeDW
}
