package encode

import "github.com/k2cc/k2cc/bpf/flow"

// store is a write that one code did, or that a callee may have done to the
// frame.
type store struct {
	addr address
	size int
	v    value // of width 8*size
	at   int   // the epoch
	// callee is what of the frame a callee may have written, if it is that; v
	// has no term then.
	callee callee
}

// callee says how much of the bytes that it names a callee may have written.
type callee uint8

const (
	noCallee callee = iota
	mayWrite        // any byte, or none
	hasAll          // the whole frame, which was the same for both codes
)

// log is the writes that one code did, in order.
type log struct {
	m      *memory
	stores []store
	lost   bool // packet pointers from before the window
}

func (l *log) add(a address, size int, v value, epoch int) {
	l.stores = append(l.stores, store{addr: a, size: size, v: v, at: epoch})
}

// skips tells whether s says nothing of memory at a in the given epoch: it came
// later, or others may have written there since. The own frame is others' only
// where it is common; what callees may have done to it is in the log.
func (l *log) skips(s store, a address, epoch int) bool {
	common := l.m.common[a.kind]
	switch {
	case common && s.at > epoch, era(s.at) > era(epoch):
		return true
	case common && l.m.common[s.addr.kind] && s.at < epoch:
		return true
	case a.kind == flow.KindStack:
		return false
	}
	return era(s.at) < era(epoch)
}

// byteAt is the byte at a after the logged writes, up to the given epoch.
func (l *log) byteAt(a address, epoch int) *node {
	return l.byteBefore(len(l.stores), a, epoch)
}

// byteBefore is the same after the first n writes.
func (l *log) byteBefore(n int, a address, epoch int) *node {
	// A write that may or may not hit the byte hides older ones only where it
	// does.
	type hit struct{ cond, v *node }
	var maybe []hit
	var out *node
	g := l.m.g
	for i := n - 1; i >= 0 && out == nil; i-- {
		s := l.stores[i]
		if l.skips(s, a, epoch) {
			continue
		}
		d, exact := a.in(s.addr, s.size)
		switch {
		case !exact && (s.addr.base == a.base || l.m.apart(s.addr.kind, a.kind)):
			continue
		case s.callee == hasAll:
			out = l.m.first(a, s.at)
			continue
		case exact && s.callee == mayWrite:
			wrote, b := l.m.writtenByte(era(s.at), s.addr.off+int64(d))
			out = g.ite(wrote, b, l.byteBefore(i, a, epoch))
			continue
		case exact:
			out = bytePart(g, s.v.node, s.size, d, l.m.big)
			continue
		}
		for b := range s.size {
			cond := g.compare(opEq, g.term(s.addr.at(b)), g.term(a))
			if s.callee == mayWrite {
				wrote, v := l.m.writtenByte(era(s.at), s.addr.off+int64(b))
				maybe = append(maybe, hit{g.binary(opAnd, cond, wrote), v})
				continue
			}
			maybe = append(maybe, hit{cond, bytePart(g, s.v.node, s.size, b, l.m.big)})
		}
	}
	if out == nil {
		out = l.m.first(a, l.m.epoch(a.kind, epoch))
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
	for i := len(l.stores) - 1; i >= 0; i-- {
		s := l.stores[i]
		switch {
		case l.skips(s, a, epoch):
			continue
		case s.addr.same(a) && s.size == size && s.callee == noCallee:
			return s.v, true
		case s.addr.base == a.base && !a.meets(size, s.addr, s.size):
		case s.addr.base != a.base && l.m.apart(s.addr.kind, a.kind):
		default:
			return value{}, false
		}
	}
	if l.m.epoch(a.kind, epoch) > 0 {
		return value{}, false
	}
	v, ok := l.m.cellAt(a, size)
	if l.lost {
		v.losePacket()
	}
	return v, ok
}

// losePackets makes what was a packet pointer a mere number.
func (l *log) losePackets() {
	l.lost = true
	for i := range l.stores {
		l.stores[i].v.losePacket()
	}
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
	c, ok := l.m.cellOf(a)
	return ok && c.v.kind != flow.KindScalar
}
