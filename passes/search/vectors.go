package search

import (
	"math"
	"math/rand/v2"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/windows"
)

// builder makes states that a window's facts allow.
type builder struct {
	w    *windows.Window
	rng  *rand.Rand
	pool []uint64 // numbers that the window's code mentions
	syms int      // number of symbols

	n       int // states made so far
	regions uint64
	bases   map[flow.Base]uint64
}

// attempts is how often the builder tries to meet facts that it met by no
// choice of numbers before.
const attempts = 24

// lane makes the next state; it reports false where it finds none or the
// window's code can't run from it.
func (b *builder) lane() (*lane, bool) {
	b.n++
	for range attempts {
		if l, ok := b.attempt(); ok {
			return l, true
		}
	}
	return nil, false
}

func (b *builder) attempt() (*lane, bool) {
	f := &b.w.Facts
	b.bases = map[flow.Base]uint64{}
	b.regions = 0
	// Frames are aligned to their size, as far as eight bytes matter.
	frame := uint64(0xffffc900_00100000) + 8*(b.rng.Uint64N(1<<12))
	b.bases[flow.FrameBase] = frame
	var regs [bpf.NumRegisters]uint64
	for r := range regs {
		v, ok := b.value(&f.Regs[r])
		if !ok {
			return nil, false
		}
		regs[r] = v
	}
	regs[bpf.R10] = frame
	mem := b.memory()
	for _, c := range f.Stack {
		v, ok := b.value(&c.Value)
		if !ok {
			return nil, false
		}
		var buf [8]byte
		putBytes(buf[:c.Size], v, b.w.BigEndian)
		for i := range uint64(c.Size) {
			mem.first[frame+uint64(int64(c.Off))+i] = buf[i]
		}
	}
	return newLane(b.w, b.env(regs), regs, mem)
}

func (b *builder) env(regs [bpf.NumRegisters]uint64) env {
	e := newEnv(b.w, regs)
	e.seed = b.rng.Uint64()
	e.syms = make([]uint64, b.syms+1)
	for i := range e.syms {
		// An offset into a structure, or an address.
		e.syms[i] = b.rng.Uint64N(1 << (4 + b.rng.Uint64N(12)))
		if b.isAddress(bpf.Ref(i)) {
			e.syms[i] = b.region()
		}
	}
	return e
}

func (b *builder) isAddress(r bpf.Ref) bool {
	if b.w.Fn == nil {
		return false
	}
	s := b.w.Fn.Symbol(r)
	return s != nil && s.Kind != bpf.SymbolCore
}

func newEnv(w *windows.Window, regs [bpf.NumRegisters]uint64) env {
	e := env{big: w.BigEndian}
	if w.Fn != nil {
		e.context = w.Fn.Context
	}
	for r := range regs {
		if v := &w.Facts.Regs[r]; v.Kind == flow.KindContext {
			e.ctx = regs[r]
			if v.Base != 0 {
				e.ctx = regs[r] - uint64(v.Offset)
			}
		}
	}
	return e
}

func (b *builder) memory() *sparse {
	m := &sparse{big: b.w.BigEndian, first: map[uint64]byte{}, now: map[uint64]byte{},
		read: map[uint64]bool{}, touched: map[uint64]bool{}}
	m.fill = func(_ uint64, size int) uint64 {
		return b.number() & (math.MaxUint64 >> (64 - 8*size))
	}
	return m
}

// value is a number that v allows.
func (b *builder) value(v *flow.Value) (uint64, bool) {
	if v.Base == 0 {
		return b.fresh(v)
	}
	if base, ok := b.bases[v.Base]; ok {
		n := base + uint64(v.Offset)
		return n, v.Kind != flow.KindScalar || allowed(v, n)
	}
	n, ok := b.fresh(v)
	b.bases[v.Base] = n - uint64(v.Offset)
	return n, ok
}

