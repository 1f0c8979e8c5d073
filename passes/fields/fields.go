// Package fields stores zeros into the context with wider stores, where the
// kernel takes fields for mere memory: the control block of an sk_buff.
package fields

import (
	"context"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/passes"
	"github.com/k2cc/k2cc/windows"
)

// New makes the pass.
func New() passes.Proposer { return pass{} }

type pass struct{}

// Name is the pass's name.
func (pass) Name() string { return "fields" }

// Propose proposes the window's code with all pairs of such stores merged.
func (pass) Propose(_ context.Context, w *windows.Window, try passes.Try) int {
	if w.Fn.Context != bpf.ContextSKB {
		return 0
	}
	z := zeros{}
	for r, v := range w.Facts.Regs {
		z[r] = v.IsConst() && v.Bits == 0
	}
	var out []bpf.Instruction
	merged := false
	for i := 0; i < len(w.Code); i++ {
		in := w.Code[i]
		if i+1 < len(w.Code) && z.pair(in, w.Code[i+1]) {
			in.Op |= bpf.SizeDW // SizeW has no bits
			merged = true
			i++
		}
		z.step(in)
		out = append(out, in)
	}
	if !merged {
		return 0
	}
	try(out)
	return 1
}

// zeros is which registers are known to be zero.
type zeros [bpf.NumRegisters]bool

func (z *zeros) step(in bpf.Instruction) {
	for r := range bpf.R10 {
		if in.Writes().Has(r) {
			z[r] = in.Dst == r && in.IsALU() && in.Op.ALU() == bpf.OpMov && !in.UsesSrc() && in.Imm == 0 && in.Ref == 0
		}
	}
}

// pair tells whether two stores may be of zeros to the halves of an aligned place.
// Whether they are to the control block is the checker's to find.
func (z *zeros) pair(a, b bpf.Instruction) bool {
	word := func(in bpf.Instruction) bool {
		return in.IsStore() && in.Op.Class() == bpf.ClassSTX && in.Size() == 4 && in.Ref == 0 && z[in.Src]
	}
	return word(a) && word(b) && a.Dst == b.Dst && a.Off%8 == 0 && b.Off == a.Off+4
}
