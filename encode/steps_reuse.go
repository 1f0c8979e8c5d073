package encode

import (
	"fmt"

	"github.com/k2cc/k2cc/bpf"
)

// Reuse is a load of the old function that the new one does without: Reg, of the
// old one, holds before it what it would read (flow.Facts.Rereads).
type Reuse struct {
	Block, Index int
	Reg          bpf.Register
}

// reuses is what holds the values of loads that the new code does without, by
// their index in the block.
func (s *Steps) reuses(block int) (map[int]bpf.Register, error) {
	out := map[int]bpf.Register{}
	for _, u := range s.Reuses {
		if u.Block == block {
			out[u.Index] = u.Reg
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	known := map[int]bpf.Registers{}
	for _, r := range s.Facts.Rereads(block) {
		known[r.Index] = r.Regs
	}
	for i, r := range out {
		if !known[i].Has(r) {
			return nil, fmt.Errorf("%v is not known to hold what instruction %d reads", r, i)
		}
	}
	return out, nil
}
