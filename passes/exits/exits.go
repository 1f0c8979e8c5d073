// Package exits lets what a function returns be set where it is known: each way
// to an exit gets one of its own, constants are put there instead of being kept
// in registers on the way, and exits that are still equal become one again.
package exits

import (
	"context"
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes/jumps"
	"github.com/k2cc/k2cc/passes/registers"
	"github.com/k2cc/k2cc/windows"
)

// maxTried bounds for how many live ranges it is tried out whether they should
// stay as they are, and for how many exits whether they can be shared; maxWork
// bounds the slots of the functions that are made for that.
const (
	maxTried = 12
	maxWork  = 2048
)

// Simplify is the function with its results set at exits, where that makes it
// smaller and is proven. It fails only where ctx ends.
func Simplify(ctx context.Context, c *encode.Checker, fn *bpf.Function, t windows.Target) (*bpf.Function, error) {
	split := jumps.SplitExits(fn)
	if split == nil || !t.Confirmed || t.Costs.Goal == cost.Latency || t.Costs.Goal == cost.Verifier {
		return fn, nil
	}
	w := &work{ctx: ctx, checker: c, target: t, split: split}
	best, err := w.choose()
	out := fn
	if err == nil && best.fn.Slots() < fn.Slots() {
		out, err = w.prove(fn, best.shares)
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return fn, nil
	}
	return out, nil
}

// work is the work on one function whose exits were split.
type work struct {
	ctx     context.Context // of the one call that the work is for
	checker *encode.Checker
	target  windows.Target
	split   *bpf.Function
	keep    map[int]bool // live ranges that stay as they are
}

// made is a function that was made of the one whose exits were split.
type made struct {
	fn     *bpf.Function
	shares *[2]int // the blocks that share their exit, if any do
}

func better(a, b *bpf.Function) bool {
	if a.Slots() != b.Slots() {
		return a.Slots() < b.Slots()
	}
	return bytes(a) < bytes(b)
}

// bytes is the machine code of a function, but for what the kernel puts at
// exits.
func bytes(fn *bpf.Function) int {
	n := 0
	for _, b := range fn.Blocks {
		for _, in := range b.Code {
			n += cost.Bytes(in)
		}
	}
	return n
}

// choose finds which live ranges should stay as they are: starting with those
// that something else is done with, one after the other is tried. It answers the
// function that comes of it, not proven.
func (w *work) choose() (best made, err error) {
	facts, needs, err := analyze(w.ctx, w.split, w.target)
	if err != nil {
		return best, err
	}
	whole, part := registers.Sinkable(w.split, facts, needs, w.target)
	w.keep = map[int]bool{}
	for i := range part {
		w.keep[whole+i] = true
	}
	if best, err = w.make(); err != nil {
		return best, err
	}
	for i := range min(whole+part, maxTried, maxWork/w.split.Slots()) {
		w.keep[i] = !w.keep[i]
		out, err := w.make()
		if err != nil {
			return best, err
		}
		if better(out.fn, best.fn) {
			best = out
		} else {
			w.keep[i] = !w.keep[i]
		}
	}
	return best, nil
}

// steps is what is done to registers, in order.
func (w *work) steps() []registers.Step {
	return []registers.Step{registers.Sink(w.keep), registers.Coalesce, registers.Known}
}

// make is the function with all steps applied, not proven.
func (w *work) make() (made, error) {
	fn := w.split
	for _, s := range w.steps() {
		facts, needs, err := analyze(w.ctx, fn, w.target)
		if err != nil {
			return made{}, err
		}
		fn, _ = s.Apply(fn, facts, needs, w.target)
	}
	return w.share(jumps.Simplify(w.ctx, fn, w.target, true))
}

// prove is the function with all steps applied and proven, and with the exits of
// two blocks shared, if there are any.
func (w *work) prove(fn *bpf.Function, shares *[2]int) (*bpf.Function, error) {
	checker := w.checker
	if err := checker.SameShape(w.ctx, fn, w.split); err != nil {
		return nil, fmt.Errorf("exits apart: %w", err)
	}
	now := w.split
	for _, s := range w.steps() {
		var err error
		if now, err = s.Prove(w.ctx, checker, now, w.target); err != nil {
			return nil, err
		}
	}
	out := jumps.Simplify(w.ctx, now, w.target, true)
	if err := checker.SameShape(w.ctx, now, out); err != nil {
		return nil, fmt.Errorf("exits together: %w", err)
	}
	if shares == nil {
		return out, nil
	}
	return w.proveShare(out, shares)
}

func analyze(ctx context.Context, fn *bpf.Function, t windows.Target) (*flow.Facts, *flow.Needs, error) {
	return flow.Both(ctx, fn, flow.Options{BigEndian: t.BigEndian})
}
