package semantics

import "math/bits"

// Word is a number of 1 to 64 bits.
type Word struct {
	Value uint64 // bits from Width on are zero
	Width int
}

// Words is the concrete domain: numbers of known value.
type Words struct{}

var _ Domain[Word] = Words{}

// word cuts v to width bits.
func word(v uint64, width int) Word {
	return Word{v & (^uint64(0) >> (64 - width)), width}
}

func truth(b bool) Word {
	if b {
		return Word{1, 1}
	}
	return Word{0, 1}
}

// signed is the value as a two's complement number.
func (w Word) signed() int64 {
	shift := 64 - w.Width
	return int64(w.Value<<shift) >> shift
}

// Const is v cut to width bits.
func (Words) Const(v uint64, width int) Word { return word(v, width) }

// Add is a + b.
func (Words) Add(a, b Word) Word { return word(a.Value+b.Value, a.Width) }

// Sub is a - b.
func (Words) Sub(a, b Word) Word { return word(a.Value-b.Value, a.Width) }

// Mul is a * b.
func (Words) Mul(a, b Word) Word { return word(a.Value*b.Value, a.Width) }

// UDiv is the unsigned quotient, all ones where b is zero, as in SMT-LIB.
func (Words) UDiv(a, b Word) Word {
	if b.Value == 0 {
		return word(^uint64(0), a.Width)
	}
	return word(a.Value/b.Value, a.Width)
}

// URem is the unsigned remainder, a where b is zero, as in SMT-LIB.
func (Words) URem(a, b Word) Word {
	if b.Value == 0 {
		return a
	}
	return word(a.Value%b.Value, a.Width)
}

// SDiv is the signed quotient; where b is zero it is 1 for a negative a and -1
// for others, as in SMT-LIB.
func (Words) SDiv(a, b Word) Word {
	switch {
	case b.Value == 0 && a.signed() < 0:
		return word(1, a.Width)
	case b.Value == 0:
		return word(^uint64(0), a.Width)
	}
	// Go defines the most negative number divided by -1 as itself.
	return word(uint64(a.signed()/b.signed()), a.Width)
}

// SRem is the signed remainder with the sign of a; a where b is zero.
func (Words) SRem(a, b Word) Word {
	if b.Value == 0 {
		return a
	}
	return word(uint64(a.signed()%b.signed()), a.Width)
}

// And is a & b.
func (Words) And(a, b Word) Word { return Word{a.Value & b.Value, a.Width} }

// Or is a | b.
func (Words) Or(a, b Word) Word { return Word{a.Value | b.Value, a.Width} }

// Xor is a ^ b.
func (Words) Xor(a, b Word) Word { return Word{a.Value ^ b.Value, a.Width} }

// Shl is a shifted left.
func (Words) Shl(a, b Word) Word { return word(a.Value<<b.Value, a.Width) }

// LShr is a shifted right, zeros coming in.
func (Words) LShr(a, b Word) Word { return Word{a.Value >> b.Value, a.Width} }

// AShr is a shifted right, copies of the sign coming in.
func (Words) AShr(a, b Word) Word { return word(uint64(a.signed()>>b.Value), a.Width) }

// Eq tells whether a and b are the same number.
func (Words) Eq(a, b Word) Word { return truth(a.Value == b.Value) }

// ULt tells whether a is below b, both unsigned.
func (Words) ULt(a, b Word) Word { return truth(a.Value < b.Value) }

// SLt tells whether a is below b, both signed.
func (Words) SLt(a, b Word) Word { return truth(a.signed() < b.signed()) }

// Ite is a where cond holds, else b.
func (Words) Ite(cond, a, b Word) Word {
	if cond.Value != 0 {
		return a
	}
	return b
}

// Extract is the bits hi down to lo.
func (Words) Extract(v Word, hi, lo int) Word { return word(v.Value>>lo, hi-lo+1) }

// ZExt widens v with zeros.
func (Words) ZExt(v Word, width int) Word { return Word{v.Value, width} }

// SExt widens v with copies of its sign.
func (Words) SExt(v Word, width int) Word { return word(uint64(v.signed()), width) }

// Concat has hi's bits above lo's.
func (Words) Concat(hi, lo Word) Word {
	return Word{hi.Value<<lo.Width | lo.Value, hi.Width + lo.Width}
}

// swapBytes turns the low n bytes of v round and clears the others.
func swapBytes(v uint64, n int) uint64 {
	return bits.ReverseBytes64(v) >> (64 - 8*n)
}
