package encode

import (
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

// checkTrace compares the accesses of old and new code. The new code may touch
// no byte that the old code did not touch (own stack bytes that were written
// before excepted); accesses to the context stay as they are; atomics stay, in
// order with everything; and accesses to memory that others share may be left
// out, merged or narrowed, never multiplied, invented or swapped. The equations
// it returns have to hold as well: what a kept store writes is what the old
// stores that it stands for wrote.
func checkTrace(w *windows.Window, m *memory, old, new *machine) ([]equation, error) {
	for i := range new.events {
		if err := checkTouch(w, m, old, new, i); err != nil {
			return nil, err
		}
	}
	if err := checkContext(old, new); err != nil {
		return nil, err
	}
	return checkShared(w, old, new)
}

func checkTouch(w *windows.Window, m *memory, old, new *machine, i int) error {
	ev := new.events[i]
	switch {
	case ev.addr.kind == flow.KindContext:
		return nil
	case ev.store && !old.touched(ev.addr, ev.size, true):
		return unsafef("%v: writes where the old code did not", ev.in)
	case !ev.load || old.touched(ev.addr, ev.size, false) && !onFrame(m, ev):
		return exactForm(w, old, ev)
	case onFrame(m, ev):
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

func onFrame(m *memory, ev event) bool {
	return ev.addr.kind == flow.KindStack && ev.addr.base == m.frame
}

// checkFrameLoad wants every byte that new code reads from its frame written:
// by itself before, before the window, or read by the old code as well.
func checkFrameLoad(w *windows.Window, old, new *machine, i int) error {
	ev := new.events[i]
	for b := range ev.size {
		a := ev.addr.at(b)
		if w.Facts.Written.Has(int(a.off)) || writtenBefore(new.events[:i], a) || readFirst(old.events, a) {
			continue
		}
		return unsafef("%v: reads stack bytes that may not have been written", ev.in)
	}
	return nil
}

func writtenBefore(events []event, a address) bool {
	for _, e := range events {
		if d := a.off - e.addr.off; e.store && e.addr.base == a.base && d >= 0 && d < int64(e.size) {
			return true
		}
	}
	return false
}

// readFirst tells whether the byte is read before it is written.
func readFirst(events []event, a address) bool {
	for _, e := range events {
		if d := a.off - e.addr.off; e.addr.base == a.base && d >= 0 && d < int64(e.size) {
			return e.load
		}
	}
	return false
}

// checkContext wants the context's stores unchanged and in order, and each load
// to be one that the old code does between the same stores.
func checkContext(old, new *machine) error {
	stores := func(mc *machine) (out []event) {
		for _, e := range mc.events {
			if e.addr.kind == flow.KindContext && e.store {
				out = append(out, e)
			}
		}
		return out
	}
	a, b := stores(old), stores(new)
	if len(a) != len(b) {
		return unsafef("other number of stores to the context")
	}
	for i := range a {
		if !a[i].addr.same(b[i].addr) || a[i].size != b[i].size || a[i].in.Op != b[i].in.Op {
			return unsafef("%v: another store to the context", b[i].in)
		}
	}
	for _, e := range new.events {
		if e.addr.kind == flow.KindContext && e.load && !old.didAt(e) {
			return unsafef("%v: another load from the context", e.in)
		}
	}
	return nil
}

// didAt tells whether the code makes the same context load between the same
// context stores.
func (mc *machine) didAt(ev event) bool {
	for _, e := range mc.events {
		if e.load && e.addr.same(ev.addr) && e.in.Op == ev.in.Op && e.epoch == ev.epoch && e.addr.kind == ev.addr.kind {
			return true
		}
	}
	return false
}
