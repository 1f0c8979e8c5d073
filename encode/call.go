package encode

import (
	"fmt"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
	"github.com/k2cc/k2cc/windows"
)

// call is a call, or a legacy packet load, as it happened. To the checker both
// are events whose order counts: old and new code make the same ones, which find
// the same in their arguments and in all memory that they may read, and so leave
// the same in R0 and in all memory that they may write.
type call struct {
	called
	regs   [bpf.NumRegisters]value // before it
	keyed  keyed                   // what it means to a map; only known of the old code
	events int                     // accesses before it
	frame  bool                    // the callee may read and write the whole frame
}

// isCall tells whether an instruction is treated as a call.
func isCall(in bpf.Instruction) bool { return in.IsCall() || in.IsPacketLoad() }

// call notes a call and does what it may do.
func (mc *machine) call(in bpf.Instruction) error {
	n := len(mc.calls)
	switch {
	case in.IsCall() && in.Op&bpf.SourceX != 0:
		return fmt.Errorf("call through a register: %w", errNotModelled)
	case n == len(mc.calling):
		return unsafef("%v: a call that the old code does not make", in)
	case !bpf.SameCode(in, mc.calling[n].in):
		return unsafef("%v: another call than %v, or in another order", in, mc.calling[n].in)
	}
	c := call{called: mc.calling[n], regs: mc.regs, events: len(mc.events)}
	c.frame = c.Frame || mc.m.escaped && c.Follows
	if mc.old == nil {
		c.keyed = mc.keyed(&c)
		mc.recall(&c)
		mc.calling[n].result = c.result
	}
	mc.calls = append(mc.calls, c)
	mc.epoch, mc.stores = len(mc.calls)<<eraShift, 0
	mc.fieldStores = mc.epoch
	mc.m.escaped = mc.m.escaped || c.Escapes
	mc.log.callee(&c, mc.epoch)
	if c.MovesPacket {
		mc.log.losePackets()
		for r := range mc.regs {
			mc.regs[r].losePacket()
		}
	}
	for r := bpf.R1; r <= bpf.R5; r++ {
		mc.regs[r].kind, mc.regs[r].null = flow.KindNone, false
	}
	mc.SetReg(bpf.R0, mc.result(&c))
	return nil
}

// result is what a call leaves in R0.
func (mc *machine) result(c *call) value {
	v := c.result
	if !c.MayEnd {
		return v
	}
	before, side := c.regs[bpf.R0], "old"
	if mc.old != nil {
		side = "new"
	}
	if before.kind == flow.KindNone {
		before.node = mc.g.variable(fmt.Sprintf("y%d_%s", len(mc.calls), side), 64)
	}
	v.node = mc.g.ite(mc.g.keeps(len(mc.calls)), before.node, v.node)
	return v
}

// keeps tells whether the call that begins an era leaves R0 as it was, for one
// that may.
func (g *graph) keeps(era int) *node { return g.variable(fmt.Sprintf("t%d", era), 1) }

// callee logs what a callee may have written to the frame.
func (l *log) callee(c *call, epoch int) {
	if c.frame {
		all := store{addr: l.m.onFrameAt(-flow.StackSize), size: flow.StackSize, at: epoch, callee: hasAll}
		l.stores = append(l.stores, all)
		return
	}
	for off := -flow.StackSize; off < 0; off++ {
		size := 0
		for c.Writes.Has(off + size) {
			size++
		}
		if size > 0 {
			v := value{kind: flow.KindScalar}
			l.stores = append(l.stores, store{addr: l.m.onFrameAt(off), size: size, v: v, at: epoch, callee: mayWrite})
			off += size
		}
	}
}

// calls wants both codes to call the same, with the same arguments, while the
// callee finds the same in memory. What is not on the own frame is compared
// with all other writes (see memory): a call begins an era.
func (ob *obligation) calls(w *windows.Window) error {
	if len(ob.new.calls) < len(ob.old.calls) {
		return unsafef("%v: a call left out", ob.old.calls[len(ob.new.calls)].in)
	}
	for k := range ob.old.calls {
		if err := ob.call(w, k); err != nil {
			return fmt.Errorf("%v: %w", ob.old.calls[k].in, err)
		}
	}
	return nil
}

func (ob *obligation) call(w *windows.Window, k int) error {
	a, b := &ob.old.calls[k], &ob.new.calls[k]
	fields := func(mc *machine, c *call) (n int) {
		for _, e := range mc.events[:c.events] {
			n += int(b2u(e.field && e.store))
		}
		return n
	}
	switch {
	case fields(ob.old, a) != fields(ob.new, b):
		return unsafef("a store to the context moved past a call")
	case a.frame != b.frame:
		return fmt.Errorf("the frame is known to the callee on one side: %w", errNotModelled)
	}
	for r := range bpf.Register(bpf.NumRegisters) {
		if !a.Args.Has(r) || a.regs[r].kind == flow.KindNone {
			continue
		}
		if err := ob.argument(w, r, a.regs[r], b.regs[r]); err != nil {
			return err
		}
	}
	return ob.exposed(w, k)
}

