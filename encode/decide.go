package encode

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"

	"github.com/aclements/go-z3/z3"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/windows"
)

const (
	// guesses is how many random states are tried before Z3 is asked.
	guesses = 16
	// rounds bounds how often a model is refused because it gives one byte two
	// values, or puts two kinds of memory in one place.
	rounds = 40
	// renewAfter bounds what a Z3 context piles up (symbols and sorts are kept
	// for its life) by making a new one after so many queries.
	renewAfter = 2000
)

// guess looks for a counterexample among random states.
func (ob *obligation) guess(w *windows.Window, code []bpf.Instruction) (Verdict, bool) {
	for seed := range uint64(guesses) {
		s := newSampler(ob, seed)
		eq, differs := ob.differs(s.v)
		if !differs || !ob.allowed(s.v) {
			continue
		}
		if v, ok := ob.refuted(w, code, s.v, eq); ok {
			return v, true
		}
	}
	return Verdict{}, false
}

// refuted makes a verdict of a state in which an equation fails, if the
// interpreter confirms it.
func (ob *obligation) refuted(w *windows.Window, code []bpf.Instruction, v *valuation, eq equation) (Verdict, bool) {
	cx := ob.counterexample(v)
	if differs, _, err := Replay(w, code, cx); err != nil || !differs {
		return Verdict{}, false
	}
	return Verdict{Outcome: Refuted, Reason: eq.what + " differs", Counterexample: cx}, true
}

// errClash says that no consistent model came up.
var errClash = errors.New("the solver finds no consistent memory within its limits")

// query is one question to the solver: is there a state in which an equation
// fails?
type query struct {
	ob     *obligation
	s      *solver
	stated map[[2]int]bool // pairs of bases whose bytes were told apart
	pool   *Pool           // where the solver goes back to, if it is lent
}

// fresh is the solver for one more query.
func (c *Checker) fresh() *solver {
	if c.solver == nil || c.queries >= renewAfter {
		c.solver, c.queries = newSolver(c.resources), 0
	}
	c.queries++
	return c.solver
}

// open begins a question.
func (c *Checker) open(ob *obligation) *query {
	s, pool := c.fresh, (*Pool)(nil)
	if !slices.ContainsFunc(ob.equations, func(eq equation) bool { return eq.old != eq.new }) {
		// The terms leave nothing to be asked but whether false can be true.
		s, pool = c.lent, c.pool
	}
	q := &query{ob: ob, s: s(), stated: map[[2]int]bool{}, pool: pool}
	q.differ()
	return q
}

// differ asserts that an equation fails.
func (q *query) differ() {
	s, ob := q.s, q.ob
	s.begin()
	differs := hold(s, s.ctx.FromBool(false))
	var parts []z3.Bool
	for _, eq := range ob.equations {
		if eq.old != eq.new {
			parts = append(parts, hold(s, s.bv(eq.old).NE(s.bv(eq.new))))
		}
	}
	if len(parts) > 0 {
		differs = differs.Or(parts...)
	}
	s.assert(differs)
}

// close ends a question.
func (q *query) close() {
	q.s.end()
	q.pool.giveBack(q.s)
}

// solve asks for a state. That bytes at one address are one byte is told the
// solver only where it matters.
func (q *query) solve(ctx context.Context) (*valuation, bool, error) {
	for range rounds {
		sat, err := q.s.check(ctx)
		if err != nil || !sat {
			return nil, false, err
		}
		v := q.valuation()
		clashes := q.ob.clashes(v)
		if len(clashes) == 0 {
			return v, true, nil
		}
		for _, c := range clashes {
			q.tell(c[0], c[1])
		}
	}
	return nil, false, errClash
}

// manyBytes is up to how many pairs of bytes of two bases are told apart at
// once.
const manyBytes = 2000

// tell asserts that the bytes are the same if their addresses are, and the same
// for all other bytes from these two bases.
func (q *query) tell(a, b knownByte) {
	m := q.ob.entry.mem
	pair := [2]int{min(a.addr.base.id, b.addr.base.id), max(a.addr.base.id, b.addr.base.id)}
	var as, bs []knownByte
	for _, k := range m.knownBytes() {
		switch k.addr.base {
		case a.addr.base:
			as = append(as, k)
		case b.addr.base:
			bs = append(bs, k)
		}
	}
	if q.stated[pair] || len(as)*len(bs) > manyBytes {
		as, bs = []knownByte{a}, []knownByte{b}
	}
	q.stated[pair] = true
	for _, x := range as {
		for _, y := range bs {
			if x.epoch != y.epoch || x.byte == y.byte || m.disjoint(x.addr, y.addr) {
				continue
			}
			meet := q.s.truth(m.g.compare(opEq, m.g.term(x.addr), m.g.term(y.addr)))
			same := hold(q.s, q.s.bv(x.byte).Eq(q.s.bv(y.byte)))
			q.s.assert(hold(q.s, meet.Not()).Or(same))
		}
	}
}

