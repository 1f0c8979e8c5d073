package encode

import "math/bits"

// byConstant is an operation with a constant as second operand, where that is
// something simpler, or nil.
func (g *graph) byConstant(o op, a *node, k uint64) *node {
	w := a.width
	power := bits.OnesCount64(k) == 1
	switch {
	case o == opAnd:
		return g.mask(a, k)
	case (o == opOr || o == opXor) && k == 0:
		return a
	case o == opXor && a.op == opXor && a.b.isConst():
		return g.binary(opXor, a.a, g.constant(a.b.k^k, w))
	case o == opMul && k == 0:
		return g.constant(0, w)
	case o == opMul && power:
		return g.shift(opShl, a, bits.TrailingZeros64(k))
	case o == opUDiv && power:
		return g.shift(opLShr, a, bits.TrailingZeros64(k))
	case o == opURem && power:
		return g.mask(a, k-1)
	case o == opShl || o == opLShr || o == opAShr:
		if k < uint64(w) {
			return g.shift(o, a, int(k))
		}
	}
	return nil
}

// shift is a shifted by less than its width, as its bits in another place.
func (g *graph) shift(o op, a *node, by int) *node {
	w := a.width
	switch {
	case by == 0:
		return a
	case o == opShl:
		return g.concat(g.low(a, w-by), g.constant(0, by))
	case o == opLShr:
		return g.zext(g.part(a, w-1, by), w)
	}
	return g.sext(g.part(a, w-1, by), w)
}

// maxRuns is up to how many runs of ones a mask is taken apart.
const maxRuns = 4

// mask is a & k: the bits that k lets through and zeros, or nil where they are
// too many.
func (g *graph) mask(a *node, k uint64) *node {
	k &= maskOf(a.width)
	starts := k &^ (k << 1)
	if bits.OnesCount64(starts) > maxRuns {
		return nil
	}
	var out *node
	above := func(n *node) {
		if out == nil {
			out = n
		} else {
			out = g.concat(n, out)
		}
	}
	for at := 0; at < a.width; {
		rest := k >> at
		if n := min(bits.TrailingZeros64(rest), a.width-at); n > 0 {
			above(g.constant(0, n))
			at += n
			continue
		}
		n := min(bits.TrailingZeros64(^rest), a.width-at)
		above(g.part(a, at+n-1, at))
		at += n
	}
	return out
}

// part is the bits hi down to lo of n, where n is computed for these alone. It
// is not for bytes of memory: they would no longer be recognised as parts of
// one number.
func (g *graph) part(n *node, hi, lo int) *node {
	return g.extract(g.low(n, hi+1), hi, lo)
}

type lowKey struct {
	n     *node
	width int
}

// low is the low bits of n, computed from the low bits of what n is made of
// where no others count.
func (g *graph) low(n *node, width int) *node {
	if width == n.width {
		return n
	}
	key := lowKey{n, width}
	if out, ok := g.lows[key]; ok {
		return out
	}
	out := g.extract(n, width-1, 0)
	switch n.op {
	case opAdd, opSub, opMul, opAnd, opOr, opXor:
		out = g.binary(n.op, g.low(n.a, width), g.low(n.b, width))
	}
	g.lows[key] = out
	return out
}

// bitwise joins two terms of which at each place one is zero, or both are
// constants, or is nil.
func (g *graph) bitwise(o op, a, b *node) *node {
	switch {
	case a == b && (o == opAnd || o == opOr):
		return a
	case a == b && o == opXor:
		return g.constant(0, a.width)
	case o != opOr && o != opXor || !holey(a) && !holey(b):
		return nil
	}
	as, bs := pieces(nil, a), pieces(nil, b)
	var out *node // built from the top
	for len(as) > 0 {
		w := min(as[0].width, bs[0].width)
		x, y := g.top(as, w), g.top(bs, w)
		as, bs = g.pop(as, w), g.pop(bs, w)
		var n *node
		switch {
		case x.isConst() && x.k == 0:
			n = y
		case y.isConst() && y.k == 0:
			n = x
		case x.isConst() && y.isConst():
			v, _ := fold(o, x, y)
			n = g.constant(v, w)
		default:
			return nil
		}
		if out == nil {
			out = n
		} else {
			out = g.concat(out, n)
		}
	}
	return out
}

// holey tells whether a term has zeros at known places.
func holey(n *node) bool { return n.op == opZExt || n.op == opConcat }

// pieces appends what n is joined of, from the top.
func pieces(out []*node, n *node) []*node {
	switch n.op {
	case opConcat:
		return pieces(pieces(out, n.a), n.b)
	case opZExt:
		out = append(out, &node{op: opConst, width: n.width - n.a.width})
		return pieces(out, n.a)
	}
	return append(out, n)
}

// top is the upper w bits of the first piece.
func (g *graph) top(ps []*node, w int) *node {
	return g.extract(g.own(ps[0]), ps[0].width-1, ps[0].width-w)
}

// pop takes the upper w bits off the pieces.
func (g *graph) pop(ps []*node, w int) []*node {
	if ps[0].width == w {
		return ps[1:]
	}
	out := append([]*node(nil), ps...)
	out[0] = g.extract(g.own(ps[0]), ps[0].width-w-1, 0)
	return out
}

// own makes a piece of zeros a node of the graph.
func (g *graph) own(n *node) *node {
	if n.op == opConst {
		return g.constant(n.k, n.width)
	}
	return n
}

// significant is how many low bits of n may be set, as far as its form tells.
func significant(n *node) int {
	switch n.op {
	case opConst:
		return bits.Len64(n.k)
	case opZExt:
		return significant(n.a)
	case opConcat:
		return significant(n.a) + n.b.width
	}
	return n.width
}

// narrowed is a sum or product of which the upper bits are zero, computed in as
// many bits as it has, or nil.
func (g *graph) narrowed(o op, a, b *node) *node {
	x, y := significant(a), significant(b)
	k := max(x, y) + 1
	if o == opMul {
		k = x + y
	}
	if k >= a.width || x == 0 || y == 0 {
		return nil
	}
	return g.zext(g.binary(o, g.low(a, k), g.low(b, k)), a.width)
}
