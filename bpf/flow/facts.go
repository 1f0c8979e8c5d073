package flow

import (
	"container/heap"
	"context"
	"fmt"
	"slices"

	"github.com/k2cc/k2cc/bpf"
)

// Options tell an analysis what the code itself does not.
type Options struct {
	BigEndian bool // the target's byte order

	// For tests: how many changes of a loop head to take as seen before the
	// first, and whether to be content with facts that were only widened.
	haste     int
	wideFacts bool
}

// Facts is what holds at each point of a function on every path to it. It is
// safe for use by several goroutines.
type Facts struct {
	fn      *bpf.Function
	graph   *Graph
	names   *naming
	opts    Options
	callees *callees
	in      []*state // by block; nil where no path leads
}

// Analyze finds the facts of a function. It fails for one that is not well
// formed or has an instruction that is not known, and when ctx ends.
func Analyze(ctx context.Context, fn *bpf.Function, opts Options) (*Facts, error) {
	g, err := NewGraph(fn)
	if err != nil {
		return nil, err
	}
	for _, b := range fn.Blocks {
		for _, in := range b.Code {
			if err := in.Valid(); err != nil {
				return nil, fmt.Errorf("%s: %w", fn.Name, err)
			}
			if fn.Symbol(in.Ref) == nil && in.Ref != 0 {
				return nil, fmt.Errorf("%s: %v: no such symbol", fn.Name, in)
			}
		}
	}
	f := &Facts{
		fn: fn, graph: g, names: newNaming(fn, g), opts: opts, in: make([]*state, len(fn.Blocks)),
		callees: &callees{known: map[*bpf.Function]bpf.Registers{}},
	}
	s := solver{Facts: f, changes: make([]int, len(fn.Blocks)), waits: make([]bool, len(fn.Blocks))}
	if err := s.ascend(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", fn.Name, err)
	}
	if slices.Contains(g.head, true) && !opts.wideFacts {
		if err := s.descend(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", fn.Name, err)
		}
	}
	return f, nil
}

// entry is what holds where the function is entered.
func (f *Facts) entry() *state {
	s := &state{}
	for r := range s.Regs {
		s.Regs[r] = Unknown(KindNone)
	}
	for i := range s.fields {
		s.fields[i] = Unknown(KindNone)
	}
	set := func(r bpf.Register, k Kind, b Base) {
		s.Regs[r].Kind, s.Regs[r].Base = k, b
	}
	set(bpf.R10, KindStack, FrameBase)
	if f.fn.Context != bpf.ContextNone {
		set(bpf.R1, KindContext, ContextBase)
		return s
	}
	for r := bpf.R1; r <= bpf.R5; r++ {
		set(r, KindAny, argument(r))
	}
	return s
}

func (f *Facts) machine(block int, s *state) *machine {
	return &machine{naming: f.names, facts: f, s: s, block: block}
}

// walk calls visit with the state before each instruction of a block and with
// the one behind the last; visit must not keep or change it. It gives the last.
func (f *Facts) walk(block int, visit func(i int, s *state)) (*state, error) {
	return f.walkFrom(block, f.in[block], visit)
}

func (f *Facts) walkFrom(block int, in *state, visit func(i int, s *state)) (*state, error) {
	s := *in
	m := f.machine(block, &s)
	for i, in := range f.fn.Blocks[block].Code {
		if visit != nil {
			visit(i, &s)
		}
		m.index = i
		if err := m.step(in); err != nil {
			return nil, err
		}
	}
	if visit != nil {
		visit(len(f.fn.Blocks[block].Code), &s)
	}
	return &s, nil
}

// outs is what holds on each edge out of a block that may be taken, in the
// order of the graph's successors; nil on others.
func (f *Facts) outs(block int) ([]*state, error) {
	end, err := f.walk(block, nil)
	if err != nil {
		return nil, err
	}
	succs := f.graph.Succs(block)
	out := make([]*state, len(succs))
	code := f.fn.Blocks[block].Code
	for i := range succs {
		s := *end
		out[i] = &s
		if len(code) == 0 || !code[len(code)-1].IsCondJump() {
			continue
		}
		if !f.machine(block, &s).branch(code[len(code)-1], i == 0) {
			out[i] = nil
		}
	}
	return out, nil
}

// Graph is the function's control flow.
func (f *Facts) Graph() *Graph { return f.graph }

// Reachable tells whether control may get to a block: whether a path leads
// there on which no branch goes a way that facts exclude.
func (f *Facts) Reachable(block int) bool { return f.in[block] != nil }

