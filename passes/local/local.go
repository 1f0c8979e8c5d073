package local

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes"
	"github.com/k2cc/k2cc/windows"
)

// Proposer proposes windows re-emitted by local transformations. It may be used
// by several goroutines at once.
type Proposer struct {
	mu    sync.Mutex
	stats map[string]*Statistic
}

var _ passes.Proposer = (*Proposer)(nil)

// Statistic counts what became of one transformation's steps.
type Statistic struct {
	Name     string
	Proposed int // steps in candidates that were checked
	Proven   int // steps in candidates that were proven
}

// New is a proposer that has counted nothing yet.
func New() *Proposer { return &Proposer{stats: make(map[string]*Statistic)} }

// Name is "local".
func (p *Proposer) Name() string { return "local" }

// Statistics is what the transformations came to so far, by name.
func (p *Proposer) Statistics() []Statistic {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Statistic
	for _, name := range slices.Sorted(maps.Keys(p.stats)) {
		out = append(out, *p.stats[name])
	}
	return out
}

func (p *Proposer) count(steps []step, proven bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range steps {
		st := p.stats[s.by.name]
		if st == nil {
			st = &Statistic{Name: s.by.name}
			p.stats[s.by.name] = st
		}
		st.Proposed++
		if proven {
			st.Proven++
		}
	}
}

// maxTries bounds how many candidates are checked for one window.
const maxTries = 24

// maxUndecided bounds how many of them the solver may give up on: that takes
// long, and one window's candidates are all much alike.
const maxUndecided = 2

// Propose tries the window with all transformations applied. Where that is not
// proven it finds the step at fault, from the counterexample or by halving, and
// tries again without it. A candidate may be tried after one that was proven,
// if it is better.
func (p *Proposer) Propose(ctx context.Context, w *windows.Window, try passes.Try) int {
	a := attempt{p: p, w: w, try: try, seen: make(map[string]encode.Outcome), banned: make(map[ban]bool)}
	for ctx.Err() == nil && !a.spent() {
		steps := a.affordable(a.run(ctx))
		verdict, ok := a.check(steps)
		if !ok || verdict.Outcome == encode.Proven {
			break
		}
		guilty, found := a.guilty(steps, verdict)
		if !found {
			guilty, found = a.halve(ctx, steps)
		}
		if !found {
			break
		}
		a.banned[guilty] = true
	}
	a.settle()
	return a.tries
}

// step is one transformation's result.
type step struct {
	by   ban
	code []bpf.Instruction
}

// ban names a transformation at one instruction.
type ban struct {
	name string
	at   int32
}

// attempt is the work on one window.
type attempt struct {
	p      *Proposer
	w      *windows.Window
	try    passes.Try
	tries  int
	gaveUp int // tries that the solver gave up on
	seen   map[string]encode.Outcome
	banned map[ban]bool

	best, last []bpf.Instruction // the cheapest and the last proven candidate
}

// transform looks for an improvement that its own kind of change makes.
type transform struct {
	name  string
	apply func(v *view) code
}

// transforms is all transformations, in the order in which they are tried.
var transforms = [...]transform{
	{"field-offset", foldField},
	{"rebuild", rebuild},
	{"forward", forward},
	{"coalesce", coalesce},
	{"share", share},
	{"drop-store", dropStores},
	{"merge-stores", mergeStores},
	{"gather", gather},
	{"branch", branch},
	{"commute", commute},
	{"atomic", atomicAdd},
}

// run applies all transformations to a fixpoint.
func (a *attempt) run(ctx context.Context) (steps []step) {
	k := newWork(a.w)
	k.banned = a.banned
	v := k.start()
	least := v.code.price()
	note := func(name string, c code) {
		v = k.view(c)
		least = c.price()
		steps = append(steps, step{ban{name, k.anchor}, c.instructions()})
	}
	if left := k.clean(v.code); k.better(left.code.price(), least) {
		note("dead", left.code)
	}
	for again := true; again; {
		again = false
		for _, t := range transforms {
			k.name = t.name
			for ctx.Err() == nil {
				c := t.apply(v)
				if c == nil || !k.better(c.price(), least) {
					break
				}
				note(t.name, c)
				again = true
			}
		}
	}
	return steps
}

// affordable is the steps up to the last that costs no more than it may.
func (a *attempt) affordable(steps []step) []step {
	for n := len(steps); n > 0; n-- {
		if cost.Of(steps[n-1].code).Within(a.w.Bounds()) {
			return steps[:n]
		}
	}
	return nil
}

// check tries what the steps come to. It is false where that is nothing that
// costs less.
func (a *attempt) check(steps []step) (encode.Verdict, bool) {
	if len(steps) == 0 {
		return encode.Verdict{}, false
	}
	out := steps[len(steps)-1].code
	name := bpf.Format(out)
	if o, ok := a.seen[name]; ok {
		return encode.Verdict{Outcome: o}, true
	}
	if c := cost.Of(out); !c.Within(a.w.Bounds()) || a.w.Costs.Compare(c, cost.Of(a.w.Code)) >= 0 {
		return encode.Verdict{}, false
	}
	a.tries++
	verdict := a.try(out)
	a.seen[name] = verdict.Outcome
	if verdict.Outcome == encode.Undecided {
		a.gaveUp++
	}
	proven := verdict.Outcome == encode.Proven
	a.p.count(steps, proven)
	if proven {
		a.last = out
		if a.best == nil || a.w.Costs.Compare(cost.Of(out), cost.Of(a.best)) < 0 {
			a.best = out
		}
	}
	return verdict, true
}

func (a *attempt) spent() bool { return a.tries >= maxTries || a.gaveUp >= maxUndecided }

// halve finds a step with which a proof is lost.
func (a *attempt) halve(ctx context.Context, steps []step) (ban, bool) {
	good, bad := 0, len(steps)
	for bad-good > 1 {
		if ctx.Err() != nil || a.spent() {
			return ban{}, false
		}
		mid := (good + bad) / 2
		// What costs as much as the old code is not checked: take it for good.
		if verdict, ok := a.check(steps[:mid]); !ok || verdict.Outcome == encode.Proven {
			good = mid
		} else {
			bad = mid
		}
	}
	by := steps[bad-1].by
	return by, by.name != "dead" && !a.banned[by]
}

// settle has the best proven candidate be the last one.
func (a *attempt) settle() {
	if a.best != nil && cost.Of(a.best) != cost.Of(a.last) {
		a.try(a.best)
	}
}

// guilty is the first step after which the counterexample's state ends
// differently.
func (a *attempt) guilty(steps []step, verdict encode.Verdict) (ban, bool) {
	if verdict.Counterexample == nil {
		return ban{}, false
	}
	want, ok := replay(a.w, a.w.Code, verdict.Counterexample)
	if !ok {
		return ban{}, false
	}
	for _, s := range steps {
		got, ok := replay(a.w, s.code, verdict.Counterexample)
		if !ok || !want.same(got, &a.w.Needs) {
			return s.by, !a.banned[s.by]
		}
	}
	return ban{}, false
}

// skip tells whether the transformation that is being applied must not be so
// at an instruction, and notes where it is applied.
func (k *work) skip(in inst) bool {
	k.anchor = in.id
	return k.banned[ban{k.name, in.id}]
}
