package semantics

import "github.com/k2cc/k2cc/bpf"

// Valid says why in is no instruction: see [bpf.Instruction.Valid].
func Valid(in bpf.Instruction) error { return in.Valid() }
