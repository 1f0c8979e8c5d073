package flow

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/semantics"
)

var (
	_ semantics.Vague[number] = (*machine)(nil)
	_ semantics.Vague[ref]    = (*terms)(nil)
)

// Unspecified is any value of the width, so that no fact follows from what
// kernels leave open.
func (m *machine) Unspecified(_ bpf.Instruction, width int) number { return unknown(width) }

// Unspecified is what the register held before: kernels that leave the upper
// half of R0 open after a 32-bit compare-and-exchange may leave it as it was.
func (t *terms) Unspecified(_ bpf.Instruction, width int) ref {
	return t.Extract(t.Reg(bpf.R0), 63, 64-width)
}
