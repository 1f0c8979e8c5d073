package flow

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/semantics"
)

var _ semantics.Vague[number] = (*machine)(nil)

// Unspecified is any value of the width, so that no fact follows from what
// kernels leave open.
func (m *machine) Unspecified(_ bpf.Instruction, width int) number { return unknown(width) }
