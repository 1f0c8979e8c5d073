package local

import (
	"math/bits"

	"github.com/k2cc/k2cc/bpf/semantics"
)

// word is a number of n bits; the others are zero.
type word struct {
	v vec
	n int
}

// domain reads the description of instructions over values known bit by bit.
type domain struct{ t *table }

var _ semantics.Domain[word] = domain{}

// Names of operations whose result is an unknown number.
const (
	opAdd uint8 = 1 + iota
	opSub
	opMul
	opUDiv
	opURem
	opSDiv
	opSRem
	opAnd
	opOr
	opXor
	opShl
	opLShr
	opAShr
	opULt
	opSLt
)

func (d domain) Const(v uint64, width int) word {
	return word{constVec(v & below(width)), width}
}

// name is the key of an operation's result. Operands of one that commutes come
// in one order.
func (d domain) name(op uint8, a, b word) key {
	x, y := int32(d.t.intern(&a.v)), int32(d.t.intern(&b.v))
	switch op {
	case opAdd, opMul, opAnd, opOr, opXor:
		x, y = min(x, y), max(x, y)
	}
	return key{kind: keyOp, op: op, a: x, b: y, c: int64(a.n)}
}

// opaque is the result of an operation, or what f makes of two constants.
func (d domain) opaque(op uint8, a, b word, f func(x, y uint64) uint64) word {
	x, xok := a.v.constant()
	y, yok := b.v.constant()
	if xok && yok && f != nil {
		return d.Const(f(x, y), a.n)
	}
	var out vec
	out.unknown(d.t.leaf(d.name(op, a, b)), below(a.n))
	return word{out, a.n}
}

func (d domain) Add(a, b word) word {
	ra, rb := d.t.intern(&a.v), d.t.intern(&b.v)
	switch a.n {
	case 64:
		if c, ok := b.v.constant(); ok {
			return word{*d.t.vec(d.t.plus(ra, int64(c))), 64}
		}
		if c, ok := a.v.constant(); ok {
			return word{*d.t.vec(d.t.plus(rb, int64(c))), 64}
		}
	case 32:
		return word{d.t.sum32(ra, rb), 32}
	}
	return word{d.t.add(&a.v, &b.v, a.n, d.name(opAdd, a, b)), a.n}
}

func (d domain) Sub(a, b word) word {
	if c, ok := b.v.constant(); ok {
		return d.Add(a, d.Const(-c, b.n))
	}
	if a.v == b.v {
		return d.Const(0, a.n)
	}
	return d.opaque(opSub, a, b, func(x, y uint64) uint64 { return x - y })
}

func (d domain) Mul(a, b word) word {
	for range 2 {
		if c, ok := b.v.constant(); ok {
			switch {
			case c == 0:
				return d.Const(0, a.n)
			case c&(c-1) == 0:
				return d.Shl(a, d.Const(uint64(bits.TrailingZeros64(c)), b.n))
			}
		}
		a, b = b, a
	}
	return d.opaque(opMul, a, b, func(x, y uint64) uint64 { return x * y })
}

func (d domain) UDiv(a, b word) word {
	return d.opaque(opUDiv, a, b, func(x, y uint64) uint64 { return x / y })
}

func (d domain) URem(a, b word) word {
	return d.opaque(opURem, a, b, func(x, y uint64) uint64 { return x % y })
}

func (d domain) SDiv(a, b word) word { return d.opaque(opSDiv, a, b, nil) }
func (d domain) SRem(a, b word) word { return d.opaque(opSRem, a, b, nil) }

// bitwise combines bit by bit where f knows the result.
func (d domain) bitwise(op uint8, a, b word, f func(x, y bit) (bit, bool)) word {
	var out vec
	var rest uint64
	for i := range a.n {
		v, ok := f(a.v[i], b.v[i])
		if !ok {
			rest |= 1 << i
		}
		out[i] = v
	}
	if rest != 0 {
		out.unknown(d.t.leaf(d.name(op, a, b)), rest)
	}
	return word{out, a.n}
}

