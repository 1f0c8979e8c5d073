package encode

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
	"github.com/k2cc/k2cc/windows"
)

// Around a pointer there are reach bytes of memory below it and as many above.
// The first pointer of a kind is not far from the next, so that they may meet.
const reach = 256

// flatPair runs a window's code and a replacement in a Runner.
type flatPair struct {
	w        *windows.Window
	old, new *semantics.Runner
	readable [bpf.NumRegisters]bool // what the old code leaves readable
}

func newFlatPair(w *windows.Window, code []bpf.Instruction) (*flatPair, error) {
	kinds, err := newPair(w, code)
	if err != nil {
		return nil, err
	}
	p := &flatPair{w: w}
	for r, k := range kinds.old.kinds {
		p.readable[r] = k != flow.KindNone
	}
	if p.old, err = semantics.NewRunner(w.Code, w.BigEndian); err != nil {
		return nil, err
	}
	p.new, err = semantics.NewRunner(code, w.BigEndian)
	return p, err
}

// difference runs both codes in n random states that the facts allow and in
// which the old code stays within memory, of some more that it tries. It says
// what differs in one, if anything, and in how many it ran.
func (p *flatPair) difference(n int) (what string, ran int) {
	var start, a, b semantics.Flat
	for seed := uint64(0); ran < n && seed < uint64(2*n); seed++ {
		if !flatState(p.w, seed, &start) {
			continue
		}
		a.CopyFrom(&start)
		if p.old.Run(&a) != nil {
			continue
		}
		ran++
		b.CopyFrom(&start)
		if err := p.new.Run(&b); err != nil {
			return fmt.Sprintf("state %d: %v", seed, err), ran
		}
		if what := p.compare(&a, &b); what != "" {
			return fmt.Sprintf("state %d: %s", seed, what), ran
		}
	}
	return "", ran
}

func (p *flatPair) compare(a, b *semantics.Flat) string {
	if a.Taken != b.Taken {
		return "the branch"
	}
	for r, live := range p.w.Needs.Regs {
		if p.readable[r] && (a.Regs[r]^b.Regs[r])&live != 0 {
			return fmt.Sprintf("r%d: %#x and %#x, of which %#x is needed", r, a.Regs[r], b.Regs[r], live)
		}
	}
	for i := range a.Windows {
		x, y := a.Windows[i].Data, b.Windows[i].Data
		for j := range x {
			if x[j] != y[j] && (i > 0 || p.w.Needs.Stack.Has(j-flow.StackSize)) {
				return fmt.Sprintf("the byte at %#x: %#x and %#x", a.Windows[i].Addr+uint64(j), x[j], y[j])
			}
		}
	}
	return ""
}

// flatState makes f a state that the facts of w allow, with the frame in its
// first window. It reports false where it finds none. Nothing here asks the
// checker.
func flatState(w *windows.Window, seed uint64, f *semantics.Flat) bool {
	s := newStates(seed)
	for r, v := range w.Facts.Regs {
		f.Regs[r] = s.value(v)
	}
	type cell struct {
		off, size int
		x         uint64
	}
	cells := make([]cell, 0, 16)
	for _, c := range w.Facts.Stack {
		cells = append(cells, cell{int(c.Off), int(c.Size), s.value(c.Value)})
	}
	f.Symbols = nil
	for _, sym := range w.Fn.Symbols {
		v := s.place(flow.KindOther)
		switch sym.Kind {
		case bpf.SymbolCore:
			v = s.rng.Uint64N(1 << 12)
		case bpf.SymbolData:
			v = s.place(flow.KindMapValue)
		}
		f.Symbols = append(f.Symbols, v)
	}
	for i, sym := range w.Fn.Symbols {
		if sym.Anchor != 0 {
			f.Symbols[i] = f.Symbols[sym.Anchor-1]&^7 + uint64(sym.Offset)
		}
	}
	packet := s.place(flow.KindPacket)
	s.memory(f)
	frame := f.Windows[0].Data
	for _, c := range cells {
		write(frame[flow.StackSize+c.off:][:c.size], c.x, w.BigEndian)
	}
	for r, v := range w.Facts.Regs {
		if v.Base == flow.ContextBase && v.Kind == flow.KindContext {
			s.fields(w, f, f.Regs[r]-uint64(v.Offset), packet)
			break
		}
	}
	stack := func(off int) byte { return frame[flow.StackSize+off] }
	return w.Facts.Contains(f.Regs, stack, w.BigEndian) == nil
}

// memory makes the frame and random memory around every pointer given out.
func (s *states) memory(f *semantics.Flat) {
	at := []uint64{s.frame - flow.StackSize}
	for i := range s.next {
		at = append(at, (i+1)<<homeShift+homeOffset-reach)
	}
	if len(f.Windows) != len(at) {
		f.Windows = make([]semantics.Window, len(at))
	}
	for i := range f.Windows {
		w := &f.Windows[i]
		w.Addr = at[i]
		w.Data = slices.Grow(w.Data[:0], 2*reach)[:2*reach]
		for j := 0; j < len(w.Data); j += 8 {
			binary.LittleEndian.PutUint64(w.Data[j:], s.rng.Uint64())
		}
	}
}

// fields puts pointers to the packet where the context has them (struct xdp_md
// and struct __sk_buff in include/uapi/linux/bpf.h), cut to the fields' four
// bytes.
func (s *states) fields(w *windows.Window, f *semantics.Flat, context, packet uint64) {
	var data, end int
	switch w.Fn.Context {
	case bpf.ContextXDP:
		data, end = 0, 4
	case bpf.ContextSKB:
		data, end = 76, 80
	default:
		return
	}
	for i := range f.Windows {
		m := &f.Windows[i]
		if off := context - m.Addr; off < uint64(len(m.Data)) && int(off)+end+4 <= len(m.Data) {
			write(m.Data[int(off)+data:][:4], packet, w.BigEndian)
			write(m.Data[int(off)+end:][:4], packet+uint64(s.rng.IntN(64)), w.BigEndian)
		}
	}
}

func write(to []byte, x uint64, bigEndian bool) {
	for i := range to {
		at := i
		if bigEndian {
			at = len(to) - 1 - i
		}
		to[at] = byte(x >> (8 * i))
	}
}

// newStates is a maker of values for one state.
func newStates(seed uint64) *states {
	s := &states{
		rng:   rand.New(rand.NewPCG(seed, 99)),
		bases: map[flow.Base]uint64{},
		homes: map[flow.Kind]uint64{},
		frame: 0x7fff_0000_0200,
	}
	s.bases[flow.FrameBase] = s.frame
	return s
}
