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
	mc.fieldStores++
	if ev.addr.kind != flow.KindContext {
		mc.log.add(ev.addr, ev.size, ev.v, mc.epoch)
	}
	mc.events = append(mc.events, ev)
	return nil
}

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
