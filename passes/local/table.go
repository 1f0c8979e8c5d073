package local

import (
	"cmp"
	"slices"

	"github.com/k2cc/k2cc/bpf/flow"
)

// ref names a value in a table. Equal values that the table can tell to be
// equal have the same ref, in every version of a window's code. The zero ref
// is no value: what must not be read.
type ref int32

// value is what a table knows of a 64-bit value.
type value struct {
	vec  vec
	kind flow.Kind
	// null says that a pointer may be null, and leads nowhere then.
	null bool
	// The value is what root stands for plus off. A root above zero is a ref
	// that stands for itself; one below is a flow.Base, negated.
	root int32
	off  int64
}

// key says where an unknown number comes from: equal keys are equal numbers.
type key struct {
	kind keyKind
	op   uint8
	a, b int32
	c    int64
}

type keyKind uint8

const (
	keyBase    keyKind = iota // a: flow.Base, c: offset
	keyReg                    // a: register before the window
	keyCell                   // a: index of a stack cell before the window
	keyOp                     // op, a and b: operands, c: width
	keyIte                    // a, b: values, c: condition
	keySum                    // a: root, c: offset
	keySum32                  // a: root, c: offset modulo 2^32
	keyByte                   // a: root, b: last write that may have changed it, c: offset
	keyField                  // a context field: a: root, b: last write, c: offset<<8 | size
	keyPseudo                 // what the kernel puts in: b: pseudo source, c: immediate
	keySymbol3                // a symbol in a 32-bit immediate: a: bpf.Ref, c: immediate
	keyInst                   // a: instruction's id: what only that one yields
	keyEq                     // a: list of bit pairs, see table.eq
	keyNot                    // a: the bit turned round
)

type sum struct {
	root int32
	off  int64
}

// table interns values and unknown numbers for one window.
type table struct {
	big    bool
	values []value // by ref
	refs   map[vec]ref
	leaves map[key]int32
	keys   []key // by leaf
	sums   map[sum]ref
	// roots32 says which values are another one plus a constant, cut to 32 bits.
	roots32 map[ref]sum
	eqs     map[string]int32
	pairs   [][]uint64 // by number of eqs: pairs of bits, the smaller above
}

func newTable(bigEndian bool) *table {
	return &table{
		big:     bigEndian,
		values:  make([]value, 1),
		refs:    make(map[vec]ref),
		leaves:  make(map[key]int32),
		keys:    make([]key, 1),
		sums:    make(map[sum]ref),
		roots32: make(map[ref]sum),
		eqs:     make(map[string]int32),
		pairs:   make([][]uint64, 1),
	}
}

// leaf is the unknown number with the key.
func (t *table) leaf(k key) int32 {
	if l, ok := t.leaves[k]; ok {
		return l
	}
	l := int32(len(t.keys))
	t.keys = append(t.keys, k)
	t.leaves[k] = l
	return l
}

// unknown fills the bits of mask with those of the leaf.
func (v *vec) unknown(leaf int32, mask uint64) {
	for i := range v {
		if mask>>i&1 != 0 {
			v[i] = leafBit(leaf, i)
		}
	}
}

// number is a value of which nothing is known but its key.
func (t *table) number(k key, kind flow.Kind) ref {
	var v vec
	v.unknown(t.leaf(k), ^uint64(0))
	r := t.intern(&v)
	t.values[r].kind = kind
	return r
}

// intern is the ref of a value, which counts as a scalar if it is new.
func (t *table) intern(v *vec) ref {
	if r, ok := t.refs[*v]; ok {
		return r
	}
	r := ref(len(t.values))
	t.values = append(t.values, value{vec: *v, kind: flow.KindScalar, root: int32(r)})
	t.refs[*v] = r
	return r
}

func (t *table) constant(c uint64) ref {
	v := constVec(c)
	return t.intern(&v)
}

func (t *table) at(r ref) *value { return &t.values[r] }

func (t *table) vec(r ref) *vec { return &t.values[r].vec }

// plus is a + c.
func (t *table) plus(a ref, c int64) ref {
	v := *t.at(a)
	if n, ok := v.vec.constant(); ok {
		return t.constant(n + uint64(c))
	}
	k := sum{v.root, v.off + c}
	switch {
	case c == 0:
		return a
	case k.off == 0 && k.root > 0:
		return ref(k.root)
	}
	if r, ok := t.sums[k]; ok {
		return r
	}
	r := t.newSum(v, k, uint64(c))
	t.sums[k] = r
	return r
}

