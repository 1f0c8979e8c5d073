package local

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// goal is a value that a register has to get.
type goal struct {
	dst   bpf.Register
	value ref
	care  uint64 // the bits that matter
	// from is the code before something was taken out to be built anew.
	from *view
	// loose allows instructions whose result the verifier knows nothing of.
	loose bool
}

// build is the cheapest way found to reach the goal before instruction p, or
// false. Registers other than the goal's are left alone.
func (v *view) build(p int, g *goal) (best []bpf.Instruction, ok bool) {
	offer := func(ins ...bpf.Instruction) {
		if !ok || pricesOf(ins).less(pricesOf(best)) {
			best, ok = ins, true
		}
	}
	want := v.k.t.vec(g.value)
	if _, constant := want.constant(); constant && !v.k.w.Confirmed {
		// A shift needs six bits of its count, but the verifier follows it only
		// where the count is below the width.
		whole := *g
		whole.care |= 1<<32 - 1
		g = &whole
	}
	if r := v.regs[p][g.dst]; r != 0 && v.k.agreeing(r, g) {
		return nil, true
	}
	if c, found := fitConstant(want, g.care); found {
		if in, found := v.k.moveImm(g.dst, c, g.care); found {
			offer(in)
		}
	}
	for r := range bpf.R10 + 1 {
		v.buildFrom(p, r, g, offer)
	}
	v.buildLoads(p, g, offer)
	return best, ok
}

func pricesOf(ins []bpf.Instruction) (sum price) {
	for _, in := range ins {
		sum = sum.plus(priceOf(in))
	}
	return sum
}

// agreeing tells whether r will do for the goal. Pointers do only for what is
// the same altogether.
func (k *work) agreeing(r ref, g *goal) bool {
	if r == g.value {
		return true
	}
	return k.isScalar(r) && k.isScalar(g.value) && agree(k.t.vec(r), k.t.vec(g.value), g.care)
}

// isScalar tells whether r is sure to be no pointer: what the window's own code
// computes with is none.
func (k *work) isScalar(r ref) bool {
	return r != 0 && (k.t.at(r).kind == flow.KindScalar || k.scalar[r])
}

// fitConstant is a number that v is in all bits of care.
func fitConstant(v *vec, care uint64) (uint64, bool) {
	ones, unknown := v.parts()
	if unknown&care != 0 {
		return 0, false
	}
	if low := uint64(int64(int32(ones))); (low^ones)&care == 0 {
		return low, true
	}
	return ones, true
}

// moveImm sets r to c in the bits of care with one instruction.
func (k *work) moveImm(r bpf.Register, c, care uint64) (bpf.Instruction, bool) {
	if uint64(int64(int32(c))) == c {
		return bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpMov, Dst: r, Imm: int64(c)}, true
	}
	if c>>32&(care>>32) == 0 && k.w.Level >= bpf.V3 {
		return bpf.Instruction{Op: bpf.ClassALU | bpf.OpMov, Dst: r, Imm: int64(int32(c))}, true
	}
	return bpf.Instruction{}, false
}

// buildFrom offers what makes the goal of register r: a copy, or one operation
// on it or on a copy of it.
func (v *view) buildFrom(p int, r bpf.Register, g *goal, offer func(...bpf.Instruction)) {
	s := v.regs[p][r]
	if s == 0 {
		return
	}
	move := bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpMov | bpf.SourceX, Dst: g.dst, Src: r}
	if v.k.agreeing(s, g) {
		offer(move)
		return
	}
	if in, ok := v.k.extension(s, g); ok {
		in.Dst, in.Src = g.dst, r
		offer(in)
	}
	if in, ok := v.k.operation(s, g); ok {
		if r == g.dst {
			offer(in)
		} else {
			offer(move, in)
		}
		return
	}
	if up, down, ok := v.k.field(s, g); ok {
		if r == g.dst {
			offer(up, down)
		} else {
			offer(move, up, down)
		}
	}
}

// question asks for one instruction that turns a value into a goal's. Answers
// are kept, as the same questions come up in all versions of a window.
type question struct {
	from, to ref
	care     uint64
	loose    bool
	extend   bool
	field    bool
}

