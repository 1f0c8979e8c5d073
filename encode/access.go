package encode

import (
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
)

// event is one access to memory, as it happened.
type event struct {
	in     bpf.Instruction
	addr   address
	size   int
	load   bool // reads
	store  bool // writes; an atomic does both
	atomic bool
	v      value // what a store wrote
	epoch  int   // for a context: how many writes to it came before
}

// access runs a load, store or atomic.
func (mc *machine) access(in bpf.Instruction) error {
	if in.Ref != 0 {
		return fmt.Errorf("patched offset: %w", errNotModelled)
	}
	base, ev := mc.event(in)
	ev.addr = mc.g.address(mc.Reg(base), in.Off)
	switch ev.addr.kind {
	case flow.KindPacketEnd, flow.KindMap:
		return fmt.Errorf("access through a pointer that is not for it: %w", errNotModelled)
	case flow.KindContext:
		return mc.contextAccess(in, ev)
	}
	if err := mc.checkAccess(&ev); err != nil {
		return err
	}
	before := len(mc.log.stores)
	if err := semantics.Step[value](mc, in); err != nil {
		return err
	}
	if len(mc.log.stores) > before {
		ev.v = mc.log.stores[before].v
	}
	mc.events = append(mc.events, ev)
	return nil
}

// event says what kind of access an instruction is, and through which register.
func (mc *machine) event(in bpf.Instruction) (bpf.Register, event) {
	ev := event{in: in, size: in.Size(), atomic: in.IsAtomic(), epoch: mc.ctxStores}
	base := in.Dst
	switch {
	case in.IsLoad():
		ev.load, base = true, in.Src
	case in.IsStore():
		ev.store = true
	case in.Imm == bpf.AtomicLoadAcq:
		ev.load, base = true, in.Src
	case in.Imm == bpf.AtomicStRel:
		ev.store = true
	default:
		ev.load, ev.store = true, true
	}
	return base, ev
}

// Load reads memory; what it reads is a pointer only where a whole pointer may
// lie there.
func (mc *machine) Load(in bpf.Instruction, base bpf.Register) (value, error) {
	a, size := mc.g.address(mc.Reg(base), in.Off), in.Size()
	if v, ok := mc.log.whole(a, size); ok {
		if size == 8 {
			return v, nil
		}
		return scalar(mc.g.extract(v.node, 8*size-1, 0)), nil
	}
	v := scalar(mc.log.load(a, size))
	if size == 8 && a.kind != flow.KindPacket && !mc.onlyNumbers(a) {
		v.kind = flow.KindAny
	}
	return v, nil
}

// onlyNumbers tells whether the old code read or wrote the eight bytes at a in
// parts, which the verifier lets nobody do where a pointer is kept.
func (mc *machine) onlyNumbers(a address) bool {
	if mc.old == nil || a.kind == flow.KindStack {
		return false
	}
	for _, ev := range mc.old.events {
		if ev.addr.base == a.base && ev.size < 8 && ev.addr.off >= a.off && ev.addr.off < a.off+8 {
			return true
		}
	}
	return false
}

// Store logs a write.
func (mc *machine) Store(in bpf.Instruction, base bpf.Register, v value) error {
	a := mc.g.address(mc.Reg(base), in.Off)
	mc.log.stores = append(mc.log.stores, store{a, in.Size(), v})
	return nil
}

// contextAccess treats a context as a row of fields, each an unknown 64-bit
// value: the verifier rewrites these accesses, and a four-byte load may yield a
// pointer.
func (mc *machine) contextAccess(in bpf.Instruction, ev event) error {
	if ev.atomic {
		return fmt.Errorf("atomic access to the context: %w", errNotModelled)
	}
	if ev.store {
		v := mc.Imm(in)
		if in.Op.Class() == bpf.ClassSTX {
			v = mc.Reg(in.Src)
		} else if mc.old != nil {
			return unsafef("stores an immediate to the context")
		}
		ev.v = mc.Extract(v, 8*ev.size-1, 0)
		mc.ctxStores++
		mc.events = append(mc.events, ev)
		return nil
	}
	mc.SetReg(in.Dst, mc.field(in, ev))
	mc.events = append(mc.events, ev)
	return nil
}

// field is what a load from the context yields. Data pointers are where
// include/uapi/linux/bpf.h puts them in struct xdp_md and struct __sk_buff; a
// context of unknown layout may hold one in any field of four bytes.
func (mc *machine) field(in bpf.Instruction, ev event) value {
	name := fmt.Sprintf("c%d_%d_%d_%d", ev.addr.base.id, ev.addr.off, ev.size, ev.epoch)
	v := value{node: mc.g.variable(name, 64), kind: fieldKind(mc.fn.Context, ev.addr.off, ev.size)}
	if v.kind != flow.KindScalar {
		return v
	}
	low := scalar(mc.g.extract(v.node, 8*ev.size-1, 0))
	if in.Op.Mode() == bpf.ModeMemSX {
		return mc.SExt(low, 64)
	}
	return mc.ZExt(low, 64)
}

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
	if ctx == bpf.ContextXDP || ctx == bpf.ContextSKB {
		return flow.KindScalar
	}
	return flow.KindAny
}

// checkAccess refuses in new code what the verifier refuses, and notes what the
// old code did.
func (mc *machine) checkAccess(ev *event) error {
	in := ev.in
	if ev.store && in.Op.Class() == bpf.ClassSTX && (in.Size() < 8 || ev.atomic) {
		v := mc.Reg(in.Src)
		if mc.old != nil && !mc.number(v) {
			return unsafef("stores a part of what may be a pointer, or adds it atomically")
		}
		mc.numbers[v.node] = true
	}
	if mc.old == nil {
		return nil
	}
	if ev.addr.kind == flow.KindStack && ev.addr.base == mc.m.frame {
		if ev.addr.off%int64(ev.size) != 0 {
			return unsafef("misaligned access to the stack")
		}
	}
	if ev.atomic && ev.addr.off%int64(ev.size) != 0 {
		return unsafef("misaligned atomic")
	}
	if ev.load && ev.size < 8 && mc.log.pointerBytes(ev.addr, ev.size) && !mc.old.did(*ev) {
		return unsafef("reads a part of a stored pointer")
	}
	if mc.Reg(mc.baseOf(in)).null && !mc.old.touched(ev.addr, ev.size, false) {
		return unsafef("follows a pointer that may be null")
	}
	return nil
}

func (mc *machine) baseOf(in bpf.Instruction) bpf.Register {
	r, _ := mc.event(in)
	return r
}

// did tells whether the code made the same access.
func (mc *machine) did(ev event) bool {
	for _, e := range mc.events {
		if e.addr.same(ev.addr) && e.size == ev.size && e.load == ev.load && e.store == ev.store && e.atomic == ev.atomic {
			return true
		}
	}
	return false
}

// touched tells whether the code accessed (or, where written is set, wrote)
// each of the bytes.
func (mc *machine) touched(a address, size int, written bool) bool {
	for i := range size {
		if !mc.touchedByte(a.at(i), written) {
			return false
		}
	}
	return true
}

func (mc *machine) touchedByte(a address, written bool) bool {
	for _, e := range mc.events {
		if d := a.off - e.addr.off; e.addr.base == a.base && d >= 0 && d < int64(e.size) && (e.store || !written) {
			return true
		}
	}
	return false
}
