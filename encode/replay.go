package encode

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
	"github.com/k2cc/k2cc/windows"
)

// Replay runs the window's code and its replacement in the interpreter, from a
// counterexample's state, and tells whether anything that is needed differs
// afterwards, and what: the way that the jump goes, live bits of a register,
// live bytes of the stack, other memory that either wrote, or what was stored
// to the context. It fails for code that the checker does not model.
func Replay(w *windows.Window, code []bpf.Instruction, cx *Counterexample) (differs bool, what string, err error) {
	p, err := newPair(w, code)
	if err != nil {
		return false, "", err
	}
	what, err = p.run(world{
		Counterexample: cx,
		field:          func(f Field) uint64 { return cx.Fields[f] },
		open:           func(n int) uint64 { return cx.Open[n] },
		call:           cx.call,
	})
	return what != "", what, err
}

// pair is a window's code and a replacement, ready to run.
type pair struct {
	w        *windows.Window
	old, new program
}

// program is code with the accesses that it makes, in order: which of them are
// to the context, no address tells.
type program struct {
	code   []bpf.Instruction
	events []event
	calls  []call
	kinds  [bpf.NumRegisters]flow.Kind // what it leaves in the registers
}

func newPair(w *windows.Window, code []bpf.Instruction) (*pair, error) {
	e, err := newEntry(newGraph(), w)
	if err != nil {
		return nil, err
	}
	p := &pair{w: w, old: program{code: w.Code}, new: program{code: code}}
	for _, side := range []*program{&p.old, &p.new} {
		mc := e.machine(w, nil, nil)
		if err := mc.run(side.code); err != nil {
			return nil, fmt.Errorf("follow the code: %w", err)
		}
		side.events, side.calls = mc.events, mc.calls
		for r := range side.kinds {
			side.kinds[r] = mc.regs[r].kind
		}
	}
	return p, nil
}

// world is a whole state: what a counterexample says, and what is in memory and
// the context besides.
type world struct {
	*Counterexample
	fill  func(at uint64) byte
	field func(f Field) uint64
	open  func(n int) uint64                // see Counterexample.Open
	call  func(n int, at *outcome) behavior // what the n-th callee does
}

// run runs both codes and says what is needed and differs, if anything.
func (p *pair) run(in world) (string, error) {
	a, err := p.old.run(in, p.w.BigEndian)
	if err != nil {
		return "", fmt.Errorf("replay the old code: %w", err)
	}
	b, err := p.new.run(in, p.w.BigEndian)
	if err != nil {
		return "", fmt.Errorf("replay the new code: %w", err)
	}
	return p.compare(in.Regs[bpf.R10], a, b), nil
}

// fieldByte is a byte stored to the context.
type fieldByte struct {
	pointer, off int
	value        byte
}

// storeField notes the bytes of a store to the context.
func (o *outcome) storeField(ev event, v uint64) {
	for i := range ev.size {
		shift := 8 * i
		if o.Big {
			shift = 8 * (ev.size - 1 - i)
		}
		o.toFields = append(o.toFields, fieldByte{ev.addr.base.id, int(ev.addr.off) + i, byte(v >> shift)})
	}
}

// sameFields tells whether the same was stored to each byte of the context, one
// after the other.
func sameFields(a, b []fieldByte) bool {
	order := func(x, y fieldByte) int { return cmp.Or(cmp.Compare(x.pointer, y.pointer), cmp.Compare(x.off, y.off)) }
	return slices.Equal(slices.SortedStableFunc(slices.Values(a), order), slices.SortedStableFunc(slices.Values(b), order))
}

// outcome is what one code leaves behind.
type outcome struct {
	semantics.State
	taken    bool
	toFields []fieldByte // stored to the context
	atomics  int         // so far
	open     func(n int) uint64
	calls    []moment // as each call found it
}

var _ semantics.Vague[semantics.Word] = (*outcome)(nil)

// Unspecified is what the counterexample has for what kernels leave open.
func (o *outcome) Unspecified(_ bpf.Instruction, width int) semantics.Word {
	return semantics.Word{Value: o.open(o.atomics) & maskOf(width), Width: width}
}

func (p *program) run(in world, big bool) (*outcome, error) {
	out := &outcome{State: semantics.State{
		Regs:   in.Regs,
		Memory: maps.Clone(in.Memory),
		Fill:   in.fill,
		Big:    big,
	}, open: in.open}
	if len(in.Symbols) > 0 {
		out.Symbols = map[bpf.Ref]uint64{}
		for ref, v := range in.Symbols {
			out.Symbols[bpf.Ref(ref)] = v
		}
	}
	events := p.events
	for _, i := range p.code {
		var err error
		if isCall(i) {
			if err := out.called(p.calls[len(out.calls)], in); err != nil {
				return nil, err
			}
			continue
		}
		isAccess := i.IsLoad() || i.IsStore() || i.IsAtomic()
		switch {
		case i.IsCondJump():
			out.taken, err = out.Taken(i)
		case isAccess && events[0].addr.kind == flow.KindContext:
			out.access(i, events[0], in.field)
		default:
			err = semantics.Step[semantics.Word](out, i)
		}
		if i.IsAtomic() {
			out.atomics++
		}
		if err != nil {
			return nil, err
		}
		if isAccess {
			events = events[1:]
		}
	}
	return out, nil
}

// access does an access to the context.
func (o *outcome) access(in bpf.Instruction, ev event, field func(Field) uint64) {
	size := 8 * ev.size
	if ev.store {
		v := uint64(in.Imm)
		if in.Op.Class() == bpf.ClassSTX {
			v = o.Regs[in.Src]
		}
		o.storeField(ev, v)
		return
	}
	v := field(Field{Pointer: ev.addr.base.id, Off: int(ev.addr.off), Size: ev.size, Stores: ev.epoch})
	switch {
	case in.Op.Mode() == bpf.ModeMemSX:
		v = uint64(int64(v<<(64-size)) >> (64 - size))
	case ev.scalar:
		v &= maskOf(size)
	}
	o.Regs[in.Dst] = v
}

// compare says what is needed and differs, or nothing.
func (p *pair) compare(frame uint64, a, b *outcome) string {
	if what := p.compareCalls(frame, a, b); what != "" {
		return what
	}
	if a.taken != b.taken {
		return "the branch"
	}
	for r, live := range p.w.Needs.Regs {
		if p.old.kinds[r] != flow.KindNone && (a.Regs[r]^b.Regs[r])&live != 0 {
			return fmt.Sprintf("r%d: %#x and %#x, of which %#x is needed", r, a.Regs[r], b.Regs[r], live)
		}
	}
	if !sameFields(a.toFields, b.toFields) {
		return "a store to the context"
	}
	for _, m := range []map[uint64]byte{a.Memory, b.Memory} {
		for at := range m {
			off := int64(at - frame)
			if flow.OnStack(off, 1) && !p.w.Needs.Stack.Has(int(off)) {
				continue
			}
			if a.Byte(at) != b.Byte(at) {
				return fmt.Sprintf("the byte at %#x: %#x and %#x", at, a.Byte(at), b.Byte(at))
			}
		}
	}
	return ""
}
