package encode

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

// differsSomewhere runs old and new code in the interpreter, in n random states
// that the facts allow, and says what differs in one of them, if anything. The
// states are made from the facts alone: nothing here asks the checker.
func differsSomewhere(t testing.TB, w *windows.Window, code []bpf.Instruction, n int) string {
	t.Helper()
	fit := 0
	p, err := newPair(w, code)
	if err != nil {
		t.Fatal(err)
	}
	calls, err := flow.Follow(w.Fn, w.BigEndian, w.Facts, w.Code)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(n) {
		in, ok := randomWorld(w, calls, seed)
		if !ok {
			continue
		}
		fit++
		what, err := p.run(in)
		if err != nil {
			t.Fatal(err)
		}
		if what != "" {
			return fmt.Sprintf("state %d: %s", seed, what)
		}
	}
	if fit < n/100 {
		t.Errorf("only %d of %d states fit the facts", fit, n)
	}
	return ""
}

// states makes values for a window's facts.
type states struct {
	rng   *rand.Rand
	bases map[flow.Base]uint64
	homes map[flow.Kind]uint64
	next  uint64
	frame uint64
}

// randomWorld is a state that the facts allow, or not ok where none came up.
func randomWorld(w *windows.Window, calls []flow.Call, seed uint64) (world, bool) {
	s := newStates(seed)
	cx := &Counterexample{Memory: map[uint64]byte{}, Symbols: map[int32]uint64{}}
	for r, v := range w.Facts.Regs {
		cx.Regs[r] = s.value(v)
	}
	for _, c := range w.Facts.Stack {
		x := s.value(c.Value)
		for i := range int(c.Size) {
			shift := 8 * i
			if w.BigEndian {
				shift = 8 * (int(c.Size) - 1 - i)
			}
			cx.Memory[s.frame+uint64(int64(c.Off))+uint64(i)] = byte(x >> shift)
		}
	}
	for i, sym := range w.Fn.Symbols {
		cx.Symbols[int32(i+1)] = s.place(flow.KindOther)
		if sym.Kind == bpf.SymbolCore {
			cx.Symbols[int32(i+1)] = s.rng.Uint64N(1 << 12)
		}
	}
	for i, sym := range w.Fn.Symbols {
		if sym.Anchor != 0 {
			start := flow.Value{Kind: flow.KindMapValue, Base: flow.SymbolBase(sym.Anchor), Align: w.Fn.Symbol(sym.Anchor).Align}
			cx.Symbols[int32(i+1)] = s.value(start) + uint64(sym.Offset)
		}
	}
	memory := s.rng.Uint64()
	// Only where it is known which fields hold pointers, the rest are numbers.
	wide := w.Fn.Context != bpf.ContextOther && slices.ContainsFunc(w.Facts.Regs[:], func(v flow.Value) bool {
		return v.Kind == flow.KindContext && v.Base == flow.ContextBase
	})
	fields := map[Field]uint64{}
	open := func(n int) uint64 { return mix(memory, uint64(n), 7) }
	in := world{cx, func(at uint64) byte { return byte(mix(memory, at)) }, func(f Field) uint64 {
		if _, ok := fields[f]; !ok {
			fields[f] = s.number()
			if !wide {
				fields[f] &= maskOf(8 * f.Size)
			}
		}
		return fields[f]
	}, open, s.callees(w, calls, memory)}
	stack := func(off int) byte {
		at := s.frame + uint64(int64(off))
		if b, ok := cx.Memory[at]; ok {
			return b
		}
		return in.fill(at)
	}
	return in, w.Facts.Contains(cx.Regs, stack, w.BigEndian) == nil
}

// callees do what the window's calls may do: they leave any result of its kind,
// change all memory that others see, and of the frame what they may write, or
// some of it.
func (s *states) callees(w *windows.Window, calls []flow.Call, memory uint64) func(int, *outcome) behavior {
	var all []behavior
	for n, c := range calls {
		b := behavior{r0: s.value(c.Result), keeps: c.MayEnd && s.rng.IntN(2) == 0, frame: map[uint64]byte{}}
		b.fill = func(at uint64) byte { return byte(mix(memory, at, uint64(n)+1)) }
		writes := 0
		if c.Frame || c.Writes != (flow.Bytes{}) {
			writes = s.rng.IntN(3)
		}
		for off := -flow.StackSize; off < 0 && writes > 0; off++ {
			if (c.Frame || c.Writes.Has(off)) && s.rng.IntN(2) < writes {
				b.frame[s.frame+uint64(int64(off))] = byte(s.rng.Uint32())
			}
		}
		all = append(all, b)
	}
	tables := map[*outcome]*table{}
	return func(n int, at *outcome) behavior {
		b := all[n]
		if tables[at] == nil {
			tables[at] = &table{seed: memory, shared: w.Shared[flow.KindMapValue], there: map[string]uint64{}}
		}
		tables[at].call(calls[n], &b, at)
		return b
	}
}

// value is a number for v. Values of one base agree.
func (s *states) value(v flow.Value) uint64 {
	if b, ok := s.bases[v.Base]; ok && v.Base != 0 {
		return b + uint64(v.Offset)
	}
	var x uint64
	switch {
	case v.Kind == flow.KindScalar:
		x = s.scalar(v)
	case v.Kind == flow.KindStack:
		x = s.frame - 8*s.rng.Uint64N(9)
	case v.MaybeNull && s.rng.IntN(3) == 0:
	case v.Kind == flow.KindAny && s.rng.IntN(4) > 0:
		// A number, or a pointer to anything but the frame.
		kinds := []flow.Kind{flow.KindPacket, flow.KindMapValue, flow.KindOther, flow.KindAny}
		x = s.place(kinds[s.rng.IntN(len(kinds))])
	case v.Kind.IsPointer():
		x = s.place(v.Kind)
	default:
		x = s.number()
	}
	if v.Align != 0 {
		x -= (x - uint64(v.Offset)) % uint64(v.Align)
	}
	if v.Base != 0 {
		s.bases[v.Base] = x - uint64(v.Offset)
	}
	return x
}

// The n-th home of a pointer is at n<<homeShift + homeOffset: the first few
// addresses fit 32 bits, as the fields of contexts do.
const homeShift, homeOffset = 28, 0x1000

// place is an address in memory of a kind, often close to the last one.
func (s *states) place(k flow.Kind) uint64 {
	if home, ok := s.homes[k]; ok && s.rng.IntN(2) == 0 {
		return home + s.rng.Uint64N(9) - 4
	}
	s.next++
	s.homes[k] = s.next<<homeShift + homeOffset
	return s.homes[k]
}

func (s *states) scalar(v flow.Value) uint64 {
	for range 100 {
		x := s.number()
		if s.rng.IntN(3) > 0 && v.UMax-v.UMin != ^uint64(0) {
			x = v.UMin + s.rng.Uint64N(v.UMax-v.UMin+1)
		} else if s.rng.IntN(3) > 0 && v.SMax-v.SMin > 0 {
			x = uint64(v.SMin + s.rng.Int64N(v.SMax-v.SMin))
		}
		if x = x&v.Mask | v.Bits; x >= v.UMin && x <= v.UMax && int64(x) >= v.SMin && int64(x) <= v.SMax {
			return x
		}
	}
	return v.UMin
}

func (s *states) number() uint64 {
	switch s.rng.IntN(4) {
	case 0:
		return s.rng.Uint64()
	case 1:
		return s.rng.Uint64() >> s.rng.IntN(64)
	case 2:
		return -uint64(s.rng.IntN(300))
	}
	return 1<<s.rng.IntN(64) + uint64(s.rng.IntN(3)) - 1
}
