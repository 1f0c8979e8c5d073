package encode

import "github.com/k2cc/k2cc/bpf/flow"

// numeric tells whether bits and ranges are known of a value: of what is or may
// be a number, not of pointers.
func numeric(v flow.Value) bool { return v.Kind == flow.KindScalar || v.Kind == flow.KindAny }

// bounded tells whether anything is known of the numbers that v may be.
func bounded(v flow.Value) bool {
	u := flow.Unknown(v.Kind)
	u.MaybeNull, u.Base, u.Offset, u.Align = v.MaybeNull, v.Base, v.Offset, v.Align
	return numeric(v) && v != u
}

// holds tells whether x is one of the numbers that v allows. Of pointers
// nothing is said.
func holds(v flow.Value, x uint64) bool {
	return !numeric(v) ||
		x&^v.Mask == v.Bits && x >= v.UMin && x <= v.UMax && int64(x) >= v.SMin && int64(x) <= v.SMax
}

// witness is a number that v allows, if there is one.
func witness(v flow.Value) (uint64, bool) {
	if !numeric(v) {
		return 0, true
	}
	// The signed range is one or two unsigned ones.
	for _, from := range []uint64{v.UMin, max(v.UMin, uint64(v.SMin)), max(v.UMin, 1<<63)} {
		if x, ok := nextMatch(v.Bits, v.Mask, from); ok && holds(v, x) {
			return x, true
		}
	}
	return 0, false
}

// nextMatch is the smallest number from low on whose known bits are right.
func nextMatch(bits, mask, low uint64) (uint64, bool) {
	if bits&mask != 0 {
		return 0, false
	}
	x := low&mask | bits
	if x == low {
		return x, true
	}
	top := uint64(1) << 63
	for (x^low)&top == 0 {
		top >>= 1
	}
	if x < low { // the known bit is 0: something above it has to be raised
		for up := top << 1; ; up <<= 1 {
			if up == 0 {
				return 0, false
			}
			if mask&up != 0 && low&up == 0 {
				x, top = x|up, up
				break
			}
		}
	}
	return x&^(mask&(top-1)) | bits, true
}
