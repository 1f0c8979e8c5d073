package flow

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/k2cc/k2cc/bpf"
)

// garble changes what is not live.
func (r *run) garble(rng *rand.Rand, live *Live) {
	for reg := range bpf.R10 {
		dead := rng.Uint64() &^ live.Regs[reg]
		r.Regs[reg] ^= dead
		if live.Regs[reg] == 0 {
			r.points[reg] = 0
		}
	}
	for off := -StackSize; off < 0; off++ {
		if !live.Stack.Has(off) && rng.IntN(2) == 0 {
			addr := testFrame + uint64(int64(off))
			r.unspill(addr, 1)
			r.Write(addr, 1, rng.Uint64())
		}
	}
}

// point is a run stopped inside a program.
type point struct {
	run      *run
	block, i int
}

// testNeeds runs the random program of the seed, and again from random points
// on with what is not live there changed: nobody must see the difference. It
// tells how many such points there were.
func testNeeds(t testing.TB, seed uint64) int {
	rng := rand.New(rand.NewPCG(seed, 0))
	fn := randomFunction(rng, seed%4 != 0)
	bigEndian := seed%3 == 0
	facts, err := Analyze(context.Background(), fn, Options{BigEndian: bigEndian})
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	needs, err := Liveness(fn, facts)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	states := make([][]State, len(fn.Blocks))
	for b := range fn.Blocks {
		states[b] = facts.Block(b)
	}
	at := func(block, i int) error {
		if !readable(&states[block][i], fn.Blocks[block].Code[i]) {
			return errRefused
		}
		return nil
	}
	const limit = 100
	changed := 0
	for n := range uint64(3) {
		r := newRun(seed*6+n, fn, bigEndian)
		var points []point
		_, err := r.execute(fn, facts.Graph(), limit, func(block, i int) error {
			if rng.IntN(8) == 0 {
				points = append(points, point{r.clone(), block, i})
			}
			return at(block, i)
		})
		if err != nil {
			continue
		}
		for _, p := range points {
			live := needs.In(p.block)
			if p.i > 0 {
				live = needs.After(p.block, p.i-1)
			}
			changed++
			before := p.run.clone()
			p.run.garble(rng, &live)
			_, err := p.run.resume(fn, facts.Graph(), p.block, p.i, at)
			if err == nil && slices.Equal(p.run.observed, r.observed) {
				continue
			}
			t.Fatalf("seed %d, run %d: before %d.%d, where %v is live, with %x, not\n%x: %v\n%s\nwant %s\ngot  %s", seed, n,
				p.block, p.i, live, before.Regs, p.run.Regs, err, bpf.FormatBlocks(fn.Blocks), r.observed, p.run.observed)
		}
	}
	return changed
}

func TestNeedsSufficeInRandomPrograms(t *testing.T) {
	t.Parallel()
	points := 0
	for seed := range uint64(5000) {
		points += testNeeds(t, seed)
	}
	t.Logf("%d points", points)
	if points < 20_000 {
		t.Errorf("tried %d points only", points)
	}
}

func FuzzNeeds(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { testNeeds(t, seed) })
}