// argument wants an argument to be the same, to the callee and to the verifier,
// which takes the sizes of memory from what it knows of numbers.
func (ob *obligation) argument(w *windows.Window, r bpf.Register, a, b value) error {
	if err := ob.sameKind(fmt.Sprintf("the argument r%d is", r), a, b); err != nil {
		return err
	}
	switch {
	case b.null && !a.null:
		return unsafef("the argument r%d is a pointer that may be null", r)
	case a.isConst() && !b.isConst():
		return unsafef("the argument r%d is no longer known to be constant", r)
	case !w.Confirmed && a.node != b.node && !b.isConst() && !b.kind.IsPointer():
		return unsafef("the argument r%d is computed in another way, of which the verifier may know less", r)
	}
	ob.add(fmt.Sprintf("the argument r%d of a call", r), a.node, b.node)
	return nil
}

// exposed wants the bytes of the frame that the callee may read to be the same,
// and no less written.
func (ob *obligation) exposed(w *windows.Window, k int) error {
	m := ob.entry.mem
	if m.common[flow.KindStack] {
		return nil // compared with everything else
	}
	a, b := &ob.old.calls[k], &ob.new.calls[k]
	all := a.frame || m.escaped && (ob.old.blindBehind(k) || ob.new.blindBehind(k))
	for off := -flow.StackSize; off < 0; off++ {
		at := m.onFrameAt(off)
		if !all && !a.Reads.Has(off) || !ob.old.log.reaches(at) && !ob.new.log.reaches(at) {
			continue
		}
		ob.add("memory that a callee reads", ob.old.log.byteAt(at, endOf(k)), ob.new.log.byteAt(at, endOf(k)))
		if !w.Facts.Written.Has(off) && ob.old.writtenBefore(a.events, at) && !ob.new.writtenBefore(b.events, at) {
			return unsafef("stack bytes that the callee reads may not have been written")
		}
	}
	for _, mc := range []*machine{ob.old, ob.new} {
		for _, s := range mc.log.stores {
			if s.callee != noCallee || era(s.at) > k || s.addr.kind != flow.KindStack || !all && s.addr.base == m.frame && !exposes(a.Reads, s) {
				continue
			}
			if err := ob.sameSpill(s, endOf(k)); err != nil {
				return err
			}
		}
	}
	return ob.constantKey(w, k)
}

// exposes tells whether any byte of a store to the frame may be among those.
func exposes(bytes flow.Bytes, s store) bool {
	for i := range s.size {
		if bytes.Has(int(s.addr.off) + i) {
			return true
		}
	}
	return false
}

// blindBehind tells whether the code follows pointers of unknown kind behind the
// k-th call.
func (mc *machine) blindBehind(k int) bool {
	return slices.ContainsFunc(mc.events, func(e event) bool { return e.era > k && !e.addr.kind.IsPointer() })
}

// reaches tells whether a write may have hit the byte.
func (l *log) reaches(a address) bool {
	return slices.ContainsFunc(l.stores, func(s store) bool {
		if s.addr.base == a.base {
			_, ok := a.in(s.addr, s.size)
			return ok
		}
		return !l.m.apart(s.addr.kind, a.kind)
	})
}

// Types of maps of which the verifier looks at constant keys: where it knows a
// key to be in the map it wants no test for null (can_elide_value_nullness in
// kernel/bpf/verifier.c).
var byIndex = []uint32{
	2, // BPF_MAP_TYPE_ARRAY
	6, // BPF_MAP_TYPE_PERCPU_ARRAY
}

// constantKey wants a constant key of an array to stay visible where no kernel
// is asked: the verifier sees one that was stored as a whole and by itself.
func (ob *obligation) constantKey(w *windows.Window, k int) error {
	a := &ob.old.calls[k]
	if w.Confirmed || a.Helper == nil || a.Map != nil && !slices.Contains(byIndex, a.Map.Type) {
		return nil
	}
	for i, arg := range a.Helper.Args {
		if arg.Kind != semantics.ArgMapKey {
			continue
		}
		at := ob.entry.g.address(a.regs[bpf.R1+bpf.Register(i)], 0)
		old, ok := ob.old.log.whole(at, 4, endOf(k))
		if !ok || !old.isConst() {
			continue
		}
		if v, ok := ob.new.log.whole(at, 4, endOf(k)); !ok || !v.isConst() {
			return unsafef("a constant key is stored in another way, in which the verifier may not see it")
		}
	}
	return nil
}