// Taken tells which ways control may go at a block's last instruction: to its
// jump's target, and on to the next block.
func (f *Facts) Taken(block int) (target, next bool) {
	if !f.Reachable(block) {
		return false, false
	}
	outs, err := f.outs(block)
	if err != nil {
		return true, true
	}
	code := f.fn.Blocks[block].Code
	if len(code) > 0 && code[len(code)-1].IsJump() {
		target = outs[0] != nil
		outs = outs[1:]
	}
	return target, len(outs) > 0 && outs[0] != nil
}

// Ref is the symbol from which v is Offset bytes away, if that is
// known.
func (f *Facts) Ref(v Value) (bpf.Ref, bool) { return SymbolOf(f.fn, v.Base) }

// Before is what holds before instruction i of a block, or behind the last
// where i is their number. Where control cannot get to the block, no register
// is readable and nothing else is claimed.
func (f *Facts) Before(block, i int) State {
	var found State
	if !f.Reachable(block) {
		return nothing()
	}
	_, err := f.walk(block, func(j int, s *state) {
		if j == i {
			found = s.State
		}
	})
	if err != nil {
		return nothing() // not so: Analyze has walked the block
	}
	return found
}

// Block is what holds before each instruction of a block, and behind the last.
// The states share memory and must not be changed.
func (f *Facts) Block(block int) []State {
	states := make([]State, 0, len(f.fn.Blocks[block].Code)+1)
	if f.Reachable(block) {
		_, err := f.walk(block, func(_ int, s *state) { states = append(states, s.State) })
		if err == nil {
			return states
		}
	}
	return slices.Repeat([]State{nothing()}, cap(states))
}

// nothing is the state of which nothing is known.
func nothing() State {
	s := State{Escaped: true}
	for r := range s.Regs {
		s.Regs[r] = Unknown(KindNone)
	}
	s.Regs[bpf.R10] = frameAddress(0)
	return s
}

// solver finds facts by going round until nothing changes.
type solver struct {
	*Facts
	changes []int
	queue   []int // a heap of blocks, lowest rank first
	waits   []bool
}

func (s *solver) Len() int           { return len(s.queue) }
func (s *solver) Less(i, j int) bool { return s.graph.rank[s.queue[i]] < s.graph.rank[s.queue[j]] }
func (s *solver) Swap(i, j int)      { s.queue[i], s.queue[j] = s.queue[j], s.queue[i] }
func (s *solver) Push(b any)         { s.queue = append(s.queue, b.(int)) }
func (s *solver) Pop() any {
	b := s.queue[len(s.queue)-1]
	s.queue = s.queue[:len(s.queue)-1]
	return b
}

// ascend lets facts flow along the edges, from none, until every block's hold
// for all that arrives there.
func (s *solver) ascend(ctx context.Context) error {
	s.arrive(0, s.entry())
	for s.Len() > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := heap.Pop(s).(int)
		s.waits[b] = false
		outs, err := s.outs(b)
		if err != nil {
			return err
		}
		for i, to := range s.graph.Succs(b) {
			if outs[i] != nil {
				s.arrive(to, outs[i])
			}
		}
	}
	return nil
}

// arrive joins what comes along one edge.
func (s *solver) arrive(block int, in *state) {
	if old := s.in[block]; old == nil {
		s.in[block] = s.names.enter(block, in)
	} else {
		e := precise
		if s.graph.LoopHead(block) {
			e = effortAfter(s.changes[block] + s.opts.haste)
		}
		joined := s.names.join(block, e, old, in)
		if joined.equal(old) {
			return
		}
		if !joined.sameState(old) {
			s.changes[block]++
		}
		s.in[block] = joined
	}
	if !s.waits[block] {
		s.waits[block] = true
		heap.Push(s, block)
	}
}

// descend lets facts flow along every edge once more, without giving anything
// up: since the facts found so far hold in every execution, so does what
// follows from them.
func (s *solver) descend(ctx context.Context) error {
	next := make([]*state, len(s.in))
	arrive := func(block int, in *state) {
		if next[block] == nil {
			next[block] = s.names.enter(block, in)
		} else {
			next[block] = s.names.join(block, precise, next[block], in)
		}
	}
	arrive(0, s.entry())
	for _, back := range []bool{true, false} {
		for _, b := range s.graph.Order() {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !back {
				s.in[b] = next[b]
			}
			if s.in[b] == nil || back && !s.loopsBack(b) {
				continue
			}
			outs, err := s.outs(b)
			if err != nil {
				return err
			}
			for i, to := range s.graph.Succs(b) {
				if outs[i] != nil && s.graph.retreats(b, to) == back {
					arrive(to, outs[i])
				}
			}
		}
	}
	return nil
}

func (s *solver) loopsBack(block int) bool {
	return slices.ContainsFunc(s.graph.Succs(block), func(to int) bool { return s.graph.retreats(block, to) })
}
