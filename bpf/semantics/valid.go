package semantics

import (
	"fmt"

	"github.com/k2cc/k2cc/bpf"
)

// Valid says why in is no instruction: see [bpf.Instruction.Valid].
func Valid(in bpf.Instruction) error { return in.Valid() }

// exists says why in has no meaning. It takes what RFC 9669 defines and the
// verifier refuses all the same: see [bpf.Instruction.Form].
func exists(in bpf.Instruction) error {
	if in.Valid() == nil {
		return nil
	}
	if _, ok := in.Form(); !ok {
		return fmt.Errorf("%v is no instruction", in)
	}
	return nil
}
