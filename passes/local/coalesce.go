package local

import (
	"slices"

	"github.com/k2cc/k2cc/bpf"
)

// coalesce takes out an instruction that gives a register what another one has,
// by giving one of the two registers the other one's name.
func coalesce(v *view) code {
	for i, in := range v.code {
		if !in.IsALU() && !in.IsLoad() && in.Op != bpf.LoadImm64 || v.k.skip(in) {
			continue
		}
		if c := v.coalesceAt(i); c != nil && v.k.better(c.price(), v.code.price()) && !v.rereads(c) {
			return c
		}
	}
	return nil
}

func (v *view) coalesceAt(i int) code {
	in := v.code[i]
	g := &goal{dst: in.Dst, value: v.regs[i+1][in.Dst], care: v.live[i].Regs[in.Dst]}
	if g.value == 0 {
		return nil
	}
	for r := range bpf.R10 {
		if r == in.Dst || v.regs[i][r] == 0 || !v.k.agreeing(v.regs[i][r], g) {
			continue
		}
		if c := v.retarget(i, r, in.Dst); c != nil {
			return v.k.clean(c).code
		}
		if c := v.rename(i, in.Dst, r); c != nil {
			return v.k.clean(c).code
		}
	}
	return nil
}

// retarget computes into to what is computed into from and copied at i.
func (v *view) retarget(i int, from, to bpf.Register) code {
	start := i - 1
	for ; start >= 0 && !v.code[start].defines(from); start-- {
		if v.code[start].touches(to) {
			return nil
		}
	}
	if start < 0 || v.code[start].writes().Has(to) {
		return nil
	}
	end, out := v.lastRead(i, from)
	if out {
		return nil
	}
	for j := i + 1; j <= end; j++ {
		if (v.code[j].writes() & bpf.Set(from, to)) != 0 {
			return nil
		}
	}
	return v.renamed(start, max(i-1, end), from, to, i)
}

// lastRead is the last instruction behind i that reads what r holds at i, or i,
// and whether it is read after the window.
func (v *view) lastRead(i int, r bpf.Register) (last int, out bool) {
	last = i
	for j := i + 1; j < len(v.code); j++ {
		if v.code[j].reads().Has(r) {
			last = j
		}
		if v.code[j].defines(r) {
			return last, false
		}
	}
	return last, v.k.w.Needs.Regs[r] != 0
}

// rename keeps in to what is copied to from at i.
func (v *view) rename(i int, from, to bpf.Register) code {
	end, out := v.lastRead(i, from)
	if out {
		return nil
	}
	changed := false
	for j := i + 1; j <= end; j++ {
		changed = changed || v.code[j].writes().Has(from)
	}
	for j := i + 1; j <= end; j++ {
		in := v.code[j]
		if in.writes().Has(to) && j < end || in.writes().Has(to) && (changed || in.reads().Has(to)) || changed && in.touches(to) {
			return nil
		}
	}
	if changed && v.live[end].Regs[to] != 0 {
		return nil
	}
	return v.renamed(i+1, end, from, to, i)
}

// renamed is the code without instruction i and with from called to in
// instructions first to last. It is nil where one of them cannot be changed so.
func (v *view) renamed(first, last int, from, to bpf.Register, i int) code {
	out := slices.Clone(v.code)
	for j := first; j <= last; j++ {
		if j == i || !out[j].touches(from) {
			continue
		}
		if out[j].fixed() || out[j].hole != 0 {
			return nil
		}
		out[j] = out[j].rename(from, to)
	}
	return out.without(i)
}
