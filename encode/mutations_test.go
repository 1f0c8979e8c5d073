package encode

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/windows"
)

// mutations is how many windows TestMutations mutates.
var mutations = flag.Int("mutations", 400, "windows to mutate in TestMutations")

// statesEach is in how many states the interpreter runs what is called equal.
const statesEach = 10_000

// tally counts what became of mutated windows.
type tally struct {
	caught
	states, unseen int // states run of what is called equal, and those without any
}

func (n *tally) add(o tally) {
	n.refuted += o.refuted
	n.refused += o.refused
	n.undecided += o.undecided
	n.harmless += o.harmless
	n.states += o.states
	n.unseen += o.unseen
}

// TestMutations is the checker's own test: windows that are random, or taken
// from real objects, with one random mutation each. What the checker calls
// equal shows no difference in random states; what it refutes, its
// counterexample tells apart in the interpreter.
func TestMutations(t *testing.T) {
	real := realWindows(t)
	shards := runtime.GOMAXPROCS(0)
	results := make([]tally, shards)
	t.Run("shards", func(t *testing.T) {
		for shard := range shards {
			t.Run(fmt.Sprint(shard), func(t *testing.T) {
				t.Parallel()
				c := New(Options{})
				for i := shard; i < *mutations; i += shards {
					results[shard].add(mutate(t, c, rand.New(rand.NewPCG(uint64(i), 11)), real))
				}
			})
		}
	})
	var n tally
	for _, r := range results {
		n.add(r)
	}
	t.Logf("%d windows, half of them out of %d real ones", *mutations, len(real))
	t.Logf("%d refuted, each with a counterexample that the interpreter tells apart", n.refuted)
	t.Logf("%d refused for their form, %d undecided", n.refused, n.undecided)
	t.Logf("%d equal, without a difference in %d states; for %d of them no state was found", n.harmless, n.states, n.unseen)
	if n.refuted == 0 || n.harmless == 0 || 10*n.unseen > n.harmless {
		t.Error("nothing was refuted, nothing was equal, or too much was never run")
	}
}

// mutate checks one mutation of one window.
func mutate(t *testing.T, c *Checker, rng *rand.Rand, real []*windows.Window) (n tally) {
	t.Helper()
	s := randomSeed(rng, real)
	v := c.Check(context.Background(), s.w, s.code)
	switch v.Outcome {
	case Refuted:
		n.refuted++
		wantReplay(t, s.w, s.code, v)
	case Unsafe:
		n.refused++
	case Undecided:
		n.undecided++
		if strings.Contains(v.Reason, "internal error") {
			t.Errorf("%s\n%s", v.Reason, s)
		}
	case Proven:
		n.harmless++
		if s.never {
			t.Errorf("%s: proven\n%s", s.kind, s)
		}
		p, err := newFlatPair(s.w, s.code)
		if err != nil {
			t.Errorf("%v\n%s", err, s)
			return n
		}
		what, states := p.difference(statesEach)
		if what != "" {
			t.Errorf("%s: proven, but %s\n%s", s.kind, what, s)
		}
		if n.states = states; states == 0 {
			n.unseen++
		}
	}
	return n
}

// randomSeed mutates a window, with every kind of mutation as likely.
func randomSeed(rng *rand.Rand, real []*windows.Window) seed {
	for {
		w := randomWindow(rng)
		if len(real) > 0 && rng.IntN(2) == 0 {
			w = real[rng.IntN(len(real))]
		}
		byKind := map[string][]seed{}
		for _, s := range plant(w, w.Code) {
			byKind[s.kind] = append(byKind[s.kind], s)
		}
		if len(byKind) == 0 {
			continue
		}
		of := byKind[pick(rng, slices.Sorted(maps.Keys(byKind))...)]
		return pick(rng, of...)
	}
}
