package verify

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func upTo(n int) []int {
	items := make([]int, n)
	for i := range items {
		items[i] = i
	}
	return items
}

// has tells whether all of want are in items.
func has(items []int, want ...int) bool {
	return !slices.ContainsFunc(want, func(w int) bool { return !slices.Contains(items, w) })
}

func TestGuilty(t *testing.T) {
	free := func(guilty ...int) func([]int) bool {
		return func(items []int) bool { return !slices.ContainsFunc(guilty, func(g int) bool { return has(items, g) }) }
	}
	tests := []struct {
		name     string
		n        int
		accepted func([]int) bool
		dropped  []int
		calls    int // at most
	}{
		{"one item", 1, free(0), []int{0}, 0},
		{"two items, the last", 2, free(1), []int{1}, 1},
		{"first of many", 256, free(0), []int{0}, 17},
		{"last of many", 256, free(255), []int{255}, 8},
		{"two of many", 256, free(17, 200), []int{17, 200}, 34},
		{"neighbours", 256, free(100, 101, 102), []int{100, 101, 102}, 24},
		{"all", 8, free(upTo(8)...), upTo(8), 14},
		{"a pair of which one may stay", 64, func(s []int) bool { return !has(s, 5, 40) }, []int{40}, 12},
		{"three that together are too much", 64, func(s []int) bool { return !has(s, 1, 2, 60) }, []int{60}, 12},
		{"no more than ten", 20, func(s []int) bool { return len(s) <= 10 }, []int{10, 11, 12, 13, 14, 15, 16, 17, 18, 19}, 19},
		{"in company only", 16, func(s []int) bool { return (!has(s, 3) || has(s, 12)) && !has(s, 14) }, []int{14}, 20},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			calls := 0
			keep, dropped, err := Guilty(t.Context(), upTo(test.n), func(_ context.Context, s []int) (bool, error) {
				calls++
				if !slices.IsSorted(s) {
					t.Errorf("asked about %v, not in order", s)
				}
				return test.accepted(s), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(dropped, test.dropped) {
				t.Errorf("dropped %v, want %v", dropped, test.dropped)
			}
			if !test.accepted(keep) {
				t.Errorf("kept %v, which is rejected", keep)
			}
			if calls > test.calls {
				t.Errorf("%d calls, want at most %d", calls, test.calls)
			}
			both := slices.Sorted(slices.Values(slices.Concat(keep, dropped)))
			if !slices.Equal(both, upTo(test.n)) {
				t.Errorf("kept %v and dropped %v are not all of it", keep, dropped)
			}
		})
	}
}

// Sets of guilty ones and of pairs planted at random: what is kept is accepted
// and maximal, within the promised number of calls.
func TestGuiltyRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		n := 2 + rng.IntN(100)
		single, pair := map[int]bool{}, [][2]int{}
		for range 1 + rng.IntN(4) {
			single[rng.IntN(n)] = true
		}
		for range rng.IntN(3) {
			pair = append(pair, [2]int{rng.IntN(n), rng.IntN(n)})
		}
		accepted := func(s []int) bool {
			return !slices.ContainsFunc(s, func(i int) bool { return single[i] }) &&
				!slices.ContainsFunc(pair, func(p [2]int) bool { return has(s, p[0], p[1]) })
		}
		calls := 0
		keep, dropped, err := Guilty(t.Context(), upTo(n), func(_ context.Context, s []int) (bool, error) {
			calls++
			return accepted(s), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if !accepted(keep) {
			t.Fatalf("single %v, pair %v: kept %v, which is rejected", single, pair, keep)
		}
		for _, d := range dropped {
			if accepted(append(slices.Clone(keep), d)) {
				t.Fatalf("single %v, pair %v: %d could have stayed", single, pair, d)
			}
		}
		if most := len(dropped) * (2*int(math.Ceil(math.Log2(float64(n)))) + 2); calls > most {
			t.Errorf("%d calls for %d guilty ones among %d, want at most %d", calls, len(dropped), n, most)
		}
	}
}

func TestGuiltyFails(t *testing.T) {
	broken := errors.New("broken")
	calls := 0
	keep, dropped, err := Guilty(t.Context(), upTo(8), func(_ context.Context, s []int) (bool, error) {
		if calls++; calls > 1 {
			return false, broken
		}
		return true, nil
	})
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	if !slices.Equal(keep, upTo(4)) || len(dropped) != 4 {
		t.Errorf("kept %v and dropped %v, want the half that had been accepted kept", keep, dropped)
	}
}

func TestGuiltyEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := Guilty(ctx, upTo(8), func(context.Context, []int) (bool, error) {
		t.Error("asked after the end")
		return true, nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}
