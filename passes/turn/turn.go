// Package turn has branches lead the other way where their condition is shorter
// so. ISA v1 has no jump on "less than", so that compilers compare complements:
//
//	r1 = r0
//	r1 ^= -1             if r0 > 10 goto L2
//	if r1 >= -11 goto L1     →     goto L1
//	L2:                            L2:
//
// and no ISA has one on "no bit is set":
//
//	r1 &= 8              if r1 & 8 goto L2
//	if r1 == 0 goto L1       →     goto L1
//	L2:                            L2:
package turn

import (
	"context"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes/jumps"
	"github.com/k2cc/k2cc/windows"
)

// Simplify is the function with such branches turned, where that makes it
// smaller and is proven. It fails only where ctx ends.
func Simplify(ctx context.Context, c *encode.Checker, fn *bpf.Function, t windows.Target) (*bpf.Function, error) {
	if !t.Confirmed {
		return fn, nil
	}
	all := candidates(fn, t)
	for len(all) > 0 {
		out, wrong, err := apply(ctx, c, fn, all, t)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			return fn, nil
		case len(wrong) > 0:
			all = slices.DeleteFunc(all, func(b branch) bool { return slices.Contains(wrong, b.block) })
			continue
		case out.Slots() < fn.Slots():
			return out, nil
		}
		return fn, nil
	}
	return fn, nil
}

// branch is a branch that can be turned.
type branch struct {
	block int
	short []bpf.Instruction // what the block's code may be once its branch is turned
}

// candidates is the branches that are worth turning.
func candidates(fn *bpf.Function, t windows.Target) (out []branch) {
	at := map[bpf.Label]int{}
	for i, b := range fn.Blocks {
		at[b.Label] = i
	}
	for i, b := range fn.Blocks {
		if i+1 == len(fn.Blocks) || len(b.Code) == 0 {
			continue
		}
		in := b.Code[len(b.Code)-1]
		if !in.IsCondJump() || in.IsMayGoto() || in.Ref != 0 || in.Target == fn.Blocks[i+1].Label {
			continue
		}
		if _, ok := jumps.Inverse(in); !ok {
			continue
		}
		target := at[in.Target]
		for _, shorten := range []func([]bpf.Instruction) ([]bpf.Instruction, bool){complement, noBit} {
			short, ok := shorten(b.Code)
			if !ok || short[len(short)-1].Level() > t.Level {
				continue
			}
			// Where the target can't come next, a goto takes a slot.
			if len(short)+1 < len(b.Code) || target > 0 && !fallsThrough(fn.Blocks[target-1]) {
				short[len(short)-1].Target = fn.Blocks[i+1].Label
				out = append(out, branch{i, short})
				break
			}
		}
	}
	return out
}

func fallsThrough(b *bpf.Block) bool {
	return len(b.Code) == 0 || b.Code[len(b.Code)-1].FallsThrough()
}

// complement is code that ends in a comparison of a complement with a number,
// without the complement and with the branch turned.
func complement(code []bpf.Instruction) ([]bpf.Instruction, bool) {
	n := len(code) - 3
	if n < 0 {
		return nil, false
	}
	mov, xor, in := code[n], code[n+1], code[n+2]
	if !complements(mov, xor) || in.Dst != mov.Dst || in.UsesSrc() || in.Op.Class() != bpf.ClassJMP {
		return nil, false
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
		return nil, false
	}
	now.Dst, now.Imm = mov.Src, ^in.Imm
	return append(code[:n:n], now), true
}

// complements tells whether the two make a register the complement of another.
func complements(mov, xor bpf.Instruction) bool {
	return mov.Op == bpf.ClassALU64|bpf.OpMov|bpf.SourceX && mov.Off == 0 && mov.Src < bpf.R10 && mov.Src != mov.Dst &&
		xor.Op == bpf.ClassALU64|bpf.OpXor && xor.Dst == mov.Dst && xor.Imm == -1 && xor.Ref == 0
}

