package registers_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes/registers"
)

// What compilers make of settings that are const volatile: is one set, and is it
// what R0 says?
const (
	filter = "call 7\nr2 = @1 ll\nw3 = *(u32 *)(r2 + 0)\nif w3 == 0 goto L3\nL2:\nw2 = *(u32 *)(r2 + 0)\nif w2 == w0 goto L3\n*(u32 *)(r10 - 4) = 1\nL3:\nr0 = 0\nexit"
	anew   = "call 7\nr2 = @1 ll\nw3 = *(u32 *)(r2 + 0)\nif w3 == 0 goto L3\nL2:\nr2 = @1 ll\nw2 = *(u32 *)(r2 + 0)\nif w2 == w0 goto L3\n*(u32 *)(r10 - 4) = 1\nL3:\nr0 = 0\nexit"
	behind = "r6 = @1 ll\nw1 = *(u32 *)(r6 + 0)\nif w1 == 0 goto L3\nL2:\ncall 7\nw1 = *(u32 *)(r6 + 0)\nif w1 == w0 goto L3\n*(u32 *)(r10 - 4) = 1\nL3:\nr0 = 0\nexit"
)

func TestReuse(t *testing.T) {
	for _, tt := range []struct {
		name, src       string
		reused, carried int // slots saved
		frozen          bool
		contains        string
	}{
		{"a filter", filter, 1, 0, false, "if w2 == w0"},
		{"with the address anew", anew, 3, 0, false, "if w2 == w0"},
		{"twice", strings.Replace(filter, "*(u32 *)(r10 - 4) = 1", "r2 = @1 ll\nw2 = *(u32 *)(r2 + 0)\nif w2 == 5 goto L3\nL4:\nr2 = @1 ll\nw2 = *(u32 *)(r2 + 0)\nif w2 == 6 goto L3\nL5:\n*(u32 *)(r10 - 4) = 1", 1), 1, 6, false, "if w2 == 6"},
		{"in the address's register", strings.ReplaceAll(anew, "w3", "w2"), 0, 3, false, "== w0"},
		{"the value is needed as it was", strings.Replace(filter, "if w2 == w0 goto L3", "w2 += 1\nw3 *= w2\nif w3 == w0 goto L3", 1), 0, 0, false, ""},
		{"behind a call", behind, 0, 0, false, ""},
		{"behind a call, frozen", behind, 0, 1, true, "r6 = *(u32 *)(r6 + 0)"},
		{"behind a call, and no register", strings.Replace(behind, "r6 = @1 ll", "r7 = *(u32 *)(r1 + 8)\nr8 = *(u32 *)(r1 + 12)\nr9 = *(u32 *)(r1 + 16)\nr6 = @1 ll", 1) + "\n", 0, 0, true, ""},
	} {
		if strings.Contains(tt.name, "no register") {
			tt.src = strings.Replace(tt.src, "r0 = 0\nexit", "r7 += r8\nr7 += r9\nr0 = r7\nexit", 1)
		}
		t.Run(tt.name, func(t *testing.T) {
			fn := parse(t, tt.src)
			fn.Symbols[0] = bpf.Symbol{Kind: bpf.SymbolData, Frozen: tt.frozen}
			c := encode.New(encode.Options{})
			reused, err := registers.Reuse(context.Background(), c, fn, target)
			if err != nil {
				t.Fatal(err)
			}
			carried, err := registers.Carry(context.Background(), c, reused, target)
			if err != nil {
				t.Fatal(err)
			}
			got := bpf.FormatBlocks(carried.Blocks)
			if a, b := fn.Slots()-reused.Slots(), reused.Slots()-carried.Slots(); a != tt.reused || b != tt.carried || !strings.Contains(got, tt.contains) {
				t.Errorf("%d and %d slots saved, want %d and %d with %q:\n%s", a, b, tt.reused, tt.carried, tt.contains, got)
			}
		})
	}
}

