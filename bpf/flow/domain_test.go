package flow

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/k2cc/k2cc/bpf/semantics"
)

// member picks a number that fits n, if it finds one.
func member(rng *rand.Rand, n number) (uint64, bool) {
	for range 20 {
		v := n.Bits | rng.Uint64()&n.Mask
		switch rng.IntN(6) {
		case 0:
			v = n.UMin
		case 1:
			v = n.UMax
		case 2:
			v = uint64(n.SMin) & ones(n.width)
		case 3:
			v = uint64(n.SMax) & ones(n.width)
		}
		if n.holds(v) {
			return v, true
		}
	}
	return 0, false
}

func (n number) holds(v uint64) bool {
	s := signed(v, n.width)
	return v&^n.Mask == n.Bits && v >= n.UMin && v <= n.UMax && s >= n.SMin && s <= n.SMax
}

// randomNumber knows some bits, a range, both or all of a number, sometimes as
// an offset from a base.
func randomNumber(rng *rand.Rand, width int, bases []uint64) number {
	n := unknown(width)
	a, b := interesting(rng)&ones(width), interesting(rng)&ones(width)
	switch rng.IntN(6) {
	case 0:
		return constant(a, width)
	case 1:
		n = known(a, b, width)
		n.Bits &^= n.Mask
		n = known(n.Bits, n.Mask, width)
	case 2, 3:
		n = within(min(a, b), max(a, b), width)
	case 4:
		n.SMin, n.SMax = min(signed(a, width), signed(b, width)), max(signed(a, width), signed(b, width))
		n = n.synced()
	}
	if len(bases) > 0 && rng.IntN(3) == 0 && !n.IsConst() {
		i := rng.IntN(len(bases))
		n.Base, n.Offset = Base(10+i), int64(rng.IntN(5))
		if bases[i]%4 == 0 {
			n.Align = 4
		}
	}
	return n
}

type operator struct {
	name     string
	abstract func(d *domain, a, b number) number
	concrete func(w semantics.Words, a, b semantics.Word) semantics.Word
	shift    bool
	nonZero  bool
}

var operators = []operator{
	{name: "add", abstract: (*domain).Add, concrete: semantics.Words.Add},
	{name: "sub", abstract: (*domain).Sub, concrete: semantics.Words.Sub},
	{name: "mul", abstract: (*domain).Mul, concrete: semantics.Words.Mul},
	{name: "udiv", abstract: (*domain).UDiv, concrete: semantics.Words.UDiv, nonZero: true},
	{name: "urem", abstract: (*domain).URem, concrete: semantics.Words.URem, nonZero: true},
	{name: "sdiv", abstract: (*domain).SDiv, concrete: semantics.Words.SDiv, nonZero: true},
	{name: "srem", abstract: (*domain).SRem, concrete: semantics.Words.SRem, nonZero: true},
	{name: "and", abstract: (*domain).And, concrete: semantics.Words.And},
	{name: "or", abstract: (*domain).Or, concrete: semantics.Words.Or},
	{name: "xor", abstract: (*domain).Xor, concrete: semantics.Words.Xor},
	{name: "shl", abstract: (*domain).Shl, concrete: semantics.Words.Shl, shift: true},
	{name: "lshr", abstract: (*domain).LShr, concrete: semantics.Words.LShr, shift: true},
	{name: "ashr", abstract: (*domain).AShr, concrete: semantics.Words.AShr, shift: true},
	{name: "eq", abstract: (*domain).Eq, concrete: semantics.Words.Eq},
	{name: "ult", abstract: (*domain).ULt, concrete: semantics.Words.ULt},
	{name: "slt", abstract: (*domain).SLt, concrete: semantics.Words.SLt},
}

// placed picks a number that fits n and its base.
func placed(rng *rand.Rand, n number, bases []uint64) (uint64, bool) {
	if n.Base == 0 {
		return member(rng, n)
	}
	v := bases[n.Base-10] + uint64(n.Offset)
	return v, v <= ones(n.width) && n.holds(v)
}

