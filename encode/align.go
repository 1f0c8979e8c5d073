package encode

import (
	"math/bits"

	"github.com/k2cc/k2cc/bpf/flow"
)

// whole tells whether a new access may stand for a group of old ones without
// being torn: a misaligned access that crosses a cache line may be several to
// others, which would see, say, half of a 32-bit number that the old code wrote
// at once. What is aligned to its size is done at once, and what stands for one
// old access, or a part of it, is torn no more than that was. Single bytes
// promise nothing about what is next to them.
func (g *grouper) whole(ev event, group []event) bool {
	if !sharedKind(g.w.Shared, ev.addr.kind) || ev.addr.alignedTo(ev.size) {
		return true
	}
	stands, bytes := 0, true
	for _, e := range group {
		if !sharedKind(g.w.Shared, e.addr.kind) {
			continue // memory of our own, which the new access only meets where it is not torn to others
		}
		if !e.store && e.addr.base == ev.addr.base && !e.addr.meets(e.size, ev.addr, ev.size) {
			continue // a load of something else
		}
		stands++
		bytes = bytes && e.size == 1
	}
	return stands <= 1 || bytes
}

// sharedKind tells whether others may access memory of the kind. What a pointer
// of unknown kind leads to may be such memory.
func sharedKind(shared map[flow.Kind]bool, k flow.Kind) bool {
	return shared[k] || !k.IsPointer()
}

// align has a variable be a multiple of a power of two; 0 and 1 say nothing.
func (g *graph) align(x *node, to uint8) {
	if to < 2 || to <= x.align {
		return
	}
	x.align = to
	low := g.extract(x, bits.Len8(to)-2, 0)
	x.assume = append(x.assume, g.compare(opEq, low, g.constant(0, low.width)))
}

// alignedTo tells whether the address is known to be a multiple of size, a power
// of two.
func (a address) alignedTo(size int) bool {
	return a.off%int64(size) == 0 && 1<<min(zeros(a.base, maxDepth), 8) >= size
}

// maxDepth bounds how far into a term zeros looks.
const maxDepth = 8

// zeros is a number of lowest bits of n that are known to be zero.
func zeros(n *node, depth int) int {
	if depth == 0 {
		return 0
	}
	of := func(x *node) int { return zeros(x, depth-1) }
	switch n.op {
	case opConst:
		return min(bits.TrailingZeros64(n.k), n.width)
	case opVar:
		return max(bits.Len8(n.align)-1, 0)
	case opAdd, opSub, opOr, opXor:
		return min(of(n.a), of(n.b))
	case opAnd:
		return max(of(n.a), of(n.b))
	case opMul:
		return min(of(n.a)+of(n.b), n.width)
	case opShl:
		if n.b.isConst() && n.b.k < uint64(n.width) {
			return min(of(n.a)+int(n.b.k), n.width)
		}
		return of(n.a)
	case opIte:
		return min(of(n.b), of(n.c))
	case opZExt, opSExt:
		return of(n.a)
	case opExtract:
		return min(max(of(n.a)-int(n.k), 0), n.width)
	case opConcat:
		if low := of(n.b); low < n.b.width {
			return low
		}
		return n.b.width + of(n.a)
	}
	return 0
}
