package encode

import (
	"fmt"

	"github.com/k2cc/k2cc/bpf/flow"
)

// address is a pointer taken apart: what it is based on, and a constant.
type address struct {
	kind flow.Kind
	base *node
	off  int64
}

func (g *graph) address(v value, off int16) address {
	root, c := split(v.node)
	if root == nil {
		root = g.constant(0, 64)
	}
	return address{kind: v.kind, base: root, off: int64(c) + int64(off)}
}

// at is the address n bytes on.
func (a address) at(n int) address {
	a.off += int64(n)
	return a
}

func (a address) same(b address) bool { return a.base == b.base && a.off == b.off }

// term is the address as a number.
func (g *graph) term(a address) *node {
	return g.add(a.base, g.constant(uint64(a.off), 64))
}

// memory is what both codes of a check share: the bytes there were at first.
type memory struct {
	g       *graph
	escaped bool // pointers of unknown kind may lead into the own frame
	initial []initialByte
	index   map[initialKey]int
	frame   *node // the frame pointer's base
	cells   []cell
	big     bool
}

type initialKey struct {
	base int
	off  int64
}

// initialByte is a byte that was read before it was written.
type initialByte struct {
	addr address
	byte *node
}

// cell is a fact about stack bytes: v is their value, zero-extended.
type cell struct {
	off, size int
	v         value
}

// disjoint tells whether accesses to pointers of two kinds never meet.
func (m *memory) disjoint(a, b address) bool {
	if a.base == b.base {
		return a.off != b.off
	}
	ka, kb := a.kind, b.kind
	if ka > kb {
		ka, kb = kb, ka
	}
	switch {
	case ka == flow.KindAny && kb == flow.KindStack:
		return !m.escaped
	case !ka.IsPointer() || !kb.IsPointer():
		return false
	}
	return ka != kb
}

// first is the byte at a before either code ran.
func (m *memory) first(a address) *node {
	if a.base == m.frame && a.kind == flow.KindStack {
		if n := m.cellByte(int(a.off)); n != nil {
			return n
		}
	}
	key := initialKey{a.base.id, a.off}
	if i, ok := m.index[key]; ok {
		return m.initial[i].byte
	}
	n := m.g.variable(fmt.Sprintf("m%d", len(m.initial)), 8)
	m.index[key] = len(m.initial)
	m.initial = append(m.initial, initialByte{a, n})
	return n
}

// cellByte is the byte at a frame offset if a fact says what it is.
func (m *memory) cellByte(off int) *node {
	for _, c := range m.cells {
		if off < c.off || off >= c.off+c.size {
			continue
		}
		return bytePart(m.g, c.v.node, c.size, off-c.off, m.big)
	}
	return nil
}

// cellAt is the fact about exactly the bytes of an access, if there is one.
func (m *memory) cellAt(a address, size int) (value, bool) {
	if a.base != m.frame || a.kind != flow.KindStack {
		return value{}, false
	}
	for _, c := range m.cells {
		if c.off == int(a.off) && c.size == size {
			return c.v, true
		}
	}
	return value{}, false
}

// bytePart is the i-th byte in memory of the low size bytes of n.
func bytePart(g *graph, n *node, size, i int, big bool) *node {
	if big {
		i = size - 1 - i
	}
	return g.extract(n, 8*i+7, 8*i)
}

// store is a write that one code did.
type store struct {
	addr address
	size int
	v    value // of width 8*size
}

// log is the writes that one code did, in order.
type log struct {
	m      *memory
	stores []store
}

// byteAt is the byte at a after the logged writes.
func (l *log) byteAt(a address) *node {
	// A write that may or may not hit the byte hides older ones only where it
	// does.
	type hit struct{ cond, v *node }
	var maybe []hit
	var out *node
	for i := len(l.stores) - 1; i >= 0 && out == nil; i-- {
		s := l.stores[i]
		if s.addr.base == a.base {
			if d := a.off - s.addr.off; d >= 0 && d < int64(s.size) {
				out = bytePart(l.m.g, s.v.node, s.size, int(d), l.m.big)
			}
			continue
		}
		if l.m.disjoint(s.addr, a) {
			continue
		}
		for b := range s.size {
			cond := l.m.g.compare(opEq, l.m.g.term(s.addr.at(b)), l.m.g.term(a))
			maybe = append(maybe, hit{cond, bytePart(l.m.g, s.v.node, s.size, b, l.m.big)})
		}
	}
	if out == nil {
		out = l.m.first(a)
	}
	for i := len(maybe) - 1; i >= 0; i-- {
		out = l.m.g.ite(maybe[i].cond, maybe[i].v, out)
	}
	return out
}

// load is the number of size bytes at a.
func (l *log) load(a address, size int) *node {
	var out *node
	for i := range size {
		j := i
		if l.m.big {
			j = size - 1 - i
		}
		b := l.byteAt(a.at(j))
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
func (l *log) whole(a address, size int) (value, bool) {
	for i := len(l.stores) - 1; i >= 0; i-- {
		s := l.stores[i]
		switch {
		case s.addr.same(a) && s.size == size:
			return s.v, true
		case s.addr.base == a.base && (s.addr.off >= a.off+int64(size) || a.off >= s.addr.off+int64(s.size)):
		case s.addr.base != a.base && l.m.disjoint(s.addr, a):
		default:
			return value{}, false
		}
	}
	return l.m.cellAt(a, size)
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
		if d := a.off - s.addr.off; s.addr.base == a.base && d >= 0 && d < int64(s.size) {
			return s.v.kind != flow.KindScalar
		}
	}
	if a.base != l.m.frame || a.kind != flow.KindStack {
		return false
	}
	for _, c := range l.m.cells {
		if int(a.off) >= c.off && int(a.off) < c.off+c.size {
			return c.v.kind != flow.KindScalar
		}
	}
	return false
}
