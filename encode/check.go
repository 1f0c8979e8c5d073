package encode

import (
	"context"
	"errors"
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
	"github.com/k2cc/k2cc/windows"
)

// Options bound the checker's work.
type Options struct {
	// Resources bounds one query, in Z3's resource units; zero is the default
	// of 1 million, some tenths of a second. The bound does not depend on how
	// fast the machine is.
	Resources uint
	// Pool lends solvers to several checkers for what takes no search; nil for
	// none.
	Pool *Pool
}

// Checker proves and refutes replacements. It is for one goroutine at a time.
type Checker struct {
	resources uint
	pool      *Pool
	solver    *solver
	queries   int
}

// New makes a checker. It asks nothing of Z3 before the first proof is due.
func New(opts Options) *Checker {
	if opts.Resources == 0 {
		opts.Resources = 1_000_000
	}
	return &Checker{resources: opts.Resources, pool: opts.Pool}
}

// Check proves that code does, in any state that the window's facts allow, what
// the window's code does, as far as the window's needs reach; that it touches
// no memory that the window's code does not touch; and that it keeps to what the
// verifier is known to accept. It answers Undecided where the code is not
// modelled, the solver gave up, or ctx ended. A counterexample has been
// replayed.
func (c *Checker) Check(ctx context.Context, w *windows.Window, code []bpf.Instruction) (v Verdict) {
	// go-z3 panics on solver errors.
	defer func() {
		if r := recover(); r != nil {
			c.solver = nil
			v = Verdict{Outcome: Undecided, Reason: fmt.Sprintf("internal error: %v", r)}
		}
	}()
	v, err := c.check(ctx, w, code)
	var refused *unsafeError
	switch {
	case errors.As(err, &refused):
		return Verdict{Outcome: Unsafe, Reason: refused.reason}
	case err != nil:
		return Verdict{Outcome: Undecided, Reason: err.Error()}
	}
	return v
}

func (c *Checker) check(ctx context.Context, w *windows.Window, code []bpf.Instruction) (Verdict, error) {
	if err := checkForm(w, code); err != nil {
		return Verdict{}, err
	}
	flat, err := build(w, code, nil)
	if err != nil {
		return Verdict{}, err
	}
	p, err := makePlan(w, flat.old, flat.new)
	if err != nil {
		return Verdict{}, err
	}
	if err := c.possible(ctx, flat.entry); err != nil {
		return Verdict{}, err
	}
	if v, ok := flat.guess(w, code); ok {
		return v, nil
	}
	v, err := c.decide(ctx, w, code, flat)
	if err != nil || v.Outcome != Proven || p.plain() {
		return v, err
	}
	careful, err := build(w, code, p)
	if err != nil {
		return Verdict{}, err
	}
	if err := careful.follows(flat); err != nil {
		return Verdict{}, err
	}
	if sat, err := c.ask(ctx, careful); err != nil || sat {
		if err == nil {
			err = unsafef("the same only while nobody else writes to shared memory, and no context is taken for memory")
		}
		return Verdict{}, err
	}
	return v, nil
}

// obligation is a verification condition: equations that have to hold in every
// state that the entry allows.
type obligation struct {
	entry     *entry
	old, new  *machine
	equations []equation
}

// equation wants two terms to be equal.
type equation struct {
	what     string
	old, new *node
}

// build makes the verification condition, or says what is wrong with code
// regardless of values. Without a plan, memory is flat and nobody else's.
func build(w *windows.Window, code []bpf.Instruction, p *plan) (*obligation, error) {
	e, err := newEntry(newGraph(), w)
	if err != nil {
		return nil, err
	}
	if p != nil {
		e.mem.common, e.mem.escaped = p.common, p.escaped
	}
	old := e.machine(w, nil, p)
	escaped := e.mem.escaped
	if err := old.run(w.Code); err != nil {
		return nil, fmt.Errorf("old code: %v: %w", err, errNotModelled)
	}
	escaped, e.mem.escaped = e.mem.escaped, escaped
	neu := e.machine(w, old, p)
	if err := neu.run(code); err != nil {
		return nil, err
	}
	e.mem.escaped = e.mem.escaped || escaped
	if err := checkTrace(w, old, neu); err != nil {
		return nil, err
	}
	ob := &obligation{entry: e, old: old, new: neu}
	for _, add := range []func(*windows.Window) error{ob.calls, ob.branch, ob.registers, ob.fields, ob.memory} {
		if err := add(w); err != nil {
			return nil, err
		}
	}
	return ob, nil
}

// follows tells whether the accesses are those that the plan was made for.
func (ob *obligation) follows(flat *obligation) error {
	same := ob.entry.mem.escaped == flat.entry.mem.escaped
	for _, pair := range [][2]*machine{{ob.old, flat.old}, {ob.new, flat.new}} {
		for i, e := range pair[0].events {
			same = same && e.addr.kind == pair[1].events[i].addr.kind
		}
	}
	if !same {
		return fmt.Errorf("pointers kept in shared memory: %w", errNotModelled)
	}
	return nil
}

// checkForm refuses code that is not valid or not for the target, and symbols
// in places that no relocation of the old code fits.
func checkForm(w *windows.Window, code []bpf.Instruction) error {
	for _, in := range code {
		if err := semantics.Valid(in); err != nil {
			return unsafef("%v", err)
		}
		if in.Level() > w.Level {
			return unsafef("%v: needs ISA %v, the target has %v", in, in.Level(), w.Level)
		}
		if in.Ref != 0 && !relocated(w.Code, in) {
			return unsafef("%v: the old code has no relocation like this", in)
		}
	}
	return nil
}

