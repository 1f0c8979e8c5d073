package flow

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/k2cc/k2cc/bpf"
)

// largeFunction has the size of the largest programs there are: 30,000
// instructions in 4,000 blocks, most branches forward and near, some loops, one
// inside the other.
func largeFunction() *bpf.Function {
	rng := rand.New(rand.NewPCG(1, 2))
	const blocks = 4000
	fn := &bpf.Function{Name: "large", Context: bpf.ContextXDP}
	for b := range blocks {
		block := &bpf.Block{Label: bpf.Label(b + 1)}
		if b == 0 {
			block.Code = initialise(rng, fn.Context)
		}
		for len(block.Code) < 7 {
			in := randomInstruction(rng)
			if in.IsStore() && in.Dst != bpf.R10 || in.IsAtomic() {
				continue
			}
			if in.IsStore() || in.IsLoad() && in.Src == bpf.R10 {
				in.Off = -8 * int16(1+rng.IntN(40)) // frames are full in such programs
			}
			block.Code = append(block.Code, in)
		}
		to := b + 1 + rng.IntN(min(40, blocks-b))
		if b > 30 && rng.IntN(25) == 0 {
			to = b - rng.IntN(30)
		}
		switch {
		case b == blocks-1:
			block.Code = append(block.Code, bpf.Instruction{Op: bpf.ClassJMP | bpf.OpExit})
		default:
			in := randomJump(rng, bpf.Label(min(to, blocks-1)+1))
			if in.IsCondJump() {
				in.Dst = bpf.R7
			}
			block.Code = append(block.Code, in)
		}
		fn.Blocks = append(fn.Blocks, block)
	}
	return fn
}

func BenchmarkAnalyze(b *testing.B) {
	fn := largeFunction()
	for b.Loop() {
		if _, err := Analyze(context.Background(), fn, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLiveness(b *testing.B) {
	fn := largeFunction()
	facts, err := Analyze(context.Background(), fn, Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Liveness(fn, facts); err != nil {
			b.Fatal(err)
		}
	}
}

func TestLargeFunctionIsNoTrouble(t *testing.T) {
	fn := largeFunction()
	start := time.Now()
	facts, err := Analyze(context.Background(), fn, Options{})
	if err != nil {
		t.Fatal(err)
	}
	found := time.Since(start)
	if _, err := Liveness(fn, facts); err != nil {
		t.Fatal(err)
	}
	reached := 0
	for b := range fn.Blocks {
		if facts.Reachable(b) {
			reached++
		}
	}
	t.Logf("%d slots, %d of %d blocks reachable: facts in %v, needs in %v", fn.Slots(), reached, len(fn.Blocks), found, time.Since(start)-found)
	if reached < len(fn.Blocks)*8/10 {
		t.Errorf("only %d of %d blocks are reachable", reached, len(fn.Blocks))
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
}
