// Package registers gives the live ranges of a function other registers, so that
// copies between them are no longer needed. Blocks and the order of all other
// instructions stay as they are, which encode's SameSteps checks.
package registers

import (
	"context"
	"fmt"
	"math/bits"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/windows"
)

// Step is a change of a function's registers.
type Step struct {
	Name string
	// then is what shows what the step is worth.
	then []Step
	// most bounds how often the step is taken; 0 stands for repeats.
	most  int
	apply func(w *webs, facts *flow.Facts, t windows.Target) (*bpf.Function, windows.Renaming)
}

// Coalesce gives the two registers of a copy one name.
var Coalesce = Step{Name: "coalesce", apply: func(w *webs, _ *flow.Facts, _ windows.Target) (*bpf.Function, windows.Renaming) {
	c := w.coloring()
	c.coalesceAll()
	return c.function(), c.renaming()
}}

// Known leaves out what computes what is there already.
var Known = Step{Name: "known", apply: func(w *webs, facts *flow.Facts, _ windows.Target) (*bpf.Function, windows.Renaming) {
	return w.known(facts), windows.Identity(len(w.fn.Blocks))
}}

// Dead leaves out what is computed for nobody: changes of control flow may leave
// such things behind when all windows have been looked at.
var Dead = Step{Name: "dead", apply: func(w *webs, _ *flow.Facts, _ windows.Target) (*bpf.Function, windows.Renaming) {
	return w.withoutDead(), windows.Identity(len(w.fn.Blocks))
}}

// Steps is all changes that are worth trying by themselves, in order.
var Steps = [...]Step{
	{Name: "immediates", apply: func(w *webs, facts *flow.Facts, t windows.Target) (*bpf.Function, windows.Renaming) {
		return w.immediates(facts, t.Level), w.coloring().renaming()
	}},
	Coalesce,
	{Name: "split", apply: func(w *webs, facts *flow.Facts, t windows.Target) (*bpf.Function, windows.Renaming) {
		return w.split(facts, t)
	}},
	{Name: "rebase", apply: func(w *webs, facts *flow.Facts, _ windows.Target) (*bpf.Function, windows.Renaming) {
		return w.rebase(facts)
	}},
	{Name: "fold", apply: func(w *webs, facts *flow.Facts, _ windows.Target) (*bpf.Function, windows.Renaming) {
		return w.fold(facts), windows.Identity(len(w.fn.Blocks))
	}},
	Known,
	Dead,
}

// Keep keeps an address in a register of its own. It is for code to which nothing
// else is done any more: where an address is computed, other passes may do without.
var Keep = Step{Name: "keep", then: []Step{Coalesce}, apply: func(w *webs, _ *flow.Facts, _ windows.Target) (*bpf.Function, windows.Renaming) {
	return w.keep()
}}

// Gather has one register hold the address that accesses to one section start
// from. It is for such code as Keep is for.
var Gather = Step{Name: "gather", apply: func(w *webs, _ *flow.Facts, _ windows.Target) (*bpf.Function, windows.Renaming) {
	return w.gather()
}}

// AtMost is the step, taken n times at most.
func (s Step) AtMost(n int) Step {
	s.most = n
	return s
}

// Sink is a step that takes constants out of registers as "immediates" does, and
// sets what is returned right before the exits. Of the live ranges that this may
// be done with (see Sinkable) it leaves alone those in keep, by number.
func Sink(keep map[int]bool) Step {
	return Step{Name: "sink", apply: func(w *webs, facts *flow.Facts, t windows.Target) (*bpf.Function, windows.Renaming) {
		s := w.constants(facts, t.Level)
		whole, part := s.sinkable()
		gone, copied := map[node]bool{}, map[node]bool{}
		for i, n := range whole {
			gone[n] = !keep[i]
		}
		for i, n := range part {
			copied[n] = !keep[len(whole)+i]
		}
		return s.without(gone, copied), w.coloring().renaming()
	}}
}

// Sinkable counts the live ranges that Sink may do something with: first those
// that it does away with, then those of which it leaves other uses.
func Sinkable(fn *bpf.Function, facts *flow.Facts, needs *flow.Needs, t windows.Target) (whole, part int) {
	w, p := newWebs(fn, facts, needs, t).constants(facts, t.Level).sinkable()
	return len(w), len(p)
}

// Apply is the function with a step applied, and where the old function holds
// what the new one has in its registers. The input is not changed.
func (s Step) Apply(fn *bpf.Function, facts *flow.Facts, needs *flow.Needs, t windows.Target) (*bpf.Function, windows.Renaming) {
	return s.apply(newWebs(fn, facts, needs, t), facts, t)
}

