package encode

import (
	"context"
	"errors"
	"fmt"

	"github.com/aclements/go-z3/z3"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
	"github.com/k2cc/k2cc/windows"
)

// Options bound the checker's work.
type Options struct {
	// Resources bounds one query, in Z3's resource units; zero is the default
	// of 4 million, a second or two. The bound does not depend on how fast the
	// machine is.
	Resources uint
}

// Checker proves and refutes replacements. It is for one goroutine at a time.
type Checker struct {
	resources uint
	solver    *solver
	queries   int
}

// renewAfter bounds what a Z3 context piles up (symbols and sorts are kept for
// its life) by making a new one after so many queries.
const renewAfter = 2000

// New makes a checker.
func New(opts Options) *Checker {
	if opts.Resources == 0 {
		opts.Resources = 4_000_000
	}
	return &Checker{resources: opts.Resources}
}

// Check proves that code does, in any state that the window's facts allow, what
// the window's code does, as far as the window's needs reach; that it touches
// no memory that the window's code does not touch; and that it keeps to what the
// verifier is known to accept. It answers Undecided where the code is not
// modelled, the solver gave up, or ctx ended.
func (c *Checker) Check(ctx context.Context, w *windows.Window, code []bpf.Instruction) (v Verdict) {
	// go-z3 panics on solver errors.
	defer func() {
		if r := recover(); r != nil {
			c.solver = nil
			v = Verdict{Outcome: Undecided, Reason: fmt.Sprintf("internal error: %v", r)}
		}
	}()
	cond, err := condition(w, code)
	var refused *unsafeError
	switch {
	case errors.As(err, &refused):
		return Verdict{Outcome: Unsafe, Reason: refused.reason}
	case err != nil:
		return Verdict{Outcome: Undecided, Reason: err.Error()}
	}
	return c.prove(ctx, w, cond)
}

// obligation is a verification condition: equations that have to hold in every
// state that the entry allows.
type obligation struct {
	entry     *entry
	equations []equation
}

// equation wants two terms to be equal.
type equation struct {
	what     string
	old, new *node
}

// condition makes the verification condition, or says what is wrong with code
// regardless of values.
func condition(w *windows.Window, code []bpf.Instruction) (*obligation, error) {
	if err := checkForm(w, code); err != nil {
		return nil, err
	}
	e := newEntry(newGraph(), w)
	old := e.machine(w, nil)
	if err := old.run(w.Code); err != nil {
		return nil, fmt.Errorf("old code: %v: %w", err, errNotModelled)
	}
	neu := e.machine(w, old)
	if err := neu.run(code); err != nil {
		return nil, err
	}
	eqs, err := checkTrace(w, e.mem, old, neu)
	if err != nil {
		return nil, err
	}
	ob := &obligation{entry: e, equations: eqs}
	for _, add := range []func(*windows.Window, *machine, *machine) error{ob.branch, ob.registers, ob.context, ob.memory} {
		if err := add(w, old, neu); err != nil {
			return nil, err
		}
	}
	return ob, nil
}

// checkForm refuses code that is not valid or not for the target.
func checkForm(w *windows.Window, code []bpf.Instruction) error {
	for _, in := range code {
		if err := semantics.Valid(in); err != nil {
			return unsafef("%v", err)
		}
		if in.Level() > w.Level {
			return unsafef("%v: needs ISA %v, the target has %v", in, in.Level(), w.Level)
		}
	}
	return nil
}

func (ob *obligation) add(what string, old, neu *node) {
	ob.equations = append(ob.equations, equation{what, old, neu})
}

func (ob *obligation) branch(_ *windows.Window, old, neu *machine) error {
	switch {
	case old.cond == nil && neu.cond == nil:
		return nil
	case old.cond == nil || neu.cond == nil:
		return unsafef("a jump came or went")
	case old.branch.Target != neu.branch.Target:
		return unsafef("another jump target")
	}
	ob.add("the branch", old.cond.node, neu.cond.node)
	return nil
}

