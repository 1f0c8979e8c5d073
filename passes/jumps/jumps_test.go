package jumps_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes/jumps"
	"github.com/k2cc/k2cc/windows"
)

func parse(t *testing.T, src string) *bpf.Function {
	t.Helper()
	// The cases have labels in front of instructions, to be short.
	blocks, err := bpf.Parse(strings.ReplaceAll(src, ": ", ":\n"))
	if err != nil {
		t.Fatal(err)
	}
	return &bpf.Function{Name: "f", Blocks: blocks}
}

func format(fn *bpf.Function) string {
	var lines []string
	for _, b := range fn.Blocks {
		for _, line := range strings.Split(strings.TrimSpace(bpf.Format(b.Code)), "\n") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "; ")
}

func TestSimplify(t *testing.T) {
	for _, tt := range []struct {
		name, src string
		level     bpf.Level
		slots     int
		contains  string
	}{
		{"invert", "if r1 == 5 goto L2\nL1: goto L3\nL2: r0 = 1\nexit\nL3: r0 = 2\nexit", bpf.V1, 5, "if r1 != 5"},
		{"invert needs v2", "if r1 > 5 goto L2\nL1: goto L3\nL2: r0 = 1\nexit\nL3: r0 = 2\nexit", bpf.V2, 5, "if r1 <= 5"},
		{"no inverse at v1, the block moves", "if r1 > 5 goto L2\nL1: goto L3\nL2: r0 = 1\nexit\nL3: r0 = 2\nexit", bpf.V1, 5, "if r1 > 5"},
		{"jset has no inverse, the block moves", "if r1 & 5 goto L2\nL1: goto L3\nL2: r0 = 1\nexit\nL3: r0 = 2\nexit", bpf.V4, 5, "if r1 & 5"},
		{"thread", "if r1 == 5 goto L2\nr0 = 3\nexit\nL2: goto L3\nL9: r0 = 1\nexit\nL3: r0 = 2\nexit", bpf.V1, 5, ""},
		{"known from a branch before", "w1 = w2\nif r1 > 5 goto L2\nL1: r0 = 1\nif r1 > 7 goto L3\nL4: r0 += r2\nexit\nL2: r0 = 2\nexit\nL3: r0 = 3\nexit", bpf.V3, 7, ""},
		{"known to be taken", "r1 = 5\nif r1 == 5 goto L2\nL1: r0 = 1\nexit\nL2: r0 = 2\nexit", bpf.V1, 3, ""},
		{"not known from a branch before", "w1 = w2\nif r1 > 5 goto L2\nL1: r0 = 1\nif r1 > 4 goto L3\nL4: r0 += r2\nexit\nL2: r0 = 2\nexit\nL3: r0 = 3\nexit", bpf.V3, 10, ""},
		{"unreachable", "r0 = 1\nexit\nL1: r0 = 2\nexit", bpf.V1, 2, ""},
		{"goto next", "r0 = 1\ngoto L1\nL1: exit", bpf.V1, 2, ""},
		{"equal tails", "if r1 == 5 goto L2\nr3 = 3\nr0 = 1\nr2 = 2\nexit\nL2: r3 = 4\nr0 = 1\nr2 = 2\nexit", bpf.V1, 7, ""},
		{"short equal tails stay", "if r1 == 5 goto L2\nr3 = 3\nexit\nL2: r3 = 4\nexit", bpf.V1, 5, ""},
		{"equal tails with a branch", "if r1 == 5 goto L2\nr3 = r4\nr0 = 1\nr2 = 2\nif r0 == r3 goto L4\nL1: goto L5\nL2: r3 = r5\nr0 = 1\nr2 = 2\nif r0 == r3 goto L4\nL3: r0 = 9\nexit\nL5: r0 = 9\nexit\nL4: r0 = 7\nexit", bpf.V3, 11, ""},
		{"equal tails with an inverse branch", "if r1 == 5 goto L2\nr3 = r4\nr0 = 1\nr2 = 2\nif r0 == r3 goto L4\nL1: r0 = 9\nexit\nL2: r3 = r5\nr0 = 1\nr2 = 2\nif r0 != r3 goto L5\nL4: r0 = 7\nexit\nL5: r0 = 9\nexit", bpf.V3, 11, ""},
		{"equal tails that part at the end stay", "if r1 == 5 goto L2\nr4 = 3\nr0 = 1\nr2 = 2\nif r0 == r3 goto L4\nL1: exit\nL2: r4 = 4\nr0 = 1\nr2 = 2\nif r0 == r3 goto L1\nL4: r0 = 7\nexit", bpf.V3, 12, ""},
		{"equal tails with pointers of other kinds stay", "r2 = r1\nif r1 == 5 goto L2\nr1 = r10\nr0 = *(u32 *)(r1 - 8)\nr0 += 1\nexit\nL2: r1 = 0\nr1 += r2\nr0 = *(u32 *)(r1 - 8)\nr0 += 1\nexit", bpf.V3, 11, ""},
		{"equal heads", "if r1 == 5 goto L2\nr3 = 3\nr0 = 1\nr0 += r3\nexit\nL2: r3 = 3\nr0 = 4\nr0 ^= r3\nexit", bpf.V1, 8, "r3 = 3; if r1 == 5"},
		{"equal heads behind another branch", "if r1 == 5 goto L2\nL1: if r1 != 6 goto L3\nL4: r4 += r5\nr0 = r4\nexit\nL2: r4 += r5\nr0 = 2\nr0 ^= r4\nexit\nL3: r0 = 9\nr0 += r1\nexit", bpf.V1, 11, "r4 += r5; if r1 == 5"},
		{"a head that the other branch's way reads stays", "if r1 == 5 goto L2\nL1: if r1 != 6 goto L3\nL4: r4 += r5\nr0 = r4\nexit\nL2: r4 += r5\nr0 = 2\nr0 ^= r4\nexit\nL3: r0 = 9\nr0 += r4\nexit", bpf.V1, 12, ""},
		{"a head that the branch reads stays", "if r1 == 5 goto L2\nL1: r1 = 3\nr0 = 1\nr0 += r1\nexit\nL2: r1 = 3\nr0 = 4\nr0 ^= r1\nexit", bpf.V1, 9, ""},
		{"a head that is loaded stays", "if r1 == 5 goto L2\nL1: r3 = *(u32 *)(r10 - 4)\nr0 = 1\nr0 += r3\nexit\nL2: r3 = *(u32 *)(r10 - 4)\nr0 = 4\nr0 ^= r3\nexit", bpf.V1, 9, ""},
		{"a jump to the same is no tail", "if r1 == 5 goto L2\nL1: r0 = 1\nexit\nL2: goto L1", bpf.V3, 2, ""},
		{"rotate", "r3 = 4\nif r1 == 0 goto L6\nL7: goto L2\nL1: r3 += 4\nif r3 == 64 goto L4\nL2: r2 = *(u32 *)(r1 + 8)\nL3: if r2 == r3 goto L5\ngoto L1\nL6: if r5 != 0 goto L4\nL5: r0 = 1\nexit\nL4: r0 = 2\nexit", bpf.V1, 12, "if r1 == 0 goto L6; r2 = "},
		{"a head that is fallen into stays", "r3 = 4\nif r1 == 0 goto L6\nL7: r3 += r5\nL1: r3 += 4\nif r3 == 64 goto L4\nL2: r2 = *(u32 *)(r1 + 8)\nL3: if r2 == r3 goto L5\ngoto L1\nL6: if r5 != 0 goto L4\nL5: r0 = 1\nexit\nL4: r0 = 2\nexit", bpf.V1, 13, ""},
		{"a head that leads into the body stays", "r3 = 4\nif r1 == 0 goto L6\nL7: goto L2\nL1: r3 += 4\nif r3 == 64 goto L3\nL2: r2 = *(u32 *)(r1 + 8)\nL3: if r2 == r3 goto L5\ngoto L1\nL6: if r5 != 0 goto L4\nL5: r0 = 1\nexit\nL4: r0 = 2\nexit", bpf.V1, 13, ""},
		{"move", "if r1 == 5 goto L2\nr0 = 3\ngoto L4\nL2: r0 = 7\nexit\nL4: r0 += 1\nexit", bpf.V1, 6, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fn := parse(t, tt.src)
			out := jumps.Simplify(context.Background(), fn, windows.Target{Level: tt.level, Confirmed: true}, true)
			if out.Slots() != tt.slots || !strings.Contains(format(out), tt.contains) {
				t.Errorf("got %d slots: %s", out.Slots(), format(out))
			}
			if err := encode.New(encode.Options{}).SameShape(context.Background(), fn, out); err != nil {
				t.Errorf("the checker does not agree: %v", err)
			}
		})
	}
}

