package encode

import (
	"fmt"
	"slices"

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
	field  bool  // is, or may be, to a field of a context
	scalar bool  // a load from a field that is zero-extended in any case
	v      value // what a store wrote
	epoch  int   // for a field: how many writes to fields came before
	group  int   // for common memory: the epoch
	stores int   // for common memory: the stores to it before, in the epoch
	era    int   // calls before
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
		ev.field = true
		return mc.fieldAccess(in, ev)
	}
	if err := mc.checkAccess(&ev, mc.Reg(base)); err != nil {
		return err
	}
	mc.enter(&ev)
	if mc.fields && !ev.addr.kind.IsPointer() && !ev.atomic {
		ev.field = true
		return mc.fieldAccess(in, ev)
	}
	before := len(mc.log.stores)
	if err := semantics.Step[value](mc, in); err != nil {
		return err
	}
	if len(mc.log.stores) > before {
		ev.v = mc.log.stores[before].v
	}
	if ev.store && !ev.addr.kind.IsPointer() {
		mc.fieldStores++
	}
	if mc.mayLoadPointer(ev) {
		mc.widen(in.Dst, ev)
	}
	mc.events = append(mc.events, ev)
	return nil
}

// enter finds the epoch of an access to common memory.
func (mc *machine) enter(ev *event) {
	if !ev.atomic && !mc.m.common[ev.addr.kind] {
		return
	}
	if mc.accesses < len(mc.epochs) {
		if now := mc.epochs[mc.accesses]; now != mc.epoch {
			mc.epoch, mc.stores = now, 0
		}
	}
	mc.accesses++
	ev.group, ev.stores = mc.epoch, mc.stores
	if ev.store {
		mc.stores++
	}
}

// mayLoadPointer tells whether a load of four bytes, through a pointer of unknown
// kind, may yield a 64-bit one.
func (mc *machine) mayLoadPointer(ev event) bool {
	return ev.load && ev.size == 4 && !ev.atomic && ev.in.Op.Mode() == bpf.ModeMem &&
		!ev.addr.kind.IsPointer() && !mc.onlyNumbers(ev.addr, 4)
}

// widen accounts for four-byte loads that yield a 64-bit pointer: through a
// pointer of unknown kind, it may be a context's packet pointer that is read.
func (mc *machine) widen(dst bpf.Register, ev event) {
	v := mc.regs[dst]
	v.kind = flow.KindAny
	if mc.careful {
		name := fmt.Sprintf("h%d_%d_%d", ev.addr.base.id, ev.addr.off, ev.group)
		upper := mc.g.variable(name, 32)
		upper.narrow = true
		v.node = mc.g.concat(upper, mc.g.extract(v.node, 31, 0))
	}
	mc.SetReg(dst, v)
}

// event says what kind of access an instruction is, and through which register.
func (mc *machine) event(in bpf.Instruction) (bpf.Register, event) {
	ev := event{in: in, size: in.Size(), atomic: in.IsAtomic(), epoch: mc.fieldStores, era: len(mc.calls)}
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
	if v, ok := mc.log.whole(a, size, mc.epoch); ok {
		if size == 8 {
			return v, nil
		}
		return scalar(mc.g.extract(v.node, 8*size-1, 0)), nil
	}
	v := scalar(mc.log.load(a, size, mc.epoch))
	if size == 8 && a.kind != flow.KindPacket && !mc.onlyNumbers(a, 8) {
		v.kind = flow.KindAny
		// What is read here may lead into the frame after all.
		mc.m.escaped = mc.m.escaped || mc.log.mayHoldFrame(a, size)
	}
	return v, nil
}

// onlyNumbers tells whether the old code read or wrote the size bytes at a in
// parts, which the verifier lets nobody do where a pointer is kept.
func (mc *machine) onlyNumbers(a address, size int) bool {
	if mc.old == nil || a.kind == flow.KindStack {
		return false
	}
	for _, ev := range mc.old.events {
		if _, ok := ev.addr.in(a, size); ok && ev.size < size {
			return true
		}
	}
	return false
}

