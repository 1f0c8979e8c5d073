package passes

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

// script proposes fixed code for windows with fixed code.
type script map[string]string

func (script) Name() string { return "script" }

func (s script) Propose(_ context.Context, w *windows.Window, try Try) int {
	src, ok := s[bpf.Format(w.Code)]
	if !ok {
		return 0
	}
	code, err := bpf.ParseCode(src)
	if err != nil {
		panic(err)
	}
	try(code)
	return 1
}

func newScript(t *testing.T, pairs ...string) script {
	t.Helper()
	s := script{}
	for i := 0; i < len(pairs); i += 2 {
		code, err := bpf.ParseCode(pairs[i])
		if err != nil {
			t.Fatal(err)
		}
		s[bpf.Format(code)] = pairs[i+1]
	}
	return s
}

func function(t *testing.T, src string) *bpf.Function {
	t.Helper()
	blocks, err := bpf.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	return &bpf.Function{Name: "f", Context: bpf.ContextXDP, Blocks: blocks}
}

func manager(workers int, pipeline ...Proposer) *Manager {
	return &Manager{
		Pipeline: pipeline,
		Target:   windows.Target{Level: bpf.V4, Shared: map[flow.Kind]bool{flow.KindMapValue: true}},
		Size:     32,
		Deadline: time.Now().Add(time.Minute),
		Workers:  workers,
	}
}

func run(t *testing.T, m *Manager, fn *bpf.Function) *Result {
	t.Helper()
	r := m.Begin(fn)
	for n := range m.Pipeline {
		if err := r.Search(context.Background(), n); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestManagerTakesOnlyProven(t *testing.T) {
	const src = "r0 = 5\nr0 += 6\nexit"
	for _, tt := range []struct {
		name, proposed string
		slots          int
	}{
		{"right", "r0 = 11", 2},
		{"wrong", "r0 = 12", 3},
		{"right but no cheaper", "r0 = 6\nr0 += 5", 3},
		{"empty", "", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := run(t, manager(1, newScript(t, "r0 = 5\nr0 += 6", tt.proposed)), function(t, src))
			if got := r.Layout.Function().Slots(); got != tt.slots {
				t.Errorf("%d slots, want %d", got, tt.slots)
			}
		})
	}
}

// conflict has two windows with the call between them. Each rewrite is right by
// itself: r7 is dead behind the second block, and it holds 15 before. Together
// they are wrong, since one reads r7 where the other no longer leaves 15 in it.
const conflict = `r7 = 15
r6 = 1
call 7
r0 &= 15
exit`

func TestManagerConflict(t *testing.T) {
	clobber := proposer(func(w *windows.Window, try Try) {
		switch {
		case len(w.Code) == 2:
			try(parse(t, "r7 = 14"))
		default:
			try(parse(t, "r0 &= r7"))
		}
	})
	dear := func(fn *bpf.Function) *bpf.Function {
		last := fn.Blocks[0]
		last.Code = slices.Insert(last.Code, 4, parse(t, "r0 += 0")...)
		return fn
	}
	r := run(t, manager(2, clobber), dear(function(t, conflict)))
	out := r.Layout.Function()
	masks := slices.ContainsFunc(out.Blocks[0].Code, func(in bpf.Instruction) bool { return in.UsesSrc() && in.Src == bpf.R7 })
	loads := slices.ContainsFunc(out.Blocks[0].Code, func(in bpf.Instruction) bool { return in.Dst == bpf.R7 && in.Imm == 15 })
	if masks && !loads {
		t.Errorf("both rewrites were taken:\n%s", bpf.Format(out.Blocks[0].Code))
	}
	if len(r.Changed()) == 0 {
		t.Error("neither rewrite was taken")
	}
}

func TestWithout(t *testing.T) {
	const src = "r6 = 5\nr6 += 6\ncall 7\nr0 = r6\nr0 += 1\nexit"
	s := newScript(t, "r6 = 5\nr6 += 6", "r6 = 11", "r0 = r6\nr0 += 1", "r0 = 12")
	r := run(t, manager(1, s), function(t, src))
	if got := r.Layout.Function().Slots(); got != 4 {
		t.Fatalf("%d slots, want 4", got)
	}
	first := r.Layout.Segments[0]
	if err := r.Without(context.Background(), map[*windows.Segment]bool{first: true}); err != nil {
		t.Fatal(err)
	}
	if first.Changed() || !r.Layout.Segments[1].Changed() {
		t.Errorf("got %s", bpf.Format(r.Layout.Function().Blocks[0].Code))
	}
}

// The number of workers changes no result, and a deadline ends the search with
// what was found.
func TestManagerDeadline(t *testing.T) {
	m := manager(1, newScript(t, "r0 = 5\nr0 += 6", "r0 = 11"))
	m.Deadline = time.Now()
	r := run(t, m, function(t, "r0 = 5\nr0 += 6\nexit"))
	if !r.OutOfTime || len(r.Changed()) != 0 {
		t.Errorf("out of time %v, %d rewrites", r.OutOfTime, len(r.Changed()))
	}
}

type proposer func(w *windows.Window, try Try)

func (proposer) Name() string { return "func" }
func (p proposer) Propose(_ context.Context, w *windows.Window, try Try) int {
	p(w, try)
	return 1
}

func parse(t *testing.T, src string) []bpf.Instruction {
	t.Helper()
	code, err := bpf.ParseCode(src)
	if err != nil {
		t.Fatal(err)
	}
	return code
}