func (b *builder) fresh(v *flow.Value) (uint64, bool) {
	switch {
	case v.Kind == flow.KindScalar:
		return b.scalar(v)
	case v.Kind == flow.KindStack:
		return b.bases[flow.FrameBase] - 8*(1+b.rng.Uint64N(60)), true
	case v.MaybeNull && b.n%8 == 5:
		return 0, true
	case v.Kind == flow.KindAny && b.n%4 == 1:
		return b.number(), true
	}
	if b.n%4 == 3 && (v.Kind == flow.KindPacket || v.Kind == flow.KindPacketEnd) {
		// Where one packet is, and how long, is what code asks of these.
		return 0xffff8880_50000000 + b.rng.Uint64N(1<<(4+b.rng.Uint64N(9))), true
	}
	return b.region(), true
}

// region is an address with nothing else about it, but in every fourth state,
// where addresses lie together: pointers of one kind may lead to the same
// bytes.
func (b *builder) region() uint64 {
	b.regions++
	if b.n%4 == 3 {
		return 0xffff8880_40000000 + 0x4_0000 + b.rng.Uint64N(8)
	}
	return 0xffff8880_40000000 + b.regions<<20 + b.rng.Uint64N(1<<8)
}

// number is any number, often one that matters to the code.
func (b *builder) number() uint64 {
	switch r := b.rng.Uint64(); r % 8 {
	case 0, 1:
		if len(b.pool) > 0 {
			return b.pool[b.rng.IntN(len(b.pool))] + b.rng.Uint64N(3) - 1
		}
		return b.rng.Uint64()
	case 2:
		return b.rng.Uint64N(256)
	case 3:
		return -b.rng.Uint64N(256)
	case 4:
		return b.rng.Uint64() >> b.rng.Uint64N(64)
	case 5:
		return 1<<b.rng.Uint64N(64) - b.rng.Uint64N(2)
	}
	return b.rng.Uint64()
}

// scalar is a number that v allows.
func (b *builder) scalar(v *flow.Value) (uint64, bool) {
	for range attempts {
		n := b.number()&v.Mask | v.Bits
		switch b.rng.Uint64N(6) {
		case 0: // Ranges come from comparisons: what matters is near their ends.
			n = v.UMin + b.rng.Uint64N(3)
		case 1:
			n = v.UMax - b.rng.Uint64N(3)
		}
		if allowed(v, n) {
			return n, true
		}
		if width := v.UMax - v.UMin; width < math.MaxUint64 {
			n = v.UMin + b.number()%(width+1)
		} else if width := uint64(v.SMax - v.SMin); width < math.MaxUint64 {
			n = uint64(v.SMin) + b.number()%(width+1)
		}
		if n = n&v.Mask | v.Bits; allowed(v, n) {
			return n, true
		}
	}
	for _, n := range [...]uint64{v.UMin, v.UMax, uint64(v.SMin), uint64(v.SMax), v.Bits} {
		if allowed(v, n) {
			return n, true
		}
	}
	return 0, false
}

// allowed tells whether a scalar of which v is known may be n.
func allowed(v *flow.Value, n uint64) bool {
	return n&^v.Mask == v.Bits && n >= v.UMin && n <= v.UMax && int64(n) >= v.SMin && int64(n) <= v.SMax
}

// replay makes a lane of a counterexample.
func (b *builder) replay(c *encode.Counterexample) (*lane, bool) {
	e := newEnv(b.w, c.Regs)
	e.seed = b.rng.Uint64()
	e.syms = make([]uint64, b.syms+1)
	for r, v := range c.Symbols {
		if r > 0 && int(r) < len(e.syms) {
			e.syms[r] = v
		}
	}
	m := b.memory()
	for addr, v := range c.Memory {
		m.first[addr] = v
	}
	m.fill = func(uint64, int) uint64 { return 0 }
	return newLane(b.w, e, c.Regs, m)
}
