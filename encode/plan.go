package encode

import (
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

// plan says how to prove what a first look, at flat memory that nobody else
// touches, cannot.
//
// Others may read and write common memory at any time. The accesses of the old
// code to it are cut into as many groups as the new code makes accesses, in
// order, and each new access stands for one group: it does what the group would
// have done, had nobody come between; where it stands for several, it has to be
// one access to the hardware as well (see grouper.whole). Between the groups memory changes as it
// pleases, the same for both codes, and at the end of each group both have
// written the same. So whatever others do while the new code runs, the old code
// could have done the same. Calls are in order with everything: no group reaches
// across one.
type plan struct {
	common   kinds
	escaped  bool
	fields   bool  // see needsFields
	wide     bool  // see machine.widen
	old, new []int // the epoch of each access to common memory
}

// plain tells whether the first look says everything.
func (p *plan) plain() bool {
	return !p.fields && !p.wide && !slices.ContainsFunc(p.old, func(epoch int) bool { return epoch != era(epoch)<<eraShift })
}

// commonKinds is the kinds of memory that others may access.
func commonKinds(w *windows.Window) (out kinds) {
	for k := range out {
		out[k] = sharedKind(w.Shared, flow.Kind(k))
	}
	out[flow.KindContext] = false
	return out
}

// makePlan finds a plan for two codes that were run on flat memory.
func makePlan(w *windows.Window, old, new *machine) (*plan, error) {
	p := &plan{common: commonKinds(w), escaped: new.m.escaped, fields: needsFields(old) || needsFields(new)}
	p.wide = loadsWide(old) || loadsWide(new)
	p.promote(new.m, append(slices.Clone(old.events), new.events...))
	for i := range len(old.calls) + 1 {
		if err := p.group(w, old, new, i); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// group cuts the accesses of one era.
func (p *plan) group(w *windows.Window, old, new *machine, era int) error {
	g := grouper{w: w, m: new.m, old: p.accesses(old, era), new: p.accesses(new, era)}
	if err := g.check(); err != nil {
		return err
	}
	cut := g.cut()
	if cut == nil {
		return g.refusal()
	}
	for _, k := range cut {
		p.old = append(p.old, era<<eraShift+k)
	}
	for k := range g.new {
		p.new = append(p.new, era<<eraShift+k)
	}
	return nil
}

// needsFields tells whether the code reads or writes again, through a pointer
// of unknown kind, after it has written through one: if that points to a
// context, what is written is not always what is there afterwards. So it is
// where the code writes to the context itself, which is in no log of memory.
func needsFields(mc *machine) bool {
	ofContext := func(e event) bool { return e.addr.kind == flow.KindContext && e.store }
	unknown := func(e event) bool { return !e.addr.kind.IsPointer() && !e.atomic }
	if slices.ContainsFunc(mc.events, ofContext) && slices.ContainsFunc(mc.events, unknown) {
		return true
	}
	stores := 0
	for i, e := range mc.events {
		if e.addr.kind.IsPointer() || e.atomic {
			continue
		}
		if e.load && stores > 0 {
			return true
		}
		if !e.store {
			continue
		}
		for _, before := range mc.events[:i] {
			if before.store && !before.atomic && !before.addr.kind.IsPointer() &&
				(before.addr.base != e.addr.base || before.addr.meets(before.size, e.addr, e.size)) {
				return true
			}
		}
		stores++
	}
	return false
}

func loadsWide(mc *machine) bool {
	return slices.ContainsFunc(mc.events, mc.mayLoadPointer)
}

// promote makes those kinds common, too, that pointers of unknown kind may
// lead to, where one of the two writes: order matters between them.
func (p *plan) promote(m *memory, events []event) {
	var loads, stores kinds
	for _, e := range events {
		loads[e.addr.kind] = loads[e.addr.kind] || e.load
		stores[e.addr.kind] = stores[e.addr.kind] || e.store
	}
	for u := range p.common {
		if flow.Kind(u).IsPointer() || !loads[u] && !stores[u] {
			continue
		}
		for k := range p.common {
			kind := flow.Kind(k)
			if kind.IsPointer() && kind != flow.KindContext && !m.apart(flow.Kind(u), kind) &&
				(stores[u] && (loads[k] || stores[k]) || loads[u] && stores[k]) {
				p.common[k] = true
			}
		}
	}
}

// accesses is the events of an era on common memory, and all atomics, in order.
func (p *plan) accesses(mc *machine, era int) (out []event) {
	for _, e := range mc.events {
		if e.era == era && (e.atomic || p.common[e.addr.kind]) {
			out = append(out, e)
		}
	}
	return out
}

// grouper cuts the old code's accesses into groups.
type grouper struct {
	w        *windows.Window
	m        *memory
	old, new []event
	dead     map[[2]int]bool // new accesses from the first number on that old ones from the second on do not cover
	furthest int             // the last new access that was looked at
	torn     bool            // new accesses may be misaligned
}

// check refuses to leave out or to change atomics, which no grouping allows.
func (g *grouper) check() error {
	j := 0
	for _, e := range g.old {
		if !e.atomic {
			continue
		}
		for j < len(g.new) && !sameAtomic(e, g.new[j]) {
			j++
		}
		if j == len(g.new) {
			return unsafef("%v: left out, or moved past another atomic", e.in)
		}
		j++
	}
	return nil
}

func sameAtomic(a, b event) bool {
	return a.atomic && b.atomic && a.addr.same(b.addr) && a.in.Op == b.in.Op && a.in.Imm == b.in.Imm
}

// refusal says why there is no way to group the accesses.
func (g *grouper) refusal() error {
	in := g.culprit()
	if g.torn = true; g.cut() != nil {
		return unsafef("%v: stands for several accesses to shared memory and is not known to be aligned", in)
	}
	return unsafef("%v: access to shared memory that the old code does not make, or not in this order", g.culprit())
}

func (g *grouper) culprit() bpf.Instruction {
	if g.furthest < len(g.new) {
		return g.new[g.furthest].in
	}
	return bpf.Instruction{}
}

// cut is the group of each old access, or nil if there is no way to group them.
func (g *grouper) cut() []int {
	g.dead, g.furthest = map[[2]int]bool{}, 0
	out := make([]int, 0, len(g.old))
	if len(g.new) == 0 {
		return append(out, make([]int, len(g.old))...)
	}
	if !g.feasible(0, 0) {
		return nil
	}
	for k, at := 0, 0; k < len(g.new); k++ {
		end := g.end(k, at)
		for ; at < end; at++ {
			out = append(out, k)
		}
	}
	return out
}

// feasible tells whether the new accesses from k on can stand for the old ones
// from at on.
func (g *grouper) feasible(k, at int) bool {
	if k == len(g.new) {
		return at == len(g.old)
	}
	if g.dead[[2]int{k, at}] {
		return false
	}
	g.furthest = max(g.furthest, k)
	for end := at + 1; end <= len(g.old); end++ {
		if g.covers(k, at, end) && g.feasible(k+1, end) {
			return true
		}
	}
	g.dead[[2]int{k, at}] = true
	return false
}

// covers tells whether a new access touches only what the group of old ones
// touches in the same way.
func (g *grouper) covers(k, at, end int) bool {
	ev, atomics := g.new[k], 0
	for _, e := range g.old[at:end] {
		if e.atomic {
			atomics++
			if !sameAtomic(e, ev) {
				return false
			}
		}
	}
	switch {
	case atomics > 1:
		return false
	case atomics == 1:
		return true
	case ev.atomic && !g.w.Atomics:
		return false
	}
	for b := range ev.size {
		loaded, stored := false, false
		for _, e := range g.old[at:end] {
			if _, ok := ev.addr.at(b).in(e.addr, e.size); ok {
				loaded, stored = loaded || e.load, stored || e.store
			}
		}
		if ev.load && !loaded || ev.store && !stored {
			return false
		}
	}
	return g.torn || g.whole(ev, g.old[at:end])
}

// end picks where the k-th group ends, of the ways that are feasible: for a
// store, behind the old stores that wrote the same; then as many loads more as
// read only what the group accessed.
func (g *grouper) end(k, at int) int {
	if k == len(g.new)-1 {
		return len(g.old)
	}
	var ends []int
	for end := at + 1; end <= len(g.old); end++ {
		if g.covers(k, at, end) && g.feasible(k+1, end) {
			ends = append(ends, end)
		}
	}
	end := ends[0]
	if ev := g.new[k]; ev.store && !ev.atomic {
		if i := slices.IndexFunc(ends, func(e int) bool { return g.writesSame(k, at, e) }); i >= 0 {
			end = ends[i]
		}
	}
	for slices.Contains(ends, end+1) && g.reads(at, end) {
		end++
	}
	return end
}

// reads tells whether the old access behind a group is a load of what the
// group accessed.
func (g *grouper) reads(at, end int) bool {
	ev := g.old[end]
	if ev.store || ev.atomic {
		return false
	}
	for b := range ev.size {
		if !slices.ContainsFunc(g.old[at:end], func(e event) bool {
			_, ok := ev.addr.at(b).in(e.addr, e.size)
			return ok
		}) {
			return false
		}
	}
	return true
}

// writesSame tells whether the group leaves what the new store writes, as far
// as terms show it.
func (g *grouper) writesSame(k, at, end int) bool {
	ev := g.new[k]
	for b := range ev.size {
		want := bytePart(g.m.g, ev.v.node, ev.size, b, g.m.big)
		var got *node
		for _, e := range g.old[at:end] {
			if i, ok := ev.addr.at(b).in(e.addr, e.size); ok && e.store {
				got = bytePart(g.m.g, e.v.node, e.size, i, g.m.big)
			}
		}
		if got != want {
			return false
		}
	}
	return true
}
