package local

import (
	"slices"

	"github.com/k2cc/k2cc/bpf"
)

// maxPeel bounds how many operations on the compared register are looked
// behind.
const maxPeel = 6

// branch finds the cheapest jump on the condition of the window's conditional
// jump: on another register, or on what the compared one was before the last
// operations on it, which then need not be done.
func branch(v *view) code {
	last := len(v.code) - 1
	if last < 0 || !v.code[last].IsCondJump() || v.code[last].hole != 0 || v.cond.known() || v.k.skip(v.code[last]) {
		return nil
	}
	if !v.k.w.Confirmed && !v.forgets(last) {
		return nil
	}
	old := v.code[last]
	limit := v.code.price()
	var best code
	left := v.k.view(v.code.without(last))
	for range maxPeel {
		for _, in := range v.jumps(left, old.Instruction) {
			in.Target, in.Pos = old.Target, old.Pos
			c := v.k.clean(left.code.insert(last, v.k.give(in))).code
			if p := c.price(); v.k.better(p, limit) {
				best, limit = c, p
			}
		}
		peeled := left.peel(old.Dst)
		if peeled == nil {
			break
		}
		last--
		left = v.k.view(peeled)
	}
	return best
}

// forgets tells whether the registers that the jump compares are made in the
// window and not read behind it. From a comparison of others the verifier learns
// bounds, so that where no kernel will be asked it keeps its form.
func (v *view) forgets(jump int) bool {
	for r := range bpf.R10 {
		if !v.code[jump].reads().Has(r) {
			continue
		}
		if v.k.w.Needs.Regs[r] != 0 || !slices.ContainsFunc(v.code, func(in inst) bool { return in.writes().Has(r) }) {
			return false
		}
	}
	return true
}

// peel takes out the last instruction that writes r, where nothing else needs
// it.
func (v *view) peel(r bpf.Register) code {
	i := v.lastTouch(len(v.code), r)
	if i < 0 || v.k.w.Needs.Regs[r] != 0 || !v.code[i].IsALU() || !v.code[i].writes().Has(r) {
		return nil
	}
	return v.code.without(i)
}

// jumps is the jumps on v's condition that are possible after left.
func (v *view) jumps(left *view, old bpf.Instruction) (out []bpf.Instruction) {
	end := len(left.code)
	regs := &left.regs[end]
	try := func(in bpf.Instruction) {
		if in.Level() > v.k.w.Level || in.Imm != int64(int32(in.Imm)) || !v.comparable(left, in, old) {
			return
		}
		if v.k.taken(in, regs) == v.cond {
			out = append(out, in)
		}
	}
	for _, class := range []bpf.Op{bpf.ClassJMP, bpf.ClassJMP32} {
		for r := range bpf.R10 {
			if regs[r] == 0 {
				continue
			}
			in := old
			in.Op, in.Dst = old.Op&^7|class, r
			if !old.UsesSrc() {
				try(in)
			}
			if in, ok := v.k.equality(regs[r], class, v.cond); ok {
				in.Dst = r
				try(in)
			}
			try(bpf.Instruction{Op: class | bpf.OpJSLT, Dst: r})
			try(bpf.Instruction{Op: class | bpf.OpJSGT, Dst: r, Imm: -1})
		}
	}
	return out
}

// comparable tells whether the verifier lets in compare: numbers, or just what
// the old jump compared.
func (v *view) comparable(left *view, in, old bpf.Instruction) bool {
	r := left.regs[len(left.code)][in.Dst]
	if v.k.isScalar(r) {
		return true
	}
	return r == v.regs[len(v.code)-1][old.Dst] && in.Op == old.Op && in.Imm == old.Imm
}

// equality is the jump on r against an immediate that looks at the bits that
// the condition, an equality of bits or its contrary, does.
func (k *work) equality(r ref, class bpf.Op, cond bit) (bpf.Instruction, bool) {
	pairs, equal, ok := k.t.pairsOf(cond)
	in := bpf.Instruction{Op: class | bpf.OpJEq}
	if !ok {
		return in, false
	}
	if !equal {
		in.Op = class | bpf.OpJNE
	}
	want := make(map[bit]bit, len(pairs))
	for _, p := range pairs {
		if low := bit(p >> 32); low.known() {
			want[bit(p)] = low
		}
	}
	var mask, value uint64
	whole := true
	v := k.t.vec(r)
	for i, b := range v {
		c, found := want[b]
		switch {
		case b == one:
			value |= 1 << i
		case b == zero:
		case found:
			mask |= 1 << i
			value |= uint64(c) << i
		case class == bpf.ClassJMP || i < 32:
			whole = false
		}
	}
	in.Imm = int64(value)
	if class == bpf.ClassJMP32 || value>>32 == 0 && value>>31 != 0 && mask>>32 == 0 && !whole {
		in.Imm = int64(int32(value))
	}
	if whole {
		return in, true
	}
	in.Op, in.Imm = class|bpf.OpJSet, int64(mask)
	if class == bpf.ClassJMP32 {
		in.Imm = int64(int32(mask))
	} else if zeros(v)>>32 == 1<<32-1 {
		in.Imm = int64(int32(mask)) // the bits above are zero anyhow
	}
	return in, !equal
}

// pairsOf is the pairs of bits of which the condition says that all are equal,
// or that not all are.
func (t *table) pairsOf(cond bit) (pairs []uint64, equal, ok bool) {
	equal = true
	name := t.keys[cond.leaf()]
	if name.kind == keyNot {
		cond, equal = bit(name.a), false
		name = t.keys[cond.leaf()]
	}
	if name.kind == keyEq {
		return t.pairs[name.a], equal, true
	}
	// A single bit: it is one, so the contrary of equal to zero.
	return []uint64{uint64(zero)<<32 | uint64(cond)}, !equal, true
}
