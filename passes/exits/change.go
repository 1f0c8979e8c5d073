package exits

import (
	"fmt"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes/jumps"
	"github.com/k2cc/k2cc/windows"
)

// share lets two exits with other constants be one. Where it is known what R0 is
// on the way to the first, its result is made by a change of R0, and that of the
// second by the same change:
//
//	L1: r0 = 1       L2: r0 = 0         L2: r0 = 1
//	    exit             exit     →     L1: r0 ^= 1
//	                                        exit
//
// if R0 is 0 at L1.
func (w *work) share(fn *bpf.Function) (*bpf.Function, error) {
	facts, needs, err := analyze(w.ctx, fn, w.target)
	if err != nil {
		return nil, err
	}
	ends := slices.DeleteFunc(slices.Clone(fn.Blocks), func(b *bpf.Block) bool {
		_, ok := returned(b)
		return !ok
	})
	for _, from := range ends {
		for _, to := range ends[:min(len(ends), maxTried)] {
			split, ok := changed(fn, facts, from, to)
			if !ok {
				continue
			}
			out := jumps.Simplify(w.ctx, split, w.target, true)
			if !better(out, fn) {
				continue
			}
			return out, w.sameShare(fn, split, out, facts, needs)
		}
	}
	return fn, nil
}

// sameShare proves what share did.
func (w *work) sameShare(fn, split, out *bpf.Function, facts *flow.Facts, needs *flow.Needs) error {
	_, after, err := analyze(w.ctx, split, w.target)
	if err != nil {
		return err
	}
	c := encode.New(encode.Options{})
	err = c.SameSteps(w.ctx, &encode.Steps{
		Old: fn, New: split, Facts: facts, Before: needs, After: after,
		Holders: windows.Identity(len(fn.Blocks)), BigEndian: w.target.BigEndian,
	})
	if err == nil {
		err = c.SameShape(w.ctx, split, out)
	}
	if err != nil {
		return fmt.Errorf("exits shared: %w", err)
	}
	return nil
}

// changed is the function with the results of two blocks made by one change of
// R0.
func changed(fn *bpf.Function, facts *flow.Facts, from, to *bpf.Block) (*bpf.Function, bool) {
	a, okA := returned(from)
	b, okB := returned(to)
	if from == to || !okA || !okB || len(from.Code) != 2 {
		return nil, false
	}
	out := fn.Clone()
	for i, block := range fn.Blocks {
		code := out.Blocks[i].Code
		n := len(code) - 2
		if block != from {
			continue
		}
		v := facts.Before(i, 0).Regs[bpf.R0]
		if v.Kind != flow.KindScalar || v.Mask != 0 || v.Bits != uint64(int64(int32(v.Bits))) {
			return nil, false
		}
		a ^= int64(v.Bits)
		code[n].Op, code[n].Imm = bpf.ClassALU64|bpf.OpXor, a
	}
	for i, block := range fn.Blocks {
		if block != to {
			continue
		}
		n := len(block.Code) - 2
		set, change := block.Code[n], block.Code[n]
		set.Imm = b ^ a
		change.Op, change.Imm = bpf.ClassALU64|bpf.OpXor, a
		out.Blocks[i].Code = append(append([]bpf.Instruction{}, block.Code[:n]...), set, change, block.Code[n+1])
	}
	return out, true
}

// returned is the constant that a block sets R0 to before it exits.
func returned(b *bpf.Block) (int64, bool) {
	n := len(b.Code) - 2
	if n < 0 || !b.Code[n+1].IsExit() {
		return 0, false
	}
	in := b.Code[n]
	ok := in.Op == bpf.ClassALU64|bpf.OpMov && in.Dst == bpf.R0 && in.Ref == 0
	return in.Imm, ok
}
