package windows

import (
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// Names says what a window's symbols, labels and source positions are called in
// its canonical form.
type Names struct {
	refs   []bpf.Ref // what the canonical Ref i+1 stands for
	target bpf.Label // what the label canonicalTarget stands for
	pos    []int32   // what Pos i+1 stands for: that of instruction i
}

// The labels of a canonical window's jump, and of any other.
const (
	canonicalTarget bpf.Label = 1
	otherTarget     bpf.Label = 2
)

// Canonical is the window as it would be in a function that has no more than it
// in it: symbols, labels, positions and Bases are numbered in the order in which
// they come. So where two windows are the same problem, their canonical forms are
// the same. It reports false for windows with calls to other functions, of which
// more than the window matters.
func (w *Window) Canonical() (*Window, *Names, bool) {
	n := &namer{
		fn: w.Fn, names: &Names{}, refs: map[bpf.Ref]bpf.Ref{0: 0},
		bases: map[flow.Base]flow.Base{0: 0, flow.FrameBase: flow.FrameBase, flow.ContextBase: flow.ContextBase},
	}
	for _, in := range w.Code {
		if in.IsCall() {
			return nil, nil, false
		}
		n.ref(in.Ref)
		n.names.pos = append(n.names.pos, in.Pos)
		if in.Target != 0 {
			n.names.target = in.Target
		}
	}
	n.symbolsOf(w)
	out := *w
	out.Fn = &bpf.Function{Context: w.Fn.Context, Symbols: n.symbols}
	out.Code, _ = n.names.canonical(w.Code, n.refs)
	for i := range out.Code {
		out.Code[i].Pos = int32(i + 1)
	}
	out.Fn.Blocks = []*bpf.Block{{Label: canonicalTarget, Code: slices.Concat(out.Code, w.next())}}
	out.Block, out.Start = 0, 0
	out.Facts = n.state(w.Facts)
	out.states = make([]flow.State, len(w.states))
	for i := range w.states {
		out.states[i] = n.state(w.states[i])
	}
	return &out, n.names, true
}

// next is the call to a helper right behind the window, which proposers may look
// at, if there is one.
func (w *Window) next() []bpf.Instruction {
	code := w.Fn.Blocks[w.Block].Code
	if w.End() >= len(code) {
		return nil
	}
	in := code[w.End()]
	if !in.IsCall() || in.Src != bpf.CallHelper || in.Ref != 0 {
		return nil
	}
	in.Pos = 0
	return []bpf.Instruction{in}
}

// Canonical is code for the window as it is for the canonical window. It reports
// false where it has symbols or jumps that the window has not.
func (n *Names) Canonical(code []bpf.Instruction) ([]bpf.Instruction, bool) {
	refs := map[bpf.Ref]bpf.Ref{0: 0}
	for i, r := range n.refs {
		refs[r] = bpf.Ref(i + 1)
	}
	return n.canonical(code, refs)
}

func (n *Names) canonical(code []bpf.Instruction, refs map[bpf.Ref]bpf.Ref) ([]bpf.Instruction, bool) {
	out := slices.Clone(code)
	known := true
	for i := range out {
		in := &out[i]
		r, ok := refs[in.Ref]
		known = known && ok && (in.Target == 0 || in.Target == n.target)
		in.Ref, in.Pos = r, 0
		switch in.Target {
		case 0:
		case n.target:
			in.Target = canonicalTarget
		default:
			in.Target = otherTarget
		}
	}
	return out, known
}

// Original is code for the canonical window as it is for the window.
func (n *Names) Original(code []bpf.Instruction) []bpf.Instruction {
	out := slices.Clone(code)
	for i := range out {
		in := &out[i]
		if in.Ref > 0 {
			in.Ref = n.refs[in.Ref-1]
		}
		if in.Target == canonicalTarget {
			in.Target = n.target
		}
		if in.Pos > 0 && int(in.Pos) <= len(n.pos) {
			in.Pos = n.pos[in.Pos-1]
		}
	}
	return out
}

// namer numbers symbols and Bases anew.
type namer struct {
	fn      *bpf.Function
	names   *Names
	symbols []bpf.Symbol
	refs    map[bpf.Ref]bpf.Ref
	bases   map[flow.Base]flow.Base
}

// ref takes a symbol up, of which no more counts than what it is.
func (n *namer) ref(r bpf.Ref) {
	if _, ok := n.refs[r]; ok {
		return
	}
	n.names.refs = append(n.names.refs, r)
	n.refs[r] = bpf.Ref(len(n.names.refs))
	s := bpf.Symbol{}
	n.symbols = append(n.symbols, s)
	if old := n.fn.Symbol(r); old != nil {
		s.Kind, s.Map = old.Kind, old.Map
		s.Offset, s.Align, s.Frozen = old.Offset, old.Align, old.Frozen
		n.ref(old.Anchor)
		s.Anchor = n.refs[old.Anchor]
		n.symbols[n.refs[r]-1] = s
	}
}

// symbolsOf takes up the symbols that a window's facts know of.
func (n *namer) symbolsOf(w *Window) {
	note := func(s *flow.State) {
		for r := range s.Regs {
			n.symbolOf(s.Regs[r].Base)
		}
		for i := range s.Stack {
			n.symbolOf(s.Stack[i].Value.Base)
		}
	}
	note(&w.Facts)
	for i := range w.states {
		note(&w.states[i])
	}
}

func (n *namer) symbolOf(b flow.Base) {
	if flow.IsSymbol(n.fn, b) {
		r, narrow := flow.SymbolOfEither(b)
		n.ref(r)
		n.bases[b] = flow.SymbolBase(n.refs[r])
		if narrow {
			n.bases[b]++
		}
	}
}

// state is a state with other Bases.
func (n *namer) state(s flow.State) flow.State {
	for r := range s.Regs {
		s.Regs[r].Base = n.base(s.Regs[r].Base)
	}
	s.Stack = slices.Clone(s.Stack)
	for i := range s.Stack {
		s.Stack[i].Value.Base = n.base(s.Stack[i].Value.Base)
	}
	return s
}

// base is another number for a Base. Those that mean nothing outside the
// function come behind those of the symbols.
func (n *namer) base(b flow.Base) flow.Base {
	if _, ok := n.bases[b]; !ok {
		n.bases[b] = flow.SymbolBase(bpf.Ref(len(n.symbols)+1)) + flow.Base(len(n.bases))
	}
	return n.bases[b]
}
