package local

import "github.com/k2cc/k2cc/bpf"

// rebuild takes out an instruction that computes a value, with all that only
// it needed, and computes the value anew in the cheapest way.
func rebuild(v *view) code {
	for i := len(v.code) - 1; i >= 0; i-- {
		in := v.code[i]
		if !in.IsALU() && !in.IsLoad() && in.Op != bpf.LoadImm64 || v.regs[i+1][in.Dst] == 0 || v.k.skip(in) {
			continue
		}
		if c := v.rebuildAt(i); c != nil {
			return c
		}
	}
	return nil
}

func (v *view) rebuildAt(i int) code {
	in := v.code[i]
	g := &goal{dst: in.Dst, value: v.regs[i+1][in.Dst], care: v.live[i].Regs[in.Dst], from: v, loose: v.k.w.Confirmed || v.looseUses(i)}
	if g.care == 0 {
		return nil
	}
	left, at := v.without(i, g)
	limit, base := v.code.price(), left.code.price()
	var best code
	for p := at; p >= 0; p-- {
		if p < at && left.code[p].touches(g.dst) {
			break
		}
		ins, ok := left.build(p, g)
		if !ok || !v.k.better(base.plus(pricesOf(ins)), limit) {
			continue
		}
		c := left.code.without(at).insert(p, v.k.giveAll(ins, in.Pos)...)
		if v.rereads(c) {
			continue
		}
		best, limit = c, base.plus(pricesOf(ins))
		if len(ins) == 0 {
			break
		}
	}
	return best
}

// giveAll makes instructions that stand for the input's at pos.
func (k *work) giveAll(ins []bpf.Instruction, pos int32) (out []inst) {
	for _, in := range ins {
		in.Pos = pos
		out = append(out, k.give(in))
	}
	return out
}

// looseUses tells whether nothing can depend on what the verifier knows of the
// value that instruction i computes: it is stored or compared, and then gone.
func (v *view) looseUses(i int) bool {
	r := v.code[i].Dst
	for j := i + 1; j < len(v.code); j++ {
		in := v.code[j]
		if in.reads().Has(r) {
			stored := in.IsStore() && in.Src == r && in.Op.Class() == bpf.ClassSTX && in.Dst != r
			compared := in.IsCondJump() && (in.Op.Jump() == bpf.OpJEq || in.Op.Jump() == bpf.OpJNE)
			if !stored && !compared {
				return false
			}
		}
		if in.writes().Has(r) {
			return true
		}
	}
	return v.k.w.Needs.Regs[r] == 0
}