func relocated(code []bpf.Instruction, in bpf.Instruction) bool {
	for _, o := range code {
		if o.Ref == in.Ref && o.Imm == in.Imm && o.PatchesOffset() == in.PatchesOffset() &&
			(o.Op == bpf.LoadImm64) == (in.Op == bpf.LoadImm64) && (in.Op != bpf.LoadImm64 || o.Src == in.Src) {
			return true
		}
	}
	return false
}

func (ob *obligation) add(what string, old, neu *node) {
	ob.equations = append(ob.equations, equation{what, old, neu})
}

func (ob *obligation) branch(w *windows.Window) error {
	old, neu := ob.old, ob.new
	switch {
	case old.cond == nil && neu.cond == nil:
		return nil
	case old.cond == nil || neu.cond == nil:
		return unsafef("a jump came or went")
	case old.branch.Target != neu.branch.Target:
		return unsafef("another jump target")
	case w.Confirmed || bpf.SameCode(old.branch, neu.branch) && old.cmp == neu.cmp:
	case old.cond.isConst():
		return unsafef("compares something else, of which the verifier may not know where it leads")
	case !ob.forgets(w):
		return unsafef("compares in another way, from which the verifier may learn less")
	}
	ob.add("the branch", old.cond.node, neu.cond.node)
	return nil
}

func (ob *obligation) registers(w *windows.Window) error {
	g := ob.entry.g
	for r := range bpf.Register(bpf.NumRegisters) {
		live := w.Needs.Regs[r]
		a, b := ob.old.regs[r], ob.new.regs[r]
		if live == 0 || a.kind == flow.KindNone {
			continue
		}
		if err := ob.sameKind(fmt.Sprintf("r%d is left", r), a, b); err != nil {
			return err
		}
		if live == ^uint64(0) {
			ob.add(fmt.Sprintf("r%d", r), a.node, b.node)
			continue
		}
		m := g.constant(live, 64)
		ob.add(fmt.Sprintf("r%d", r), g.binary(opAnd, a.node, m), g.binary(opAnd, b.node, m))
	}
	return nil
}

// kind is what the verifier takes a value for. What the old code used as a
// number is one.
func (ob *obligation) kind(v value) flow.Kind {
	if v.kind == flow.KindAny && ob.old.numbers[v.node] {
		return flow.KindScalar
	}
	return v.kind
}

// sameKind wants what is in a register to be the same to the verifier. The
// register's part of the reason is r.
func (ob *obligation) sameKind(r string, a, b value) error {
	ka, kb := ob.kind(a), ob.kind(b)
	switch {
	case kb == flow.KindNone:
		return unsafef("%s unreadable", r)
	case ka != kb:
		return unsafef("%s as another kind of value", r)
	case a.node == b.node || !ka.IsPointer():
		return nil
	}
	ra, _ := split(a.node)
	rb, _ := split(b.node)
	if ra != rb {
		return unsafef("%s with a pointer from another base", r)
	}
	return nil
}

// fields wants the stores to fields, already matched in number, place and
// form, to store the same.
func (ob *obligation) fields(*windows.Window) error {
	matches, err := matchFields(ob.old, ob.new)
	for _, m := range matches {
		ob.add("a store to the context", m.value(ob.old).node, m.new.v.node)
	}
	return err
}

// memory wants every byte that either code wrote to end up the same, own stack
// bytes that nobody reads any more excepted; and what others may read, at the
// end of every epoch.
func (ob *obligation) memory(w *windows.Window) error {
	seen := map[initialKey]bool{}
	for _, mc := range []*machine{ob.old, ob.new} {
		for _, s := range mc.log.stores {
			if s.callee != noCallee {
				continue
			}
			at := ob.due(s)
			for i := range s.size {
				a := s.addr.at(i)
				key := initialKey{a.base.id, a.off, ob.entry.mem.epoch(a.kind, at)}
				if seen[key] || ob.dead(w, a) {
					continue
				}
				seen[key] = true
				ob.add("memory", ob.old.log.byteAt(a, at), ob.new.log.byteAt(a, at))
			}
			if ob.dead(w, s.addr) {
				continue
			}
			if err := ob.sameSpill(s, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// due is the epoch at whose end both codes have to have written the same as s
// did: its own, but at the end of the window for the own frame.
func (ob *obligation) due(s store) int {
	if s.addr.kind == flow.KindStack && !ob.entry.mem.common[flow.KindStack] {
		return endOf(len(ob.old.calls))
	}
	return s.at
}

// dead tells whether nobody reads the byte after the window. The bytes of a
// frame that others may access are all needed.
func (ob *obligation) dead(w *windows.Window, a address) bool {
	m := ob.entry.mem
	return m.onFrame(a) && !m.common[flow.KindStack] && flow.OnStack(a.off, 1) && !w.Needs.Stack.Has(int(a.off))
}

// sameSpill wants pointers that a code leaves in memory to be left there whole
// by both, up to the given epoch.
func (ob *obligation) sameSpill(s store, at int) error {
	if s.size != 8 || s.v.kind == flow.KindScalar {
		return nil
	}
	a, okOld := ob.old.log.whole(s.addr, 8, at)
	b, okNew := ob.new.log.whole(s.addr, 8, at)
	switch {
	case okOld && ob.kind(a) == flow.KindScalar:
		return nil
	case okOld != okNew || okOld && (ob.kind(a) != ob.kind(b) || a.node != b.node && a.kind.IsPointer()):
		return unsafef("a pointer is stored in another way")
	}
	return nil
}
