package encode

import (
	"math/rand/v2"

	"github.com/k2cc/k2cc/bpf/flow"
)

// region is how far from each other samples put pointers, in bytes.
const region = 1 << 32

// sampler gives a check's variables values that its facts allow.
type sampler struct {
	ob    *obligation
	rng   *rand.Rand
	seed  uint64
	bases map[*node]flow.Kind // variables that accesses are based on
	homes map[flow.Kind]uint64
	taken uint64
	close bool // pointers of one kind lie close to each other
	v     *valuation
}

func newSampler(ob *obligation, seed uint64) *sampler {
	s := &sampler{
		ob:    ob,
		rng:   rand.New(rand.NewPCG(seed, 1)),
		seed:  seed,
		bases: map[*node]flow.Kind{},
		homes: map[flow.Kind]uint64{},
		close: seed%2 == 1,
	}
	for _, mc := range []*machine{ob.old, ob.new} {
		for _, e := range mc.events {
			s.bases[e.addr.base] = e.addr.kind
		}
	}
	s.v = newValuation(ob.entry.g, s.variable)
	return s
}

// variable is a value for a variable, by what it stands for.
func (s *sampler) variable(n *node) uint64 {
	mem := s.ob.entry.mem
	if i, ok := mem.ofVar[n]; ok {
		b := mem.initial[i]
		return mix(s.seed, s.v.of(mem.g.term(b.addr)), uint64(b.epoch))
	}
	if in, ok := s.ob.entry.byRoot[n]; ok {
		x := s.input(in)
		if n.align > 1 {
			x &^= uint64(n.align) - 1
		}
		return x
	}
	if k, ok := s.bases[n]; ok {
		return s.pointer(k)
	}
	switch {
	case n.width == 64 && n.name[0] == 's', n.width == 64 && !n.narrow && s.rng.IntN(2) == 0:
		return s.pointer(flow.KindAny)
	case n.narrow && n.width == 64:
		return s.number() & maskOf(32)
	case n.narrow:
		return 0
	}
	return s.number()
}

// mix is a number that depends on all of its operands (the finalizer of
// MurmurHash3).
func mix(parts ...uint64) uint64 {
	var x uint64
	for _, p := range parts {
		x = (x ^ p) * 0x9e3779b97f4a7c15
		x ^= x >> 33
		x *= 0xff51afd7ed558ccd
		x ^= x >> 33
	}
	return x
}

// pointer is a place of its own, or near another pointer of the kind.
func (s *sampler) pointer(k flow.Kind) uint64 {
	if home, ok := s.homes[k]; ok && s.close {
		return home + uint64(s.rng.IntN(5))*4 - 8
	}
	s.taken++
	at := (s.taken+1)*region + 0x1000
	s.homes[k] = at
	return at
}

func (s *sampler) input(in *input) uint64 {
	kind, based := s.bases[in.root]
	switch {
	case len(in.facts) > 0:
		return s.fitting(in)
	case in.null && !based && s.rng.IntN(4) == 0:
		return 0
	case based:
		return s.pointer(kind)
	case in.kind.IsPointer(), in.kind == flow.KindAny && s.rng.IntN(2) == 0:
		return s.pointer(in.kind)
	}
	return s.number()
}

// fitting is a number that the facts about a variable allow, if it finds one.
func (s *sampler) fitting(in *input) uint64 {
	f := in.facts[0]
	x, _ := witness(f.value)
	out := x - f.offset
	for range 32 {
		x := s.number()
		if span := f.value.UMax - f.value.UMin; span != ^uint64(0) && s.rng.IntN(4) != 0 {
			x = f.value.UMin + x%(span+1)
		}
		x = x&f.value.Mask | f.value.Bits
		if in.allows(x - f.offset) {
			return x - f.offset
		}
	}
	return out
}

// allows tells whether the variable may be x.
func (in *input) allows(x uint64) bool {
	for _, f := range in.facts {
		if !holds(f.value, x+f.offset) {
			return false
		}
	}
	return true
}

// corners are numbers at which operations change their ways.
var corners = []uint64{0, 1, 2, 7, 8, 15, 31, 32, 63, 64, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff,
	0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_0000_0000, 1<<63 - 1, 1 << 63}

// number is any number; the first samples have the same one everywhere.
func (s *sampler) number() uint64 {
	if fixed := []uint64{0, 1, ^uint64(0)}; s.seed < uint64(len(fixed)) {
		return fixed[s.seed]
	}
	switch s.rng.IntN(4) {
	case 0:
		return s.rng.Uint64()
	case 1:
		return s.rng.Uint64() >> s.rng.IntN(64)
	case 2:
		return -corners[s.rng.IntN(len(corners))]
	}
	return corners[s.rng.IntN(len(corners))] + uint64(s.rng.IntN(3)) - 1
}

// allowed tells whether the values are a state: what the facts say of the
// variables holds, and bytes at one address are one byte.
func (ob *obligation) allowed(v *valuation) bool {
	for _, n := range ob.entry.g.vars {
		for _, a := range n.assume {
			if v.of(a) == 0 {
				return false
			}
		}
	}
	return len(ob.clashes(v)) == 0
}

// knownByte is a byte that one of the codes found in memory.
type knownByte struct {
	addr  address
	epoch int
	byte  *node
}

// knownBytes is the bytes that were read before they were written, and those
// that facts tell.
func (m *memory) knownBytes() []knownByte {
	var out []knownByte
	for _, b := range m.initial {
		out = append(out, knownByte(b))
	}
	for _, c := range m.cells {
		for i := range c.size {
			at := address{flow.KindStack, m.frame, int64(c.off + i)}
			out = append(out, knownByte{at, 0, bytePart(m.g, c.v.node, c.size, i, m.big)})
		}
	}
	return out
}

// clashes finds bytes at one address, for the values given, that differ.
func (ob *obligation) clashes(v *valuation) (out [][2]knownByte) {
	type place struct {
		at    uint64
		epoch int
	}
	m := ob.entry.mem
	at := map[place][]knownByte{}
	for _, b := range m.knownBytes() {
		p := place{v.of(m.g.term(b.addr)), b.epoch}
		for _, o := range at[p] {
			if o.byte != b.byte && !m.disjoint(o.addr, b.addr) && v.of(o.byte) != v.of(b.byte) {
				out = append(out, [2]knownByte{o, b})
			}
		}
		at[p] = append(at[p], b)
	}
	return out
}

// differs is the first equation that fails for the values given.
func (ob *obligation) differs(v *valuation) (equation, bool) {
	for _, eq := range ob.equations {
		if eq.old != eq.new && v.of(eq.old) != v.of(eq.new) {
			return eq, true
		}
	}
	return equation{}, false
}
