package encode

import "github.com/k2cc/k2cc/bpf/flow"

// store is a write that one code did.
type store struct {
	addr  address
	size  int
	v     value // of width 8*size
	epoch int
}

// log is the writes that one code did, in order.
type log struct {
	m      *memory
	stores []store
}

func (l *log) add(a address, size int, v value, epoch int) {
	l.stores = append(l.stores, store{a, size, v, l.m.epoch(a.kind, epoch)})
}

// over tells whether others may have written what s wrote before the epoch in
// which memory at a is read.
func (l *log) over(s store, a address, epoch int) bool {
	return l.m.common[a.kind] && l.m.common[s.addr.kind] && s.epoch < epoch
}

// byteAt is the byte at a after the logged writes, up to the given epoch.
func (l *log) byteAt(a address, epoch int) *node {
	epoch = l.m.epoch(a.kind, epoch)
	// A write that may or may not hit the byte hides older ones only where it
	// does.
	type hit struct{ cond, v *node }
	var maybe []hit
	var out *node
	g := l.m.g
	for i := len(l.stores) - 1; i >= 0 && out == nil; i-- {
		s := l.stores[i]
		if s.epoch > epoch && l.m.common[a.kind] || l.over(s, a, epoch) {
			continue
		}
		if d, ok := a.in(s.addr, s.size); ok {
			out = bytePart(g, s.v.node, s.size, d, l.m.big)
			continue
		}
		if s.addr.base == a.base || l.m.apart(s.addr.kind, a.kind) {
			continue
		}
		for b := range s.size {
			cond := g.compare(opEq, g.term(s.addr.at(b)), g.term(a))
			maybe = append(maybe, hit{cond, bytePart(g, s.v.node, s.size, b, l.m.big)})
		}
	}
	if out == nil {
		out = l.m.first(a, epoch)
	}
	for i := len(maybe) - 1; i >= 0; i-- {
		out = g.ite(maybe[i].cond, maybe[i].v, out)
	}
	return out
}

// load is the number of size bytes at a.
func (l *log) load(a address, size, epoch int) *node {
	var out *node
	for i := range size {
		j := i
		if l.m.big {
			j = size - 1 - i
		}
		b := l.byteAt(a.at(j), epoch)
		if out == nil {
			out = b
		} else {
			out = l.m.g.concat(b, out)
		}
	}
	return out
}

// whole is the value that the newest write covering any of the bytes put
// there, if it wrote exactly these bytes: what keeps a spilled pointer a
// pointer.
func (l *log) whole(a address, size, epoch int) (value, bool) {
	epoch = l.m.epoch(a.kind, epoch)
	for i := len(l.stores) - 1; i >= 0; i-- {
		s := l.stores[i]
		switch {
		case s.epoch > epoch && l.m.common[a.kind] || l.over(s, a, epoch):
			continue
		case s.addr.same(a) && s.size == size:
			return s.v, true
		case s.addr.base == a.base && !a.meets(size, s.addr, s.size):
		case s.addr.base != a.base && l.m.apart(s.addr.kind, a.kind):
		default:
			return value{}, false
		}
	}
	if epoch > 0 {
		return value{}, false
	}
	return l.m.cellAt(a, size)
}

// mayHoldFrame tells whether any of the bytes may be a part of a pointer into
// the own frame that was stored there.
func (l *log) mayHoldFrame(a address, size int) bool {
	for _, s := range l.stores {
		if s.v.kind == flow.KindStack && (a.meets(size, s.addr, s.size) ||
			s.addr.base != a.base && !l.m.apart(s.addr.kind, a.kind)) {
			return true
		}
	}
	if a.kind != flow.KindStack {
		return false
	}
	for _, c := range l.m.cells {
		at := address{flow.KindStack, l.m.frame, int64(c.off)}
		if c.v.kind == flow.KindStack && (a.base != l.m.frame || a.meets(size, at, c.size)) {
			return true
		}
	}
	return false
}

// pointerBytes tells whether any of the bytes may be a part of a stored
// pointer.
func (l *log) pointerBytes(a address, size int) bool {
	for i := range size {
		if l.pointerByte(a.at(i)) {
			return true
		}
	}
	return false
}

func (l *log) pointerByte(a address) bool {
	for i := len(l.stores) - 1; i >= 0; i-- {
		s := l.stores[i]
		if _, ok := a.in(s.addr, s.size); ok {
			return s.v.kind != flow.KindScalar
		}
	}
	if !l.m.onFrame(a) {
		return false
	}
	for _, c := range l.m.cells {
		if a.off >= int64(c.off) && a.off < int64(c.off+c.size) {
			return c.v.kind != flow.KindScalar
		}
	}
	return false
}