type answer struct {
	in   bpf.Instruction
	then bpf.Instruction // for fields
	ok   bool
}

func (k *work) ask(q question, find func() (bpf.Instruction, bool)) (bpf.Instruction, bool) {
	a, known := k.answers[q]
	if !known {
		a.in, a.ok = find()
		k.answers[q] = a
	}
	return a.in, a.ok
}

// extension is the move that keeps only some of a register's low bits and
// turns s into the goal. It names no registers.
func (k *work) extension(s ref, g *goal) (bpf.Instruction, bool) {
	if k.w.Level < bpf.V3 || !k.isScalar(s) || !k.isScalar(g.value) {
		return bpf.Instruction{}, false
	}
	return k.ask(question{from: s, to: g.value, care: g.care, extend: true}, func() (bpf.Instruction, bool) {
		move := bpf.Instruction{Op: bpf.ClassALU | bpf.OpMov | bpf.SourceX}
		for _, n := range []int16{0, 8, 16, 8 | wide, 16 | wide, 32 | wide} {
			in := move
			if n&wide != 0 {
				in.Op = bpf.ClassALU64 | bpf.OpMov | bpf.SourceX
			}
			in.Off = n &^ wide
			if in.Level() <= k.w.Level && k.reaches(in, 0, s, g) {
				return in, true
			}
		}
		return move, false
	})
}

// field is the two shifts that cut the goal, some of the bits of s and no
// others, out of s.
func (k *work) field(s ref, g *goal) (up, down bpf.Instruction, ok bool) {
	if !k.isScalar(s) || !k.isScalar(g.value) {
		return up, down, false
	}
	q := question{from: s, to: g.value, care: g.care, field: true}
	a, known := k.answers[q]
	if !known {
		a.in, a.then, a.ok = k.findField(s, g)
		k.answers[q] = a
	}
	a.in.Dst, a.then.Dst = g.dst, g.dst
	return a.in, a.then, a.ok
}

func (k *work) findField(s ref, g *goal) (up, down bpf.Instruction, ok bool) {
	have, want := k.t.vec(s), k.t.vec(g.value)
	by, _ := shiftBetween(have, want, g.care)
	top := 0 // behind the highest bit that is wanted
	for i, b := range want {
		if g.care>>i&1 != 0 && !b.known() && i-by >= 0 && i-by < 64 && have[i-by] == b {
			top = i - by + 1
		}
	}
	up = bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpLsh, Imm: int64(64 - top)}
	down = bpf.Instruction{Imm: up.Imm - int64(by)}
	if top == 0 || top == 64 || down.Imm <= 0 || down.Imm > 63 {
		return up, down, false
	}
	middle := k.alu(up, s, 0)
	for _, op := range []bpf.Op{bpf.OpRsh, bpf.OpArsh} {
		down.Op = bpf.ClassALU64 | op
		if k.reaches(down, middle, 0, g) {
			return up, down, true
		}
	}
	return up, down, false
}

// wide marks a move of 64 bits in extension's list.
const wide = 64

// reaches tells whether an arithmetic instruction gives the goal.
func (k *work) reaches(in bpf.Instruction, dst, src ref, g *goal) bool {
	r := k.alu(in, dst, src)
	return r != 0 && (r == g.value || agree(k.t.vec(r), k.t.vec(g.value), g.care))
}

// operation is one operation with an immediate that turns s in the goal's
// register into the goal.
func (k *work) operation(s ref, g *goal) (bpf.Instruction, bool) {
	if in, ok := k.addition(s, g); ok {
		return in, true
	}
	if !k.isScalar(s) || !k.isScalar(g.value) {
		return bpf.Instruction{}, false
	}
	in, ok := k.ask(question{from: s, to: g.value, care: g.care, loose: g.loose}, func() (bpf.Instruction, bool) {
		for _, in := range k.operations(s, g) {
			if in.Level() <= k.w.Level && k.reaches(in, s, 0, g) {
				return in, true
			}
		}
		return bpf.Instruction{}, false
	})
	in.Dst = g.dst
	return in, ok
}

