package registers_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes/registers"
	"github.com/k2cc/k2cc/windows"
)

var target = windows.Target{Level: bpf.V3, Confirmed: true}

func parse(t *testing.T, src string) *bpf.Function {
	t.Helper()
	blocks, err := bpf.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	return &bpf.Function{Name: "f", Context: bpf.ContextXDP, Blocks: blocks, Symbols: make([]bpf.Symbol, 1)}
}

func TestSimplify(t *testing.T) {
	for _, tt := range []struct {
		name, src string
		slots     int
		contains  string
	}{
		{"copy", "r2 = r1\nr0 = *(u32 *)(r2 + 8)\nexit", 2, "r0 = *(u32 *)(r1 + 8)"},
		{"copy of what lives on unchanged", "call 7\nr6 = r0\nr6 += r0\nr0 = r6\nexit", 3, "r0 += r0"},
		{"copy of what changes stays", "call 7\nr6 = r0\nr6 += 1\nr0 *= r6\nexit", 5, ""},
		{"copy across a call stays", "r6 = r1\ncall 7\nr0 = *(u32 *)(r6 + 8)\nexit", 4, ""},
		{"another register for what is in the way", "call 7\nr7 = r0\nr6 = 5\nr8 = r6\nr8 += r7\nr0 = r8\nexit", 5, "r8 += r0"},
		{"copies over blocks", "call 7\nr6 = r0\nif r6 > 5 goto L2\nr6 += 1\nL2:\nr0 = r6\nexit", 4, "r0 += 1"},
		{"low half, upper one zero", "call 8\nr0 &= 255\nw6 = w0\nif w6 > 5 goto L2\nr6 += 1\nL2:\nr0 = r6\nexit", 5, ""},
		{"low half, upper one unknown", "call 7\nr6 = r0\nr6 *= 3\nw7 = w6\nr0 = r6\nr0 += r7\nexit", 5, "w7 = w0"},
		{"immediate into stores", "r6 = 7\n*(u32 *)(r10 - 4) = r6\ncall 7\n*(u8 *)(r10 - 5) = r6\nexit", 4, "*(u8 *)(r10 - 5) = 7"},
		{"immediate into a comparison", "r6 = 7\ncall 7\nif r0 > r6 goto L2\nr0 += r6\nL2:\nexit", 4, "if r0 > 7"},
		{"immediate for a context stays in its register", "r2 = 7\n*(u32 *)(r1 + 16) = r2\nr0 = 0\nexit", 4, ""},
		{"too wide an immediate stays", "r6 = 4294967296 ll\ncall 7\nr0 += r6\nexit", 5, ""},
		{"a packet load's offset", "r6 = r1\nr7 = *(u32 *)(r6 + 12)\nr2 = r7\nr2 += 2\nr0 = *(u16 *)skb[r2]\nr0 += r7\nexit", 5, "skb[r7 + 2]"},
		{"a packet load's offset that is needed later", "r6 = r1\nr7 = *(u32 *)(r6 + 12)\nr8 = r7\nr8 += 2\nr0 = *(u16 *)skb[r8]\nr0 += r7\nr0 += r8\nexit", 8, ""},
		{"a packet pointer moves itself", "r7 = *(u32 *)(r1 + 0)\nr2 = *(u32 *)(r1 + 4)\nr3 = r7\nr3 += 14\nr0 = 1\nif r3 > r2 goto L2\nr0 = *(u8 *)(r7 + 2)\n*(u8 *)(r7 + 0) = r0\nL2:\nexit", 8, "r0 = *(u8 *)(r3 - 12)"},
		{"in steps", "r7 = *(u32 *)(r1 + 0)\nr2 = *(u32 *)(r1 + 4)\nr3 = r7\nr3 += 14\nr0 = 1\nif r3 > r2 goto L2\nr0 = *(u8 *)(r7 + 2)\nr3 += 20\nif r3 > r2 goto L2\nr0 = *(u8 *)(r7 + 20)\nL2:\nexit", 10, "r0 = *(u8 *)(r3 - 14)"},
		{"and back", "r7 = *(u32 *)(r1 + 0)\nr2 = *(u32 *)(r1 + 4)\nr3 = r7\nr3 += 14\nr0 = 1\nif r3 > r2 goto L2\nr0 = *(u8 *)(r7 + 2)\nr3 = r7\nr3 += 34\nif r3 > r2 goto L2\nr0 = *(u8 *)(r7 + 20)\nL2:\nexit", 10, "+= 20"},
		{"the copy stays behind", "r7 = *(u32 *)(r1 + 0)\nr2 = *(u32 *)(r1 + 4)\nr3 = r7\nr7 += 14\nr0 = 1\nif r7 > r2 goto L2\nr0 = *(u8 *)(r3 + 2)\nL2:\nexit", 7, "r0 = *(u8 *)(r7 - 12)"},
		{"moved on one way only", "r7 = *(u32 *)(r1 + 0)\nr2 = *(u32 *)(r1 + 4)\nr4 = *(u32 *)(r1 + 12)\nr0 = 1\nif r4 > 5 goto L3\nr3 = r7\nr3 += 14\nif r3 > r2 goto L2\nL3:\nr3 = r7\nr3 += 20\nif r3 > r2 goto L2\nr0 = *(u8 *)(r7 + 2)\nL2:\nexit", 12, ""},
		{"a pointer that is added to stays", "r7 = *(u32 *)(r1 + 0)\nr2 = *(u32 *)(r1 + 4)\nr4 = *(u32 *)(r1 + 12)\nr3 = r7\nr3 += 14\nr0 = 1\nif r3 > r2 goto L2\nr4 &= 7\nr4 += r7\nr0 = *(u8 *)(r4 + 2)\nL2:\nexit", 11, ""},
		{"saved around a call on one way", "r6 = r1\ncall 7\nr7 = *(u32 *)(r6 + 12)\nif r7 == 0 goto L2\nL1:\nr8 = r0\ncall 8\nr0 = r8\nL2:\nr0 += r7\n*(u64 *)(r10 - 8) = r0\nr0 = 0\nexit", 10, "call 7\nr8 = r0"},
		{"a call's results on two ways, saved around a third", "r7 = *(u32 *)(r1 + 12)\nr6 = *(u32 *)(r1 + 16)\nif r7 == 0 goto L1\ncall 7\ngoto L2\nL1:\ncall 8\nL2:\nr6 += 1\nif r6 == 4 goto L3\nr8 = r0\ncall 7\nr0 = r8\nL3:\nr0 += r7\nr0 *= r6\n*(u64 *)(r10 - 8) = r0\nr0 = 0\nexit", 15, "L2:\nr8 = r0"},
		{"saved twice", "r6 = r1\ncall 7\nr7 = *(u32 *)(r6 + 12)\nif r7 == 0 goto L2\nL1:\nr8 = r0\ncall 8\nr0 = r8\nL2:\nr0 += r7\nif r7 == 8 goto L3\nr8 = r0\ncall 8\nr0 = r8\nL3:\n*(u64 *)(r10 - 8) = r0\nr0 = 0\nexit", 12, ""},
		{"for nobody", "call 7\nr6 = 5\nr6 |= 2\nif r0 > 5 goto L2\nr6 = 7\nr0 += r6\nL2:\nexit", 4, ""},
		{"argument stays", "r6 = 7\ncall 7\nr1 = r6\nr2 = r6\ncall 23\nr0 = r6\nexit", 6, ""},
		{"one of several constants stays", "call 7\nr6 = 7\nif r0 > 5 goto L2\nr6 = 8\nL2:\n*(u32 *)(r10 - 4) = r6\nr0 = 0\nexit", 7, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fn := parse(t, tt.src)
			out, err := registers.Simplify(context.Background(), encode.New(encode.Options{}), fn, target)
			if err != nil {
				t.Fatal(err)
			}
			if got := bpf.FormatBlocks(out.Blocks); out.Slots() != tt.slots || !strings.Contains(got, tt.contains) {
				t.Errorf("%d slots, want %d with %q:\n%s", out.Slots(), tt.slots, tt.contains, got)
			}
			if got := bpf.FormatBlocks(fn.Blocks); got != bpf.FormatBlocks(parse(t, tt.src).Blocks) {
				t.Errorf("the input changed:\n%s", got)
			}
		})
	}
}

