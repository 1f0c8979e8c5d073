package passes

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
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
}

// maxRounds bounds how often the windows are gone over: what one rewrite leaves
// behind may make another possible.
const maxRounds = 6

// Result is what a manager did to one function.
type Result struct {
	Layout  *windows.Layout
	Windows int // windows looked at
	Stats   map[string]Stats
	// OutOfTime says that the search ended at the deadline.
	OutOfTime bool

	manager *Manager
	facts   *flow.Facts // of the input
}

// Stats counts what became of one proposer's candidates.
type Stats struct {
	Tried, Proven, Refuted, Unsafe, Undecided int
	Slots                                     int // taken out by proven candidates
}

func (s *Stats) add(o Stats) {
	s.Tried += o.Tried
	s.Proven += o.Proven
	s.Refuted += o.Refuted
	s.Unsafe += o.Unsafe
	s.Undecided += o.Undecided
	s.Slots += o.Slots
}

// Run optimises one function. The function itself is not changed; the result's
// Layout has the new code, which Recheck has accepted.
func (m *Manager) Run(ctx context.Context, fn *bpf.Function) (*Result, error) {
	facts, err := flow.Analyze(ctx, fn, flow.Options{BigEndian: m.Target.BigEndian})
	if err != nil {
		return nil, fmt.Errorf("facts of %s: %w", fn.Name, err)
	}
	r := &Result{
		Layout:  windows.Cut(fn, m.Size),
		Stats:   map[string]Stats{},
		manager: m,
		facts:   facts,
	}
	if err := r.search(ctx); err != nil {
		return nil, err
	}
	return r, r.Recheck(ctx)
}

// search looks for cheaper code until nothing more is found or time is up.
func (r *Result) search(ctx context.Context) error {
	ctx, cancel := context.WithDeadline(ctx, r.manager.Deadline)
	defer cancel()
	seen := make([]*windows.Window, len(r.Layout.Segments))
	for range maxRounds {
		changed, err := r.round(ctx, seen)
		if ctx.Err() != nil {
			r.OutOfTime = true
			return nil
		}
		if err != nil || !changed {
			return err
		}
	}
	return nil
}

// Target is what the function was optimised for.
func (r *Result) Target() windows.Target { return r.manager.Target }

// round goes over all windows once. What was looked at before and has not
// changed since is in seen.
func (r *Result) round(ctx context.Context, seen []*windows.Window) (bool, error) {
	ws, err := r.windows(ctx)
	if err != nil {
		return false, err
	}
	type found struct {
		code  []bpf.Instruction
		stats map[string]Stats
	}
	out := make([]found, len(ws))
	r.manager.each(len(ws), func(i int) {
		if ws[i] == nil || len(ws[i].Code) == 0 || sameWindow(ws[i], seen[i]) {
			return
		}
		code, stats := r.manager.improve(ctx, ws[i])
		out[i] = found{code, stats}
	})
	changed := false
	for i, f := range out {
		if ws[i] != nil && seen[i] == nil {
			r.Windows++
		}
		seen[i] = ws[i]
		for name, s := range f.stats {
			total := r.Stats[name]
			total.add(s)
			r.Stats[name] = total
		}
		if f.code != nil {
			r.Layout.Segments[i].Replace(f.code)
			changed = true
		}
	}
	return changed, nil
}

// windows is a window for each segment of the function as it stands now.
func (r *Result) windows(ctx context.Context) ([]*windows.Window, error) {
	fn := r.Layout.Function()
	facts, needs, err := r.analyze(ctx, fn)
	if err != nil {
		return nil, err
	}
	return r.Layout.Windows(facts, needs, r.manager.Target), nil
}

func (r *Result) analyze(ctx context.Context, fn *bpf.Function) (*flow.Facts, *flow.Needs, error) {
	facts, err := flow.Analyze(ctx, fn, flow.Options{BigEndian: r.manager.Target.BigEndian})
	if err != nil {
		return nil, nil, fmt.Errorf("facts of %s: %w", fn.Name, err)
	}
	needs, err := flow.Liveness(fn, facts)
	if err != nil {
		return nil, nil, fmt.Errorf("needs of %s: %w", fn.Name, err)
	}
	return facts, needs, nil
}

func sameWindow(a, b *windows.Window) bool {
	if b == nil {
		return false
	}
	x, y := *a, *b
	x.Fn, y.Fn, x.Start, y.Start = nil, nil, 0, 0
	return reflect.DeepEqual(x, y)
}

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

// improve runs the pipeline over one window, each proposer on what the one
// before it made. It returns nil where nothing was found.
func (m *Manager) improve(ctx context.Context, w *windows.Window) ([]bpf.Instruction, map[string]Stats) {
	if m.Window > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, m.Window)
		defer cancel()
	}
	// A solver of its own, so that no answer depends on what else was asked.
	checker := encode.New(encode.Options{})
	stats := map[string]Stats{}
	now := *w
	changed := false
	for _, p := range m.Pipeline {
		if ctx.Err() != nil {
			break
		}
		var s Stats
		var proven []bpf.Instruction
		p.Propose(ctx, &now, func(code []bpf.Instruction) encode.Verdict {
			v := checker.Check(ctx, &now, code)
			s.count(v)
			if v.Outcome == encode.Proven && CostOf(code).Compare(CostOf(now.Code)) < 0 {
				proven = append([]bpf.Instruction{}, code...)
			}
			return v
		})
		if proven != nil {
			s.Slots += bpf.Slots(now.Code) - bpf.Slots(proven)
			now.Code, changed = proven, true
		}
		stats[p.Name()] = s
	}
	if !changed {
		return nil, stats
	}
	return now.Code, stats
}

func (s *Stats) count(v encode.Verdict) {
	s.Tried++
	switch v.Outcome {
	case encode.Proven:
		s.Proven++
	case encode.Refuted:
		s.Refuted++
	case encode.Unsafe:
		s.Unsafe++
	default:
		s.Undecided++
	}
}

// Recheck proves every replaced segment against the input again, under the
// facts of the input and the needs of the function as it stands now, and
// reverts those for which that fails until the rest stands together. It has to
// be called after any segment was reverted.
func (r *Result) Recheck(ctx context.Context) error {
	done := make([]*windows.Window, len(r.Layout.Segments))
	for {
		_, needs, err := r.analyze(ctx, r.Layout.Function())
		if err != nil {
			return err
		}
		ws := r.Layout.Checks(r.facts, needs, r.manager.Target)
		bad := make([]bool, len(ws))
		r.manager.each(len(ws), func(i int) {
			seg := r.Layout.Segments[i]
			if !seg.Changed() || ws[i] != nil && sameWindow(ws[i], done[i]) {
				return
			}
			bad[i] = ws[i] == nil || encode.New(encode.Options{}).Check(ctx, ws[i], seg.New).Outcome != encode.Proven
			done[i] = ws[i]
		})
		reverted := false
		for i, b := range bad {
			if b {
				r.Layout.Segments[i].Revert()
				reverted = true
			}
		}
		if !reverted {
			return nil
		}
	}
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