// TestSameShapeRefuses plants one wrong jump, condition or instruction at a
// time into simplified functions.
func TestSameShapeRefuses(t *testing.T) {
	src := `if r1 == 5 goto L2
r0 = 3
goto L4
L2: r0 = 7
if r2 s> 4 goto L5
r0 = 9
exit
L5: r0 = 8
if w3 & 12 goto L4
r0 += r1
L4: r0 += 1
exit`
	fn := parse(t, src)
	checker := encode.New(encode.Options{})
	for name, plant := range map[string]func(*bpf.Function){
		"other target":     func(f *bpf.Function) { f.Blocks[0].Code[0].Target = f.Blocks[3].Label },
		"other condition":  func(f *bpf.Function) { f.Blocks[0].Code[0].Op ^= 0x40 },
		"inverse, no swap": func(f *bpf.Function) { f.Blocks[0].Code[0].Op = bpf.ClassJMP | bpf.OpJNE },
		"almost inverse":   func(f *bpf.Function) { f.Blocks[2].Code[1].Op = bpf.ClassJMP | bpf.OpJSLT },
		"instruction lost": func(f *bpf.Function) { f.Blocks[1].Code = f.Blocks[1].Code[1:] },
		"instruction added": func(f *bpf.Function) {
			f.Blocks[3].Code = append([]bpf.Instruction{{Op: bpf.ClassALU64 | bpf.OpMov}}, f.Blocks[3].Code...)
		},
		"blocks swapped": func(f *bpf.Function) { f.Blocks[3], f.Blocks[4] = f.Blocks[4], f.Blocks[3] },
		"endless": func(f *bpf.Function) {
			f.Blocks[1].Code[1].Target = f.Blocks[1].Label
			f.Blocks[1].Code = f.Blocks[1].Code[1:]
		},
		"jump to nowhere": func(f *bpf.Function) { f.Blocks[0].Code[0].Target = 99 },
		"other immediate": func(f *bpf.Function) { f.Blocks[2].Code[1].Imm++ },
	} {
		bad := fn.Clone()
		plant(bad)
		if err := checker.SameShape(context.Background(), fn, bad); err == nil {
			t.Errorf("%s: not refused: %s", name, format(bad))
		}
	}
	if err := checker.SameShape(context.Background(), fn, fn.Clone()); err != nil {
		t.Errorf("refuses the same function: %v", err)
	}
}

