package encode

import (
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

// checkShared finds for the new code's shared accesses, in order, the old
// code's accesses that each stands for, in order. Atomics stand for themselves
// and keep what is before them before them.
func checkShared(w *windows.Window, old, new *machine) ([]equation, error) {
	s := matcher{w: w, m: old.m, old: shared(w, old)}
	s.used = make([]bool, len(s.old))
	for _, ev := range shared(w, new) {
		if !s.match(ev) {
			return nil, unsafef("%v: access to shared memory that the old code does not make, or not in this order", ev.in)
		}
	}
	return s.equations, s.checkLeftOut()
}

// shared is the events on memory that others may access, and all atomics.
func shared(w *windows.Window, mc *machine) []event {
	var out []event
	for _, e := range mc.events {
		switch {
		case e.addr.kind == flow.KindContext || e.addr.kind == flow.KindStack && !e.atomic:
		case e.atomic || w.Shared[e.addr.kind] || !e.addr.kind.IsPointer():
			out = append(out, e)
		}
	}
	return out
}

// matcher assigns old events to new ones, both in order.
type matcher struct {
	w         *windows.Window
	m         *memory
	old       []event
	used      []bool // old events that a new one stands for
	next      int    // the first old event behind those assigned
	equations []equation
}

// match assigns to ev the fewest of the next old events that cover its bytes
// (for a store: that write what it writes).
func (s *matcher) match(ev event) bool {
	c := coverage{ev: ev, loads: make([]int, ev.size), stores: make([]int, ev.size)}
	for i := range ev.size {
		c.loads[i], c.stores[i] = -1, -1
	}
	var first *coverage
	for i := s.next; i < len(s.old); i++ {
		e := s.old[i]
		if e.atomic {
			if ev.atomic && sameAtomic(e, ev) {
				s.used[i], s.next = true, i+1
				return true
			}
			break
		}
		if ev.atomic && !s.w.Atomics {
			break
		}
		if !c.add(i, e) {
			continue
		}
		c.end = i + 1
		if ev.atomic || !ev.store || s.writesSame(&c) {
			return s.take(&c)
		}
		if first == nil {
			first = c.clone()
		}
	}
	return first != nil && s.take(first)
}

func sameAtomic(a, b event) bool {
	return a.addr.same(b.addr) && a.in.Op == b.in.Op && a.in.Imm == b.in.Imm
}

// coverage says for each byte of ev which old event last accessed it.
type coverage struct {
	ev            event
	loads, stores []int
	end           int
}

func (c *coverage) clone() *coverage {
	out := *c
	out.loads, out.stores = append([]int(nil), c.loads...), append([]int(nil), c.stores...)
	return &out
}

// add counts in the old event and tells whether all bytes are covered now. A
// load stands where the first load of its bytes stood.
func (c *coverage) add(i int, e event) bool {
	if e.addr.base == c.ev.addr.base {
		for b := range c.ev.size {
			if d := c.ev.addr.off + int64(b) - e.addr.off; d < 0 || d >= int64(e.size) {
				continue
			}
			if e.load && c.loads[b] < 0 {
				c.loads[b] = i
			}
			if e.store {
				c.stores[b] = i
			}
		}
	}
	return (!c.ev.load || covered(c.loads)) && (!c.ev.store || covered(c.stores))
}

func covered(by []int) bool {
	for _, i := range by {
		if i < 0 {
			return false
		}
	}
	return true
}

// written is the byte that the covering old stores left.
func (s *matcher) written(c *coverage, b int) *node {
	e := s.old[c.stores[b]]
	d := int(c.ev.addr.off + int64(b) - e.addr.off)
	return bytePart(s.m.g, e.v.node, e.size, d, s.m.big)
}

func (s *matcher) writesSame(c *coverage) bool {
	for b := range c.ev.size {
		if s.written(c, b) != bytePart(s.m.g, c.ev.v.node, c.ev.size, b, s.m.big) {
			return false
		}
	}
	return true
}

func (s *matcher) take(c *coverage) bool {
	for b := range c.ev.size {
		if c.ev.load {
			s.used[c.loads[b]] = true
		}
		if c.ev.store {
			s.used[c.stores[b]] = true
		}
		if c.ev.store && !c.ev.atomic {
			now := bytePart(s.m.g, c.ev.v.node, c.ev.size, b, s.m.big)
			s.equations = append(s.equations, equation{"a byte stored to shared memory", s.written(c, b), now})
		}
	}
	s.next = c.end
	return true
}

// checkLeftOut refuses to leave out an access where a later one to the same
// bytes has to stand in for it across another access: that would swap the two.
func (s *matcher) checkLeftOut() error {
	for i, e := range s.old {
		switch {
		case s.used[i]:
			continue
		case e.atomic:
			return unsafef("leaves out %v", e.in)
		}
		between := false
		for j := i + 1; j < len(s.old); j++ {
			if between && s.used[j] && overlap(e, s.old[j]) {
				return unsafef("%v: stands in for an access before another one to shared memory", s.old[j].in)
			}
			between = between || s.used[j] && !overlap(e, s.old[j])
		}
	}
	return nil
}

// overlap tells whether two accesses of one sort meet.
func overlap(a, b event) bool {
	return a.addr.base == b.addr.base && (a.load && b.load || a.store && b.store) &&
		a.addr.off < b.addr.off+int64(b.size) && b.addr.off < a.addr.off+int64(a.size)
}
