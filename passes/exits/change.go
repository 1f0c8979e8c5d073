package exits

import (
	"fmt"

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
	var ends []int
	for i, b := range fn.Blocks {
		if _, ok := returned(b); ok && len(ends) < maxTried {
			ends = append(ends, i)
		}
	}
	if len(ends) < 2 {
		return fn, nil
	}
	facts, _, err := analyze(w.ctx, fn, w.target)
	if err != nil {
		return nil, err
	}
	for _, from := range ends {
		for _, to := range ends {
			split, ok := changed(fn, facts, from, to)
			if !ok {
				continue
			}
			if out := jumps.Simplify(w.ctx, split, w.target, true); better(out, fn) {
				w.shares = &[2]int{from, to}
				return out, nil
			}
		}
	}
	return fn, nil
}

// proveShare does to a function what share did, and proves it.
func (w *work) proveShare(c *encode.Checker, fn *bpf.Function) (*bpf.Function, error) {
	facts, needs, err := analyze(w.ctx, fn, w.target)
	if err != nil {
		return nil, err
	}
	split, ok := changed(fn, facts, w.shares[0], w.shares[1])
	if !ok {
		return fn, nil
	}
	_, after, err := analyze(w.ctx, split, w.target)
	if err != nil {
		return nil, err
	}
	err = c.SameSteps(w.ctx, &encode.Steps{
		Old: fn, New: split, Facts: facts, Before: needs, After: after,
		Holders: windows.Identity(len(fn.Blocks)), BigEndian: w.target.BigEndian,
	})
	out := jumps.Simplify(w.ctx, split, w.target, true)
	if err == nil {
		err = c.SameShape(w.ctx, split, out)
	}
	if err != nil {
		return nil, fmt.Errorf("exits shared: %w", err)
	}
	return out, nil
}

// changed is the function with the results of two blocks made by one change of
// R0.
func changed(fn *bpf.Function, facts *flow.Facts, from, to int) (*bpf.Function, bool) {
	a, okA := returned(fn.Blocks[from])
	b, okB := returned(fn.Blocks[to])
	v := facts.Before(from, 0).Regs[bpf.R0]
	known := v.Kind == flow.KindScalar && v.Mask == 0 && v.Bits == uint64(int64(int32(v.Bits)))
	if from == to || !okA || !okB || !known || len(fn.Blocks[from].Code) != 2 {
		return nil, false
	}
	a ^= int64(v.Bits)
	out := fn.Clone()
	first := out.Blocks[from].Code
	first[0].Op, first[0].Imm = bpf.ClassALU64|bpf.OpXor, a
	n := len(fn.Blocks[to].Code) - 2
	set, change, exit := fn.Blocks[to].Code[n], fn.Blocks[to].Code[n], fn.Blocks[to].Code[n+1]
	set.Imm = b ^ a
	change.Op, change.Imm = bpf.ClassALU64|bpf.OpXor, a
	out.Blocks[to].Code = append(out.Blocks[to].Code[:n:n], set, change, exit)
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
