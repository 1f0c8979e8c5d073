package flow

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"github.com/k2cc/k2cc/bpf"
)

// number is a Value of a width of 1 to 64 bits. Bits and the unsigned range
// are those of the number zero-extended, the signed range is that of the
// number sign-extended. A Base stands for the zero-extended number. Only a
// number of width 64 is anything but a scalar.
type number struct {
	Value
	width int
}

// Unknown is a value of the kind of which no bit is known.
func Unknown(kind Kind) Value {
	return Value{Kind: kind, Mask: math.MaxUint64, UMax: math.MaxUint64, SMin: math.MinInt64, SMax: math.MaxInt64}
}

// Const is the scalar v.
func Const(v uint64) Value {
	return Value{Kind: KindScalar, Bits: v, UMin: v, UMax: v, SMin: int64(v), SMax: int64(v)}
}

// IsConst tells whether the value is known to the last bit.
func (v Value) IsConst() bool { return v.Mask == 0 }

// unknown is a scalar of the width of which nothing is known.
func unknown(width int) number {
	n := number{Unknown(KindScalar), width}
	n.Mask, n.UMax = ones(width), ones(width)
	n.SMin, n.SMax = math.MinInt64>>(64-width), math.MaxInt64>>(64-width)
	return n
}

func constant(v uint64, width int) number {
	n := number{Const(v & ones(width)), width}
	n.SMin = signed(n.Bits, width)
	n.SMax = n.SMin
	return n
}

// ones is the number of the width with all bits set.
func ones(width int) uint64 { return math.MaxUint64 >> (64 - width) }

// signed is v, of the width, as a two's complement number.
func signed(v uint64, width int) int64 { return int64(v<<(64-width)) >> (64 - width) }

// within is the scalar between low and high, unsigned.
func within(low, high uint64, width int) number {
	n := unknown(width)
	n.UMin, n.UMax = low, high
	return n.synced()
}

// known is the scalar with these known and unknown bits.
func known(b, mask uint64, width int) number {
	n := unknown(width)
	n.Bits, n.Mask = b&ones(width), mask&ones(width)
	return n.synced()
}

// synced makes known bits and ranges agree. Where they contradict each other
// the state cannot occur, and nothing is claimed.
func (n number) synced() number {
	if !n.sync() {
		return unknown(n.width)
	}
	return n
}

// sync makes each of known bits, unsigned and signed range as narrow as the
// others allow (kernel/bpf/verifier.c, reg_bounds_sync). It fails where no
// number fits all of them.
func (n *number) sync() bool {
	for range 2 {
		n.boundsFromBits()
		n.boundsFromBounds()
		if n.UMin > n.UMax || n.SMin > n.SMax || !n.bitsFromBounds() {
			return false
		}
	}
	n.boundsFromBits()
	return n.UMin <= n.UMax && n.SMin <= n.SMax
}

func (n *number) boundsFromBits() {
	sign := uint64(1) << (n.width - 1)
	n.UMin = max(n.UMin, n.Bits)
	n.UMax = min(n.UMax, n.Bits|n.Mask)
	n.SMin = max(n.SMin, signed(n.Bits|n.Mask&sign, n.width))
	n.SMax = min(n.SMax, signed(n.Bits|n.Mask&^sign, n.width))
}

// boundsFromBounds carries a range over to the other where it does not cross
// that one's wrap.
func (n *number) boundsFromBounds() {
	sign := uint64(1) << (n.width - 1)
	if n.SMin >= 0 || n.SMax < 0 {
		n.UMin = max(n.UMin, uint64(n.SMin)&ones(n.width))
		n.UMax = min(n.UMax, uint64(n.SMax)&ones(n.width))
	}
	if (n.UMin^n.UMax)&sign == 0 {
		n.SMin = max(n.SMin, signed(n.UMin, n.width))
		n.SMax = min(n.SMax, signed(n.UMax, n.width))
	}
}

// bitsFromBounds learns the bits that all numbers of the unsigned range share.
func (n *number) bitsFromBounds() bool {
	differ := uint64(1)<<bits.Len64(n.UMin^n.UMax) - 1
	return n.meetBits(n.UMin&^differ, differ)
}

// meetBits adds known bits. It fails where they contradict those known.
func (n *number) meetBits(b, mask uint64) bool {
	if (n.Bits^b)&^n.Mask&^mask != 0 {
		return false
	}
	n.Mask &= mask
	n.Bits = (n.Bits | b) &^ n.Mask
	return true
}

// meet makes n as narrow as m, a number of the same width that n is known to
// equal. It fails where they have nothing in common.
func (n *number) meet(m number) bool {
	n.UMin, n.UMax = max(n.UMin, m.UMin), min(n.UMax, m.UMax)
	n.SMin, n.SMax = max(n.SMin, m.SMin), min(n.SMax, m.SMax)
	if n.UMin > n.UMax || n.SMin > n.SMax || !n.meetBits(m.Bits, m.Mask) {
		return false
	}
	return n.sync()
}

// join makes n wide enough to hold m's numbers as well. Kind and Base stay.
func (n *number) join(m number) {
	n.Mask |= m.Mask | n.Bits ^ m.Bits
	n.Bits &^= n.Mask
	n.UMin, n.UMax = min(n.UMin, m.UMin), max(n.UMax, m.UMax)
	n.SMin, n.SMax = min(n.SMin, m.SMin), max(n.SMax, m.SMax)
	n.sync()
}

// widen takes away from n, which holds old's numbers and more, what changed
// since old, so that a loop makes it change only a few times more. Bounds that
// changed go to the next of steps, or as far as there is.
func (n *number) widen(old number, steps *steps) {
	if n.Mask != old.Mask || n.Bits != old.Bits {
		low := n.Mask & -n.Mask
		n.Mask |= ones(n.width) &^ (low - 1)
		n.Bits &^= n.Mask
	}
	top := unknown(n.width)
	if n.UMin != old.UMin {
		n.UMin = stepDown(steps.unsigned, n.UMin, top.UMin)
	}
	if n.UMax != old.UMax {
		n.UMax = stepUp(steps.unsigned, n.UMax, top.UMax)
	}
	if n.SMin != old.SMin {
		n.SMin = stepDown(steps.signed, n.SMin, top.SMin)
	}
	if n.SMax != old.SMax {
		n.SMax = stepUp(steps.signed, n.SMax, top.SMax)
	}
	n.sync()
}

// steps are numbers at which a loop's count is likely to stop, in order.
type steps struct {
	unsigned []uint64
	signed   []int64
}

// stepsOf takes them from what a function compares with.
func stepsOf(fn *bpf.Function) *steps {
	s := &steps{}
	for _, b := range fn.Blocks {
		for _, in := range b.Code {
			if !in.IsCondJump() || in.UsesSrc() {
				continue
			}
			for c := in.Imm - 1; c <= in.Imm+1; c++ {
				s.unsigned = append(s.unsigned, uint64(c))
				s.signed = append(s.signed, c)
			}
		}
	}
	slices.Sort(s.unsigned)
	slices.Sort(s.signed)
	s.unsigned, s.signed = slices.Compact(s.unsigned), slices.Compact(s.signed)
	return s
}

func stepDown[T cmp.Ordered](steps []T, v, bottom T) T {
	i, found := slices.BinarySearch(steps, v)
	switch {
	case found:
		return v
	case i == 0:
		return bottom
	}
	return steps[i-1]
}

func stepUp[T cmp.Ordered](steps []T, v, top T) T {
	i, _ := slices.BinarySearch(steps, v)
	if i == len(steps) {
		return top
	}
	return steps[i]
}
