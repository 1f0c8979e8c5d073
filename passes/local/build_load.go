package local

import (
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// buildLoads offers loads of the bytes that the goal is made of, alone or with
// one operation behind it.
func (v *view) buildLoads(p int, g *goal, offer func(...bpf.Instruction)) {
	first, ok := v.k.firstByte(g)
	if !ok {
		return
	}
	for _, n := range []int{1, 2, 4, 8} {
		for at := range n {
			from := first
			from.off, from.size = first.off-int64(at), n
			if !v.mayLoad(p, from, g) {
				continue
			}
			v.buildLoad(p, from, g, offer)
		}
	}
}

func (v *view) buildLoad(p int, from place, g *goal, offer func(...bpf.Instruction)) {
	base, off, ok := v.baseFor(p, from)
	if !ok {
		return
	}
	size, _ := bpf.SizeOp(from.size)
	in := bpf.Instruction{Op: bpf.ClassLDX | bpf.ModeMem | size, Dst: g.dst, Src: base, Off: off}
	got := v.loaded(p, from)
	r := v.k.t.intern(&got)
	if r == g.value || agree(&got, v.k.t.vec(g.value), g.care) {
		offer(in)
		return
	}
	if v.k.w.Level >= bpf.V4 && from.size < 8 {
		sx := in
		sx.Op = bpf.ClassLDX | bpf.ModeMemSX | size
		wide := domain{v.k.t}.SExt(word{got, 8 * from.size}, 64).v
		if agree(&wide, v.k.t.vec(g.value), g.care) {
			offer(sx)
			return
		}
	}
	if op, ok := v.k.operation(r, g); ok {
		offer(in, op)
		return
	}
	v.buildSwapped(in, r, g, offer)
}

// buildSwapped offers a load, a byte swap and one operation more: numbers in
// network byte order that do not fill a power of two of bytes.
func (v *view) buildSwapped(in bpf.Instruction, loaded ref, g *goal, offer func(...bpf.Instruction)) {
	if in.Size() == 1 || !v.k.isScalar(loaded) || !v.k.isScalar(g.value) {
		return
	}
	swap := v.k.swap(g.dst, int64(8*in.Size()))
	if op, ok := v.k.operation(v.k.alu(swap, loaded, 0), g); ok {
		offer(in, swap, op)
	}
}

// firstByte is the place of the lowest byte of memory that the goal has a bit
// of.
func (k *work) firstByte(g *goal) (place, bool) {
	for i, b := range k.t.vec(g.value) {
		if g.care>>i&1 == 0 || b.known() {
			continue
		}
		name := k.t.keys[b.leaf()]
		if name.kind != keyByte {
			return place{}, false
		}
		kind, null, ok := k.kindOf(name.a)
		return place{root: name.a, off: name.c, kind: kind, null: null}, ok
	}
	return place{}, false
}

// kindOf is the kind of pointer that a root is the start of.
func (k *work) kindOf(root int32) (kind flow.Kind, null, ok bool) {
	if root == frameRoot {
		return flow.KindStack, false, true
	}
	if root > 0 {
		v := k.t.at(ref(root))
		return v.kind, v.null, true
	}
	v, ok := k.bases[root]
	return v.Kind, v.MaybeNull, ok
}

// mayLoad tells whether a load from there is one that the verifier takes
// wherever the window's own accesses are.
func (v *view) mayLoad(p int, from place, g *goal) bool {
	if from.size == 8 && from.kind != flow.KindPacket && !v.k.whole[from] && v.mayHoldPointer(p, from) {
		return false
	}
	if from.kind == flow.KindContext || !v.k.mayWiden(from) && !v.k.whole[from] {
		return false
	}
	for at := range from.size {
		if !v.k.accessible(from.root, from.off+int64(at)) {
			return false
		}
	}
	return !v.k.shared(from) || v.mayMerge(p, from, g, false)
}

// mayHoldPointer tells whether the 8 bytes at a place may be a pointer: what is
// on the stack and was not written as a number.
func (v *view) mayHoldPointer(p int, at place) bool {
	if at.kind != flow.KindStack {
		return false
	}
	for i := range 8 {
		b := v.byteAt(p, at, int64(i))
		if !b[0].known() && v.k.t.keys[b[0].leaf()].kind == keyByte && v.k.t.keys[b[0].leaf()].a == frameRoot {
			return true
		}
	}
	return false
}

func (k *work) accessible(root int32, off int64) bool {
	if k.touched[sum{root, off}] {
		return true
	}
	o := off + flow.StackSize
	return root == frameRoot && o >= 0 && o < flow.StackSize && k.w.Facts.Written[o/64]>>(o%64)&1 != 0
}

// mayWiden tells whether the region allows an access of another width than the
// old code's.
func (k *work) mayWiden(p place) bool {
	switch p.kind {
	case flow.KindPacket:
		return true
	case flow.KindMapValue:
		return !p.null
	case flow.KindStack:
		return p.root == frameRoot && p.off%int64(p.size) == 0
	}
	return false
}

// baseFor is a register from which the place can be reached at p: the frame
// pointer or one that the window leaves alone if there is one, so that others
// need not be computed, then one that is needed later anyhow; and of those the
// one that needs the shortest code.
func (v *view) baseFor(p int, at place) (base bpf.Register, off int16, ok bool) {
	best := 1 << 10
	for r := range bpf.R10 + 1 {
		f := v.regs[p][r]
		if f == 0 || v.k.t.at(f).root != at.root {
			continue
		}
		d := at.off - v.k.t.at(f).off
		rank := 2 * v.baseRank(p, r)
		if d < -128 || d > 127 {
			rank++
		}
		if d == int64(int16(d)) && rank < best {
			best, base, off, ok = rank, r, int16(d), true
		}
	}
	return base, off, ok
}

func (v *view) baseRank(p int, r bpf.Register) int {
	switch {
	case r == bpf.R10:
		return 0
	case v.before(p).Regs[r] == 0:
		return 3
	case slices.ContainsFunc(v.code, func(in inst) bool { return in.writes().Has(r) }):
		return 2
	}
	return 1
}
