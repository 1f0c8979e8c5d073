package encode

import (
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// fieldAccess treats a context as a row of fields, each an unknown 64-bit
// value: the verifier rewrites these accesses, a four-byte load may yield a
// pointer, and what is stored may be read back as something else.
func (mc *machine) fieldAccess(in bpf.Instruction, ev event) error {
	if ev.atomic {
		return fmt.Errorf("atomic access to the context: %w", errNotModelled)
	}
	if !ev.store {
		mc.SetReg(in.Dst, mc.field(in, &ev))
		mc.events = append(mc.events, ev)
		return nil
	}
	v := mc.Const(uint64(in.Imm), 64)
	if in.Op.Class() == bpf.ClassSTX {
		v = mc.Reg(in.Src)
	}
	ev.v = mc.Extract(v, 8*ev.size-1, 0)
	mc.fieldStores += fieldsIn(ev.size)
	if ev.addr.kind != flow.KindContext {
		mc.log.add(ev.addr, ev.size, ev.v, mc.epoch)
	}
	mc.events = append(mc.events, ev)
	return nil
}

// fieldsIn is how many stores a store of so many bytes counts as: one that stands
// for two as much as these, so that what is loaded between the two is not taken
// for what is loaded behind it.
func fieldsIn(size int) int { return max(1, size/4) }

// field is what a load from the context yields.
func (mc *machine) field(in bpf.Instruction, ev *event) value {
	layout := bpf.ContextOther
	if ev.addr.kind == flow.KindContext && ev.addr.base == mc.context {
		layout = mc.fn.Context
	}
	kind := fieldKind(layout, ev.addr.off, ev.size)
	signed := in.Op.Mode() == bpf.ModeMemSX
	// What may be a context may be memory, too, which other stores change.
	name := fmt.Sprintf("c%d_%d_%d_%d_%d_%d", ev.addr.base.id, ev.addr.off, ev.size, ev.epoch, ev.group, ev.stores)
	v := value{node: mc.g.variable(name, 64), kind: kind}
	if kind != flow.KindScalar && !signed {
		v.node.narrow = ev.size < 8
		return v
	}
	ev.scalar = kind == flow.KindScalar
	low := mc.g.extract(v.node, 8*ev.size-1, 0)
	if signed {
		return scalar(mc.g.sext(low, 64)) // no pointer is loaded so
	}
	return scalar(mc.g.zext(low, 64))
}

// fieldKind is what a context's field may hold. Data pointers are where
// include/uapi/linux/bpf.h puts them in struct xdp_md and struct __sk_buff; a
// context of unknown layout may hold one in any field of four bytes.
func fieldKind(ctx bpf.Context, off int64, size int) flow.Kind {
	if size < 4 {
		return flow.KindScalar
	}
	if size == 8 {
		return flow.KindAny
	}
	type at struct {
		ctx bpf.Context
		off int64
	}
	switch (at{ctx, off}) {
	case at{bpf.ContextXDP, 0}, at{bpf.ContextXDP, 8}, at{bpf.ContextSKB, 76}, at{bpf.ContextSKB, 140}:
		return flow.KindPacket
	case at{bpf.ContextXDP, 4}, at{bpf.ContextSKB, 80}:
		return flow.KindPacketEnd
	}
	if ctx == bpf.ContextXDP || ctx == bpf.ContextSKB || ctx == bpf.ContextPlain {
		return flow.KindScalar
	}
	return flow.KindAny
}

// match is stores to fields of the old code, and what the new code has in their
// place.
type match struct {
	old []event
	new event
}

// value is what the old stores leave in the place of the new one.
func (m match) value(old *machine) value {
	if len(m.old) == 1 {
		return m.old[0].v
	}
	lo, hi := m.old[0], m.old[1]
	if (lo.addr.off > hi.addr.off) != old.big {
		lo, hi = hi, lo
	}
	return old.Concat(hi.v, lo.v)
}

// matchFields finds which stores to fields stand for which. They are the same,
// or one of eight bytes stands for two that follow each other.
func matchFields(old, new *machine) ([]match, error) {
	a, b := old.storesToFields(), new.storesToFields()
	var out []match
	for _, e := range b {
		n := 0
		switch {
		case len(a) >= 1 && sameForm(a[0], e):
			n = 1
		case len(a) >= 2 && old.isPair(a[0], a[1], e):
			n = 2
		default:
			return nil, unsafef("%v: another store to the context", e.in)
		}
		out = append(out, match{a[:n], e})
		a = a[n:]
	}
	if len(a) > 0 {
		return nil, unsafef("%v: a store to the context left out", a[0].in)
	}
	return out, nil
}

// isPair tells whether a store of eight bytes covers two others of four in the
// control block of an sk_buff, which is mere memory to the verifier
// (net/core/filter.c: bpf_skb_is_valid_access). Across calls, stores are counted
// one by one.
func (mc *machine) isPair(x, y, e event) bool {
	const from, to = 48, 68 // cb in struct __sk_buff
	if x.addr.off > y.addr.off {
		x, y = y, x
	}
	store := func(ev event, size int) bool {
		return ev.addr.kind == flow.KindContext && ev.addr.base == mc.context && ev.size == size &&
			ev.in.Op.Class() == bpf.ClassSTX && ev.addr.off == int64(ev.in.Off)
	}
	return mc.fn.Context == bpf.ContextSKB && len(mc.calls) == 0 && store(x, 4) && store(y, 4) && store(e, 8) &&
		x.addr.off == e.addr.off && y.addr.off == e.addr.off+4 &&
		e.addr.off%8 == 0 && e.addr.off >= from && e.addr.off+8 <= to
}
