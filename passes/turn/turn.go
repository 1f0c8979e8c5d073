// Package turn has branches lead the other way where their condition is shorter
// so. ISA v1 has no jump on "less than", so that compilers compare complements:
//
//	r1 = r0
//	r1 ^= -1             if r0 > 10 goto L2
//	if r1 >= -11 goto L1     →     goto L1
//	L2:                            L2:
package turn

import (
	"context"
	"errors"
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes/jumps"
	"github.com/k2cc/k2cc/windows"
)

// maxWork bounds the slots of all functions that are made to turn branches of
// one, so that time grows no faster than the function does.
const maxWork = 1 << 15

// Simplify is the function with such branches turned, where that makes it
// smaller and is proven. It fails only where ctx ends.
func Simplify(ctx context.Context, c *encode.Checker, fn *bpf.Function, t windows.Target) (*bpf.Function, error) {
	if !t.Confirmed {
		return fn, nil
	}
	work := 0
	for i := 0; i < len(fn.Blocks); i++ {
		if !complementBefore(fn, i) {
			continue
		}
		if work += fn.Slots(); work > maxWork {
			break
		}
		before, short, ok := turned(fn, i)
		if !ok {
			continue
		}
		out, err := prove(ctx, c, fn, before, i, short, t)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil && out.Slots() < fn.Slots() {
			fn, i = out, -1
		}
	}
	return fn, nil
}

// complementBefore tells whether a block ends with a branch on a complement.
func complementBefore(fn *bpf.Function, block int) bool {
	code := fn.Blocks[block].Code
	n := len(code) - 3
	return n >= 0 && complements(code[n], code[n+1])
}

// turned is the function with a block's branch leading the other way, on the
// inverse condition, and what the block's code may be instead.
func turned(fn *bpf.Function, block int) (before *bpf.Function, short []bpf.Instruction, ok bool) {
	code := fn.Blocks[block].Code
	n := len(code) - 3
	if n < 0 || block+1 == len(fn.Blocks) {
		return nil, nil, false
	}
	mov, xor, in := code[n], code[n+1], code[n+2]
	if !complements(mov, xor) || in.Dst != mov.Dst || in.Ref != 0 || in.UsesSrc() || in.Op.Class() != bpf.ClassJMP {
		return nil, nil, false
	}
	now := in
	switch in.Op.Jump() {
	case bpf.OpJGE:
		now.Op = bpf.ClassJMP | bpf.OpJGT
	case bpf.OpJGT:
		now.Op = bpf.ClassJMP | bpf.OpJGE
	case bpf.OpJSGE:
		now.Op = bpf.ClassJMP | bpf.OpJSGT
	case bpf.OpJSGT:
		now.Op = bpf.ClassJMP | bpf.OpJSGE
	default:
		return nil, nil, false
	}
	inverse, ok := jumps.Inverse(in)
	before = fn.Clone()
	around := &bpf.Block{Code: []bpf.Instruction{{Op: bpf.ClassJMP | bpf.OpJA, Target: in.Target, Pos: in.Pos}}}
	for _, b := range fn.Blocks {
		around.Label = max(around.Label, b.Label+1)
	}
	inverse.Target = fn.Blocks[block+1].Label
	before.Blocks[block].Code[n+2] = inverse
	before.Blocks = append(before.Blocks[:block+1:block+1], append([]*bpf.Block{around}, before.Blocks[block+1:]...)...)
	now.Dst, now.Imm, now.Target = mov.Src, ^in.Imm, inverse.Target
	return before, append(code[:n:n], now), ok
}

// complements tells whether the two make a register the complement of another.
func complements(mov, xor bpf.Instruction) bool {
	return mov.Op == bpf.ClassALU64|bpf.OpMov|bpf.SourceX && mov.Off == 0 && mov.Src < bpf.R10 && mov.Src != mov.Dst &&
		xor.Op == bpf.ClassALU64|bpf.OpXor && xor.Dst == mov.Dst && xor.Imm == -1 && xor.Ref == 0
}

// prove is the function with the short code in a block, proven to be what fn is:
// fn and before have one shape, and in one window the short code does what
// before's does.
func prove(ctx context.Context, c *encode.Checker, fn, before *bpf.Function, block int, short []bpf.Instruction, t windows.Target) (*bpf.Function, error) {
	if err := c.SameShape(ctx, fn, before); err != nil {
		return nil, err
	}
	whole := before.Clone()
	whole.Blocks[block].Code = short
	facts, _, err := analyze(ctx, before, t)
	if err != nil {
		return nil, err
	}
	_, needs, err := analyze(ctx, whole, t)
	if err != nil {
		return nil, err
	}
	w := windows.Block(before, block, facts, windows.BehindBody(whole, block, needs), t)
	if w == nil {
		return nil, errors.New("no run gets there")
	}
	if v := c.Check(ctx, w, short); v.Outcome != encode.Proven {
		return nil, fmt.Errorf("%v: %s", v.Outcome, v.Reason)
	}
	out := jumps.Simplify(ctx, whole, t, true)
	return out, c.SameShape(ctx, whole, out)
}

func analyze(ctx context.Context, fn *bpf.Function, t windows.Target) (*flow.Facts, *flow.Needs, error) {
	facts, err := flow.Analyze(ctx, fn, flow.Options{BigEndian: t.BigEndian})
	if err != nil {
		return nil, nil, fmt.Errorf("facts of %s: %w", fn.Name, err)
	}
	needs, err := flow.Liveness(fn, facts)
	if err != nil {
		return nil, nil, fmt.Errorf("needs of %s: %w", fn.Name, err)
	}
	return facts, needs, nil
}
