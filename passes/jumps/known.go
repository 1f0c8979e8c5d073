package jumps

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// maxRounds bounds how often branches of known outcome are looked for where one
// may keep another in its place.
const maxRounds = 4

// dropKnown takes out the branches of which the facts know where they lead, in
// either byte order, as SameShape wants it. The verifier may have learned
// something from one that it does not know otherwise, so where it will not be
// asked, only those go that compare what nobody reads any more.
func (e *editor) dropKnown() {
	for range maxRounds {
		if !e.dropKnownOnce() || e.confirmed {
			return
		}
	}
}

// order is what is known of a function in one byte order.
type order struct {
	facts *flow.Facts
	needs *flow.Needs
}

// dropKnownOnce tells whether there was any branch to take out.
func (e *editor) dropKnownOnce() bool {
	var orders []order
	for _, big := range []bool{false, true} {
		facts, needs, err := flow.Both(e.ctx, e.fn, flow.Options{BigEndian: big})
		if err != nil {
			return false
		}
		orders = append(orders, order{facts, needs})
	}
	out, index, found := e.fn.Clone(), e.index(), false
	for i, b := range out.Blocks {
		in := last(b)
		if in == nil || !in.IsCondJump() || in.IsMayGoto() {
			continue
		}
		taken, next := false, false
		for _, o := range orders {
			t, n := o.facts.Taken(i)
			taken, next = taken || t, next || n
		}
		to := i + 1
		if taken {
			to = index[in.Target]
		}
		switch {
		case taken == next || !e.confirmed && e.teaches(orders, i, to):
			continue
		case taken:
			*in = bpf.Instruction{Op: bpf.ClassJMP | bpf.OpJA, Target: in.Target, Pos: in.Pos}
		default:
			b.Code = b.Code[:len(b.Code)-1]
		}
		found = true
	}
	e.fn = out
	return found
}

// teaches tells whether the verifier may learn something from the branch at the
// end of a block that leads to the block to: of what it compares, of copies, or of
// what is like it, where somebody reads that there.
func (e *editor) teaches(orders []order, block, to int) bool {
	code := e.fn.Blocks[block].Code
	in := code[len(code)-1]
	compared := bpf.Set(in.Dst)
	if in.UsesSrc() {
		compared |= bpf.Set(in.Src)
	}
	for _, o := range orders {
		states := o.facts.Block(block)
		s, live := &states[len(code)-1], o.needs.In(to)
		like := func(v flow.Value) bool {
			for r := range bpf.R10 {
				c := s.Regs[r]
				if compared.Has(r) && (c.Base != 0 && c.Base == v.Base || c.Kind == v.Kind && c.Bits == v.Bits && c.Mask == v.Mask) {
					return true
				}
			}
			return false
		}
		for r := range bpf.R10 {
			if live.Regs[r] != 0 && (compared.Has(r) || like(s.Regs[r])) {
				return true
			}
		}
		for _, c := range s.Stack {
			for k := range int(c.Size) {
				if live.Stack.Has(int(c.Off)+k) && like(c.Value) {
					return true
				}
			}
		}
	}
	return false
}