func (ob *obligation) registers(w *windows.Window, old, neu *machine) error {
	g := ob.entry.g
	for r := range bpf.Register(bpf.NumRegisters) {
		live := w.Needs.Regs[r]
		a, b := old.regs[r], neu.regs[r]
		if live == 0 || a.kind == flow.KindNone {
			continue
		}
		if err := sameKind(r, a, b, old); err != nil {
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

// sameKind wants what is left in a register to be the same to the verifier.
func sameKind(r bpf.Register, a, b value, old *machine) error {
	switch {
	case b.kind == flow.KindNone:
		return unsafef("r%d is left unreadable", r)
	case a.node == b.node || a.kind == b.kind && !a.kind.IsPointer():
		return nil
	case a.kind == flow.KindAny && old.numbers[a.node]:
		return nil
	case a.kind != b.kind:
		return unsafef("r%d is left as another kind of value", r)
	}
	ra, _ := split(a.node)
	rb, _ := split(b.node)
	if ra != rb {
		return unsafef("r%d is left with a pointer from another base", r)
	}
	return nil
}

// context wants the context's stores, already matched in number, place and
// width, to store the same.
func (ob *obligation) context(_ *windows.Window, old, neu *machine) error {
	j := 0
	for _, a := range old.events {
		if !a.store || a.addr.kind != flow.KindContext {
			continue
		}
		for !neu.events[j].store || neu.events[j].addr.kind != flow.KindContext {
			j++
		}
		ob.add("a store to the context", a.v.node, neu.events[j].v.node)
		j++
	}
	return nil
}

// memory wants every byte that either code wrote to end up the same, own stack
// bytes that nobody reads any more excepted.
func (ob *obligation) memory(w *windows.Window, old, neu *machine) error {
	seen := map[initialKey]bool{}
	for _, mc := range []*machine{old, neu} {
		for _, s := range mc.log.stores {
			for i := range s.size {
				a := s.addr.at(i)
				key := initialKey{a.base.id, a.off}
				if seen[key] || deadOnFrame(w, ob.entry.mem, a) {
					continue
				}
				seen[key] = true
				ob.add("memory", old.log.byteAt(a), neu.log.byteAt(a))
			}
			if err := sameSpill(w, ob.entry.mem, s, old, neu); err != nil {
				return err
			}
		}
	}
	return nil
}

func deadOnFrame(w *windows.Window, m *memory, a address) bool {
	return a.kind == flow.KindStack && a.base == m.frame && !w.Needs.Stack.Has(int(a.off))
}

// sameSpill wants pointers that a code leaves in memory to be left there whole
// by both.
func sameSpill(w *windows.Window, m *memory, s store, old, neu *machine) error {
	if s.size != 8 || s.v.kind == flow.KindScalar || deadOnFrame(w, m, s.addr) {
		return nil
	}
	a, okOld := old.log.whole(s.addr, 8)
	b, okNew := neu.log.whole(s.addr, 8)
	switch {
	case okOld && a.kind == flow.KindScalar || okOld && old.numbers[a.node]:
		return nil
	case okOld != okNew || okOld && (a.kind != b.kind || a.node != b.node && a.kind.IsPointer()):
		return unsafef("a pointer is stored in another way")
	}
	return nil
}

// fresh is the solver, made anew when it has answered enough.
func (c *Checker) fresh() *solver {
	if c.solver == nil || c.queries >= renewAfter {
		c.solver, c.queries = newSolver(c.resources), 0
	}
	c.queries++
	return c.solver
}

// prove asks Z3 for a state in which an equation fails.
func (c *Checker) prove(ctx context.Context, w *windows.Window, ob *obligation) Verdict {
	s := c.fresh()
	s.begin()
	defer s.end()

	differs := s.ctx.FromBool(false)
	var parts []z3.Bool
	for _, eq := range ob.equations {
		parts = append(parts, s.bv(eq.old).NE(s.bv(eq.new)))
	}
	if len(parts) > 0 {
		differs = differs.Or(parts...)
	}
	s.assert(differs)
	ob.entry.mem.assertAliases(s)
	sat, err := s.check(ctx)
	switch {
	case err != nil:
		return Verdict{Outcome: Undecided, Reason: err.Error()}
	case !sat:
		return Verdict{Outcome: Proven}
	}
	return c.refute(ctx, w, ob)
}

// assertAliases says that bytes at equal addresses are equal. Only addresses
// from different bases need it; the same byte is the same variable already.
func (m *memory) assertAliases(s *solver) {
	for i, a := range m.initial {
		for _, b := range m.initial[:i] {
			if a.addr.base == b.addr.base || m.disjoint(a.addr, b.addr) {
				continue
			}
			apart := s.bv(m.g.term(a.addr)).NE(s.bv(m.g.term(b.addr)))
			s.assert(apart.Or(s.bv(a.byte).Eq(s.bv(b.byte))))
		}
	}
	m.assertFrameAliases(s)
}

// assertFrameAliases does the same for stack bytes that a fact gives a value:
// they are not variables of their own.
func (m *memory) assertFrameAliases(s *solver) {
	for _, a := range m.initial {
		if a.addr.base == m.frame {
			continue
		}
		for _, c := range m.cells {
			for i := range c.size {
				at := address{flow.KindStack, m.frame, int64(c.off + i)}
				if m.disjoint(a.addr, at) {
					break
				}
				apart := s.bv(m.g.term(a.addr)).NE(s.bv(m.g.term(at)))
				s.assert(apart.Or(s.bv(a.byte).Eq(s.bv(bytePart(m.g, c.v.node, c.size, i, m.big)))))
			}
		}
	}
}