// What the new function computes early may be nothing that somebody reads before
// the old one computes it.
func TestSameShapeEarly(t *testing.T) {
	const (
		old = "if r1 == 5 goto L2\nL1: if r1 != 6 goto L3\nL4: r4 += r5\nr0 = r4\nexit\nL2: r4 += r5\nr0 = 2\nr0 ^= r4\nexit\nL3: r0 = 9\nr0 += r5\nexit"
	)
	for _, tt := range []struct {
		name, old, new string
		same           bool
	}{
		{"right", old, "r4 += r5\nif r1 == 5 goto L2\nL1: if r1 != 6 goto L3\nL4: r0 = r4\nexit\nL2: r0 = 2\nr0 ^= r4\nexit\nL3: r0 = 9\nr0 += r5\nexit", true},
		{"something else", old, "r4 -= r5\nif r1 == 5 goto L2\nL1: if r1 != 6 goto L3\nL4: r0 = r4\nexit\nL2: r0 = 2\nr0 ^= r4\nexit\nL3: r0 = 9\nr0 += r5\nexit", false},
		{"twice on one way", old, "r4 += r5\nif r1 == 5 goto L2\nL1: if r1 != 6 goto L3\nL4: r4 += r5\nr0 = r4\nexit\nL2: r0 = 2\nr0 ^= r4\nexit\nL3: r0 = 9\nr0 += r5\nexit", false},
		{"read on the third way", strings.ReplaceAll(old, "r0 += r5", "r0 += r4"), "r4 += r5\nif r1 == 5 goto L2\nL1: if r1 != 6 goto L3\nL4: r0 = r4\nexit\nL2: r0 = 2\nr0 ^= r4\nexit\nL3: r0 = 9\nr0 += r4\nexit", false},
		{"read by the second branch", strings.ReplaceAll(old, "if r1 != 6", "if r4 != 6"), "r4 += r5\nif r1 == 5 goto L2\nL1: if r4 != 6 goto L3\nL4: r0 = r4\nexit\nL2: r0 = 2\nr0 ^= r4\nexit\nL3: r0 = 9\nr0 += r5\nexit", false},
		{"read by the first branch", "if r4 == 5 goto L2\nL1: r4 += 1\nr0 = r4\nexit\nL2: r4 += 1\nr0 = 2\nr0 ^= r4\nexit", "r4 += 1\nif r4 == 5 goto L2\nL1: r0 = r4\nexit\nL2: r0 = 2\nr0 ^= r4\nexit", false},
		{"in another order", "if r1 == 5 goto L2\nL1: r4 = r5\nr5 = 1\nr0 = r4\nr0 += r5\nexit\nL2: r4 = r5\nr5 = 1\nr0 = r5\nr0 -= r4\nexit", "r5 = 1\nr4 = r5\nif r1 == 5 goto L2\nL1: r0 = r4\nr0 += r5\nexit\nL2: r0 = r5\nr0 -= r4\nexit", false},
		{"two", "if r1 == 5 goto L2\nL1: r4 = r5\nr5 = 1\nr0 = r4\nr0 += r5\nexit\nL2: r4 = r5\nr5 = 1\nr0 = r5\nr0 -= r4\nexit", "r4 = r5\nr5 = 1\nif r1 == 5 goto L2\nL1: r0 = r4\nr0 += r5\nexit\nL2: r0 = r5\nr0 -= r4\nexit", true},
		{"never computed and read", "if r1 == 5 goto L2\nL1: r0 = r4\nexit\nL2: r0 = 2\nr0 ^= r4\nexit", "r4 += r5\nif r1 == 5 goto L2\nL1: r0 = r4\nexit\nL2: r0 = 2\nr0 ^= r4\nexit", false},
		{"never computed and read by the condition's way", "if r1 == 5 goto L2\nL1: r0 = 3\nexit\nL2: r0 = 2\nr0 ^= r4\nexit", "r4 += r5\nif r1 == 5 goto L2\nL1: r0 = 3\nexit\nL2: r0 = 2\nr0 ^= r4\nexit", false},
		{"before a load", "if r1 == 5 goto L2\nL1: r4 = 1\nr0 = r4\nexit\nL2: r0 = *(u32 *)(r4 + 0)\nr4 = 1\nr0 += r4\nexit", "r4 = 1\nif r1 == 5 goto L2\nL1: r0 = r4\nexit\nL2: r0 = *(u32 *)(r4 + 0)\nr0 += r4\nexit", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := encode.New(encode.Options{}).SameShape(context.Background(), parse(t, tt.old), parse(t, tt.new))
			if (err == nil) != tt.same {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A branch may be left out only where the facts know its outcome.
func TestSameShapeKnown(t *testing.T) {
	const head = "w1 = w2\nif r1 > 5 goto L2\n"
	for _, tt := range []struct {
		name, old, new string
		same           bool
	}{
		{"never taken", head + "L1: if r1 == 6 goto L2\nL3: r0 = 1\nexit\nL2: r0 = 2\nexit", head + "L1: r0 = 1\nexit\nL2: r0 = 2\nexit", true},
		{"taken instead", head + "L1: if r1 == 6 goto L2\nL3: r0 = 1\nexit\nL2: r0 = 2\nexit", head + "L1: r0 = 2\nexit\nL2: r0 = 2\nexit", false},
		{"always taken", head + "L1: if r1 != 6 goto L3\nL4: r0 = 9\nexit\nL3: r0 = 1\nexit\nL2: r0 = 2\nexit", head + "L1: r0 = 1\nexit\nL2: r0 = 2\nexit", true},
		{"not taken instead", head + "L1: if r1 != 6 goto L3\nL4: r0 = 9\nexit\nL3: r0 = 1\nexit\nL2: r0 = 2\nexit", head + "L1: r0 = 9\nexit\nL2: r0 = 2\nexit", false},
		{"not known", head + "L1: if r1 == 5 goto L2\nL3: r0 = 1\nexit\nL2: r0 = 2\nexit", head + "L1: r0 = 1\nexit\nL2: r0 = 2\nexit", false},
		{"known on one way only", "w1 = w2\nif r1 > 5 goto L1\nL3: r3 = r4\nL1: if r1 == 6 goto L2\nL4: r0 = 1\nexit\nL2: r0 = 2\nexit", "w1 = w2\nif r1 > 5 goto L1\nL3: r3 = r4\nL1: r0 = 1\nexit\nL2: r0 = 2\nexit", false},
		{"known and inverted", head + "L1: if r1 == 6 goto L2\nL3: r0 = 1\nexit\nL2: r0 = 2\nexit", head + "L1: if r1 != 6 goto L3\nL2: r0 = 2\nexit\nL3: r0 = 1\nexit", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := encode.New(encode.Options{}).SameShape(context.Background(), parse(t, tt.old), parse(t, tt.new))
			if (err == nil) != tt.same {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestSimplifyRandom runs the pass over random control flow.
func TestSimplifyRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	checker := encode.New(encode.Options{})
	smaller := 0
	for range 300 {
		fn := random(rng)
		out := jumps.Simplify(context.Background(), fn, windows.Target{Level: bpf.V1 + bpf.Level(rng.IntN(4)), Confirmed: true}, true)
		if err := checker.SameShape(context.Background(), fn, out); err != nil {
			t.Fatalf("%v\n%s\nbecame\n%s", err, format(fn), format(out))
		}
		if out.Slots() > fn.Slots() {
			t.Fatalf("grew\n%s\nbecame\n%s", format(fn), format(out))
		}
		if out.Slots() < fn.Slots() {
			smaller++
		}
	}
	if smaller < 100 {
		t.Errorf("only %d of 300 functions got smaller", smaller)
	}
}

func random(rng *rand.Rand) *bpf.Function {
	n := 2 + rng.IntN(10)
	fn := &bpf.Function{Name: "random"}
	ops := []bpf.Op{bpf.OpJEq, bpf.OpJNE, bpf.OpJGT, bpf.OpJSet, bpf.OpJSLE}
	for i := range n {
		b := &bpf.Block{Label: bpf.Label(i + 1)}
		for range rng.IntN(3) {
			b.Code = append(b.Code, bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpAdd, Dst: bpf.Register(rng.IntN(2)), Imm: int64(rng.IntN(2))})
		}
		target := bpf.Label(1 + rng.IntN(n))
		switch r := rng.IntN(4); {
		case i == n-1 || r == 0:
			b.Code = append(b.Code, bpf.Instruction{Op: bpf.ClassJMP | bpf.OpExit})
		case r == 1 && int(target) > i+1: // backwards might be endless
			b.Code = append(b.Code, bpf.Instruction{Op: bpf.ClassJMP | bpf.OpJA, Target: target})
		case r == 2:
			b.Code = append(b.Code, bpf.Instruction{Op: bpf.ClassJMP | ops[rng.IntN(len(ops))], Target: target, Imm: 3})
		}
		fn.Blocks = append(fn.Blocks, b)
	}
	return fn
}

// Where the verifier is not asked, a branch of known outcome goes that it learns
// nothing from that anybody needs.
func TestKnownWhereNobodyIsAsked(t *testing.T) {
	const (
		head = "w1 = w2\nif r1 > 5 goto L2\nL1: r0 = 1\n"
		tail = "exit\nL2: r0 = 2\nexit\nL3: r0 = 3\nexit"
	)
	for _, tt := range []struct {
		name, src string
		saved     int
	}{
		{"nobody reads what is compared", head + "if r1 > 7 goto L3\nL4: r0 += r2\n" + tail, 3},
		{"two, one after the other", head + "if r1 > 7 goto L3\nL4: r0 += r2\nif r1 > 6 goto L3\nL5: " + tail, 4},
		{"it is read", head + "if r1 > 7 goto L3\nL4: r0 += r1\n" + tail, 0},
		{"a copy of it is read", "w1 = w2\nr3 = r1\nif r1 > 5 goto L2\nL1: r0 = 1\nif r1 > 7 goto L3\nL4: r0 += r3\n" + tail, 0},
		{"a copy of it in the frame is read", "w1 = w2\n*(u64 *)(r10 - 8) = r1\nif r1 > 5 goto L2\nL1: r0 = 1\nif r1 > 7 goto L3\nL4: r1 = *(u64 *)(r10 - 8)\nr0 += r1\n" + tail, 0},
		{"it is read on the way that is not taken", head + "if r1 > 7 goto L3\nL4: r0 += r2\nexit\nL2: r0 = 2\nexit\nL3: r0 = r1\nexit", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fn := parse(t, tt.src)
			out := jumps.Simplify(context.Background(), fn, windows.Target{Level: bpf.V3}, true)
			if err := encode.New(encode.Options{}).SameShape(context.Background(), fn, out); err != nil {
				t.Fatal(err)
			}
			if saved := fn.Slots() - out.Slots(); saved != tt.saved {
				t.Errorf("%d slots saved, want %d: %s", saved, tt.saved, format(out))
			}
		})
	}
}
