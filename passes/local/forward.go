package local

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// forward takes out an instruction whose value every later use can have from
// elsewhere: as an immediate, from another register, or by another base
// register and offset.
func forward(v *view) code {
	for i := len(v.code) - 1; i >= 0; i-- {
		in := v.code[i]
		if !in.IsALU() && !in.IsLoad() && in.Op != bpf.LoadImm64 || v.k.skip(in) {
			continue
		}
		if c := v.forwardFrom(i); c != nil && v.k.better(c.price(), v.code.price()) && !v.rereads(c) {
			return c
		}
	}
	return nil
}

func (v *view) forwardFrom(i int) code {
	r := v.code[i].Dst
	out := v.code.with(i, v.code[i])
	end := true
	for j := i + 1; j < len(v.code); j++ {
		in := v.code[j]
		if in.reads().Has(r) {
			now, ok := v.substitute(j, r)
			if !ok {
				return nil
			}
			out[j] = now
		}
		if in.writes().Has(r) {
			end = false
			break
		}
	}
	if end && v.k.w.Needs.Regs[r] != 0 {
		return nil
	}
	return v.k.clean(out.without(i)).code
}

// substitute is instruction j without a read of r.
func (v *view) substitute(j int, r bpf.Register) (inst, bool) {
	in := v.code[j]
	ok := false
	switch {
	case in.IsALU():
		in, ok = v.substituteALU(j, in, r)
	case in.IsLoad():
		in.Src, in.Off, ok = v.otherBase(j, r)
	case in.IsStore():
		in, ok = v.substituteStore(j, in, r)
	case in.IsCondJump():
		in, ok = v.substituteJump(j, in, r)
	}
	return in, ok
}

// other is a register beside r that has r's value in the bits of care.
func (v *view) other(j int, r bpf.Register, care uint64) (bpf.Register, bool) {
	g := &goal{value: v.regs[j][r], care: care}
	for o := range bpf.R10 + 1 {
		if o != r && v.regs[j][o] != 0 && v.k.agreeing(v.regs[j][o], g) {
			return o, true
		}
	}
	return 0, false
}

// otherBase is another way to address what instruction j accesses through r.
func (v *view) otherBase(j int, r bpf.Register) (bpf.Register, int16, bool) {
	a := v.acc[j]
	if a.vague {
		o, ok := v.other(j, r, all)
		return o, v.code[j].Off, ok
	}
	saved := v.regs[j][r]
	v.regs[j][r] = 0
	base, off, ok := v.baseFor(j, a.place)
	v.regs[j][r] = saved
	if ok && v.k.t.at(saved).kind != v.k.t.at(v.regs[j][base]).kind {
		return 0, 0, false
	}
	return base, off, ok
}

func (v *view) substituteALU(j int, in inst, r bpf.Register) (inst, bool) {
	if in.Dst == r && in.Op.ALU() != bpf.OpMov {
		return in, false
	}
	_, care := v.operandDemand(j, v.live[j].Regs[in.Dst])
	if c, ok := fitConstant(v.k.t.vec(v.regs[j][r]), care); ok && in.Off == 0 {
		if k, ok := withImm(in, c, care); ok {
			return k, true
		}
	}
	o, ok := v.other(j, r, care)
	in.Src = o
	return in, ok
}

// withImm is an arithmetic instruction with an immediate that is c in the bits
// of care, for its second operand.
func withImm(in inst, c, care uint64) (inst, bool) {
	imm := int64(int32(c))
	in.Op &^= bpf.SourceX
	in.Src, in.Imm = 0, imm
	switch in.Op.ALU() {
	case bpf.OpLsh, bpf.OpRsh, bpf.OpArsh:
		in.Imm = int64(c & 63)
		if in.Op.Class() == bpf.ClassALU {
			in.Imm &= 31
		}
		return in, true
	case bpf.OpDiv, bpf.OpMod:
		if imm == 0 {
			return in, false
		}
	}
	return in, (uint64(imm)^c)&care == 0
}