func TestKeep(t *testing.T) {
	const (
		peek  = "r2 = r10\nr2 += -8\nr1 = @1 ll\ncall 1\n"
		read  = "r1 = @1 ll\nr1 = *(u32 *)(r1 + 0)\nr6 += r1\n"
		start = "*(u64 *)(r10 - 8) = 0\nr6 = *(u32 *)(r1 + 12)\n"
		end   = "r0 = r6\nexit"
	)
	for _, tt := range []struct {
		name, src string
		saved     int
		kind      bpf.SymbolKind
	}{
		{"three times, of a map as well", start + peek + "if r0 == 0 goto L2\n" + peek + "L2:\n" + peek + end, 2, bpf.SymbolMap},
		{"four times, global data", start + peek + peek + peek + peek + end, 4, bpf.SymbolData},
		{"of a function stays", start + peek + peek + peek + peek + end, 2, bpf.SymbolFunc},
		{"three times", start + peek + "if r0 == 0 goto L2\n" + peek + "L2:\n" + peek + end, 1, 0},
		{"twice", start + peek + peek + end, 0, 0},
		{"twice, read through it", start + read + "call 7\nr6 += r0\n" + read + end, 2, bpf.SymbolData},
		{"twice, and once read through it", start + peek + read + end, 1, bpf.SymbolData},
		{"while registers are used elsewhere", "*(u64 *)(r10 - 8) = 0\nr7 = r1\nr8 = r1\nr9 = r1\nr6 = *(u32 *)(r7 + 12)\nr8 = *(u32 *)(r8 + 16)\nr9 = *(u32 *)(r9 + 20)\nr6 += r8\nr6 += r9\n" + peek + peek + peek + "r7 = 5\nr8 = 6\nr9 = 7\nr6 += r7\nr6 += r8\nr6 += r9\n" + end, 4, bpf.SymbolMap},
		{"around a loop", start + "L2:\n" + peek + peek + peek + "r6 += -1\nif r6 != 0 goto L2\n" + end, 1, 0},
		{"not all ways lead through the first", start + "if r6 == 0 goto L2\n" + peek + "L2:\n" + peek + "if r0 == 0 goto L3\n" + peek + "L3:\n" + peek + end, 1, 0},
		{"other addresses", start + peek + strings.ReplaceAll(peek, "-8", "-16") + peek + end, 0, 0},
		{"no register", start + "r7 = r6\nr7 += 1\nr8 = r6\nr8 += r7\nr9 = r8\nr9 *= r6\n" + peek + peek + peek + "r6 += r7\nr8 += r9\nr6 *= r8\n" + end, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fn := parse(t, tt.src)
			fn.Symbols[0].Kind = tt.kind
			out, err := registers.Take(context.Background(), encode.New(encode.Options{}), fn, target, registers.Keep)
			if err != nil {
				t.Fatal(err)
			}
			if saved := fn.Slots() - out.Slots(); saved != tt.saved {
				t.Errorf("%d slots saved, want %d:\n%s", saved, tt.saved, bpf.FormatBlocks(out.Blocks))
			}
		})
	}
}

