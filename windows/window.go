// Package windows cuts a function into windows, stretches of one basic block
// with what holds before them and what must hold after them, and puts
// replacements for them back.
package windows

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/bpf/flow"
)

// Window is a stretch of one basic block that can be replaced without a look
// at anything outside it.
type Window struct {
	Fn    *bpf.Function // for its symbols; the code is Code
	Block int           // index in Fn.Blocks
	Start int           // index of the first instruction in the block
	// Code is straight-line: arithmetic, immediates, loads, stores, atomics, and in
	// windows of whole blocks (see Block) calls and legacy packet loads, which a
	// replacement keeps. Only its last instruction may be a conditional jump, whose
	// target and fall-through a replacement keeps and whose condition it may
	// rewrite.
	Code  []bpf.Instruction
	Facts flow.State // holds before Code
	Needs flow.Live  // read after Code (on either way out)
	// Input is what the input's code in the window's place costs; zero stands
	// for what Code costs.
	Input cost.Cost

	Target

	states []flow.State // before each instruction of Code and behind the last
	lives  []flow.Live  // likewise
}

// Trim cuts from the window what code has in common with the window's code at
// either end. It returns the window that is left and what code has in its place.
// A proof for these is one for the whole, from a smaller condition; that there is
// none says nothing about the whole. It reports false where nothing can be cut.
func (w *Window) Trim(code []bpf.Instruction) (*Window, []bpf.Instruction, bool) {
	if w.states == nil {
		return nil, nil, false
	}
	n := min(len(w.Code), len(code))
	head, tail := 0, 0
	for head < n && bpf.SameCode(w.Code[head], code[head]) {
		head++
	}
	for tail < n-head && bpf.SameCode(w.Code[len(w.Code)-1-tail], code[len(code)-1-tail]) {
		tail++
	}
	if head+tail == 0 {
		return nil, nil, false
	}
	return w.Part(head, len(w.Code)-tail), code[head : len(code)-tail], true
}

// Part is the window of instructions from to end, exclusive, of a window of which
// the inside is known (see FactsAt), or nil of another one.
func (w *Window) Part(from, end int) *Window {
	if w.states == nil {
		return nil
	}
	sub := *w
	sub.Input = cost.Cost{}
	sub.Start += from
	sub.Code = w.Code[from:end]
	sub.Facts, sub.Needs = w.states[from], w.lives[end]
	sub.states, sub.lives = w.states[from:end+1], w.lives[from:end+1]
	return &sub
}

// With is the window with other code in it.
func (w *Window) With(code []bpf.Instruction) (*Window, error) {
	out := *w
	out.Code = code
	var err error
	out.states, out.lives, err = flow.Through(w.Fn, w.BigEndian, w.Facts, w.Needs, code)
	if err != nil {
		return nil, fmt.Errorf("facts inside a window: %w", err)
	}
	return &out, nil
}

// FactsAt is what holds before the i-th instruction of Code, as far as it is known.
func (w *Window) FactsAt(i int) flow.State {
	switch {
	case w.states != nil:
		return w.states[i]
	case i == 0:
		return w.Facts
	}
	var s flow.State
	for r := range s.Regs {
		s.Regs[r] = flow.Unknown(flow.KindAny)
	}
	return s
}

// NeedsAt is what may be read from the i-th instruction of Code on.
func (w *Window) NeedsAt(i int) flow.Live {
	switch {
	case w.lives != nil:
		return w.lives[i]
	case i == len(w.Code):
		return w.Needs
	}
	var l flow.Live
	for r := range l.Regs {
		l.Regs[r] = ^uint64(0)
	}
	return l
}

// Same tells whether two windows are the same problem, wherever they stand.
func (w *Window) Same(o *Window) bool {
	x, y := *w, *o
	x.Fn, y.Fn, x.Start, y.Start = nil, nil, 0, 0
	x.states, y.states, x.lives, y.lives = nil, nil, nil, nil
	x.Facts, y.Facts = renamed(w.Fn, x.Facts), renamed(o.Fn, y.Facts)
	return reflect.DeepEqual(x, y)
}

// renamed is the state with its Bases numbered in the order in which they come:
// which numbers the analysis gave them says nothing, but for those of symbols,
// which the code names as well.
func renamed(fn *bpf.Function, s flow.State) flow.State {
	names := map[flow.Base]flow.Base{0: 0, flow.FrameBase: flow.FrameBase, flow.ContextBase: flow.ContextBase}
	rename := func(v *flow.Value) {
		if flow.IsSymbol(fn, v.Base) {
			return
		}
		if _, ok := names[v.Base]; !ok {
			names[v.Base] = -flow.Base(len(names))
		}
		v.Base = names[v.Base]
	}
	for r := range s.Regs {
		rename(&s.Regs[r])
	}
	s.Stack = slices.Clone(s.Stack)
	for i := range s.Stack {
		rename(&s.Stack[i].Value)
	}
	return s
}

// Target says what a replacement may use.
type Target struct {
	Level     bpf.Level
	BigEndian bool
	// Atomics allows an atomic instruction where the old code had none.
	Atomics bool
	// Shared holds the pointer kinds whose memory others may read and write at
	// any time: accesses there may be merged or narrowed, never multiplied,
	// invented or swapped with each other.
	Shared map[flow.Kind]bool
	// Confirmed says that the kernel's verifier will be asked about the result,
	// so that a form it may refuse costs no more than the attempt.
	Confirmed bool
	// Costs says what is better, and how much worse than the input a
	// replacement may be.
	Costs cost.Model
	// Slack is how many bytes of machine code one replacement may take more than
	// its share, where what all take together is measured afterwards.
	Slack int
}

// Bounds is what a replacement may cost at most.
func (w *Window) Bounds() cost.Cost {
	before := w.Input
	if before == (cost.Cost{}) {
		before = cost.Of(w.Code)
	}
	most := w.Costs.Bounds(before)
	if w.Costs.Limits.Code.Set {
		most.Bytes += w.Slack
	}
	return most
}

// End is the index in the block behind the window's last instruction.
func (w *Window) End() int { return w.Start + len(w.Code) }
