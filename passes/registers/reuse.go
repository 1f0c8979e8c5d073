package registers

import (
	"context"
	"fmt"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/windows"
)

// trialWork bounds what it may take to find what each load is worth: loads times
// the slots of the function.
const trialWork = 16_000

// Reuse is the function without loads of what registers have already
// (flow.Facts.Rereads), as far as that makes it smaller and is proven. It fails
// only where ctx ends.
func Reuse(ctx context.Context, c *encode.Checker, fn *bpf.Function, t windows.Target) (*bpf.Function, error) {
	for range repeats {
		out, err := reuse(ctx, c, fn, t)
		if err != nil {
			return fn, err
		}
		if out == fn {
			break
		}
		fn = out
	}
	return fn, nil
}

// reuse is the function without some loads of what registers have, or the same
// function.
func reuse(ctx context.Context, c *encode.Checker, fn *bpf.Function, t windows.Target) (*bpf.Function, error) {
	list, err := reuses(ctx, fn, t)
	if err != nil || len(list) == 0 {
		return fn, ctx.Err()
	}
	least := reusedSlots(ctx, fn, list, t)
	for i := len(list) - 1; i >= 0 && least < fn.Slots() && len(list)*fn.Slots() <= trialWork; i-- {
		// Where a copy would have to stand in its place, a load is as good.
		fewer := slices.Delete(slices.Clone(list), i, i+1)
		if n := reusedSlots(ctx, fn, fewer, t); n <= least {
			list, least = fewer, n
		}
	}
	if least >= fn.Slots() {
		return fn, ctx.Err()
	}
	thin, err := proveReuses(ctx, c, fn, list, t)
	if err != nil {
		return fn, ctx.Err()
	}
	out, err := thin.merge(t).Prove(ctx, c, thin.fn, t)
	if err != nil || !worthwhile(fn, out) {
		return fn, ctx.Err()
	}
	return out, nil
}

// reuses is the loads of what is in a register, which is their own if that has
// it. Where no kernel is asked, control has to come straight to each from where
// the value was read: then the verifier does not walk more for what it has to
// remember, as it gets there in no more states than to the first load.
func reuses(ctx context.Context, fn *bpf.Function, t windows.Target) ([]encode.Reuse, error) {
	facts, _, err := analyze(ctx, fn, t)
	if err != nil {
		return nil, err
	}
	var out []encode.Reuse
	for b, block := range fn.Blocks {
		for _, r := range facts.Rereads(b) {
			if r.Regs == 0 || !t.Confirmed && !straight(facts.Graph(), place{r.Block, r.At}, place{b, r.Index}) {
				continue
			}
			u := encode.Reuse{Block: b, Index: r.Index}
			for u.Reg < bpf.R10 && !r.Regs.Has(u.Reg) {
				u.Reg++
			}
			if dst := block.Code[r.Index].Dst; r.Regs.Has(dst) {
				u.Reg = dst
			}
			out = append(out, u)
		}
	}
	return out, nil
}

// straight tells whether control only comes to a place from another one, and
// nowhere together on the way.
func straight(g *flow.Graph, from, to place) bool {
	for b := to.block; b != from.block; b = g.Preds(b)[0] {
		if b == 0 || len(g.Preds(b)) != 1 {
			return false
		}
	}
	return from.block != to.block || from.i < to.i
}

// thinned is a function with copies in place of loads, by block and instruction.
type thinned struct {
	fn     *bpf.Function
	copies [][]bool
}

// reused puts copies in place of loads, and takes out what is then computed for
// nobody.
func reused(ctx context.Context, fn *bpf.Function, list []encode.Reuse, t windows.Target) (*thinned, error) {
	out := &thinned{fn: fn.Clone()}
	for _, b := range fn.Blocks {
		out.copies = append(out.copies, make([]bool, len(b.Code)))
	}
	for _, u := range list {
		in := &out.fn.Blocks[u.Block].Code[u.Index]
		*in = bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpMov | bpf.SourceX, Dst: in.Dst, Src: u.Reg, Pos: in.Pos}
		out.copies[u.Block][u.Index] = true
	}
	for {
		facts, needs, err := analyze(ctx, out.fn, t)
		if err != nil {
			return nil, err
		}
		if !out.dropDead(newWebs(out.fn, facts, needs, t)) {
			return out, nil
		}
	}
}

// dropDead takes out what is computed for nobody, and copies of a register to
// itself. It tells whether there was any.
func (t *thinned) dropDead(w *webs) bool {
	found := false
	for _, b := range w.graph.Order() {
		code, copies := t.fn.Blocks[b].Code[:0:0], t.copies[b][:0:0]
		for i, in := range t.fn.Blocks[b].Code {
			computes := in.IsALU() || in.Op == bpf.LoadImm64
			itself := t.copies[b][i] && in.Dst == in.Src
			if computes && (itself || !w.sites[b][i].live.Has(in.Dst)) {
				found = true
				continue
			}
			code, copies = append(code, in), append(copies, t.copies[b][i])
		}
		t.fn.Blocks[b].Code, t.copies[b] = code, copies
	}
	return found
}

// merge is the step that coalesces copies: where no kernel is asked, only those
// that stand in place of loads.
func (t *thinned) merge(target windows.Target) Step {
	if target.Confirmed {
		return Coalesce
	}
	return Step{Name: "coalesce", apply: func(w *webs, _ *flow.Facts, _ windows.Target) (*bpf.Function, windows.Renaming) {
		w.copies = t.copies
		c := w.coloring()
		c.coalesceAll()
		return c.function(), c.renaming()
	}}
}

// reusedSlots is how large the function becomes where loads are left out and
// copies coalesced.
func reusedSlots(ctx context.Context, fn *bpf.Function, list []encode.Reuse, t windows.Target) int {
	out, err := reused(ctx, fn, list, t)
	if err != nil {
		return fn.Slots()
	}
	facts, needs, err := analyze(ctx, out.fn, t)
	if err != nil {
		return fn.Slots()
	}
	now, _ := out.merge(t).Apply(out.fn, facts, needs, t)
	return now.Slots()
}

// proveReuses is the function without the loads, proven to do what it did.
func proveReuses(ctx context.Context, c *encode.Checker, fn *bpf.Function, list []encode.Reuse, t windows.Target) (*thinned, error) {
	out, err := reused(ctx, fn, list, t)
	if err != nil {
		return nil, err
	}
	facts, before, err := analyze(ctx, fn, t)
	if err != nil {
		return nil, err
	}
	_, after, err := analyze(ctx, out.fn, t)
	if err != nil {
		return nil, err
	}
	err = c.SameSteps(ctx, &encode.Steps{
		Old: fn, New: out.fn, Facts: facts, Before: before, After: after,
		Holders: windows.Identity(len(fn.Blocks)), Reuses: list, BigEndian: t.BigEndian,
	})
	if err != nil {
		return nil, fmt.Errorf("loads of what is there: %w", err)
	}
	return out, nil
}