// TestReuseUnasked leaves out, where no kernel is asked, only what control comes
// straight to, and no other copies.
func TestReuseUnasked(t *testing.T) {
	const join = "call 7\nr2 = @1 ll\nw3 = *(u32 *)(r2 + 0)\nif w0 == 7 goto L2\n*(u32 *)(r10 - 8) = 1\nL2:\nw2 = *(u32 *)(r2 + 0)\nif w2 == w0 goto L3\n*(u32 *)(r10 - 4) = r3\nL3:\nr0 = 0\nexit"
	for _, tt := range []struct {
		name, src      string
		asked, unasked int // slots saved
		contains       string
	}{
		{"a filter", filter, 1, 1, "if w2 == w0"},
		{"with the address anew", anew, 3, 3, "if w2 == w0"},
		{"where ways come together", join, 1, 0, ""},
		{"round and round", "L1:\nr2 = @1 ll\nr3 = @2\n*(u64 *)(r2 + 0) = r3\nr4 = *(u64 *)(r2 + 0)\nif r4 == r3 goto L1\nr0 = 0\nexit", 1, 0, ""},
		{"other copies stay", strings.Replace(filter, "call 7", "call 7\nr4 = r0\nr0 = r4", 1), 3, 1, "r0 = r4"},
		{"masks stay", strings.Replace(filter, "call 7", "call 8\nw0 = w0\nr0 &= 255\nw0 = w0", 1), 2, 1, "r0 &= 255\nw0 = w0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fn := parse(t, tt.src)
			fn.Symbols = []bpf.Symbol{{Kind: bpf.SymbolData}, {Kind: bpf.SymbolCore}}
			for _, asked := range []bool{true, false} {
				want := tt.unasked
				if asked {
					want = tt.asked
				}
				to := target
				to.Confirmed = asked
				out, err := registers.Reuse(context.Background(), encode.New(encode.Options{}), fn, to)
				if err != nil {
					t.Fatal(err)
				}
				got := bpf.FormatBlocks(out.Blocks)
				if saved := fn.Slots() - out.Slots(); saved != want || !asked && !strings.Contains(got, tt.contains) {
					t.Errorf("asked %v: %d slots saved, want %d:\n%s", asked, saved, want, got)
				}
			}
		})
	}
}

// TestReuseRandom runs random functions before and after. Nobody else writes then,
// so that what they return and store has to stay.
func TestReuseRandom(t *testing.T) {
	smaller := 0
	for seed := range uint64(400) {
		fn := randomReads(rand.New(rand.NewPCG(seed, 2)))
		c := encode.New(encode.Options{})
		now, err := registers.Reuse(context.Background(), c, fn, target)
		if err != nil {
			t.Fatal(err)
		}
		if now, err = registers.Carry(context.Background(), c, now, target); err != nil {
			t.Fatal(err)
		}
		if now.Slots() < fn.Slots() {
			smaller++
		}
		want, got := run(t, fn), run(t, now)
		if want != got {
			t.Fatalf("seed %d: got %s, want %s\n%s\nbecame\n%s", seed, got, want, bpf.FormatBlocks(fn.Blocks), bpf.FormatBlocks(now.Blocks))
		}
	}
	if smaller < 100 {
		t.Errorf("only %d of 400 functions got smaller", smaller)
	}
}

// randomReads is a random function that reads its context in many places.
func randomReads(rng *rand.Rand) *bpf.Function {
	fn := random(rng)
	fn.Context = bpf.ContextPlain
	for b, block := range fn.Blocks {
		first := 0
		if b == 0 {
			first = 5 // they make the registers readable
		}
		for i := first; i < len(block.Code); i++ {
			if in := &block.Code[i]; in.IsALU() && rng.IntN(2) == 0 {
				text := fmt.Sprintf("r%d = *(u32 *)(r9 + %d)", in.Dst, 8*rng.IntN(2))
				read, err := bpf.Parse(text + "\nexit")
				if err != nil {
					panic(err)
				}
				*in = read[0].Code[0]
			}
			if in := &block.Code[i]; in.Writes().Has(bpf.R9) {
				in.Dst = bpf.R8
			}
		}
	}
	copied := bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpMov | bpf.SourceX, Dst: bpf.R9, Src: bpf.R1}
	fn.Blocks[0].Code[4] = copied
	return fn
}
