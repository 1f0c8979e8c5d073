package local

import (
	"math/bits"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

const all = ^uint64(0)

// findLive fills live and dead, from the last instruction to the first.
func (v *view) findLive() {
	v.live = make([]flow.Live, len(v.code))
	v.dead = make([]bool, len(v.code))
	now := v.k.w.Needs
	for i := len(v.code) - 1; i >= 0; i-- {
		v.live[i] = now
		v.dead[i] = v.isDead(i, &now)
		if !v.dead[i] {
			v.demand(i, &now)
		}
	}
	v.entry = now
}

// before is the needs before instruction i.
func (v *view) before(i int) *flow.Live {
	if i == 0 {
		return &v.entry
	}
	return &v.live[i-1]
}

// isDead tells whether nobody needs what the instruction does.
func (v *view) isDead(i int, after *flow.Live) bool {
	in, a := v.code[i], v.acc[i]
	switch {
	case in.hole != 0, in.IsCondJump(), a.barrier:
		return false
	case in.isMove() && in.Dst == in.Src:
		return true
	case a.store:
		return a.isFrame() && !anyByte(&after.Stack, a.place)
	}
	return after.Regs[in.Dst] == 0
}

// demand turns the needs after instruction i into those before it.
func (v *view) demand(i int, l *flow.Live) {
	in, a := v.code[i], v.acc[i]
	switch {
	case in.hole != 0 && a.store:
		if a.isFrame() {
			setBytes(&l.Stack, a.place, false)
		}
		return
	case in.hole != 0:
		l.Regs[in.Dst] = 0
		return
	}
	switch {
	case in.IsALU():
		v.demandALU(i, l)
	case in.Op == bpf.LoadImm64:
		l.Regs[in.Dst] = 0
	case in.IsLoad():
		l.Regs[in.Dst] = 0
		l.Regs[in.Src] = all
		v.demandMemory(a, l)
	case in.IsStore():
		if a.isFrame() {
			setBytes(&l.Stack, a.place, false)
		}
		l.Regs[in.Dst] = all
		if in.Op.Class() == bpf.ClassSTX {
			l.Regs[in.Src] |= below(8 * in.Size())
		}
	case in.IsAtomic():
		v.demandMemory(a, l)
		for r := range l.Regs {
			if in.defines(bpf.Register(r)) {
				l.Regs[r] = 0
			}
			if in.Reads().Has(bpf.Register(r)) {
				l.Regs[r] = all
			}
		}
	case in.IsCondJump():
		v.demandJump(i, l)
	}
}

func (v *view) demandMemory(a access, l *flow.Live) {
	switch {
	case a.isFrame():
		setBytes(&l.Stack, a.place, true)
	case a.kind == flow.KindStack || !a.kind.IsPointer() && v.k.w.Facts.Escaped:
		for i := range l.Stack {
			l.Stack[i] = all
		}
	}
}

func (v *view) demandJump(i int, l *flow.Live) {
	in := v.code[i]
	mask := all
	if in.Op.Class() == bpf.ClassJMP32 {
		mask = below(32)
	}
	if in.UsesSrc() {
		l.Regs[in.Src] |= mask
	} else if in.Op.Jump() == bpf.OpJSet {
		mask &= uint64(in.Imm)
	}
	l.Regs[in.Dst] |= mask
}

func (v *view) demandALU(i int, l *flow.Live) {
	in := v.code[i]
	want := l.Regs[in.Dst]
	l.Regs[in.Dst] = 0
	if in.Op.Class() == bpf.ClassALU && in.Op.ALU() != bpf.OpEnd {
		want &= below(32)
	}
	dst, src := v.operandDemand(i, want)
	if in.Reads().Has(in.Dst) {
		l.Regs[in.Dst] |= dst
	}
	if in.UsesSrc() {
		l.Regs[in.Src] |= src
	}
}

// operandDemand is which bits of its operands an arithmetic instruction needs
// for the bits of want.
func (v *view) operandDemand(i int, want uint64) (dst, src uint64) {
	in := v.code[i]
	if want == 0 {
		return 0, 0
	}
	switch in.Op.ALU() {
	case bpf.OpMov:
		if in.Off != 0 {
			return 0, extendDemand(want, int(in.Off))
		}
		return 0, want
	case bpf.OpAnd:
		a, b := v.operands(i)
		return forcedDemand(want, zeros(a), zeros(b))
	case bpf.OpOr:
		a, b := v.operands(i)
		return forcedDemand(want, onesOf(a), onesOf(b))
	case bpf.OpXor:
		return want, want
	case bpf.OpAdd, bpf.OpSub, bpf.OpMul, bpf.OpNeg:
		up := below(bits.Len64(want))
		return up, up
	case bpf.OpLsh, bpf.OpRsh, bpf.OpArsh:
		return shiftDemand(in.Instruction, want), 63
	case bpf.OpEnd:
		return v.swapDemand(in.Instruction, want), 0
	}
	if in.Op.Class() == bpf.ClassALU {
		return below(32), below(32)
	}
	return all, all
}

// forcedDemand is which bits are needed where either of two operands' bits
// alone may decide the result. Where both do, the second one has to stay.
func forcedDemand(want, a, b uint64) (dst, src uint64) {
	return want &^ b, want &^ (a &^ b)
}

// operands is what is known of the two operands of instruction i.
func (v *view) operands(i int) (dst, src *vec) {
	in := v.code[i]
	s := v.k.imm(in)
	if in.UsesSrc() {
		s = v.regs[i][in.Src]
	}
	return v.k.t.vec(v.regs[i][in.Dst]), v.k.t.vec(s)
}

func zeros(v *vec) uint64 {
	ones, unknown := v.parts()
	return ^(ones | unknown)
}

func onesOf(v *vec) uint64 {
	ones, _ := v.parts()
	return ones
}

func extendDemand(want uint64, width int) uint64 {
	out := want & below(width)
	if want>>width != 0 {
		out |= 1 << (width - 1)
	}
	return out
}

func shiftDemand(in bpf.Instruction, want uint64) uint64 {
	width := 64
	if in.Op.Class() == bpf.ClassALU {
		width = 32
	}
	if in.UsesSrc() || in.Ref != 0 {
		return below(width)
	}
	by := int(in.Imm)
	if in.Op.ALU() == bpf.OpLsh {
		return want >> by
	}
	out := want << by & below(width)
	if in.Op.ALU() == bpf.OpArsh && want>>(width-by) != 0 {
		out |= 1 << (width - 1)
	}
	return out
}

func (v *view) swapDemand(in bpf.Instruction, want uint64) uint64 {
	width := int(in.Imm)
	want &= below(width)
	if in.Op.Class() == bpf.ClassALU && (in.Op&bpf.SourceX != 0) == v.k.t.big {
		return want
	}
	return bits.ReverseBytes64(want) >> (64 - width)
}

// anyByte tells whether one of the place's bytes is in the set. Bytes outside
// the frame count as members.
func anyByte(set *flow.Bytes, p place) bool {
	for at := range p.size {
		o := p.off + int64(at) + flow.StackSize
		if o < 0 || o >= flow.StackSize || set[o/64]>>(o%64)&1 != 0 {
			return true
		}
	}
	return false
}

func setBytes(set *flow.Bytes, p place, on bool) {
	for at := range p.size {
		o := p.off + int64(at) + flow.StackSize
		switch {
		case o < 0 || o >= flow.StackSize:
		case on:
			set[o/64] |= 1 << (o % 64)
		default:
			set[o/64] &^= 1 << (o % 64)
		}
	}
}

// clean takes out dead code.
func (k *work) clean(c code) *view {
	v := k.view(c)
	for {
		var kept code
		for i, in := range v.code {
			if !v.dead[i] {
				kept = append(kept, in)
			}
		}
		if len(kept) == len(v.code) {
			return v
		}
		v = k.view(kept)
	}
}
