package local

import (
	"slices"

	"github.com/k2cc/k2cc/bpf"
)

// inst is an instruction of a window that is being rewritten. A hole stands
// for what was taken out: it gives Dst the value, or writes it to memory where to
// has a size, at no cost.
type inst struct {
	bpf.Instruction
	id   int32 // tells the instruction in every version of the code
	hole ref
	to   place
	// first is the id of the first of the stores that the hole stands for.
	first int32
}

// code is one version of a window's instructions. Versions share nothing.
type code []inst

func (c code) without(i int) code { return slices.Delete(slices.Clone(c), i, i+1) }

func (c code) with(i int, in inst) code {
	out := slices.Clone(c)
	out[i] = in
	return out
}

func (c code) insert(i int, ins ...inst) code { return slices.Insert(slices.Clone(c), i, ins...) }

// find is the index of the instruction with the id, or -1.
func (c code) find(id int32) int {
	return slices.IndexFunc(c, func(in inst) bool { return in.id == id })
}

func (c code) instructions() []bpf.Instruction {
	out := make([]bpf.Instruction, len(c))
	for i, in := range c {
		out[i] = in.Instruction
	}
	return out
}

func (in inst) reads() bpf.Registers {
	if in.hole != 0 {
		return 0
	}
	return in.Reads()
}

func (in inst) writes() bpf.Registers {
	switch {
	case in.to.size != 0:
		return 0
	case in.hole != 0:
		return bpf.Set(in.Dst)
	}
	return in.Writes()
}

func (in inst) touches(r bpf.Register) bool { return (in.reads() | in.writes()).Has(r) }

// defines tells whether in gives r a value that does not depend on r's old one.
func (in inst) defines(r bpf.Register) bool {
	return in.writes().Has(r) && !in.reads().Has(r)
}

// fixed tells whether the instruction's registers cannot all be renamed: it
// uses one that its fields do not name.
func (in inst) fixed() bool { return in.IsAtomic() && in.Imm == bpf.AtomicCmpXchg }

// rename gives every register field that holds from the value to.
func (in inst) rename(from, to bpf.Register) inst {
	named := in.reads() | in.writes()
	if in.Dst == from && named.Has(from) && in.namesDst() {
		in.Dst = to
	}
	if in.Src == from && named.Has(from) && in.namesSrc() {
		in.Src = to
	}
	return in
}

// namesDst tells whether the field Dst holds a register.
func (in inst) namesDst() bool {
	return in.hole != 0 || in.IsALU() || in.IsLoad() || in.IsStore() || in.IsAtomic() ||
		in.Op == bpf.LoadImm64 || in.IsCondJump()
}

// namesSrc tells whether the field Src holds a register.
func (in inst) namesSrc() bool {
	switch {
	case in.hole != 0:
		return false
	case in.IsALU(), in.IsCondJump():
		return in.UsesSrc()
	case in.IsLoad():
		return true
	}
	return in.Op.Class() == bpf.ClassSTX
}

// isMove tells whether in copies all 64 bits of a register.
func (in inst) isMove() bool {
	return in.hole == 0 && in.Op == bpf.ClassALU64|bpf.OpMov|bpf.SourceX && in.Off == 0
}

// cost is what code is measured by, the first difference deciding.
type cost struct {
	slots  int
	weight int // bytes of native code, with a surcharge for access to memory
}

func (c cost) less(d cost) bool {
	if c.slots != d.slots {
		return c.slots < d.slots
	}
	return c.weight < d.weight
}

func (c cost) plus(d cost) cost { return cost{c.slots + d.slots, c.weight + d.weight} }

func (c code) cost() (sum cost) {
	for _, in := range c {
		if in.hole == 0 {
			sum = sum.plus(costOf(in.Instruction))
		}
	}
	return sum
}

// memoryWeight is what an access to memory counts for beyond its code.
const memoryWeight = 4

// costOf estimates an instruction's native code by what the kernel's x86-64
// compiler emits (arch/x86/net/bpf_jit_comp.c).
func costOf(in bpf.Instruction) cost {
	c := cost{slots: in.Slots(), weight: 3}
	small := in.Imm >= -128 && in.Imm < 128
	switch {
	case in.Op == bpf.LoadImm64:
		c.weight = 10
	case in.IsLoad(), in.IsStore(), in.IsAtomic():
		c.weight = memoryWeight + accessBytes(in)
	case in.IsCondJump():
		c.weight = 5
		if !in.UsesSrc() && !small {
			c.weight += 3
		}
	case in.IsALU() && in.Op.ALU() == bpf.OpMov && !in.UsesSrc():
		c.weight = 5
		if in.Imm == 0 {
			c.weight = 2
		}
	case in.IsALU() && !in.UsesSrc() && in.Op.ALU() != bpf.OpEnd:
		c.weight = 4
		if !small {
			c.weight = 7
		}
	}
	if in.Op.Class() == bpf.ClassALU || in.Op.Class() == bpf.ClassJMP32 {
		c.weight--
	}
	return c
}

func accessBytes(in bpf.Instruction) int {
	n := 4
	if in.Off < -128 || in.Off > 127 {
		n += 3
	}
	if in.Op.Class() == bpf.ClassST {
		n += min(in.Size(), 4)
	}
	return n
}