func (v *view) substituteStore(j int, in inst, r bpf.Register) (inst, bool) {
	if in.Op.Class() == bpf.ClassSTX && in.Src == r {
		care := below(8 * in.Size())
		if c, ok := v.k.t.vec(v.regs[j][r]).slice0(care).constant(); ok && v.acc[j].kind.IsPointer() {
			if st, ok := v.immStore(in, c, j); ok {
				in = st
			}
		}
		if in.Op.Class() == bpf.ClassSTX {
			o, ok := v.other(j, r, care)
			if !ok {
				return in, false
			}
			in.Src = o
		}
	}
	if in.Dst == r {
		base, off, ok := v.otherBase(j, r)
		if !ok {
			return in, false
		}
		in.Dst, in.Off = base, off
	}
	return in, true
}

// slice0 is v with the bits outside of care zero.
func (v *vec) slice0(care uint64) *vec {
	out := *v
	for i := range out {
		if care>>i&1 == 0 {
			out[i] = zero
		}
	}
	return &out
}

// immStore is a store of the constant c. The context takes none.
func (v *view) immStore(in inst, c uint64, j int) (inst, bool) {
	if v.acc[j].kind == flow.KindContext || in.Ref != 0 {
		return in, false
	}
	st, ok := storeImm(in.Instruction, c)
	in.Instruction = st
	return in, ok
}

// storeImm turns a store of a register into one of a constant.
func storeImm(in bpf.Instruction, c uint64) (bpf.Instruction, bool) {
	imm := int64(int32(c))
	switch in.Size() {
	case 8:
		if uint64(imm) != c {
			return in, false
		}
	case 2:
		imm = int64(uint16(c))
	case 1:
		imm = int64(uint8(c))
	}
	in.Op = in.Op&^7 | bpf.ClassST
	in.Src, in.Imm = 0, imm
	return in, true
}

func (v *view) substituteJump(j int, in inst, r bpf.Register) (inst, bool) {
	care := all
	if in.Op.Class() == bpf.ClassJMP32 {
		care = below(32)
	}
	if in.UsesSrc() && in.Src == r {
		c, ok := fitConstant(v.k.t.vec(v.regs[j][r]), care)
		if imm := int64(int32(c)); ok && (uint64(imm)^c)&care == 0 && in.Dst != r {
			in.Op &^= bpf.SourceX
			in.Src, in.Imm = 0, imm
			return in, true
		}
		o, ok := v.other(j, r, care)
		if !ok {
			return in, false
		}
		in.Src = o
	}
	if in.Dst == r {
		if now, ok := v.mirrored(j, in, r, care); ok {
			return now, true
		}
		o, ok := v.other(j, r, care)
		if !ok {
			return in, false
		}
		in.Dst = o
	}
	return in, true
}

// mirrors pairs each comparison with the one that says the same of exchanged
// operands.
var mirrors = map[bpf.Op]bpf.Op{
	bpf.OpJEq: bpf.OpJEq, bpf.OpJNE: bpf.OpJNE, bpf.OpJSet: bpf.OpJSet,
	bpf.OpJGT: bpf.OpJLT, bpf.OpJLT: bpf.OpJGT, bpf.OpJGE: bpf.OpJLE, bpf.OpJLE: bpf.OpJGE,
	bpf.OpJSGT: bpf.OpJSLT, bpf.OpJSLT: bpf.OpJSGT, bpf.OpJSGE: bpf.OpJSLE, bpf.OpJSLE: bpf.OpJSGE,
}

// mirrored compares the second operand with r's constant.
func (v *view) mirrored(j int, in inst, r bpf.Register, care uint64) (inst, bool) {
	c, ok := fitConstant(v.k.t.vec(v.regs[j][r]), care)
	imm := int64(int32(c))
	if !ok || !in.UsesSrc() || in.Src == r || (uint64(imm)^c)&care != 0 {
		return in, false
	}
	in.Op = in.Op.Class() | mirrors[in.Op.Jump()]
	in.Dst, in.Src, in.Imm = in.Src, 0, imm
	if in.Level() <= v.k.w.Level {
		return in, true
	}
	// Before v2 there are only greater-than jumps: c > x is not one of them, but
	// an unsigned x < 1 is x == 0.
	if in.Op.Jump() == bpf.OpJLT && imm == 1 {
		in.Op, in.Imm = in.Op.Class()|bpf.OpJEq, 0
		return in, true
	}
	return in, false
}
