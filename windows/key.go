package windows

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/bpf/flow"
)

// Key is all that the window is, as bytes that are the same for windows that are
// the same problem and for no others. The window has to be canonical.
func (w *Window) Key() []byte {
	k := keyer{order: binary.LittleEndian}
	k.number(uint64(w.Fn.Context))
	for _, s := range w.Fn.Symbols {
		k.symbol(s)
	}
	k.number(uint64(len(w.Code)))
	k.code(w.Fn.Blocks[0].Code) // the window's code, and what proposers see behind it
	k.target(&w.Target)
	k.cost(w.Input)
	var before flow.State
	for _, s := range append([]flow.State{w.Facts}, w.states...) {
		k.state(&before, &s)
		before = s
	}
	var last flow.Live
	for _, l := range append([]flow.Live{w.Needs}, w.lives...) {
		k.live(&last, &l)
		last = l
	}
	return k.out
}

// FunctionKey is all that may matter to what becomes of a whole function: its
// code, what its symbols stand for, and the functions that it calls.
func FunctionKey(fn *bpf.Function, t *Target) []byte {
	k := keyer{order: binary.LittleEndian}
	k.target(t)
	k.function(fn, map[*bpf.Function]int{})
	return k.out
}

func (k *keyer) function(fn *bpf.Function, seen map[*bpf.Function]int) {
	n, ok := seen[fn]
	k.truth(ok)
	if ok {
		k.number(uint64(n))
		return
	}
	seen[fn] = len(seen)
	k.number(uint64(fn.Context))
	k.truth(fn.HalfResult)
	k.truth(fn.Global)
	k.number(uint64(len(fn.Symbols)))
	for _, s := range fn.Symbols {
		k.symbol(s)
		k.number(uint64(len(s.Name)))
		k.out = append(k.out, s.Name...)
		k.truth(s.Func != nil)
		if s.Func != nil {
			k.function(s.Func, seen)
		}
	}
	k.blocks(fn.Blocks)
}

func (k *keyer) blocks(blocks []*bpf.Block) {
	k.number(uint64(len(blocks)))
	for _, b := range blocks {
		k.signed(int64(b.Label))
		k.code(b.Code)
	}
}

// keyer writes things as bytes that can be told apart.
type keyer struct {
	order binary.AppendByteOrder
	out   []byte
}

func (k *keyer) number(n uint64) { k.out = binary.AppendUvarint(k.out, n) }

func (k *keyer) signed(n int64) { k.out = binary.AppendVarint(k.out, n) }

func (k *keyer) wide(n uint64) { k.out = k.order.AppendUint64(k.out, n) }

func (k *keyer) truth(b bool) {
	if b {
		k.out = append(k.out, 1)
	} else {
		k.out = append(k.out, 0)
	}
}

func (k *keyer) symbol(s bpf.Symbol) {
	k.out = append(k.out, byte(s.Kind))
	k.truth(s.Map != nil)
	if s.Map != nil {
		k.number(uint64(s.Map.Type))
		k.signed(int64(s.Map.KeySize))
		k.signed(int64(s.Map.ValueSize))
	}
	k.signed(int64(s.Anchor))
	k.signed(s.Offset)
	k.number(uint64(s.Align))
	k.truth(s.Frozen)
}

func (k *keyer) code(code []bpf.Instruction) {
	k.number(uint64(len(code)))
	for _, in := range code {
		k.out = append(k.out, byte(in.Op), byte(in.Dst), byte(in.Src))
		k.signed(int64(in.Off))
		k.signed(in.Imm)
		k.signed(int64(in.Target))
		k.signed(int64(in.Ref))
		k.signed(int64(in.Pos))
	}
}

func (k *keyer) target(t *Target) {
	k.number(uint64(t.Level))
	k.truth(t.BigEndian)
	k.truth(t.Atomics)
	for kind := range flow.KindOther + 1 {
		k.truth(t.Shared[kind])
	}
	k.truth(t.Confirmed)
	k.signed(int64(t.Slack))
	k.number(uint64(t.Costs.Goal))
	l := t.Costs.Limits
	for _, limit := range [...]cost.Limit{l.Slots, l.Code, l.Time, l.Verifier} {
		k.truth(limit.Set)
		k.wide(math.Float64bits(limit.Percent))
	}
}

func (k *keyer) cost(c cost.Cost) { k.out = fmt.Append(k.out, c) }

// state writes what of a state is not as it was before.
func (k *keyer) state(before, s *flow.State) {
	for r := range s.Regs {
		k.change(before.Regs[r] != s.Regs[r], func() { k.value(&s.Regs[r]) })
	}
	k.number(uint64(len(s.Stack)))
	for i := range s.Stack {
		c := &s.Stack[i]
		k.change(i >= len(before.Stack) || before.Stack[i] != *c, func() {
			k.signed(int64(c.Off))
			k.number(uint64(c.Size))
			k.value(&c.Value)
		})
	}
	k.change(before.Written != s.Written, func() { k.bytes(&s.Written) })
	k.truth(s.Escaped)
}

// change writes something if it changed, and whether it did.
func (k *keyer) change(changed bool, write func()) {
	k.truth(changed)
	if changed {
		write()
	}
}

func (k *keyer) value(v *flow.Value) {
	k.out = append(k.out, byte(v.Kind), v.Align)
	k.truth(v.MaybeNull)
	k.signed(int64(v.Base))
	k.signed(v.Offset)
	for _, n := range [...]uint64{v.Bits, v.Mask, v.UMin, v.UMax, uint64(v.SMin), uint64(v.SMax)} {
		k.wide(n)
	}
}

func (k *keyer) bytes(b *flow.Bytes) {
	for _, word := range b {
		k.wide(word)
	}
}

func (k *keyer) live(before, l *flow.Live) {
	for r := range l.Regs {
		k.change(before.Regs[r] != l.Regs[r], func() { k.wide(l.Regs[r]) })
	}
	k.change(before.Stack != l.Stack, func() { k.bytes(&l.Stack) })
}