func (t *table) newSum(v value, k sum, c uint64) ref {
	var out vec
	if v.kind == flow.KindScalar {
		n := constVec(c)
		out = t.add(&v.vec, &n, 64, key{kind: keySum, a: k.root, c: k.off})
	} else {
		out.unknown(t.leaf(key{kind: keySum, a: k.root, c: k.off}), ^uint64(0))
	}
	before := len(t.values)
	r := t.intern(&out)
	if int(r) == before {
		n := t.at(r)
		n.kind, n.root, n.off = v.kind, k.root, k.off
	}
	return r
}

// add is a + b cut to n bits; high names what of it is not known.
func (t *table) add(a, b *vec, n int, name key) vec {
	if v, ok := disjoint(a, b, n); ok {
		return v
	}
	aOnes, aMask := a.parts()
	bOnes, bMask := b.parts()
	// The sum's unknown bits, as the kernel's tnum_add finds them.
	low := aOnes + bOnes
	unknown := (low + aMask + bMask ^ low) | aMask | bMask
	out := constVec(low &^ unknown & below(n))
	out.unknown(t.leaf(name), unknown&below(n))
	if n == 64 {
		low := t.lowSum(a, b)
		for i, b := range low[:32] {
			if !out[i].known() {
				out[i] = b
			}
		}
	}
	keepLow(&out, a, b, n)
	keepLow(&out, b, a, n)
	return out
}

// lowSum is the low half of a sum, which a sum of 32 bits has as well.
func (t *table) lowSum(a, b *vec) vec {
	lowA, lowB := a.slice(0, 32), b.slice(0, 32)
	return t.sum32(t.intern(&lowA), t.intern(&lowB))
}

// sum32 is a + b cut to 32 bits, of values that have no more.
func (t *table) sum32(a, b ref) vec {
	if _, ok := t.vec(a).constant(); ok {
		a, b = b, a
	}
	name := key{kind: keyOp, op: opAdd, a: int32(min(a, b)), b: int32(max(a, b)), c: 32}
	c, isConst := t.vec(b).constant()
	if !isConst {
		return t.add(t.vec(a), t.vec(b), 32, name)
	}
	from, ok := t.roots32[a]
	if !ok {
		from = sum{root: int32(a)}
	}
	from.off = (from.off + int64(c)) & 0xffffffff
	if from.off == 0 {
		return *t.vec(ref(from.root))
	}
	out := t.add(t.vec(a), t.vec(b), 32, key{kind: keySum32, a: from.root, c: from.off})
	if r := t.intern(&out); int32(r) != from.root {
		t.roots32[r] = from
	}
	return out
}

// disjoint adds where no two ones can meet.
func disjoint(a, b *vec, n int) (out vec, ok bool) {
	for i := range n {
		switch {
		case a[i] == zero:
			out[i] = b[i]
		case b[i] == zero:
			out[i] = a[i]
		default:
			return out, false
		}
	}
	return out, true
}

// keepLow copies to a sum the low bits of a up to where b may have a one.
func keepLow(out, a, b *vec, n int) {
	for i := range n {
		if b[i] != zero {
			return
		}
		out[i] = a[i]
	}
}

// eq is the truth value of a == b: two comparisons that need the same pairs of
// bits to be equal are the same.
func (t *table) eq(a, b *vec) bit {
	var pairs []uint64
	for i := range a {
		lo, hi := min(a[i], b[i]), max(a[i], b[i])
		switch {
		case lo == hi:
		case hi.known():
			return zero
		default:
			pairs = append(pairs, uint64(lo)<<32|uint64(hi))
		}
	}
	if len(pairs) == 0 {
		return one
	}
	slices.SortFunc(pairs, cmp.Compare[uint64])
	pairs = slices.Compact(pairs)
	if p := pairs[0]; len(pairs) == 1 && p>>32 == uint64(zero) {
		return t.not(bit(p & 0xffffffff))
	} else if len(pairs) == 1 && p>>32 == uint64(one) {
		return bit(p & 0xffffffff)
	}
	name := make([]byte, 0, 8*len(pairs))
	for i, p := range pairs {
		if i > 0 && p&0xffffffff == pairs[i-1]&0xffffffff && p>>32 <= 1 && pairs[i-1]>>32 <= 1 {
			return zero // one bit cannot be both
		}
		for s := 0; s < 64; s += 8 {
			name = append(name, byte(p>>s))
		}
	}
	id, ok := t.eqs[string(name)]
	if !ok {
		id = int32(len(t.pairs))
		t.eqs[string(name)] = id
		t.pairs = append(t.pairs, pairs)
	}
	return leafBit(t.leaf(key{kind: keyEq, a: id}), 0)
}

// not is an unknown bit turned round.
func (t *table) not(b bit) bit {
	if k := t.keys[b.leaf()]; k.kind == keyNot {
		return bit(k.a)
	}
	return leafBit(t.leaf(key{kind: keyNot, a: int32(b)}), 0)
}
