package local

import "github.com/k2cc/k2cc/bpf"

// share takes out an instruction that computes a value which another register
// got further up, by having that one computed into the register where it is
// wanted in the end: a zero that is stored, and then an argument.
func share(v *view) code {
	for i := len(v.code) - 1; i > 0; i-- {
		in := v.code[i]
		if !in.IsALU() && in.Op != bpf.LoadImm64 || v.regs[i+1][in.Dst] == 0 || v.live[i].Regs[in.Dst] == 0 || v.k.skip(in) {
			continue
		}
		if c := v.shareAt(i); c != nil {
			return c
		}
	}
	return nil
}

func (v *view) shareAt(i int) code {
	in := v.code[i]
	g := &goal{dst: in.Dst, value: v.regs[i+1][in.Dst], care: v.live[i].Regs[in.Dst]}
	if !v.makesAbove(i, g) {
		return nil
	}
	left, at := v.without(i, g)
	copied := bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpMov | bpf.SourceX, Dst: g.dst, Pos: in.Pos}
	for p := at; p > 0 && !left.code[p-1].touches(g.dst); p-- {
		if !left.makes(p-1, g) {
			continue
		}
		copied.Src = left.code[p-1].Dst
		now := v.k.view(left.code.without(at).insert(p, v.k.give(copied)))
		if c := now.coalesceAt(p); c != nil && v.k.better(c.price(), v.code.price()) && !v.rereads(c) {
			return c
		}
	}
	return nil
}

// makesAbove tells whether an instruction before i gives another register what
// the goal wants.
func (v *view) makesAbove(i int, g *goal) bool {
	for p := i - 1; p >= 0; p-- {
		if v.code[p].Dst != g.dst && v.makes(p, g) {
			return true
		}
	}
	return false
}

// makes tells whether instruction i gives its register what the goal wants.
func (v *view) makes(i int, g *goal) bool {
	in := v.code[i]
	return in.writes().Has(in.Dst) && !in.IsAtomic() && v.k.agreeing(v.regs[i+1][in.Dst], g)
}

// without is the view without instruction i and all that only it needed, and
// with a hole for the goal, its result, of which it gives the place.
func (v *view) without(i int, g *goal) (*view, int) {
	in := v.code[i]
	hole := inst{Instruction: bpf.Instruction{Dst: in.Dst}, id: in.id, hole: g.value}
	left := v.k.clean(v.code.with(i, hole))
	return left, left.code.find(in.id)
}
