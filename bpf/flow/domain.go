package flow

import (
	"math/bits"

	"github.com/k2cc/k2cc/bpf/semantics"
)

// domain computes with numbers of which a part is known.
type domain struct {
	// leaked says that an operation took a pointer into the own frame for
	// something else, so that its result may lead into the frame.
	leaked bool
}

var _ semantics.Domain[number] = (*domain)(nil)

// scalar is n with whatever kind it had forgotten.
func (d *domain) scalar(n number) number {
	if n.Kind == KindStack {
		d.leaked = true
	}
	n.Kind, n.MaybeNull = KindScalar, false
	return n
}

// keep is result, which is known to equal a moved by delta as numbers without
// wrapping at the width, with a's Base.
func keep(result, a number, delta int64) number {
	if a.Base != 0 && !result.IsConst() {
		result.Base, result.Offset, result.Align = a.Base, a.Offset+delta, a.Align
	}
	return result
}

// Const is the number v.
func (*domain) Const(v uint64, width int) number { return constant(v, width) }

// Add is a + b. A pointer plus a scalar is a pointer of the same kind.
func (d *domain) Add(a, b number) number {
	out := addRange(a, b)
	out.Kind = d.sumKind(a, b)
	switch {
	case b.IsConst():
		out = addConst(out, a, b.Bits)
	case a.IsConst():
		out = addConst(out, b, a.Bits)
	}
	return asKind(out)
}

// asKind forgets the bits and ranges of a pointer, which say nothing.
func asKind(n number) number {
	if n.Kind.IsPointer() {
		v := Unknown(n.Kind)
		v.MaybeNull, v.Base, v.Offset, v.Align = n.MaybeNull, n.Base, n.Offset, n.Align
		n.Value = v
	}
	return n
}

// addConst gives sum, which is a + c, a's Base where that is what it means.
func addConst(sum, a number, c uint64) number {
	switch {
	case a.width == 64:
		return keep(sum, a, int64(c))
	case a.UMax+c <= ones(a.width):
		return keep(sum, a, int64(c))
	case a.UMin+c > ones(a.width):
		return keep(sum, a, int64(c)-int64(ones(a.width))-1) // wraps for every a
	}
	return sum
}

// sumKind is the kind of a + b. The verifier refuses to add two pointers, and
// to add to what may be null.
func (d *domain) sumKind(a, b number) Kind {
	switch {
	case a.width < 64 || a.Kind == KindScalar && b.Kind == KindScalar:
		return KindScalar
	case movable(a) && !b.Kind.IsPointer():
		return a.Kind
	case movable(b) && !a.Kind.IsPointer():
		return b.Kind
	}
	d.scalar(a)
	d.scalar(b)
	return KindAny
}

func movable(n number) bool { return n.Kind.IsPointer() && !n.MaybeNull }

func addRange(a, b number) number {
	n := unknown(a.width)
	n.Bits, n.Mask = addBits(a.Bits, a.Mask, b.Bits, b.Mask, n.width)
	low, over := bits.Add64(a.UMin, b.UMin, 0)
	high, wraps := bits.Add64(a.UMax, b.UMax, 0)
	if wraps == over && low>>1>>(n.width-1) == high>>1>>(n.width-1) {
		n.UMin, n.UMax = low&ones(n.width), high&ones(n.width)
	}
	smin, smax := a.SMin+b.SMin, a.SMax+b.SMax
	if fits(smin, n.width) && fits(smax, n.width) &&
		!addWraps(a.SMin, b.SMin, smin) && !addWraps(a.SMax, b.SMax, smax) {
		n.SMin, n.SMax = smin, smax
	}
	return n.synced()
}

// addBits is the known bits of a sum (kernel/bpf/tnum.c, tnum_add).
func addBits(ab, am, bb, bm uint64, width int) (b, mask uint64) {
	sum := ab + bb
	mask = (am + bm + sum ^ sum | am | bm) & ones(width)
	return sum & ones(width) &^ mask, mask
}

func addWraps(a, b, sum int64) bool { return (a^sum)&(b^sum) < 0 }

func fits(v int64, width int) bool { return signed(uint64(v), width) == v }

// Sub is a - b. The difference of two pointers is a scalar.
func (d *domain) Sub(a, b number) number {
	if a.Base != 0 && a.Base == b.Base {
		return constant(uint64(a.Offset-b.Offset), a.width)
	}
	out := subRange(a, b)
	switch {
	case a.width < 64 || a.Kind == KindScalar && b.Kind == KindScalar:
	case a.Kind == KindScalar, a.Kind.IsPointer() && b.Kind.IsPointer():
		// A scalar: the verifier refuses to subtract a pointer from one, but for
		// negation. Whoever knows the other side knows where the frame is.
		d.scalar(a)
		d.scalar(b)
	case movable(a) && b.Kind == KindScalar:
		out.Kind = a.Kind
	default:
		d.scalar(a)
		d.scalar(b)
		out.Kind = KindAny
	}
	if b.IsConst() {
		out = addConst(out, a, -b.Bits&ones(a.width))
	}
	return asKind(out)
}

func subRange(a, b number) number {
	n := unknown(a.width)
	diff := a.Bits - b.Bits
	high, low := diff+a.Mask, diff-b.Mask
	n.Mask = (high ^ low | a.Mask | b.Mask) & ones(n.width)
	n.Bits = diff & ones(n.width) &^ n.Mask
	if a.UMin >= b.UMax {
		n.UMin, n.UMax = a.UMin-b.UMax, a.UMax-b.UMin
	}
	smin, smax := a.SMin-b.SMax, a.SMax-b.SMin
	if fits(smin, n.width) && fits(smax, n.width) &&
		!addWraps(smin, b.SMax, a.SMin) && !addWraps(smax, b.SMin, a.SMax) {
		n.SMin, n.SMax = smin, smax
	}
	return n.synced()
}