func testOperator(t *testing.T, rng *rand.Rand, op operator, width int) bool {
	bases := []uint64{interesting(rng) & ones(width), interesting(rng) & ones(width)}
	a, b := randomNumber(rng, width, bases), randomNumber(rng, width, bases)
	x, ok1 := placed(rng, a, bases)
	y, ok2 := placed(rng, b, bases)
	if op.shift {
		y %= uint64(width)
		ok2 = ok2 && b.holds(y) && b.Base == 0
	}
	if !ok1 || !ok2 || op.nonZero && y == 0 {
		return false
	}
	got := op.abstract(&domain{}, a, b)
	want := op.concrete(semantics.Words{}, semantics.Word{Value: x, Width: width}, semantics.Word{Value: y, Width: width}).Value
	if !got.holds(want) {
		t.Fatalf("%s/%d: %v, %v give %v, but %#x, %#x give %#x", op.name, width, a.Value, b.Value, got.Value, x, y, want)
	}
	if got.Base != 0 && bases[got.Base-10]+uint64(got.Offset) != want {
		t.Fatalf("%s/%d: %v, %v give %v, but %#x, %#x give %#x with bases %#x", op.name, width, a.Value, b.Value, got.Value, x, y, want, bases)
	}
	if got.Align != 0 && (got.Base == 0 || bases[got.Base-10]%uint64(got.Align) != 0) {
		t.Fatalf("%s/%d: %v, %v give %v, of Align %d, with bases %#x", op.name, width, a.Value, b.Value, got.Value, got.Align, bases)
	}
	return true
}

func TestOperatorsHoldTheirResults(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for _, op := range operators {
		tried := 0
		for range 60_000 {
			if testOperator(t, rng, op, []int{64, 64, 32, 32, 8, 16, 4}[rng.IntN(7)]) {
				tried++
			}
		}
		if tried < 5_000 {
			t.Errorf("%s: only %d tried", op.name, tried)
		}
	}
}

func TestWidthsHoldTheirResults(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	d := &domain{}
	for range 100_000 {
		bases := []uint64{interesting(rng)}
		n := randomNumber(rng, 64, bases)
		x, ok := placed(rng, n, bases)
		if !ok {
			continue
		}
		check := func(what string, got number, want uint64) {
			if !got.holds(want) || got.Base != 0 && bases[got.Base-10]+uint64(got.Offset) != want {
				t.Fatalf("%s of %v is %v, but of %#x it is %#x", what, n.Value, got.Value, x, want)
			}
		}
		lo := rng.IntN(64)
		hi := lo + rng.IntN(64-lo)
		part := d.Extract(n, hi, lo)
		px := x >> lo & ones(hi-lo+1)
		check("extract", part, px)
		check("zext", d.ZExt(part, 64), px)
		check("sext", d.SExt(part, 64), uint64(signed(px, hi-lo+1)))
		if hi < 63 {
			check("concat", d.Concat(d.Extract(n, 63, hi+1), part), x>>(hi+1)<<(hi-lo+1)|px)
		}
		m := randomNumber(rng, 64, nil)
		y, ok := member(rng, m)
		if !ok {
			continue
		}
		check("either", d.Ite(unknown(1), n, m), []uint64{x, y}[rng.IntN(2)])
		j := n
		j.join(m)
		check("join", j, x)
		w := j
		w.widen(n, &steps{unsigned: []uint64{5, 100}, signed: []int64{-7, 90}})
		if !w.holds(x) || !w.holds(y) {
			t.Fatalf("%v widened from %v to %v loses %#x or %#x", j.Value, n.Value, w.Value, x, y)
		}
	}
}

func TestSteps(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for range 10_000 {
		var steps []uint64
		for range rng.IntN(6) {
			steps = append(steps, interesting(rng))
		}
		slices.Sort(steps)
		v := interesting(rng)
		if down, up := stepDown(steps, v, 0), stepUp(steps, v, math.MaxUint64); down > v || up < v {
			t.Fatalf("%d among %d: down to %d, up to %d", v, steps, down, up)
		}
	}
}
