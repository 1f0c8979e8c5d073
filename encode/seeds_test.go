package encode

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/windows"
)

// effort is how many wrong rewrites have to be caught at the least, how many of
// one kind are tried at the most, and how many states show that one is harmless.
type effort struct{ caught, perKind, states int }

// caught counts what became of the wrong rewrites of one kind.
type caught struct {
	refuted, refused, undecided, harmless int
}

// TestSeededBugs plants wrong rewrites and wants every one refuted or refused.
// A planted change may be harmless: that takes thousands of random states in which the
// interpreter finds no difference, and a change that is none to anybody but the
// code itself. The checker's own word does not count.
func TestSeededBugs(t *testing.T) {
	all := effort{caught: 500, perKind: 24, states: 10_000}
	all.wantFound(t, func(w *windows.Window) bool { return !slices.ContainsFunc(w.Code, isCall) })
}

// TestSeededCalls does the same around calls.
func TestSeededCalls(t *testing.T) {
	all := effort{caught: 200, perKind: 8, states: 3000}
	all.wantFound(t, func(w *windows.Window) bool { return slices.ContainsFunc(w.Code, isCall) })
}

func (e effort) wantFound(t *testing.T, of func(w *windows.Window) bool) {
	seeds := e.seedsOf(t, of)
	c := New(Options{Resources: 10_000_000})
	found := map[string]*caught{}
	for i, s := range seeds {
		n := found[s.kind]
		if n == nil {
			n = &caught{}
			found[s.kind] = n
		}
		v := c.Check(context.Background(), s.w, s.code)
		switch v.Outcome {
		case Refuted:
			n.refuted++
			wantReplay(t, s.w, s.code, v)
		case Unsafe:
			n.refused++
		case Undecided:
			n.undecided++
			if !strings.Contains(v.Reason, errNotModelled.Error()) {
				t.Errorf("%s: undecided: %s\n%s", s.kind, v.Reason, s)
			}
		case Proven:
			n.harmless++
			if s.never {
				t.Errorf("%s: proven\n%s", s.kind, s)
			}
			if what := differsSomewhere(t, s.w, s.code, e.states); what != "" {
				t.Errorf("%s (%d): proven, but %s\n%s", s.kind, i, what, s)
			}
		}
	}
	e.report(t, found)
}

func (s seed) String() string {
	return fmt.Sprintf("facts: %v\nneeds: %v\nold:\n%snew:\n%s", s.w.Facts, s.w.Needs, bpf.Format(s.w.Code), bpf.Format(s.code))
}

func (e effort) report(t *testing.T, found map[string]*caught) {
	var total caught
	for _, kind := range slices.Sorted(maps.Keys(found)) {
		n := found[kind]
		t.Logf("%-32s %4d refuted %4d refused %4d not modelled %4d harmless in %d states",
			kind, n.refuted, n.refused, n.undecided, n.harmless, e.states)
		total.refuted += n.refuted
		total.refused += n.refused
		total.undecided += n.undecided
		total.harmless += n.harmless
	}
	t.Logf("%d kinds: %d refuted, %d refused, %d not modelled, %d harmless",
		len(found), total.refuted, total.refused, total.undecided, total.harmless)
	if total.refuted+total.refused < e.caught {
		t.Errorf("caught %d, want %d", total.refuted+total.refused, e.caught)
	}
}

// seedsOf plants bugs in every right rewrite of testdata, and in every window
// rewritten to itself, and takes some of each kind. It keeps to the windows that
// of tells.
func (e effort) seedsOf(t *testing.T, of func(w *windows.Window) bool) []seed {
	byKind := map[string][]seed{}
	for _, tt := range readCases(t, "*.bpf") {
		if tt.want == Undecided.String() || !of(tt.w) {
			continue
		}
		var seeds []seed
		if tt.want == Proven.String() {
			for _, s := range plant(tt.w, tt.code) {
				// What the new code does not share with the old may be shared
				// and harmless: only the window's own code tells.
				s.never = s.never && s.kind == "other target"
				seeds = append(seeds, s)
			}
		}
		if fits(tt) {
			seeds = append(seeds, plant(tt.w, tt.w.Code)...)
		}
		for _, s := range seeds {
			byKind[s.kind] = append(byKind[s.kind], s)
		}
	}
	rng := rand.New(rand.NewPCG(5, 7))
	var out []seed
	for _, kind := range slices.Sorted(maps.Keys(byKind)) {
		of := byKind[kind]
		rng.Shuffle(len(of), func(i, j int) { of[i], of[j] = of[j], of[i] })
		out = append(out, of[:min(len(of), e.perKind)]...)
	}
	return out
}

// fits tells whether the window's own code is accepted in its own place.
func fits(tt *testCase) bool {
	if _, err := build(tt.w, tt.w.Code, nil); err != nil {
		return false
	}
	return true
}
