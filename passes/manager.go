package passes

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/cache"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/windows"
)

// Manager runs a pipeline of proposers over functions and has every proposal
// proven.
type Manager struct {
	Pipeline []Proposer
	Target   windows.Target
	Size     int           // instructions in a window, at most
	Window   time.Duration // wall-clock bound for one window, the net below the proposers' own budgets
	Deadline time.Time     // of the search; what is found by then is still checked
	Workers  int           // windows looked at at the same time; no result depends on it
	Cache    *cache.Cache  // what earlier runs found out; no result depends on it
	Budget   *Budget       // of all searchers together, maybe in several functions; nil for none
	// Resources bounds one query about a proposal, in Z3's units (encode.Options);
	// what stands already and has to be proven anew gets the default.
	Resources uint
	Pool      *encode.Pool // of solvers, maybe for several managers; nil for none
}

// maxRounds bounds how often the windows are gone over: what one rewrite leaves
// behind may make another possible.
const maxRounds = 6

// Result is what a manager did to one function.
type Result struct {
	Layout  *windows.Layout
	Windows int // windows looked at
	Stats   map[string]Stats
	// OutOfTime says that time ran out before all windows were looked at.
	OutOfTime bool
	// Unsearched counts the windows that searchers were not asked about, as the
	// budget was spent.
	Unsearched int

	manager *Manager
	stages  []windows.Codes // what each round put where
}

// Stats counts what became of one proposer's candidates.
type Stats struct {
	Tried, Proven, Refuted, Unsafe, Undecided int
	Slots                                     int // taken out by proven candidates
	Work                                      int // candidates looked at, most of which were not worth a proof
}

// Add counts o's candidates in.
func (s *Stats) Add(o Stats) {
	s.Tried += o.Tried
	s.Proven += o.Proven
	s.Refuted += o.Refuted
	s.Unsafe += o.Unsafe
	s.Undecided += o.Undecided
	s.Slots += o.Slots
	s.Work += o.Work
}

// Begin is the result of having done nothing to a function yet.
func (m *Manager) Begin(fn *bpf.Function) *Result {
	return &Result{
		Layout:  windows.Cut(fn, m.Size),
		Stats:   map[string]Stats{},
		manager: m,
	}
}

// Search looks for cheaper code with the pipeline up to its n-th proposer, until
// nothing more is found or time is up.
func (r *Result) Search(ctx context.Context, n int) error {
	ctx, cancel := context.WithDeadline(ctx, r.manager.Deadline)
	defer cancel()
	seen := make([]*windows.Window, len(r.Layout.Segments))
	for range maxRounds {
		if ctx.Err() != nil {
			r.OutOfTime = true
			return nil
		}
		changed, err := r.round(ctx, r.manager.Pipeline[:n+1], seen)
		switch {
		case ctx.Err() != nil:
			r.OutOfTime = true
			return nil
		case err != nil || !changed:
			return err
		}
	}
	return nil
}

// round goes over all windows once. What was looked at before and has not
// changed since is in seen.
func (r *Result) round(ctx context.Context, pipeline []Proposer, seen []*windows.Window) (bool, error) {
	facts, ws, err := r.windows(ctx)
	if err != nil {
		return false, err
	}
	var todo []int
	for i, w := range ws {
		if w != nil && len(w.Code) > 0 && !sameWindow(w, seen[i]) {
			todo = append(todo, i)
		}
	}
	hottestFirst(facts.Graph(), ws, todo)
	found := make([]proposal, len(ws))
	r.Unsearched = r.manager.look(ctx, pipeline, ws, todo, found)
	next := make(windows.Codes, len(ws))
	r.Windows = 0
	for i, f := range found {
		if ws[i] != nil {
			r.Windows++
		}
		seen[i] = ws[i]
		next[i] = f.code
		r.OutOfTime = r.OutOfTime || f.cut
		for name, s := range f.stats {
			total := r.Stats[name]
			total.Add(s)
			r.Stats[name] = total
		}
	}
	// What was found is settled even when time is up.
	return r.settle(context.WithoutCancel(ctx), facts, ws, next)
}