// addition is the addition of a constant that turns s into the goal.
func (k *work) addition(s ref, g *goal) (bpf.Instruction, bool) {
	a, b := k.t.at(s), k.t.at(g.value)
	in := bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpAdd, Dst: g.dst, Imm: b.off - a.off}
	if a.root == b.root {
		return in, in.Imm == int64(int32(in.Imm))
	}
	if !k.isScalar(s) || !k.isScalar(g.value) {
		return in, false
	}
	ra, rb := k.root32(s), k.root32(g.value)
	if ra.root != rb.root {
		return in, false
	}
	in.Imm = int64(int32(rb.off - ra.off))
	if k.reaches(in, s, 0, g) {
		return in, true
	}
	in.Op = bpf.ClassALU | bpf.OpAdd
	return in, k.w.Level >= bpf.V3 && k.reaches(in, s, 0, g)
}

// root32 is what the low half of r is a sum of.
func (k *work) root32(r ref) sum {
	low := k.t.vec(r).slice(0, 32)
	l := k.t.intern(&low)
	if from, ok := k.t.roots32[l]; ok {
		return from
	}
	return sum{root: int32(l)}
}

// operations is the operations with an immediate that might turn s into the
// goal: shifts, masks and byte swaps.
func (k *work) operations(s ref, g *goal) (out []bpf.Instruction) {
	have, want := k.t.vec(s), k.t.vec(g.value)
	for _, class := range []bpf.Op{bpf.ClassALU64, bpf.ClassALU} {
		if by, ok := shiftBetween(have, want, g.care); ok {
			in := bpf.Instruction{Dst: g.dst, Op: class | bpf.OpLsh, Imm: int64(by)}
			if by < 0 {
				in.Op, in.Imm = class|bpf.OpRsh, int64(-by)
				out = append(out, in)
				in.Op = class | bpf.OpArsh
			}
			if class == bpf.ClassALU64 || in.Imm < 32 {
				out = append(out, in)
			}
		}
		if m, ok := maskBetween(have, want, g.care, zero); ok {
			out = append(out, bpf.Instruction{Dst: g.dst, Op: class | bpf.OpAnd, Imm: m})
		}
		if m, ok := maskBetween(have, want, g.care, one); ok {
			out = append(out, bpf.Instruction{Dst: g.dst, Op: class | bpf.OpOr, Imm: m})
		}
	}
	return append(out, k.swaps(g)...)
}

func (k *work) swaps(g *goal) (out []bpf.Instruction) {
	for _, n := range []int64{16, 32, 64} {
		swap := k.swap(g.dst, n)
		out = append(out, swap)
		if g.loose {
			swap.Op ^= bpf.SourceX // the target's own order: only cuts
			out = append(out, swap)
		}
	}
	return out
}

// swap turns round the low n bits of r and clears the others.
func (k *work) swap(r bpf.Register, n int64) bpf.Instruction {
	in := bpf.Instruction{Dst: r, Op: bpf.ClassALU | bpf.OpEnd | bpf.SourceX, Imm: n}
	if k.t.big {
		in.Op = bpf.ClassALU | bpf.OpEnd
	}
	return in
}

// shiftBetween is how far up have must be moved for the first unknown bit of
// want to come to its place.
func shiftBetween(have, want *vec, care uint64) (int, bool) {
	for i, b := range want {
		if care>>i&1 == 0 || b.known() {
			continue
		}
		for j, h := range have {
			if h == b {
				return i - j, i != j
			}
		}
		return 0, false
	}
	return 0, false
}

// maskBetween is the immediate that turns have into want by forcing bits to
// the constant to: an and for zero, an or for one.
func maskBetween(have, want *vec, care uint64, to bit) (int64, bool) {
	var forced, kept uint64
	for i := range want {
		switch {
		case care>>i&1 == 0:
		case want[i] != have[i]:
			if want[i] != to {
				return 0, false
			}
			forced |= 1 << i
		case want[i] != to:
			kept |= 1 << i
		}
	}
	// A bit that is neither may go either way.
	mask := forced
	if to == zero {
		mask = kept
	}
	low := uint64(int64(int32(mask)))
	if to == zero {
		// Bits that are zero anyhow may be in the mask: prefer all ones above.
		if wide := ^forced; uint64(int64(int32(wide))) == wide {
			return int64(wide), true
		}
	}
	return int64(low), (low^mask)&(forced|kept) == 0
}
