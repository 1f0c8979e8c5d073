package local

import (
	"cmp"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
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

// price is what code is measured by as it is put together: the parts of
// cost.Cost that add up.
type price struct {
	slots, instructions int
	bytes, work         int // machine code; time in picoseconds, not counting waits
	accesses            int // to memory
}

// less compares by slots, then by machine code.
func (c price) less(d price) bool {
	return cmp.Or(cmp.Compare(c.slots, d.slots), cmp.Compare(c.weight(), d.weight())) < 0
}

// accessWeight is how many bytes of code an access to memory counts for beyond
// its own.
const accessWeight = 4

func (c price) weight() int { return c.bytes + accessWeight*c.accesses }

func (c price) plus(d price) price {
	return price{
		c.slots + d.slots, c.instructions + d.instructions,
		c.bytes + d.bytes, c.work + d.work, c.accesses + d.accesses,
	}
}

func (c code) price() (sum price) {
	for _, in := range c {
		if in.hole == 0 {
			sum = sum.plus(priceOf(in.Instruction))
		}
	}
	return sum
}

func priceOf(in bpf.Instruction) price {
	p := price{slots: in.Slots(), instructions: 1, bytes: cost.Bytes(in), work: cost.Work(in)}
	if in.IsLoad() || in.IsStore() || in.IsAtomic() {
		p.accesses = 1
	}
	return p
}

// better tells whether code of price c may take the place of code of price d,
// for all that can be said before it is whole.
func (k *work) better(c, d price) bool {
	if c.slots > k.most.Slots || c.bytes > k.most.Bytes || c.work > k.most.Time || c.instructions > k.most.Walked {
		return false
	}
	switch k.w.Costs.Goal {
	case cost.Latency:
		return c.work < d.work || c.work == d.work && c.less(d)
	case cost.Verifier:
		return c.instructions < d.instructions || c.instructions == d.instructions && c.less(d)
	}
	return c.less(d)
}
