// Package registers gives the live ranges of a function other registers, so that
// copies between them are no longer needed. Blocks and the order of all other
// instructions stay as they are, which encode's SameSteps checks.
package registers

import (
	"context"
	"fmt"
	"math/bits"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/windows"
)

// Step is a change of a function's registers.
type Step struct {
	Name  string
	apply func(w *webs, facts *flow.Facts, t windows.Target) (*bpf.Function, windows.Renaming)
}

// Steps is all changes, in the order in which they are worth trying.
var Steps = [...]Step{
	{"immediates", func(w *webs, facts *flow.Facts, t windows.Target) (*bpf.Function, windows.Renaming) {
		return w.immediates(facts, t.Level), w.coloring().renaming()
	}},
	{"coalesce", func(w *webs, _ *flow.Facts, _ windows.Target) (*bpf.Function, windows.Renaming) {
		c := w.coloring()
		c.coalesceAll()
		return c.function(), c.renaming()
	}},
}

// Apply is the function with a step applied, and where the old function holds
// what the new one has in its registers. The input is not changed.
func (s Step) Apply(fn *bpf.Function, facts *flow.Facts, needs *flow.Needs, t windows.Target) (*bpf.Function, windows.Renaming) {
	return s.apply(newWebs(fn, facts, needs), facts, t)
}

// Prove is the function with the step applied and proven to do what it did.
func (s Step) Prove(ctx context.Context, c *encode.Checker, fn *bpf.Function, t windows.Target) (*bpf.Function, error) {
	facts, needs, err := analyze(ctx, fn, t)
	if err != nil {
		return nil, err
	}
	out, at := s.Apply(fn, facts, needs, t)
	_, after, err := analyze(ctx, out, t)
	if err != nil {
		return nil, err
	}
	err = c.SameSteps(ctx, &encode.Steps{
		Old: fn, New: out, Facts: facts, Before: needs, After: after, Holders: at, BigEndian: t.BigEndian,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	return out, nil
}

// Simplify is the function after all steps that make it smaller and are proven.
// It fails only where ctx ends.
func Simplify(ctx context.Context, c *encode.Checker, fn *bpf.Function, t windows.Target) (*bpf.Function, error) {
	for _, s := range Steps {
		out, err := s.Prove(ctx, c, fn, t)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil && out.Slots() < fn.Slots():
			fn = out
		}
	}
	return fn, nil
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

// coalesceAll makes one web of the two of each copy where that works.
func (c *coloring) coalesceAll() {
	for _, b := range c.graph.Order() {
		for i := range c.fn.Blocks[b].Code {
			if s := c.sites[b][i]; c.copies[b][i] && s.dst != none && s.src != none {
				c.coalesce(s.dst, s.src)
			}
		}
	}
}

// function is the function with the registers of the coloring.
func (c *coloring) function() *bpf.Function {
	out := c.fn.Clone()
	for b, block := range out.Blocks {
		if !c.graph.Reachable(b) {
			continue
		}
		code := block.Code[:0:0]
		for i, in := range block.Code {
			s := c.sites[b][i]
			if s.dst != none {
				in.Dst = c.color[c.find(s.dst)]
			}
			if s.src != none {
				in.Src = c.color[c.find(s.src)]
			}
			if c.copies[b][i] && s.dst != none && s.src != none && in.Dst == in.Src {
				continue
			}
			code = append(code, in)
		}
		block.Code = code
	}
	return out
}

// renaming says where the old function holds what the new one has in registers.
// Where that is in several places, which are copies as far as they are read, it
// is the one of which most is read.
func (c *coloring) renaming() windows.Renaming {
	out := make(windows.Renaming, len(c.fn.Blocks))
	for b := range out {
		out[b][bpf.R10] = windows.Held(bpf.R10)
		live := c.needs.In(b)
		for r, n := range c.entry[b] {
			if n == none {
				continue
			}
			at := &out[b][c.color[c.find(n)]]
			if !at.Known || bits.OnesCount64(live.Regs[r]) > bits.OnesCount64(live.Regs[at.Reg]) {
				*at = windows.Held(bpf.Register(r))
			}
		}
	}
	return out
}
