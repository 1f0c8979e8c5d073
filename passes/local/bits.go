package local

// bit is one bit of a value: a known zero or one, or bit i of an unknown
// number, its leaf, written leaf<<6 | i.
type bit uint32

const (
	zero bit = 0
	one  bit = 1
)

func leafBit(leaf int32, i int) bit { return bit(leaf)<<6 | bit(i) }

// known tells whether the bit is a constant.
func (b bit) known() bool { return b <= one }

// leaf is the unknown number that the bit is part of.
func (b bit) leaf() int32 { return int32(b >> 6) }

// vec is a 64-bit value bit by bit, the lowest first.
type vec [64]bit

func constVec(c uint64) (v vec) {
	for i := range v {
		v[i] = bit(c >> i & 1)
	}
	return v
}

// parts is the vec's known ones and its unknown bits.
func (v *vec) parts() (ones, unknown uint64) {
	for i, b := range v {
		switch {
		case b == one:
			ones |= 1 << i
		case b != zero:
			unknown |= 1 << i
		}
	}
	return ones, unknown
}

// constant is the value of a vec without unknown bits.
func (v *vec) constant() (uint64, bool) {
	ones, unknown := v.parts()
	return ones, unknown == 0
}

// agree tells whether a and b are the same in the bits of care.
func agree(a, b *vec, care uint64) bool {
	for i := range a {
		if care>>i&1 != 0 && a[i] != b[i] {
			return false
		}
	}
	return true
}

// slice is the bits lo to lo+n-1, moved down and zero-extended.
func (v *vec) slice(lo, n int) (out vec) {
	copy(out[:n], v[lo:lo+n])
	return out
}

// below is the mask of the low n bits.
func below(n int) uint64 {
	if n >= 64 {
		return ^uint64(0)
	}
	return 1<<n - 1
}
