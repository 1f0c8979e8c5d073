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
func (w *work) share(fn *bpf.Function) (made, error) {
	out := made{fn: fn}
	var ends []int
	for i, b := range fn.Blocks {
		if _, ok := returned(b); ok && len(ends) < maxTried {
			ends = append(ends, i)
		}
	}
	if len(ends) < 2 {
		return out, nil
	}
	facts, _, err := analyze(w.ctx, fn, w.target)
	if err != nil {
		return out, err
	}
	for _, from := range ends {
		for _, to := range ends {
			split, ok := changed(fn, facts, from, to, w.target.Level)
			if !ok {
				continue
			}
			if now := jumps.Simplify(w.ctx, split, w.target, true); better(now, fn) {
				return made{fn: now, shares: &[2]int{from, to}}, nil
			}
		}
	}
	return out, nil
}

// proveShare does to a function what share did, and proves it.
func (w *work) proveShare(fn *bpf.Function, shares *[2]int) (*bpf.Function, error) {
	facts, needs, err := analyze(w.ctx, fn, w.target)
	if err != nil {
		return nil, err
	}
	split, ok := changed(fn, facts, shares[0], shares[1], w.target.Level)
	if !ok {
		return fn, nil
	}
	_, after, err := analyze(w.ctx, split, w.target)
	if err != nil {
		return nil, err
	}
	err = w.checker.SameSteps(w.ctx, &encode.Steps{
		Old: fn, New: split, Facts: facts, Before: needs, After: after,
		Holders: windows.Identity(len(fn.Blocks)), BigEndian: w.target.BigEndian,
	})
	out := jumps.Simplify(w.ctx, split, w.target, true)
	if err == nil {
		err = w.checker.SameShape(w.ctx, split, out)
	}
	if err != nil {
		return nil, fmt.Errorf("exits shared: %w", err)
	}
	return out, nil
}

// changed is the function with the results of two blocks made by one change of
// R0.
func changed(fn *bpf.Function, facts *flow.Facts, from, to int, level bpf.Level) (*bpf.Function, bool) {
	a, okA := returned(fn.Blocks[from])
	b, okB := returned(fn.Blocks[to])
	v := facts.Before(from, 0).Regs[bpf.R0]
	if from == to || !okA || !okB || v.Kind != flow.KindScalar || len(fn.Blocks[from].Code) != 2 {
		return nil, false
	}
	x := a ^ v.Bits
	class := bpf.ClassALU64
	if v.Mask != 0 || !isImmediate(x) || !isImmediate(b^x) {
		class = bpf.ClassALU
		// What is computed in the low half has an upper one of zeros.
		if level < bpf.V3 || uint32(v.Mask) != 0 || (a|b)>>32 != 0 && !fn.HalfResult {
			return nil, false
		}
	}
	out := fn.Clone()
	first := out.Blocks[from].Code
	first[0].Op, first[0].Imm = class|bpf.OpXor, int64(int32(x))
	n := len(fn.Blocks[to].Code) - 2
	set, change, exit := fn.Blocks[to].Code[n], first[0], fn.Blocks[to].Code[n+1]
	set.Op, set.Imm = class|bpf.OpMov, int64(int32(b^x))
	change.Pos = set.Pos
	out.Blocks[to].Code = append(out.Blocks[to].Code[:n:n], set, change, exit)
	return out, true
}

func isImmediate(v uint64) bool { return v == uint64(int64(int32(v))) }

// returned is the constant that a block sets R0 to before it exits.
func returned(b *bpf.Block) (uint64, bool) {
	n := len(b.Code) - 2
	if n < 0 || !b.Code[n+1].IsExit() {
		return 0, false
	}
	in := b.Code[n]
	ok := in.IsALU() && in.Op.ALU() == bpf.OpMov && !in.UsesSrc() && in.Dst == bpf.R0 && in.Ref == 0
	if in.Op.Class() == bpf.ClassALU {
		return uint64(uint32(in.Imm)), ok
	}
	return uint64(in.Imm), ok
}
