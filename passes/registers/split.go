package registers

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

// split lets a live range go on in another register from some place on, where
// that takes a copy and saves more: in
//
//	    call 1                      call 1
//	    if r1 == 0 goto L           r6 = r0
//	    r6 = r0                     if r1 == 0 goto L
//	    call 2                →     call 2
//	    r0 = r6                 L:  *(u64 *)(r6 + 0) = 1
//	L:  *(u64 *)(r0 + 0) = 1
//
// the ways that lead around the second call have a copy more, those through it
// one less.
func (w *webs) split(facts *flow.Facts, t windows.Target) (*bpf.Function, windows.Renaming) {
	at := windows.Identity(len(w.fn.Blocks))
	if goal := t.Costs.Goal; goal == cost.Latency || goal == cost.Verifier {
		return w.fn, at
	}
	best := w.fn
	for _, places := range w.splits(min(maxSplits, maxSplitWork/w.fn.Slots())) {
		c := w.splitWebs(facts, places).coloring()
		c.coalesceAll()
		if out := c.function(); out.Slots() < best.Slots() {
			best, at = out, c.renaming()
		}
	}
	return best, at
}

// maxSplits bounds how many ways to split are tried, maxSplitWork the slots of
// the functions that are looked at for that.
const (
	maxSplits    = 16
	maxSplitWork = 1 << 14
)

// splits is the first n sets of places where it may be worth to split a live
// range that is copied into while it is in another register: at the start of a
// block that leads to the copy, the nearest first, or behind the calls that it is
// the result of.
func (w *webs) splits(n int) []map[place]bpf.Register {
	c := w.coloring()
	var out []map[place]bpf.Register
	var up []int
	seen := map[place]bool{}
	for _, b := range w.graph.Order() {
		for i := range w.fn.Blocks[b].Code {
			s := w.sites[b][i]
			if !w.copies[b][i] || s.dst == none || s.src == none || w.find(s.dst) == w.find(s.src) {
				continue
			}
			into := w.find(s.dst)
			if c.near[into][w.find(s.src)] {
				continue
			}
			if up == nil {
				up = w.dominators()
			}
			for d, left := up[b], maxAbove; left > 0 && d >= 0; d, left = up[d], left-1 {
				held := w.entry[d][c.color[into]]
				if held == none || w.find(held) != into {
					break
				}
				if !seen[place{int(into), d}] {
					seen[place{int(into), d}] = true
					out = append(out, map[place]bpf.Register{{d, -1}: c.color[into]})
				}
			}
			if places := w.callsOf(into); len(places) > 0 && !seen[place{int(into), -1}] {
				seen[place{int(into), -1}] = true
				out = append(out, places)
			}
			if len(out) >= n {
				return out[:max(n, 0)]
			}
		}
	}
	return out
}

// maxAbove bounds how many blocks are looked at that lead to a copy.
const maxAbove = 4

// callsOf is the calls that a live range is the result of.
func (w *webs) callsOf(n node) map[place]bpf.Register {
	out := map[place]bpf.Register{}
	for _, b := range w.graph.Order() {
		for i, s := range w.sites[b] {
			if s.made != none && w.find(s.made) == n {
				out[place{b, i}] = bpf.R0
			}
		}
	}
	return out
}

// dominators is, by block, the last one of those that all ways to it lead
// through, or -1.
func (w *webs) dominators() []int {
	order := w.graph.Order()
	rank, up := make([]int, len(w.fn.Blocks)), make([]int, len(w.fn.Blocks))
	for i := range up {
		up[i] = -1
	}
	for i, b := range order {
		rank[b] = i
	}
	for changed := true; changed; {
		changed = false
		for _, b := range order[1:] {
			d := -1
			for _, p := range w.graph.Preds(b) {
				if !w.graph.Reachable(p) || p != order[0] && up[p] < 0 {
					continue
				}
				if d < 0 {
					d = p
				}
				for q := p; d != q; {
					if rank[d] > rank[q] {
						d = up[d]
					} else {
						q = up[q]
					}
				}
			}
			changed = changed || d != up[b]
			up[b] = d
		}
	}
	return up
}

// splitWebs is the webs where live ranges are split at places: the register that
// is named there goes on as one that is copied from it.
func (w *webs) splitWebs(facts *flow.Facts, places map[place]bpf.Register) *webs {
	out := emptyWebs(w.fn, facts, w.needs)
	out.wide, out.splitAt, out.parts = w.wide, places, map[place]part{}
	out.build(facts)
	return out
}

// part is what a live range was before it is split, and what it goes on as.
type part struct{ was, is node }

// part splits the live range of a register, if it is to be split there.
func (w *webs) part(at place, held *[general]node, live bpf.Registers) {
	r, ok := w.splitAt[at]
	if !ok || held[r] == none || !live.Has(r) {
		return
	}
	is := w.newNode(r)
	for q, other := range held {
		if bpf.Register(q) != r && other != none && live.Has(bpf.Register(q)) {
			w.edges = append(w.edges, [2]node{is, other})
		}
	}
	w.parts[at] = part{held[r], is}
	held[r] = is
}

// copied is the copy that a split takes, if it takes one.
func (c *coloring) copied(at place, pos int32) []bpf.Instruction {
	p, ok := c.parts[at]
	if !ok {
		return nil
	}
	from, to := c.color[c.find(p.was)], c.color[c.find(p.is)]
	if from == to {
		return nil
	}
	return []bpf.Instruction{{Op: bpf.ClassALU64 | bpf.OpMov | bpf.SourceX, Dst: to, Src: from, Pos: pos}}
}