// Mul is a * b.
func (d *domain) Mul(a, b number) number {
	switch {
	case a.IsConst() && a.Bits == 1:
		return d.scalar(b)
	case b.IsConst() && b.Bits == 1:
		return d.scalar(a)
	}
	d.scalar(a)
	d.scalar(b)
	n := unknown(a.width)
	n.Bits, n.Mask = mulBits(a, b)
	if over, high := bits.Mul64(a.UMax, b.UMax); over == 0 && high <= ones(n.width) {
		n.UMin, n.UMax = a.UMin*b.UMin, high
	}
	return n.synced()
}

// mulBits is the known bits of a product: known ones multiply, and every bit
// that may be set in one operand may add what may be set in the other
// (kernel/bpf/tnum.c, tnum_mul).
func mulBits(a, b number) (known, mask uint64) {
	var sumBits, sumMask uint64
	ab, am, bb, bm := a.Bits, a.Mask, b.Bits, b.Mask
	for ab|am != 0 {
		if ab&1 != 0 {
			sumBits, sumMask = addBits(sumBits, sumMask, 0, bm, 64)
		} else if am&1 != 0 {
			sumBits, sumMask = addBits(sumBits, sumMask, 0, bb|bm, 64)
		}
		ab, am, bb, bm = ab>>1, am>>1, bb<<1, bm<<1
	}
	return addBits(a.Bits*b.Bits, 0, sumBits, sumMask, a.width)
}

// UDiv is a / b, where b is known to be not zero.
func (d *domain) UDiv(a, b number) number {
	if b.IsConst() && b.Bits == 1 {
		return d.scalar(a)
	}
	d.scalar(a)
	d.scalar(b)
	if b.UMax == 0 {
		return unknown(a.width)
	}
	return within(a.UMin/b.UMax, a.UMax/max(b.UMin, 1), a.width)
}

// URem is a % b, where b is known to be not zero.
func (d *domain) URem(a, b number) number {
	a, b = d.scalar(a), d.scalar(b)
	switch {
	case b.UMax == 0:
		return unknown(a.width)
	case a.UMax < b.UMin:
		return a
	case a.IsConst() && b.IsConst():
		return constant(a.Bits%b.Bits, a.width)
	case b.IsConst() && b.Bits&(b.Bits-1) == 0:
		return d.And(a, constant(b.Bits-1, a.width))
	}
	return within(0, min(a.UMax, b.UMax-1), a.width)
}

// SDiv is a / b truncated, where b is known to be not zero.
func (d *domain) SDiv(a, b number) number {
	if a.SMin >= 0 && b.SMin >= 0 {
		return d.UDiv(a, b)
	}
	d.scalar(a)
	d.scalar(b)
	if !a.IsConst() || !b.IsConst() || b.Bits == 0 {
		return unknown(a.width)
	}
	return constant(uint64(a.SMin/b.SMin), a.width)
}

// SRem is the remainder of SDiv, where b is known to be not zero.
func (d *domain) SRem(a, b number) number {
	if a.SMin >= 0 && b.SMin >= 0 {
		return d.URem(a, b)
	}
	d.scalar(a)
	d.scalar(b)
	if !a.IsConst() || !b.IsConst() || b.Bits == 0 {
		return unknown(a.width)
	}
	return constant(uint64(a.SMin%b.SMin), a.width)
}

// clear tells whether all bits of mask are known to be zero.
func (n number) clear(mask uint64) bool { return (n.Bits|n.Mask)&mask == 0 }

// set tells whether all bits of mask are known to be set.
func (n number) set(mask uint64) bool { return n.Bits&mask == mask }

// And is a & b. The verifier refuses bit operations on pointers.
func (d *domain) And(a, b number) number {
	a, b = d.scalar(a), d.scalar(b)
	switch {
	case b.set(a.Bits | a.Mask):
		return a
	case a.set(b.Bits | b.Mask):
		return b
	}
	n := known(a.Bits&b.Bits, (a.Bits|a.Mask)&(b.Bits|b.Mask)&^(a.Bits&b.Bits), a.width)
	n.UMax = min(n.UMax, a.UMax, b.UMax)
	return n.synced()
}

// Or is a | b.
func (d *domain) Or(a, b number) number {
	a, b = d.scalar(a), d.scalar(b)
	switch {
	case a.set(b.Bits | b.Mask):
		return a
	case b.set(a.Bits | a.Mask):
		return b
	}
	ones := a.Bits | b.Bits
	n := known(ones, (a.Mask|b.Mask)&^ones, a.width)
	n.UMin = max(n.UMin, a.UMin, b.UMin)
	return n.synced()
}

// Xor is a ^ b.
func (d *domain) Xor(a, b number) number {
	a, b = d.scalar(a), d.scalar(b)
	switch {
	case a.Base != 0 && a.Base == b.Base && a.Offset == b.Offset:
		return constant(0, a.width)
	case b.clear(ones(b.width)):
		return a
	case a.clear(ones(a.width)):
		return b
	}
	mask := a.Mask | b.Mask
	return known((a.Bits^b.Bits)&^mask, mask, a.width)
}