// Store logs a write.
func (mc *machine) Store(in bpf.Instruction, base bpf.Register, v value) error {
	a := mc.g.address(mc.Reg(base), in.Off)
	if v.kind == flow.KindStack && !mc.m.onFrame(a) {
		mc.m.escaped = true
	}
	mc.log.add(a, in.Size(), v, mc.epoch)
	return nil
}

// checkAccess refuses in new code what the verifier refuses, and notes what the
// old code did.
func (mc *machine) checkAccess(ev *event, base value) error {
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
	if err := mc.checkAlignment(ev); err != nil {
		return err
	}
	if ev.load && ev.size < 8 && (mc.log.pointerBytes(ev.addr, ev.size) || mc.maybeSpilled(ev)) && !mc.old.did(*ev) {
		return unsafef("reads a part of a stored pointer")
	}
	if base.null && !mc.old.touched(*ev, false) {
		return unsafef("follows a pointer that may be null")
	}
	return nil
}

// maybeSpilled tells whether one of the bytes of the own frame that new code loads
// is part of what may be a pointer for all that is known: from before the window,
// and not accessed in parts by the old code. Where no kernel is asked, such a load
// stays as wide as it is.
func (mc *machine) maybeSpilled(ev *event) bool {
	if mc.confirmed || !mc.m.onFrame(ev.addr) {
		return false
	}
	for i := range ev.size {
		a := ev.addr.at(i)
		part := slices.ContainsFunc(mc.old.events, func(e event) bool {
			_, ok := a.in(e.addr, e.size)
			return ok && e.size < 8
		})
		if !part && !mc.log.knows(a) {
			return true
		}
	}
	return false
}

// checkAlignment wants stack accesses and atomics as aligned as the verifier
// does (kernel/bpf/verifier.c, check_ptr_alignment).
func (mc *machine) checkAlignment(ev *event) error {
	switch {
	case mc.m.onFrame(ev.addr):
		if ev.addr.off%int64(ev.size) != 0 {
			return unsafef("misaligned access to the stack")
		}
	case ev.addr.kind == flow.KindStack && !mc.old.aligned(*ev):
		return unsafef("perhaps misaligned access to the stack")
	}
	if !ev.atomic || mc.old.did(*ev) {
		return nil
	}
	if ev.addr.kind != flow.KindStack && ev.addr.kind != flow.KindMapValue || !mc.old.aligned(*ev) {
		return unsafef("an atomic where the verifier may want none")
	}
	return nil
}

// aligned tells whether the code made an access that shows that the event's
// place is aligned to its size.
func (mc *machine) aligned(ev event) bool {
	for _, e := range mc.events {
		if e.addr.base == ev.addr.base && e.size >= ev.size && (ev.addr.off-e.addr.off)%int64(ev.size) == 0 {
			return true
		}
	}
	return ev.size == 1
}

// did tells whether the code made the same access.
func (mc *machine) did(ev event) bool {
	for _, e := range mc.events {
		if e.addr.same(ev.addr) && e.size == ev.size && e.load == ev.load && e.store == ev.store && e.atomic == ev.atomic &&
			mc.between(e, ev) {
			return true
		}
	}
	return false
}

// between tells whether two accesses, of this code and another one, are between
// the same calls, or to the own frame, to which calls make no difference.
func (mc *machine) between(a, b event) bool { return a.era == b.era || mc.m.onFrame(b.addr) }

// touched tells whether the code accessed (or, where written is set, wrote)
// each of the bytes that another code's access touches, between the same calls.
func (mc *machine) touched(ev event, written bool) bool {
	for i := range ev.size {
		if !slices.ContainsFunc(mc.events, func(e event) bool {
			_, ok := ev.addr.at(i).in(e.addr, e.size)
			return ok && (e.store || !written) && mc.between(e, ev)
		}) {
			return false
		}
	}
	return true
}
