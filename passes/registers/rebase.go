package registers

import (
	"math"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

// rebase lets two pointers that differ by a constant be one: in
//
//	r3 = r7
//	r3 += 14
//	if r3 > r2 goto L
//	r1 = *(u8 *)(r7 + 2)
//
// r7 can be moved itself and be read at an offset of -12. Of the two webs of a
// copy, one goes on as it was (the leader), and what is accessed through the
// other (the follower) is accessed through the leader at another offset.
type rebase struct {
	*coloring
	facts  *flow.Facts
	merges []*pair
	done   map[node]bool // webs that were looked at with success
	edits  map[place]edit
}

// edit is what becomes of an instruction.
type edit struct {
	drop  bool
	delta int64 // to add to the offset or the immediate
}

// pair is a leader, a follower, and what their being one takes.
type pair struct {
	leader, follower node
	// copied tells that the follower is the copy, and not what was copied.
	copied bool
	edits  map[place]edit
	// ahead is, by block at whose start the follower is live, what the leader's
	// register holds more than the follower.
	ahead map[int]int64
	// leads and follows are, by block, where the webs are at its start.
	leads, follows map[int]bpf.Register
}

func (w *webs) rebase(facts *flow.Facts) (*bpf.Function, windows.Renaming) {
	r := &rebase{coloring: w.coloring(), facts: facts, done: map[node]bool{}, edits: map[place]edit{}}
	for _, b := range w.graph.Order() {
		if !facts.Reachable(b) {
			continue
		}
		for i, in := range w.fn.Blocks[b].Code {
			if in.Op.Class() == bpf.ClassALU64 && w.copies[b][i] {
				r.site(b, i)
			}
		}
	}
	return r.function(), r.renaming()
}

// site looks at a copy.
func (r *rebase) site(b, i int) {
	s := r.sites[b][i]
	if s.dst == none || s.src == none || !movable(r.facts.Before(b, i).Regs[r.fn.Blocks[b].Code[i].Src].Kind) {
		return
	}
	dst, src := r.find(s.dst), r.find(s.src)
	if dst == src || r.done[dst] || r.done[src] {
		return
	}
	for _, p := range []*pair{
		{leader: dst, follower: src},
		{leader: src, follower: dst, copied: true},
	} {
		if r.follows(p) && r.merge(p) {
			return
		}
	}
}

// movable tells whether the verifier lets a pointer be accessed at any offset.
func movable(k flow.Kind) bool { return k == flow.KindPacket || k == flow.KindMapValue }

// merge gives both webs one register, if that works.
func (r *rebase) merge(p *pair) bool {
	l, f := p.leader, p.follower
	near := r.near[l][f]
	delete(r.near[l], f)
	delete(r.near[f], l)
	p.leads, p.follows = r.starts(l), r.starts(f)
	if !r.coalesce(l, f) {
		if near {
			r.join(l, f)
		}
		return false
	}
	r.done[l], r.done[f] = true, true
	r.done[r.find(l)] = true
	for at, e := range p.edits {
		r.edits[at] = e
	}
	r.merges = append(r.merges, p)
	return true
}

// starts is in which register a web is at the starts of blocks.
func (r *rebase) starts(n node) map[int]bpf.Register {
	out := map[int]bpf.Register{}
	for b, held := range r.entry {
		for reg, m := range held {
			if m != none && r.find(m) == n {
				out[b] = bpf.Register(reg)
			}
		}
	}
	return out
}

// function is the function with the edits and the registers of the coloring.
func (r *rebase) function() *bpf.Function {
	out := r.fn.Clone()
	for b, block := range out.Blocks {
		if !r.graph.Reachable(b) {
			continue
		}
		code := block.Code[:0:0]
		for i, in := range block.Code {
			e := r.edits[place{b, i}]
			if e.drop {
				continue
			}
			code = append(code, r.renamed(b, i, e.apply(in)))
		}
		block.Code = code
	}
	return out
}

// renamed is an instruction with the registers of the coloring.
func (c *coloring) renamed(b, i int, in bpf.Instruction) bpf.Instruction {
	s := c.sites[b][i]
	if s.dst != none {
		in.Dst = c.color[c.find(s.dst)]
	}
	if s.src != none {
		in.Src = c.color[c.find(s.src)]
	}
	return in
}

func (e edit) apply(in bpf.Instruction) bpf.Instruction {
	if in.IsALU() {
		in.Imm += e.delta
	} else {
		in.Off += int16(e.delta)
	}
	return in
}

// renaming says where the old function holds what the new one has in registers.
func (r *rebase) renaming() windows.Renaming {
	out := r.coloring.renaming()
	for _, p := range r.merges {
		at := r.color[r.find(p.leader)]
		for b, reg := range p.follows {
			out[b][at] = windows.Holder{Known: true, Reg: reg, Offset: p.ahead[b]}
		}
		for b, reg := range p.leads {
			out[b][at] = windows.Held(reg)
		}
	}
	return out
}

// fits tells whether an edit's result can be encoded.
func (e edit) fits(in bpf.Instruction) bool {
	if in.IsALU() {
		imm := in.Imm + e.delta
		return imm == int64(int32(imm))
	}
	off := int64(in.Off) + e.delta
	return off >= math.MinInt16 && off <= math.MaxInt16
}