func (d domain) And(a, b word) word {
	return d.bitwise(opAnd, a, b, func(x, y bit) (bit, bool) {
		switch {
		case x == zero || y == zero:
			return zero, true
		case x == one || x == y:
			return y, true
		}
		return x, y == one
	})
}

func (d domain) Or(a, b word) word {
	return d.bitwise(opOr, a, b, func(x, y bit) (bit, bool) {
		switch {
		case x == one || y == one:
			return one, true
		case x == zero || x == y:
			return y, true
		}
		return x, y == zero
	})
}

func (d domain) Xor(a, b word) word {
	return d.bitwise(opXor, a, b, func(x, y bit) (bit, bool) {
		switch {
		case x == y:
			return zero, true
		case x == zero:
			return y, true
		case y == zero:
			return x, true
		case x.known() && y.known():
			return one, true
		}
		if x == one {
			x, y = y, x
		}
		if y == one {
			return d.t.not(x), true
		}
		return zero, false
	})
}

func (d domain) Shl(a, b word) word {
	c, ok := b.v.constant()
	if !ok {
		return d.opaque(opShl, a, b, nil)
	}
	var out vec
	copy(out[min(int(c), a.n):a.n], a.v[:a.n])
	return word{out, a.n}
}

func (d domain) LShr(a, b word) word {
	c, ok := b.v.constant()
	if !ok {
		return d.opaque(opLShr, a, b, nil)
	}
	var out vec
	copy(out[:], a.v[min(int(c), a.n):a.n])
	return word{out, a.n}
}

func (d domain) AShr(a, b word) word {
	c, ok := b.v.constant()
	if !ok {
		return d.opaque(opAShr, a, b, nil)
	}
	out := d.LShr(a, b)
	for i := max(0, a.n-int(c)); i < a.n; i++ {
		out.v[i] = a.v[a.n-1]
	}
	return out
}

func (d domain) Eq(a, b word) word {
	var out vec
	out[0] = d.t.eq(&a.v, &b.v)
	return word{out, 1}
}

// narrow takes off the bits from which on a and b are zero.
func narrow(a, b word) (word, word) {
	n := a.n
	for n > 1 && a.v[n-1] == zero && b.v[n-1] == zero {
		n--
	}
	a.n, b.n = n, n
	return a, b
}

func (d domain) ULt(a, b word) word {
	a, b = narrow(a, b)
	w := d.opaque(opULt, a, b, func(x, y uint64) uint64 { return uint64(truth(x < y)) })
	return word{w.v.slice(0, 1), 1}
}

// SLt is ULt where both signs are known to be zero.
func (d domain) SLt(a, b word) word {
	if a.v[a.n-1] == zero && b.v[b.n-1] == zero {
		return d.ULt(a, b)
	}
	if c, ok := b.v.constant(); ok && c == 0 {
		return word{a.v.slice(a.n-1, 1), 1} // the sign itself
	}
	w := d.opaque(opSLt, a, b, nil)
	return word{w.v.slice(0, 1), 1}
}

func truth(b bool) bit {
	if b {
		return one
	}
	return zero
}

func (d domain) Ite(cond, a, b word) word {
	switch {
	case cond.v[0] == one || a.v == b.v:
		return a
	case cond.v[0] == zero:
		return b
	}
	k := key{kind: keyIte, a: int32(d.t.intern(&a.v)), b: int32(d.t.intern(&b.v)), c: int64(cond.v[0])}
	var out vec
	out.unknown(d.t.leaf(k), below(a.n))
	return word{out, a.n}
}

func (d domain) Extract(v word, hi, lo int) word {
	return word{v.v.slice(lo, hi-lo+1), hi - lo + 1}
}

func (d domain) ZExt(v word, width int) word { return word{v.v, width} }

func (d domain) SExt(v word, width int) word {
	for i := v.n; i < width; i++ {
		v.v[i] = v.v[v.n-1]
	}
	v.n = width
	return v
}

func (d domain) Concat(hi, lo word) word {
	out := lo
	copy(out.v[lo.n:], hi.v[:hi.n])
	out.n = lo.n + hi.n
	return out
}
