package local

import (
	"cmp"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// mergeStores makes one store of several that write the bytes of one aligned
// or otherwise permitted place, wherever the value comes from: constants, parts
// of one register, or memory that lies side by side as well.
func mergeStores(v *view) code {
	for _, size := range []int{8, 4, 2} {
		for _, at := range v.storePlaces(size) {
			if c := v.mergeAt(at); c != nil {
				return c
			}
		}
	}
	return nil
}

// storePlaces is the places of that size at which a store begins.
func (v *view) storePlaces(size int) (out []place) {
	for i, a := range v.acc {
		p := a.place
		p.size = size
		if !a.store || a.barrier || a.vague || v.code[i].Ref != 0 || !v.k.mayWiden(p) || slices.Contains(out, p) {
			continue
		}
		out = append(out, p)
	}
	slices.SortStableFunc(out, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.root, b.root), cmp.Compare(a.off, b.off))
	})
	return out
}

// group is the stores that write a place.
type group struct {
	at          place
	members     []int
	value       vec
	first, last int
}

// mergeAt merges the stores that fill the place.
func (v *view) mergeAt(at place) code {
	gr, ok := v.storesTo(at)
	if !ok || !v.movable(gr) {
		return nil
	}
	last := v.code[gr.last]
	if v.k.skip(last) {
		return nil
	}
	value := v.k.t.intern(&gr.value)
	hole := inst{id: last.id, hole: value, to: at, first: v.code[gr.first].id}
	hole.Pos = last.Pos
	var rest code
	for i, in := range v.code {
		switch {
		case i == gr.last:
			rest = append(rest, hole)
		case !slices.Contains(gr.members, i):
			rest = append(rest, in)
		}
	}
	left := v.k.clean(rest)
	m := merger{v: v, left: left, at: at, free: v.usedFirst(gr), value: value, hole: left.code.find(hole.id), limit: v.code.price()}
	m.low = m.hole
	for m.low > 0 && v.code.find(left.code[m.low-1].id) > gr.first {
		m.low--
	}
	if v.k.shared(at) && !left.mayMerge(m.hole, at, &goal{from: v}, true) {
		return nil
	}
	return m.best()
}

// storesTo is the stores of which the last ones to write them fill the place,
// two or more.
func (v *view) storesTo(at place) (group, bool) {
	gr := group{at: at, first: -1}
	missing := below(at.size)
	for i := len(v.acc) - 1; i >= 0 && missing != 0; i-- {
		a := v.acc[i]
		if !a.store || a.barrier || !at.has(a.place) || v.code[i].hole != 0 || v.code[i].Ref != 0 {
			if a.store && v.k.mayMeet(a.place, at) && len(gr.members) > 0 {
				return gr, false
			}
			continue
		}
		gr.add(v, i, &missing)
	}
	if missing != 0 || len(gr.members) < 2 {
		return gr, false
	}
	gr.first = slices.Min(gr.members)
	gr.last = slices.Max(gr.members)
	return gr, true
}

func (gr *group) add(v *view, i int, missing *uint64) {
	a := v.acc[i]
	gr.members = append(gr.members, i)
	for b := range a.size {
		at := int(a.off-gr.at.off) + b
		if *missing>>at&1 == 0 {
			continue
		}
		*missing &^= 1 << at
		got := v.storedByte(i, b)
		copy(gr.value[v.k.t.byteLane(at, gr.at.size):], got[:])
	}
}

// movable tells whether nothing between the group's stores meets the place.
func (v *view) movable(gr group) bool {
	for i := gr.first; i <= gr.last; i++ {
		a := v.acc[i]
		if !a.any() || slices.Contains(gr.members, i) {
			continue
		}
		if a.barrier || v.k.mayMeet(a.place, gr.at) {
			return false
		}
	}
	return true
}

// merger looks for the cheapest way to write a value to a place.
type merger struct {
	v, left   *view
	at        place
	value     ref
	low, hole int // the store may stand before any instruction from low to hole
	limit     price
	found     code
	free      []bpf.Register // registers that may be used, the best first
}

// usedFirst is all registers, those first that the group stores from.
func (v *view) usedFirst(gr group) (out []bpf.Register) {
	for _, i := range gr.members {
		if in := v.code[i]; in.Op.Class() == bpf.ClassSTX && !slices.Contains(out, in.Src) {
			out = append(out, in.Src)
		}
	}
	for r := range bpf.R10 {
		if !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

func (m *merger) best() code {
	for p := m.hole; p >= m.low; p-- {
		base, off, ok := m.left.baseFor(p, m.at)
		if !ok {
			continue
		}
		size, _ := bpf.SizeOp(m.at.size)
		st := bpf.Instruction{Op: bpf.ClassSTX | bpf.ModeMem | size, Dst: base, Off: off}
		m.storeConstant(p, st)
		m.storeRegister(p, st)
		m.storeBuilt(p, st)
	}
	return m.found
}

// offer is a candidate: instructions before q and the store before p.
func (m *merger) offer(q int, ins []bpf.Instruction, p int, st bpf.Instruction) {
	c := m.left.code.price().plus(priceOf(st)).plus(pricesOf(ins))
	if !m.v.k.better(c, m.limit) {
		return
	}
	pos := m.left.code[m.hole].Pos
	st.Pos = pos
	out := m.left.code.without(m.hole).insert(p, m.v.k.give(st))
	m.found, m.limit = out.insert(q, m.v.k.giveAll(ins, pos)...), c
}

func (m *merger) care() uint64 { return below(8 * m.at.size) }

func (m *merger) storeConstant(p int, st bpf.Instruction) {
	c, ok := m.v.k.t.vec(m.value).constant()
	if !ok || m.at.kind == flow.KindContext {
		return
	}
	if in, ok := storeImm(st, c); ok {
		m.offer(p, nil, p, in)
	}
}

func (m *merger) storeRegister(p int, st bpf.Instruction) {
	g := &goal{value: m.value, care: m.care()}
	for r := range bpf.R10 {
		if f := m.left.regs[p][r]; f != 0 && m.v.k.agreeing(f, g) {
			st.Src = r
			m.offer(p, nil, p, st)
			return
		}
	}
}

// storeBuilt computes the value into a register that is free.
func (m *merger) storeBuilt(p int, st bpf.Instruction) {
	for _, r := range m.free {
		if r == bpf.R10 || r == st.Dst || m.left.before(p).Regs[r] != 0 || !m.mayUse(r) {
			continue
		}
		g := &goal{dst: r, value: m.value, care: m.care(), from: m.v, loose: true}
		st.Src = r
		for q := p; q >= 0; q-- {
			if q < p && m.left.code[q].touches(r) {
				break
			}
			if ins, ok := m.left.build(q, g); ok {
				m.offer(q, ins, p, st)
			}
		}
	}
}

// mayUse tells whether a register can be used at no cost elsewhere: the kernel
// saves those of R6 to R9 that a function uses.
func (m *merger) mayUse(r bpf.Register) bool {
	if r <= bpf.R5 {
		return true
	}
	for _, in := range m.v.code {
		if in.writes().Has(r) {
			return true
		}
	}
	return false
}
