package registers

import (
	"github.com/k2cc/k2cc/bpf"
)

// follows tells whether a pair's leader can stand for its follower wherever that
// is live, and notes what that takes. Along every path it keeps account of how
// far the leader's register is ahead of what the follower would hold.
func (r *rebase) follows(p *pair) bool {
	p.edits, p.ahead = map[place]edit{}, map[int]int64{}
	if r.bound[p.follower] || r.bound[p.leader] {
		return false
	}
	f := &follower{rebase: r, pair: p, lives: r.lives(p.follower), leads: r.lives(p.leader)}
	for _, b := range r.graph.Order() {
		if !r.facts.Reachable(b) {
			continue
		}
		f.ahead = p.ahead[b]
		for i, in := range r.fn.Blocks[b].Code {
			if !f.step(place{b, i}, in) {
				return false
			}
		}
		for _, s := range r.graph.Succs(b) {
			if !f.lives.in[s] {
				continue
			}
			was, known := p.ahead[s]
			if known && was != f.ahead {
				return false
			}
			p.ahead[s] = f.ahead
		}
	}
	return true
}

// follower is the walk over one pair.
type follower struct {
	*rebase
	pair         *pair
	lives, leads *lifetime
	ahead        int64 // where the walk is
}

// step accounts for one instruction, and tells whether it can be kept.
func (f *follower) step(at place, in bpf.Instruction) bool {
	s := f.sites[at.block][at.i]
	dst, src := none, none
	if s.dst != none {
		dst = f.find(s.dst)
	}
	if s.src != none {
		src = f.find(s.src)
	}
	if dst == f.pair.leader && src == f.pair.follower || dst == f.pair.follower && src == f.pair.leader {
		return f.copy(at, in, dst)
	}
	if in.IsAtomic() && (src == f.pair.leader || src == f.pair.follower) {
		return false
	}
	if imm, ok := addsConstant(in); ok && (dst == f.pair.leader || dst == f.pair.follower) {
		f.add(at, dst, imm)
		return true
	}
	if src == f.pair.follower || dst == f.pair.follower && !in.Writes().Has(in.Dst) {
		if !f.read(at, in, dst, src) {
			return false
		}
	}
	if dst == none || !in.Writes().Has(in.Dst) {
		return true
	}
	return f.write(at, in, dst)
}

// copy drops the copy, behind which both are the same.
func (f *follower) copy(at place, in bpf.Instruction, dst node) bool {
	if !f.copies[at.block][at.i] || in.Op.Class() != bpf.ClassALU64 || (dst == f.pair.follower) != f.pair.copied {
		return false
	}
	if !f.pair.copied && f.ahead != 0 {
		return false
	}
	f.ahead = 0
	f.pair.edits[at] = edit{drop: true}
	return true
}

// add moves the leader or the follower. The register that they share goes with
// the leader while there is one.
func (f *follower) add(at place, dst node, imm int64) {
	switch {
	case dst == f.pair.leader && f.lives.behind(at):
		f.ahead += imm
	case dst == f.pair.follower && (f.pair.copied || f.leads.behind(at)):
		f.ahead -= imm
		f.pair.edits[at] = edit{drop: true}
	}
}

// read has the follower read through the leader.
func (f *follower) read(at place, in bpf.Instruction, dst, src node) bool {
	if f.ahead == 0 {
		return true
	}
	e := edit{delta: -f.ahead}
	switch {
	case in.Ref != 0 || in.IsPacketLoad():
		return false
	case in.IsLoad() && src == f.pair.follower, (in.IsStore() || in.IsAtomic()) && dst == f.pair.follower && src != f.pair.follower:
		f.pair.edits[at] = e
		return e.fits(in)
	case in.IsALU() && f.copies[at.block][at.i] && in.Op.Class() == bpf.ClassALU64:
		// What is copied from the follower is moved by a constant right behind.
		code := f.fn.Blocks[at.block].Code
		if at.i+1 == len(code) {
			return false
		}
		next := code[at.i+1]
		imm, ok := addsConstant(next)
		e.drop = imm == f.ahead
		f.pair.edits[place{at.block, at.i + 1}] = e
		return ok && next.Dst == in.Dst && e.fits(next)
	}
	return false
}

// write judges other definitions of the two.
func (f *follower) write(at place, in bpf.Instruction, dst node) bool {
	switch dst {
	case f.pair.leader:
		return f.pair.copied && !f.lives.behind(at)
	case f.pair.follower:
		if f.pair.copied || f.leads.behind(at) || updates(in) && f.ahead != 0 {
			return false
		}
		f.ahead = 0
	}
	return true
}

// addsConstant tells by what constant an instruction moves a pointer.
func addsConstant(in bpf.Instruction) (int64, bool) {
	ok := in.Op.Class() == bpf.ClassALU64 && in.Op.ALU() == bpf.OpAdd && !in.UsesSrc() && in.Ref == 0
	return in.Imm, ok
}

// lifetime is where a web is live.
type lifetime struct {
	in  map[int]bool // by block, at its start
	out map[place]bool
}

func (l *lifetime) behind(at place) bool { return l.out[at] }

// lives finds where a web is live: at the starts of blocks that is known.
func (w *webs) lives(n node) *lifetime {
	l := &lifetime{in: map[int]bool{}, out: map[place]bool{}}
	for b, held := range w.entry {
		for _, m := range held {
			l.in[b] = l.in[b] || m != none && w.find(m) == n
		}
	}
	is := func(m node) bool { return m != none && w.find(m) == n }
	for _, b := range w.graph.Order() {
		live := false
		for _, s := range w.graph.Succs(b) {
			live = live || l.in[s]
		}
		for i := len(w.sites[b]) - 1; i >= 0; i-- {
			in, s := w.fn.Blocks[b].Code[i], w.sites[b][i]
			l.out[place{b, i}] = live
			writes := in.Writes().Has(in.Dst) && namesDestination(in)
			if is(s.dst) && writes {
				live = false
			}
			if is(s.src) || is(s.result) || is(s.dst) && (!writes || updates(in)) {
				live = true
			}
		}
	}
	return l
}