// Prove is the function with the step applied and proven to do what it did.
func (s Step) Prove(ctx context.Context, c *encode.Checker, fn *bpf.Function, t windows.Target) (*bpf.Function, error) {
	facts, needs, err := analyze(ctx, fn, t)
	if err != nil {
		return nil, err
	}
	out, at := s.Apply(fn, facts, needs, t)
	return out, s.prove(ctx, c, &encode.Steps{
		Old: fn, New: out, Facts: facts, Before: needs, Holders: at, BigEndian: t.BigEndian,
	})
}

// prove proves what a step did.
func (s Step) prove(ctx context.Context, c *encode.Checker, steps *encode.Steps) error {
	_, after, err := analyze(ctx, steps.New, windows.Target{BigEndian: steps.BigEndian})
	if err != nil {
		return err
	}
	steps.After = after
	if err := c.SameSteps(ctx, steps); err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	return nil
}

// times is how often a step is taken at most.
func (s Step) times() int {
	if s.most > 0 {
		return s.most
	}
	return repeats
}

// repeats bounds how often a step is taken: what it leaves may be more of the
// same. takenSlots bounds it for large functions, which are analysed and proven as
// a whole each time.
const (
	repeats    = 8
	takenSlots = 1 << 16
)

// Simplify is the function after all of Steps and Reuse, as far as they make it
// smaller and are proven. Where the kernel will not be asked, only copies of whole
// registers go, and loads of what is there: what the verifier learns of one of two
// equal numbers, it then knows of both. It fails only where ctx ends.
func Simplify(ctx context.Context, c *encode.Checker, fn *bpf.Function, t windows.Target) (*bpf.Function, error) {
	steps := Steps[:]
	if !t.Confirmed {
		steps = []Step{Coalesce, Dead}
	}
	fn, err := Take(ctx, c, fn, t, steps...)
	if err != nil {
		return fn, err
	}
	return Reuse(ctx, c, fn, t)
}

// Take is Simplify with other steps.
func Take(ctx context.Context, c *encode.Checker, fn *bpf.Function, t windows.Target, steps ...Step) (*bpf.Function, error) {
	facts, needs, err := analyze(ctx, fn, t)
	for _, s := range steps {
		for range min(s.times(), max(1, takenSlots/fn.Slots())) {
			if err != nil {
				return fn, ctx.Err()
			}
			out, ok := s.better(ctx, c, fn, facts, needs, t)
			if !ok {
				break
			}
			fn = out
			facts, needs, err = analyze(ctx, fn, t)
		}
	}
	return fn, ctx.Err()
}

// better is the function with the step applied and proven, if that is smaller.
func (s Step) better(ctx context.Context, c *encode.Checker, fn *bpf.Function, facts *flow.Facts, needs *flow.Needs, t windows.Target) (*bpf.Function, bool) {
	out, at := s.Apply(fn, facts, needs, t)
	if out == fn || len(s.then) == 0 && out.Slots() >= fn.Slots() {
		return nil, false
	}
	err := s.prove(ctx, c, &encode.Steps{
		Old: fn, New: out, Facts: facts, Before: needs, Holders: at, BigEndian: t.BigEndian,
	})
	for _, next := range s.then {
		if err == nil {
			out, err = next.Prove(ctx, c, out, t)
		}
	}
	if err != nil || out.Slots() >= fn.Slots() {
		return nil, false
	}
	return out, t.Confirmed || machineCode(out) <= machineCode(fn)
}

// machineCode estimates the bytes that a function takes on x86-64, but for what is
// the same for all (arch/x86/net/bpf_jit_comp.c).
func machineCode(fn *bpf.Function) int {
	n, used := 0, usedRegisters(fn)
	for _, b := range fn.Blocks {
		for _, in := range b.Code {
			n += cost.Bytes(in)
		}
	}
	for r := bpf.R6; r < bpf.R10; r++ {
		switch {
		case !used.Has(r):
		case r == bpf.R6:
			n += 2 // push and pop of RBX
		default:
			n += 4 // of R13 to R15
		}
	}
	return n
}

func analyze(ctx context.Context, fn *bpf.Function, t windows.Target) (*flow.Facts, *flow.Needs, error) {
	return flow.Both(ctx, fn, flow.Options{BigEndian: t.BigEndian})
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
		if len(block.Code) > 0 {
			code = append(code, c.copied(place{b, -1}, block.Code[0].Pos)...)
		}
		for i, in := range block.Code {
			s := c.sites[b][i]
			in = c.renamed(b, i, in)
			if c.copies[b][i] && s.dst != none && s.src != none && in.Dst == in.Src {
				continue
			}
			code = append(append(code, in), c.copied(place{b, i}, in.Pos)...)
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
