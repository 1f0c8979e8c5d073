package local

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/k2cc/k2cc/bpf"
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
const maxTries = 12

// Propose tries the window with all transformations applied. Where that is not
// proven it tries again without the step at fault, and in the end with fewer
// and fewer steps.
func (p *Proposer) Propose(ctx context.Context, w *windows.Window, try passes.Try) {
	a := attempt{p: p, w: w, try: try, seen: make(map[string]bool), banned: make(map[ban]bool)}
	var first []step
	for a.tries < maxTries-4 && ctx.Err() == nil {
		steps := a.run(ctx, "")
		if first == nil {
			first = steps
		}
		verdict, ok := a.check(steps)
		if !ok || verdict.Outcome == encode.Proven {
			return
		}
		guilty, found := a.guilty(steps, verdict)
		if !found {
			break
		}
		a.banned[guilty] = true
	}
	if a.withoutOne(ctx, first) {
		return
	}
	for n := len(first) / 2; n > 0 && ctx.Err() == nil && a.tries < maxTries; n /= 2 {
		if verdict, ok := a.check(first[:n]); ok && verdict.Outcome == encode.Proven {
			return
		}
	}
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
	seen   map[string]bool
	banned map[ban]bool
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
	{"drop-store", dropStores},
	{"merge-stores", mergeStores},
	{"branch", branch},
	{"commute", commute},
	{"atomic", atomicAdd},
}

// run applies all transformations but the one with the name without, to a
// fixpoint.
func (a *attempt) run(ctx context.Context, without string) (steps []step) {
	k := newWork(a.w)
	k.banned = a.banned
	v := k.start()
	least := v.code.cost()
	note := func(name string, c code) {
		v = k.view(c)
		least = c.cost()
		steps = append(steps, step{ban{name, k.anchor}, c.instructions()})
	}
	if left := k.clean(v.code); left.code.cost().less(least) {
		note("dead", left.code)
	}
	for again := true; again; {
		again = false
		for _, t := range transforms {
			if t.name == without {
				continue
			}
			k.name = t.name
			for ctx.Err() == nil {
				c := t.apply(v)
				if c == nil || !c.cost().less(least) {
					break
				}
				note(t.name, c)
				again = true
			}
		}
	}
	return steps
}

// check tries what the steps come to. It is false where that is nothing, or
// nothing new.
func (a *attempt) check(steps []step) (encode.Verdict, bool) {
	if len(steps) == 0 {
		return encode.Verdict{}, false
	}
	out := steps[len(steps)-1].code
	if passes.CostOf(out).Compare(passes.CostOf(a.w.Code)) >= 0 {
		return encode.Verdict{}, false
	}
	if name := bpf.Format(out); a.seen[name] {
		return encode.Verdict{}, false
	} else {
		a.seen[name] = true
	}
	a.tries++
	verdict := a.try(out)
	a.p.count(steps, verdict.Outcome == encode.Proven)
	return verdict, true
}

// withoutOne leaves out one transformation after the other.
func (a *attempt) withoutOne(ctx context.Context, steps []step) bool {
	var names []string
	for _, s := range slices.Backward(steps) {
		if s.by.name != "dead" && !slices.Contains(names, s.by.name) {
			names = append(names, s.by.name)
		}
	}
	for _, name := range names {
		if ctx.Err() != nil || a.tries >= maxTries {
			return false
		}
		if verdict, ok := a.check(a.run(ctx, name)); ok && verdict.Outcome == encode.Proven {
			return true
		}
	}
	return false
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
