package local

import "slices"

// mayMerge tells whether accesses that were taken out of from to be done at p
// leave all accesses to shared memory in their order, and at p no byte is
// accessed that was not so before.
func (v *view) mayMerge(p int, at place, g *goal, store bool) bool {
	old := g.from
	lo, hi := len(old.code), -1
	missing := below(at.size)
	for i, a := range old.acc {
		if !a.any() || a.store != store || !v.k.mayMeet(a.place, at) || v.keeps(old.code[i].id) {
			continue
		}
		for b := range at.size {
			if at.off+int64(b) >= a.off && at.off+int64(b) < a.off+int64(a.size) && a.root == at.root {
				missing &^= 1 << b
			}
		}
		lo, hi = min(lo, i), max(hi, i)
	}
	if missing != 0 {
		return false
	}
	return v.nothingShared(old, p, lo, hi, store)
}

// keeps tells whether the instruction with the id is still in the code.
func (v *view) keeps(id int32) bool {
	i := v.code.find(id)
	return i >= 0 && v.code[i].hole == 0
}

// nothingShared tells whether an access that stands for old ones from lo to hi
// passes no other access to shared memory when it is done at p, or in place of
// the hole at p.
func (v *view) nothingShared(old *view, p, lo, hi int, inHole bool) bool {
	for j, a := range v.acc {
		if !a.any() || !v.k.shared(a.place) && !a.barrier {
			continue
		}
		if inHole && j == p {
			continue
		}
		was := old.code.find(v.code[j].id)
		first := was
		if v.code[j].hole != 0 {
			first = old.code.find(v.code[j].first)
		}
		if first < 0 {
			return false
		}
		before, after := was < lo, first > hi
		if !(before && j < p) && !(after && j >= p) {
			return false
		}
	}
	return true
}

// rereads tells whether c does without one of the loads from shared memory
// because of another access to the same bytes, but with further accesses to
// shared memory between the two: others may have written there meanwhile.
func (v *view) rereads(c code) bool {
	var now *view
	for i, a := range v.acc {
		if !a.load || a.barrier || !v.k.shared(a.place) || c.find(v.code[i].id) >= 0 {
			continue
		}
		if now == nil {
			now = v.k.view(c)
		}
		isNew := func(b access, at int) bool {
			return b.load && b.has(a.place) && v.code.find(c[at].id) < 0
		}
		covered := false
		for at, b := range now.acc {
			covered = covered || isNew(b, at)
		}
		if !covered && v.standsApart(i, c) {
			return true
		}
	}
	return false
}

// standsApart tells whether access i has another one to the same bytes on the
// other side of a third, of those to shared memory that are left in c.
func (v *view) standsApart(i int, c code) bool {
	var left []int
	for j, a := range v.acc {
		if a.any() && (v.k.shared(a.place) || a.barrier) && (j == i || c.find(v.code[j].id) >= 0) {
			left = append(left, j)
		}
	}
	me := slices.Index(left, i)
	for n, j := range left {
		if (n < me-1 || n > me+1) && v.acc[j].root == v.acc[i].root && v.k.mayMeet(v.acc[j].place, v.acc[i].place) {
			return true
		}
	}
	return false
}