// settle puts code into the segments for which next has any. Each was proven
// for the windows ws, with the facts and needs of the function as it was; those
// whose needs have grown, because new code elsewhere reads more, are proven
// again, and those for which that fails are taken back, until the rest stands.
func (r *Result) settle(ctx context.Context, facts *flow.Facts, ws []*windows.Window, next windows.Codes) (bool, error) {
	before := r.Layout.Codes()
	proven := make([]*windows.Window, len(ws))
	changed := false
	for i, code := range next {
		if code != nil {
			r.Layout.Segments[i].Replace(code)
			proven[i], changed = ws[i], true
		}
	}
	for changed {
		again, err := r.step(ctx, before, facts)
		if err != nil {
			return false, err
		}
		bad := make([]bool, len(again))
		r.manager.each(len(again), func(i int) {
			if next[i] == nil || covers(proven[i], again[i]) {
				return
			}
			proven[i] = again[i]
			bad[i] = again[i] == nil || !r.manager.proves(ctx, again[i], next[i])
		})
		stands := true
		for i, b := range bad {
			if b {
				r.Layout.Segments[i].New, next[i], stands = before[i], nil, false
			}
		}
		if stands {
			break
		}
	}
	changed = slices.ContainsFunc(next, func(c []bpf.Instruction) bool { return c != nil })
	if changed {
		r.stages = append(r.stages, next)
	}
	return changed, nil
}

// step is the windows for going from an earlier stage to the function as it
// stands now.
func (r *Result) step(ctx context.Context, before windows.Codes, facts *flow.Facts) ([]*windows.Window, error) {
	_, needs, err := r.analyze(ctx, r.Layout.Function())
	if err != nil {
		return nil, err
	}
	return r.Layout.Step(before, facts, needs, r.manager.Target), nil
}

// covers tells whether a proof for window a is one for b: the same code and
// facts, and no more needs.
func covers(a, b *windows.Window) bool {
	if a == nil || b == nil {
		return false
	}
	x, y := *a, *b
	for r := range x.Needs.Regs {
		y.Needs.Regs[r] |= x.Needs.Regs[r]
	}
	for i := range x.Needs.Stack {
		y.Needs.Stack[i] |= x.Needs.Stack[i]
	}
	return sameWindow(&x, &y)
}

// Without redoes all stages but for the segments in drop, which keep the
// input's code. What does not stand without them falls with them.
func (r *Result) Without(ctx context.Context, drop map[*windows.Segment]bool) error {
	stages := r.stages
	r.stages = nil
	for _, s := range r.Layout.Segments {
		s.Revert()
	}
	for _, stage := range stages {
		facts, ws, err := r.windows(ctx)
		if err != nil {
			return err
		}
		next := slices.Clone(stage)
		r.manager.each(len(next), func(i int) {
			if next[i] == nil {
				return
			}
			if drop[r.Layout.Segments[i]] || ws[i] == nil || !r.manager.proves(ctx, ws[i], next[i]) {
				next[i] = nil
			}
		})
		if _, err := r.settle(ctx, facts, ws, next); err != nil {
			return err
		}
	}
	return nil
}

// windows is a window for each segment of the function as it stands now, and
// the facts that they were made with.
func (r *Result) windows(ctx context.Context) (*flow.Facts, []*windows.Window, error) {
	facts, needs, err := r.analyze(ctx, r.Layout.Function())
	if err != nil {
		return nil, nil, err
	}
	return facts, r.Layout.Windows(facts, needs, r.manager.Target), nil
}

func (r *Result) analyze(ctx context.Context, fn *bpf.Function) (*flow.Facts, *flow.Needs, error) {
	return flow.Both(ctx, fn, flow.Options{BigEndian: r.manager.Target.BigEndian})
}

func sameWindow(a, b *windows.Window) bool { return b != nil && a.Same(b) }

// each calls f with 0 to n-1, on as many goroutines as there are workers.
func (m *Manager) each(n int, f func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range max(m.Workers, 1) {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// Changed is the segments that are replaced.
func (r *Result) Changed() []*windows.Segment {
	var out []*windows.Segment
	for _, s := range r.Layout.Segments {
		if s.Changed() {
			out = append(out, s)
		}
	}
	return out
}
