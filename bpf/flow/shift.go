package flow

import "math/bits"

// amount is by's range cut to the amounts there are below the width.
func amount(by number) (low, high uint64) {
	top := uint64(by.width - 1)
	return min(by.UMin, top), min(by.UMax, top)
}

// Shl is a << by, where by is known to be below the width.
func (d *domain) Shl(a, by number) number {
	a, by = d.scalar(a), d.scalar(by)
	low, high := amount(by)
	if high == 0 {
		return a
	}
	n := unknown(a.width)
	if low == high {
		n.Bits, n.Mask = a.Bits<<low&ones(n.width), a.Mask<<low&ones(n.width)
	} else {
		zeros := uint64(bits.TrailingZeros64(a.Bits|a.Mask)) + low
		n.Mask = ones(n.width) &^ (1<<min(zeros, 64) - 1)
	}
	if a.UMax<<high>>high == a.UMax && a.UMax<<high <= ones(n.width) {
		n.UMin, n.UMax = a.UMin<<low, a.UMax<<high
	}
	return n.synced()
}

// LShr is a >> by with zeros coming in, where by is known to be below the
// width.
func (d *domain) LShr(a, by number) number {
	a, by = d.scalar(a), d.scalar(by)
	low, high := amount(by)
	if high == 0 {
		return a
	}
	n := unknown(a.width)
	if low == high {
		n.Bits, n.Mask = a.Bits>>low, a.Mask>>low
	}
	n.UMin, n.UMax = a.UMin>>high, a.UMax>>low
	return n.synced()
}

// AShr is a >> by with copies of the sign coming in, where by is known to be
// below the width.
func (d *domain) AShr(a, by number) number {
	a, by = d.scalar(a), d.scalar(by)
	low, high := amount(by)
	if high == 0 {
		return a
	}
	n := unknown(a.width)
	if low == high {
		n.Mask = uint64(signed(a.Mask, a.width)>>low) & ones(n.width)
		n.Bits = uint64(signed(a.Bits, a.width)>>low) & ones(n.width) &^ n.Mask
	}
	n.SMin = min(a.SMin>>low, a.SMin>>high)
	n.SMax = max(a.SMax>>low, a.SMax>>high)
	return n.synced()
}

func truth(b bool) number {
	if b {
		return constant(1, 1)
	}
	return constant(0, 1)
}

// Eq tells whether a and b are the same number.
func (d *domain) Eq(a, b number) number {
	switch {
	case a.Base != 0 && a.Base == b.Base:
		return truth(uint64(a.Offset-b.Offset)&ones(a.width) == 0)
	case a.IsConst() && b.IsConst():
		return truth(a.Bits == b.Bits)
	case nonNull(a) && b.IsConst() && b.Bits == 0, nonNull(b) && a.IsConst() && a.Bits == 0:
		return truth(false)
	}
	if both := a; !both.meet(number{b.Value, a.width}) {
		return truth(false)
	}
	return unknown(1)
}

// nonNull tells whether n is a pointer of which the verifier as well knows that
// it is not null.
func nonNull(n number) bool {
	switch n.Kind {
	case KindStack, KindContext, KindMapValue, KindMap:
		return !n.MaybeNull
	}
	return false
}

// ULt tells whether a is below b, both unsigned.
func (d *domain) ULt(a, b number) number {
	switch {
	case a.Base != 0 && a.Base == b.Base && a.Offset == b.Offset, a.UMin >= b.UMax:
		return truth(false)
	case a.UMax < b.UMin:
		return truth(true)
	}
	return unknown(1)
}

// SLt tells whether a is below b, both signed.
func (d *domain) SLt(a, b number) number {
	switch {
	case a.Base != 0 && a.Base == b.Base && a.Offset == b.Offset, a.SMin >= b.SMax:
		return truth(false)
	case a.SMax < b.SMin:
		return truth(true)
	}
	return unknown(1)
}

// Ite is a where cond holds, else b.
func (d *domain) Ite(cond, a, b number) number {
	if cond.IsConst() {
		if cond.Bits != 0 {
			return a
		}
		return b
	}
	if a.Value == b.Value {
		return a
	}
	a, b = d.scalar(a), d.scalar(b)
	sameBase := a.Base != 0 && a.Base == b.Base && a.Offset == b.Offset
	a.join(b)
	if !sameBase {
		a.Base, a.Offset, a.Align = 0, 0, 0
	}
	return a
}

// Extract is the bits hi down to lo.
func (d *domain) Extract(v number, hi, lo int) number {
	if lo == 0 && hi == v.width-1 {
		return v
	}
	v = d.scalar(v)
	if lo > 0 {
		v = d.LShr(v, constant(uint64(lo), v.width))
	}
	width := hi - lo + 1
	if v.width == width {
		return v
	}
	n := known(v.Bits, v.Mask, width)
	if v.UMin>>width != v.UMax>>width {
		return n
	}
	n.UMin, n.UMax = max(n.UMin, v.UMin&ones(width)), min(n.UMax, v.UMax&ones(width))
	n = n.synced()
	if v.UMax <= ones(width) {
		n = keep(n, v, 0)
	}
	return n
}

// ZExt widens v with zeros.
func (d *domain) ZExt(v number, width int) number {
	if width == v.width {
		return v
	}
	n := known(v.Bits, v.Mask, width)
	n.UMin, n.UMax = v.UMin, v.UMax
	return keep(n.synced(), v, 0)
}

// SExt widens v with copies of its sign.
func (d *domain) SExt(v number, width int) number {
	if width == v.width {
		return v
	}
	n := unknown(width)
	n.Mask = uint64(signed(v.Mask, v.width)) & ones(width)
	n.Bits = uint64(signed(v.Bits, v.width)) & ones(width) &^ n.Mask
	n.SMin, n.SMax = v.SMin, v.SMax
	n = n.synced()
	if v.SMin >= 0 {
		n = keep(n, v, 0)
	}
	return n
}

// Concat has hi's bits above lo's.
func (d *domain) Concat(hi, lo number) number {
	n := unknown(hi.width + lo.width)
	n.Bits, n.Mask = hi.Bits<<lo.width|lo.Bits, hi.Mask<<lo.width|lo.Mask
	n.UMin, n.UMax = hi.UMin<<lo.width|lo.UMin, hi.UMax<<lo.width|lo.UMax
	n = n.synced()
	if hi.IsConst() && hi.Bits == 0 {
		n = keep(n, lo, 0)
	}
	return n
}
