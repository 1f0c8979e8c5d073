package passes

import (
	"cmp"

	"github.com/k2cc/k2cc/bpf"
)

// Cost is what code costs: first its size in slots, then what it makes the
// machine do.
type Cost struct {
	Slots  int // 8-byte slots
	Memory int // instructions that access memory
	Ops    int // instructions that do anything but load a constant
}

// CostOf is the cost of straight-line code.
func CostOf(code []bpf.Instruction) Cost {
	c := Cost{Slots: bpf.Slots(code)}
	for _, in := range code {
		switch {
		case in.IsLoad(), in.IsStore():
			c.Memory++
		case in.IsAtomic():
			c.Memory += 4 // a locked instruction waits for the memory
		}
		if in.Op != bpf.LoadImm64 && in.Op != bpf.ClassALU64|bpf.OpMov {
			c.Ops++
		}
	}
	return c
}

// Compare is negative where c is cheaper than d, positive where it is dearer.
func (c Cost) Compare(d Cost) int {
	return cmp.Or(cmp.Compare(c.Slots, d.Slots), cmp.Compare(c.Memory, d.Memory), cmp.Compare(c.Ops, d.Ops))
}