// TestRandom runs random functions before and after: all steps have to be proven,
// and what the functions return and store has to stay.
func TestRandom(t *testing.T) {
	smaller := 0
	for seed := range uint64(400) {
		fn := random(rand.New(rand.NewPCG(seed, 1)))
		now := fn
		for _, step := range append(registers.Steps[:], registers.Keep, registers.Coalesce) {
			out, err := step.Prove(context.Background(), encode.New(encode.Options{}), now, target)
			if err != nil {
				t.Fatalf("seed %d: %s: %v\n%s", seed, step.Name, err, bpf.FormatBlocks(now.Blocks))
			}
			now = out
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

// run is what a function returns and leaves on its stack, with calls that give
// one number after the other.
func run(t *testing.T, fn *bpf.Function) string {
	t.Helper()
	const frame = 0x10000
	var out strings.Builder
	e := &semantics.Exec{State: &semantics.State{}}
	e.Regs[bpf.R1], e.Regs[bpf.R10] = 0x5000, frame
	calls := uint64(0)
	e.Helper = func(int32, [5]uint64) (uint64, error) {
		calls++
		return calls * 0x9e3779b97f4a7c15, nil
	}
	r0, err := e.Run(fn)
	if err != nil {
		t.Fatal(err)
	}
	if fn.HalfResult {
		r0 = uint64(uint32(r0))
	}
	fmt.Fprintf(&out, "%#x, %d calls,", r0, calls)
	for off := range uint64(64) {
		fmt.Fprintf(&out, " %02x", e.Byte(frame-64+off))
	}
	return out.String()
}

// random is a function of forward jumps, in which every register but R1 is
// written before it is read.
func random(rng *rand.Rand) *bpf.Function {
	n := 2 + rng.IntN(5)
	var src strings.Builder
	reg := func() int { return []int{0, 6, 7, 8, 9}[rng.IntN(5)] }
	for _, r := range []int{0, 6, 7, 8, 9} {
		fmt.Fprintf(&src, "r%d = %d\n", r, rng.IntN(300))
	}
	for off := 8; off <= 64; off += 8 {
		fmt.Fprintf(&src, "*(u64 *)(r10 - %d) = r%d\n", off, reg())
	}
	for b := range n {
		for range rng.IntN(8) {
			a, c := reg(), reg()
			switch rng.IntN(10) {
			case 0, 1, 2:
				fmt.Fprintf(&src, "r%d = r%d\n", a, c)
			case 3:
				fmt.Fprintf(&src, "r%d += r%d\n", a, c)
			case 4:
				fmt.Fprintf(&src, "w%d = w%d\n", a, c)
			case 5:
				fmt.Fprintf(&src, "r%d = %d\n", a, rng.IntN(300)-100)
			case 6:
				fmt.Fprintf(&src, "*(u%d *)(r10 - %d) = r%d\n", 8<<rng.IntN(4), 8+8*rng.IntN(7), a)
			case 7:
				fmt.Fprintf(&src, "call 7\n")
			case 8:
				fmt.Fprintf(&src, "r%[1]d = r10\nr%[1]d += -16\nr%[2]d = *(u32 *)(r%[1]d - %[3]d)\n", a, c, 8*rng.IntN(4))
				if a != c {
					fmt.Fprintf(&src, "r%d = 0\n", a)
				}
			default:
				fmt.Fprintf(&src, "r%d ^= %d\n", a, rng.IntN(300))
			}
		}
		if b < n-1 {
			fmt.Fprintf(&src, "if r%d %s r%d goto L%d\nL%d:\n", reg(), []string{"==", ">", "s<", "!="}[rng.IntN(4)], reg(), 100+b+1+rng.IntN(n-b-1), 100+b+1)
		}
	}
	half := rng.IntN(2) == 0
	if half {
		src.WriteString("w0 = w6\nexit\n")
	} else {
		src.WriteString("r0 += r6\nexit\n")
	}
	blocks, err := bpf.Parse(src.String())
	if err != nil {
		panic(err)
	}
	return &bpf.Function{Name: "random", Context: bpf.ContextXDP, Blocks: blocks, HalfResult: half}
}

// TestStepsAreProven plants a wrong immediate into what a step makes.
func TestStepsAreProven(t *testing.T) {
	fn := parse(t, "r6 = 7\ncall 7\nr0 += r6\nexit")
	facts, err := flow.Analyze(context.Background(), fn, flow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	needs, err := flow.Liveness(fn, facts)
	if err != nil {
		t.Fatal(err)
	}
	out, at := registers.Steps[0].Apply(fn, facts, needs, target)
	out.Blocks[0].Code[1].Imm++
	err = encode.New(encode.Options{}).SameSteps(context.Background(), &encode.Steps{
		Old: fn, New: out, Facts: facts, Before: needs, After: needs, Holders: at,
	})
	if err == nil || !strings.Contains(err.Error(), "may differ") {
		t.Errorf("an addition of 8 for 7: %v", err)
	}
}