// valuation is the model's state. What the query does not mention is sampled.
func (q *query) valuation() *valuation {
	m := hold(q.s, q.s.solver.Model())
	sample := newSampler(q.ob, 0)
	v := newValuation(q.ob.entry.g, func(n *node) uint64 {
		if _, ok := q.s.terms[n]; ok {
			if u, err := q.s.eval(m, n); err == nil {
				return u
			}
		}
		return sample.variable(n)
	})
	sample.v = v
	return v
}

// ask tells whether there is a state in which an equation fails.
func (c *Checker) ask(ctx context.Context, ob *obligation) (bool, error) {
	q := c.open(ob)
	defer q.close()
	_, sat, err := q.solve(ctx)
	if ctx.Err() != nil {
		c.solver = nil // it may still be interrupted
	}
	return sat, err
}

// possible tells whether there is a state that the facts allow: without one,
// everything could be proven.
func (c *Checker) possible(ctx context.Context, e *entry) error {
	var doubtful []*input
	sample := &sampler{rng: rand.New(rand.NewPCG(1, 2))}
	for _, in := range e.inputs {
		if len(in.facts) > 1 && !in.allows(sample.fitting(in)) {
			doubtful = append(doubtful, in)
		}
	}
	if len(doubtful) == 0 {
		return nil
	}
	s := c.fresh()
	s.begin()
	defer s.end()
	for _, in := range doubtful {
		s.bv(in.root)
	}
	s.assert(s.ctx.FromBool(true))
	sat, err := s.check(ctx)
	if err == nil && !sat {
		err = errContradiction
	}
	return err
}

// decide proves or refutes a condition on flat memory.
func (c *Checker) decide(ctx context.Context, w *windows.Window, code []bpf.Instruction, ob *obligation) (Verdict, error) {
	q := c.open(ob)
	defer q.close()
	v, sat, err := q.solve(ctx)
	if ctx.Err() != nil {
		c.solver = nil
	}
	if err != nil || !sat {
		return Verdict{Outcome: Proven}, err
	}
	if out, ok := q.replayed(w, code, v); ok {
		return out, nil
	}
	// In the model, memory of different kinds may be in one place.
	for _, tidy := range []func(context.Context) (*valuation, bool){q.pinned, q.separated} {
		if v, ok := tidy(ctx); ok {
			if out, ok := q.replayed(w, code, v); ok {
				return out, nil
			}
		}
	}
	return Verdict{Outcome: Undecided, Reason: "a counterexample that does not replay"}, nil
}

func (q *query) replayed(w *windows.Window, code []bpf.Instruction, v *valuation) (Verdict, bool) {
	eq, ok := q.ob.differs(v)
	if !ok {
		return Verdict{}, false
	}
	return q.ob.refuted(w, code, v, eq)
}

// pinned looks for a state in which the variables that accesses are based on
// are far apart.
func (q *query) pinned(ctx context.Context) (*valuation, bool) {
	sample := newSampler(q.ob, 0)
	var bases []*node
	for _, n := range q.ob.entry.g.vars {
		if _, ok := sample.bases[n]; ok {
			bases = append(bases, n)
			q.s.bv(n)
		}
	}
	q.s.assert(q.s.ctx.FromBool(true)) // what is known of them outlives the pins
	q.s.solver.Push()
	defer q.s.solver.Pop()
	for _, n := range bases {
		q.s.assert(q.s.bv(n).Eq(q.s.constant(sample.pointer(sample.bases[n]), 64)))
	}
	v, ok, err := q.solve(ctx)
	return v, ok && err == nil
}

// separated looks for a state in which no two accesses to different kinds of
// memory meet.
func (q *query) separated(ctx context.Context) (*valuation, bool) {
	for range rounds {
		v, ok, err := q.solve(ctx)
		if err != nil || !ok {
			return nil, false
		}
		if !q.separate(v) {
			return v, true
		}
	}
	return nil, false
}

// separate tells the solver of accesses to different kinds of memory that meet
// in v, if there are any.
func (q *query) separate(v *valuation) bool {
	m, found := q.ob.entry.mem, false
	events := append(append([]event(nil), q.ob.old.events...), q.ob.new.events...)
	for i, a := range events {
		for _, b := range events[:i] {
			if a.addr.base == b.addr.base || !m.apart(a.addr.kind, b.addr.kind) {
				continue
			}
			ta, tb := m.g.term(a.addr), m.g.term(b.addr)
			if v.of(ta)-v.of(tb) >= uint64(b.size) && v.of(tb)-v.of(ta) >= uint64(a.size) {
				continue
			}
			found = true
			x, y := q.s.bv(ta), q.s.bv(tb)
			q.s.assert(hold(q.s, x.Sub(y)).UGE(q.s.constant(region, 64)))
			q.s.assert(hold(q.s, y.Sub(x)).UGE(q.s.constant(region, 64)))
		}
	}
	return found
}
