package encode

import (
	"slices"

	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

// checkTrace compares the accesses of old and new code, whatever they read and
// write. The new code may touch no byte that the old code did not touch (own
// stack bytes that were written before excepted), and accesses to the context
// stay as they are.
func checkTrace(w *windows.Window, old, new *machine) error {
	for i := range new.events {
		if err := checkTouch(w, old, new, i); err != nil {
			return err
		}
	}
	return checkFields(old, new)
}

func checkTouch(w *windows.Window, old, new *machine, i int) error {
	ev := new.events[i]
	onFrame := new.m.onFrame(ev.addr)
	switch {
	case ev.addr.kind == flow.KindContext:
		return nil
	case ev.store && !old.touched(ev, true):
		return unsafef("%v: writes where the old code did not", ev.in)
	case !ev.load || old.touched(ev, false) && !onFrame:
		return exactForm(w, old, ev)
	case onFrame:
		return checkFrameLoad(w, old, new, i)
	}
	return unsafef("%v: reads where the old code did not", ev.in)
}

// exactForm holds accesses through pointers of unknown kind to the old code's
// widths where no kernel will be asked: some such pointers (to kernel objects
// with BTF) may be followed field by field only.
func exactForm(w *windows.Window, old *machine, ev event) error {
	unknown := !ev.addr.kind.IsPointer() || ev.addr.kind == flow.KindOther
	if unknown && !w.Confirmed && !old.did(ev) {
		return unsafef("%v: other width through a pointer of unknown kind", ev.in)
	}
	return nil
}

// checkFrameLoad wants every byte that new code reads from its frame written:
// by itself before, before the window, or read by the old code as well.
func checkFrameLoad(w *windows.Window, old, new *machine, i int) error {
	ev := new.events[i]
	for b := range ev.size {
		a := ev.addr.at(b)
		if !w.Facts.Written.Has(int(a.off)) && !new.writtenBefore(i, a) && !old.readFirst(a) {
			return unsafef("%v: reads stack bytes that may not have been written", ev.in)
		}
		if ev.size < 8 && !w.Confirmed && !new.writtenBefore(i, a) && !old.readsPart(a) && !new.m.knownNumber(a) {
			return unsafef("%v: reads a part of what may be a stored pointer", ev.in)
		}
	}
	return nil
}

// writtenBefore tells whether the byte of the frame is written before the i-th
// access, by the code or, for sure, by what it calls.
func (mc *machine) writtenBefore(i int, a address) bool {
	for _, e := range mc.events[:i] {
		if _, ok := a.in(e.addr, e.size); ok && e.store {
			return true
		}
	}
	for _, c := range mc.calls {
		if c.events <= i && c.Written.Has(int(a.off)) {
			return true
		}
	}
	return false
}

// readsPart tells whether the byte of the frame is read by less than a whole
// pointer's load, so that the verifier takes it for a part of none.
func (mc *machine) readsPart(a address) bool {
	return slices.ContainsFunc(mc.events, func(e event) bool {
		_, ok := a.in(e.addr, e.size)
		return ok && e.load && e.size < 8
	})
}

// readFirst tells whether the byte of the frame is read before it, perhaps, is
// written.
func (mc *machine) readFirst(a address) bool {
	for i, e := range mc.events {
		if _, ok := a.in(e.addr, e.size); ok {
			return e.load && !slices.ContainsFunc(mc.calls, func(c call) bool {
				return c.events <= i && (c.frame || c.Writes.Has(int(a.off)))
			})
		}
	}
	return false
}

// checkFields wants the stores to fields unchanged and in order, but for those
// that may be one, and each load to be one that the old code does between the
// same stores.
func checkFields(old, new *machine) error {
	if _, err := matchFields(old, new); err != nil {
		return err
	}
	for _, e := range new.events {
		if e.field && e.load && !old.didAt(e) {
			return unsafef("%v: another load from the context", e.in)
		}
	}
	return nil
}

func (mc *machine) storesToFields() (out []event) {
	for _, e := range mc.events {
		if e.field && e.store {
			out = append(out, e)
		}
	}
	return out
}

// sameForm tells whether two accesses to a context are of one place, width and
// form. The verifier wants the offset in the instruction.
func sameForm(a, b event) bool {
	return a.addr.same(b.addr) && a.in.Off == b.in.Off && a.in.Op == b.in.Op
}

// didAt tells whether the code makes the same load between the same stores.
func (mc *machine) didAt(ev event) bool {
	for _, e := range mc.events {
		if e.field && e.load && sameForm(e, ev) && e.epoch == ev.epoch {
			return true
		}
	}
	return false
}