// noBit is code that ends in a test for no bit of a mask, without the mask, and a
// copy before it, and with the branch turned. Whether what the mask leaves is read
// somewhere else is the proof's to find.
func noBit(code []bpf.Instruction) ([]bpf.Instruction, bool) {
	last := len(code) - 1
	in := code[last]
	if in.Op.Jump() != bpf.OpJEq || in.UsesSrc() || in.Imm != 0 {
		return nil, false
	}
	at := definition(code, last, in.Dst)
	if at < 0 || !code[at].IsALU() || code[at].Op.ALU() != bpf.OpAnd || code[at].Ref != 0 {
		return nil, false
	}
	and := code[at]
	now := in
	now.Op = bpf.ClassJMP | bpf.OpJSet | and.Op&bpf.SourceX
	if and.Op.Class() == bpf.ClassALU || in.Op.Class() == bpf.ClassJMP32 {
		now.Op = now.Op&^bpf.ClassJMP | bpf.ClassJMP32
	}
	now.Src, now.Imm = and.Src, and.Imm
	gone := []int{at}
	if mov := definition(code, at, in.Dst); mov >= 0 && isCopy(code[mov]) && still(code, mov, last, code[mov].Src) {
		now.Dst, gone = code[mov].Src, append(gone, mov)
	}
	if and.UsesSrc() && !still(code, at, last, and.Src) {
		return nil, false
	}
	var out []bpf.Instruction
	for i, old := range code[:last] {
		if !slices.Contains(gone, i) {
			out = append(out, old)
		}
	}
	return append(out, now), true
}

// definition is the last instruction before i that writes r, or -1; in between
// nothing reads it.
func definition(code []bpf.Instruction, i int, r bpf.Register) int {
	for j := i - 1; j >= 0; j-- {
		if code[j].Writes().Has(r) {
			return j
		}
		if code[j].Reads().Has(r) {
			return -1
		}
	}
	return -1
}

func isCopy(in bpf.Instruction) bool {
	return in.IsALU() && in.Op.ALU() == bpf.OpMov && in.UsesSrc() && in.Off == 0 && in.Src < bpf.R10
}

// still tells whether r is not written between instructions i and j.
func still(code []bpf.Instruction, i, j int, r bpf.Register) bool {
	return !slices.ContainsFunc(code[i+1:j], func(in bpf.Instruction) bool { return in.Writes().Has(r) })
}

// apply is the function with branches turned and their short code, proven to be
// what fn is: fn and the function that only has them turned have one shape, and in
// a window of each block the short code does what was there. Blocks for which that
// is not so are in wrong.
func apply(ctx context.Context, c *encode.Checker, fn *bpf.Function, all []branch, t windows.Target) (out *bpf.Function, wrong []int, err error) {
	turned, at := around(fn, all)
	if err := c.SameShape(ctx, fn, turned); err != nil {
		return nil, nil, err
	}
	short := turned.Clone()
	for i, b := range all {
		short.Blocks[at[i]].Code = b.short
	}
	if out = jumps.Simplify(ctx, short, t, true); out.Slots() >= fn.Slots() {
		return out, nil, nil
	}
	facts, _, err := analyze(ctx, turned, t)
	if err != nil {
		return nil, nil, err
	}
	_, needs, err := analyze(ctx, short, t)
	if err != nil {
		return nil, nil, err
	}
	for i, b := range all {
		w := windows.Block(turned, at[i], facts, windows.BehindBody(short, at[i], needs), t)
		if w == nil || c.Check(ctx, w, b.short).Outcome != encode.Proven {
			wrong = append(wrong, b.block)
		}
	}
	if len(wrong) > 0 {
		return nil, wrong, nil
	}
	return out, nil, c.SameShape(ctx, short, out)
}

// around is the function with branches on the inverse condition, around a jump to
// where they led, and where each one's block is now.
func around(fn *bpf.Function, all []branch) (out *bpf.Function, at []int) {
	out = fn.Clone()
	label := bpf.Label(0)
	for _, b := range fn.Blocks {
		label = max(label, b.Label)
	}
	var blocks []*bpf.Block
	for i, b := range out.Blocks {
		blocks = append(blocks, b)
		if !slices.ContainsFunc(all, func(x branch) bool { return x.block == i }) {
			continue
		}
		at = append(at, len(blocks)-1)
		in := &b.Code[len(b.Code)-1]
		label++
		blocks = append(blocks, &bpf.Block{Label: label, Code: []bpf.Instruction{{Op: bpf.ClassJMP | bpf.OpJA, Target: in.Target, Pos: in.Pos}}})
		inverse, _ := jumps.Inverse(*in) // candidates have one
		inverse.Target = out.Blocks[i+1].Label
		*in = inverse
	}
	out.Blocks = blocks
	return out, at
}

func analyze(ctx context.Context, fn *bpf.Function, t windows.Target) (*flow.Facts, *flow.Needs, error) {
	return flow.Both(ctx, fn, flow.Options{BigEndian: t.BigEndian})
}
