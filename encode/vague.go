package encode

import (
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/semantics"
)

var _ semantics.Vague[value] = (*machine)(nil)

// Unspecified is a variable of its own for each atomic of a code. Old and new
// code have the same atomics in the same order, so the n-th one leaves the same
// in both.
func (mc *machine) Unspecified(_ bpf.Instruction, width int) value {
	n := 0
	for _, ev := range mc.events {
		if ev.atomic {
			n++
		}
	}
	return scalar(mc.g.variable(fmt.Sprintf("u%d_%d", n, width), width))
}
