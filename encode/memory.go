package encode

import (
	"slices"

	"fmt"

	"github.com/k2cc/k2cc/bpf/flow"
)

// address is a pointer taken apart: what it is based on, and a constant, both
// modulo 2^64.
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

// in tells whether a is among the size bytes at b by what is known without a
// solver, and where.
func (a address) in(b address, size int) (int, bool) {
	d := a.off - b.off
	return int(d), a.base == b.base && d >= 0 && d < int64(size)
}

// meets tells whether n bytes at a and m bytes at b, of one base, overlap.
func (a address) meets(n int, b address, m int) bool {
	_, first := b.in(a, n)
	_, second := a.in(b, m)
	return first || second
}

// term is the address as a number.
func (g *graph) term(a address) *node {
	return g.add(a.base, g.constant(uint64(a.off), 64))
}

// kinds is a set of kinds.
type kinds [flow.KindOther + 1]bool

// memory is what both codes of a check share: the bytes there were at first
// and, for memory that others may write, at the start of each epoch.
type memory struct {
	g       *graph
	big     bool
	escaped bool // pointers of unknown kind may lead into the own frame
	// common is the kinds whose memory others may read and write between two
	// epochs. Other memory has one epoch in an era, the own frame one in all.
	common  kinds
	initial []initialByte
	index   map[initialKey]int
	ofVar   map[*node]int // index in initial by variable
	frame   *node         // the frame pointer's base
	cells   []cell
}

type initialKey struct {
	base  int
	off   int64
	epoch int
}

// cellOf is what the facts know of a byte of the frame.
func (m *memory) cellOf(a address) (cell, bool) {
	i := slices.IndexFunc(m.cells, func(c cell) bool { return a.off >= int64(c.off) && a.off < int64(c.off+c.size) })
	if i < 0 {
		return cell{}, false
	}
	return m.cells[i], true
}

// knownNumber tells whether a byte of the frame is known to be no pointer's.
func (m *memory) knownNumber(a address) bool {
	c, ok := m.cellOf(a)
	return ok && c.v.kind == flow.KindScalar
}

// initialByte is a byte that was read before it was written.
type initialByte struct {
	addr  address
	epoch int
	byte  *node
}

// cell is a fact about stack bytes: v is their value, zero-extended.
type cell struct {
	off, size int
	v         value
}

// Epochs are numbered in the order in which they come. A call begins an era,
// whose number is in the upper bits: a callee may read and write all memory but
// the own frame. Within an era, others' accesses to common memory begin epochs.
const eraShift = 20

func era(epoch int) int { return epoch >> eraShift }

// endOf is behind the last epoch of an era.
func endOf(era int) int { return (era+1)<<eraShift - 1 }

// epoch is the epoch that counts for memory of a kind.
func (m *memory) epoch(k flow.Kind, now int) int {
	switch {
	case m.common[k]:
		return now
	case k == flow.KindStack:
		return 0
	}
	return era(now) << eraShift
}

// onFrameAt is the address off from the frame pointer.
func (m *memory) onFrameAt(off int) address {
	return address{flow.KindStack, m.frame, int64(off)}
}

// writtenByte tells whether the callee of the call that begins an era wrote the
// byte of the frame at off, and what.
func (m *memory) writtenByte(era int, off int64) (wrote, b *node) {
	name := fmt.Sprintf("%d_%d", era, -off)
	return m.g.variable("w"+name, 1), m.g.variable("x"+name, 8)
}

// disjoint tells whether two bytes are never the same one.
func (m *memory) disjoint(a, b address) bool {
	if a.base == b.base {
		return a.off != b.off
	}
	return m.apart(a.kind, b.kind)
}

// apart tells whether pointers of two kinds never lead to the same byte.
func (m *memory) apart(ka, kb flow.Kind) bool {
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

// onFrame tells whether the address is at a known place of the own frame.
func (m *memory) onFrame(a address) bool {
	return a.kind == flow.KindStack && a.base == m.frame
}

// first is the byte at a before either code ran, or as the epoch found it.
func (m *memory) first(a address, epoch int) *node {
	if epoch == 0 && m.onFrame(a) {
		if n := m.cellByte(a.off); n != nil {
			return n
		}
	}
	key := initialKey{a.base.id, a.off, epoch}
	if i, ok := m.index[key]; ok {
		return m.initial[i].byte
	}
	n := m.g.variable(fmt.Sprintf("m%d", len(m.initial)), 8)
	m.index[key], m.ofVar[n] = len(m.initial), len(m.initial)
	m.initial = append(m.initial, initialByte{a, epoch, n})
	return n
}

// cellByte is the byte at a frame offset if a fact says what it is.
func (m *memory) cellByte(off int64) *node {
	for _, c := range m.cells {
		if off >= int64(c.off) && off < int64(c.off+c.size) {
			return bytePart(m.g, c.v.node, c.size, int(off)-c.off, m.big)
		}
	}
	return nil
}

// cellAt is the fact about exactly the bytes of an access, if there is one.
func (m *memory) cellAt(a address, size int) (value, bool) {
	if !m.onFrame(a) {
		return value{}, false
	}
	for _, c := range m.cells {
		if int64(c.off) == a.off && c.size == size {
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
