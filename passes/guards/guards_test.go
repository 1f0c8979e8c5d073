package guards_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes/guards"
	"github.com/k2cc/k2cc/windows"
)

func parse(t *testing.T, src string) *bpf.Function {
	t.Helper()
	blocks, err := bpf.Parse(strings.ReplaceAll(src, "; ", "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return &bpf.Function{Name: "f", Context: bpf.ContextXDP, Blocks: blocks}
}

// format is code without the numbers of labels.
func format(fn *bpf.Function) string {
	var lines []string
	for _, b := range fn.Blocks {
		for line := range strings.Lines(bpf.Format(b.Code)) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), " goto")
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

func TestSimplify(t *testing.T) {
	const (
		start = "r6 = r1; call 7; "
		end   = "r0 = r1; exit"
		// stage is one step of a logarithm.
		stage = "w2 = 8; if w0 > 255 goto L2; w2 = 0; L2: w0 >>= w2; "
	)
	for _, tt := range []struct {
		name, src string
		want      string // "" for nothing but the input
	}{
		{"a number that is or'ed", start + "w1 = 3; w2 = 8; if w0 > 255 goto L2; w2 = 0; L2: w1 |= w2; " + end,
			start + "w1 = 3; if w0 <= 255; w1 |= 8; " + end},
		{"the other way round", start + "w1 = 3; w2 = 0; if w0 > 255 goto L2; w2 = 8; L2: w1 |= w2; " + end,
			start + "w1 = 3; if w0 > 255; w1 |= 8; " + end},
		{"two uses", start + "w1 = 3; " + stage + "w1 |= w2; w1 += w0; " + end,
			start + "w1 = 3; if w0 <= 255; w0 >>= 8; w1 |= 8; w1 += w0; " + end},
		{"a sum", start + "r1 = 3; r2 = 8; if r0 > 255 goto L2; r2 = 0; L2: r1 += r2; " + end,
			start + "r1 = 3; if r0 <= 255; r1 += 8; " + end},
		{"a difference", start + "r1 = 3; r2 = 8; if r0 > 255 goto L2; r2 = 0; L2: r1 -= r2; " + end,
			start + "r1 = 3; if r0 <= 255; r1 -= 8; " + end},
		{"a mask", start + "r1 = 3; r2 = 8; if r0 > 255 goto L2; r2 = -1; L2: r1 &= r2; " + end,
			start + "r1 = 3; if r0 <= 255; r1 &= 8; " + end},
		{"a product", start + "r1 = 3; r2 = 8; if r0 > 255 goto L2; r2 = 1; L2: r1 *= r2; " + end,
			start + "r1 = 3; if r0 <= 255; r1 *= 8; " + end},
		{"what is not neutral", start + "r1 = 3; r2 = 8; if r0 > 255 goto L2; r2 = 1; L2: r1 += r2; " + end, ""},
		{"a quotient", start + "r1 = 3; r2 = 8; if r0 > 255 goto L2; r2 = 1; L2: r1 /= r2; " + end, ""},
		{"what is combined with it", start + "r1 = 3; r2 = 8; if r0 > 255 goto L2; r2 = 0; L2: r2 |= r1; r1 = r2; " + end, ""},
		{"something else reads it", start + "r1 = 3; r2 = 8; if r0 > 255 goto L2; r2 = 0; L2: r1 |= r2; r1 += r0; r1 ^= r2; r1 -= r2; " + end, ""},
		{"something reads the sum in between", start + "r1 = 3; r2 = 8; if r0 > 255 goto L2; r2 = 0; L2: r0 += r1; r1 += r2; r1 += r0; " + end, ""},
		{"something sets the sum in between", start + "r1 = 3; r2 = 8; if r0 > 255 goto L2; r2 = 0; L2: r1 = r0; r1 += r2; " + end, ""},
		{"another sum in between", start + "r1 = 3; r2 = 8; if r0 > 255 goto L2; r2 = 0; L2: r1 += r0; r1 += r2; " + end,
			start + "r1 = 3; if r0 <= 255; r1 += 8; r1 += r0; " + end},
		{"other operations in between", start + "r1 = 3; r2 = 8; if r0 > 255 goto L2; r2 = 0; L2: r1 |= r0; r1 += r2; " + end, ""},
		{"a load in between", start + "r1 = 3; r2 = 8; if r0 > 255 goto L2; r2 = 0; L2: r3 = *(u32 *)(r6 + 12); r1 += r2; r1 += r3; " + end, ""},
		{"a branch in between", start + "r1 = 3; r2 = 8; if r0 > 255 goto L2; r2 = 0; L2: if r0 > 600 goto L3; r0 += 5; L3: r1 += r2; r1 += r0; " + end,
			start + "r1 = 3; if r0 <= 255; r1 += 8; if r0 > 600; r0 += 5; r1 += r0; " + end},
		{"a branch that reads the sum in between", start + "r1 = 3; r2 = 8; if r0 > 255 goto L2; r2 = 0; L2: if r1 > 2 goto L3; r0 += 5; L3: r1 += r2; r1 += r0; " + end, ""},
		{"a way around the use", start + "r1 = 3; r2 = 8; if r0 > 255 goto L2; r2 = 0; L2: if r0 > 600 goto L3; r1 += r2; L3: " + end, ""},
		{"a way into the middle", start + "r1 = 3; r2 = 8; if r0 > 900 goto L2; L1: if r0 > 255 goto L2; r2 = 0; L2: r1 += r2; " + end, ""},
		{"the upper half of a result", start + "r1 = r0; w2 = 8; r1 <<= 3; if w0 > 255 goto L2; w2 = 0; L2: w1 |= w2; " + end, ""},
		{"the upper half of what is shifted", "call 5; r1 = r0; " + stage + "r0 += r2; r1 += r0; " + end, ""},
		{"a value that is computed", start + "r1 = 3; r2 = 0; if r0 > 255 goto L2; r2 = r0; r2 <<= 3; L2: r1 += r2; " + end,
			start + "r1 = 3; if r0 > 255; r2 = r0; r2 <<= 3; r1 += r2; " + end},
		{"a value that is computed before", start + "r1 = 3; r2 = r0; r2 <<= 3; if r0 > 255 goto L2; r2 = 0; L2: r1 += r2; " + end,
			start + "r1 = 3; r2 = r0; r2 <<= 3; if r0 <= 255; r1 += r2; " + end},
		{"a test for bits has no inverse", start + "r1 = 3; r2 = 8; if r0 & 255 goto L2; r2 = 0; L2: r1 += r2; " + end, ""},
		{"a test for bits the other way round", start + "r1 = 3; r2 = 0; if r0 & 255 goto L2; r2 = 8; L2: r1 += r2; " + end,
			start + "r1 = 3; if r0 & 255; r1 += 8; " + end},
		{"a number that is kept", start + "w1 = 16; if w0 > 65535 goto L2; w1 = 0; L2: w0 >>= w1; w1 |= w0; " + end,
			start + "w1 = 0; if w0 <= 65535; w0 >>= 16; w1 = 16; w1 |= w0; " + end},
		{"a number too wide for an immediate", start + "r1 = 3; r2 = 0x100000000 ll; if r0 > 255 goto L2; r2 = 0; L2: r1 += r2; " + end,
			start + "r1 = 3; r2 = 0x100000000 ll; if r0 <= 255; r1 += r2; " + end},
		{"a logarithm",
			start + "w1 = 16; if w0 > 65535 goto L1; w1 = 0; L1: w0 >>= w1; w2 = 8; if w0 > 255 goto L2; w2 = 0; L2: w0 >>= w2; w3 = 4; if w0 > 15 goto L3; w3 = 0; " +
				"L3: w0 >>= w3; w4 = 2; if w0 > 3 goto L4; w4 = 0; L4: w0 >>= w4; w0 >>= 1; w1 |= w0; w1 |= w2; w1 |= w3; w1 |= w4; " + end,
			start + "w1 = 0; if w0 <= 65535; w0 >>= 16; w1 = 16; if w0 <= 255; w0 >>= 8; w1 |= 8; if w0 <= 15; w0 >>= 4; w1 |= 4; " +
				"if w0 <= 3; w0 >>= 2; w1 |= 2; w0 >>= 1; w1 |= w0; " + end},
	} {
		t.Run(tt.name, func(t *testing.T) { wantSimplified(t, tt.src, tt.want) })
	}
}

func TestLimits(t *testing.T) {
	const (
		start = "call 5; r6 = r0; "
		first = start + "r1 = 7; r2 = 0xffffffff ll; if r6 > r2 goto L9; L1: "
		limit = "if r1 < 7 goto L9; L8: r1 = 7; L9: "
		end   = "r0 = r1; exit"
	)
	for _, tt := range []struct {
		name, src string
		want      string // "" for nothing but the input
	}{
		{"a lower bound", first + "r1 = r6; r1 >>= 2; " + limit + end,
			start + "r1 = 7; if r6 > 27; r1 = r6; r1 >>= 2; " + end},
		{"a bound of more than 32 bits", start + "r1 = 7; r2 = 0xffffffffffff ll; if r6 > r2 goto L9; L1: r1 = r6; r1 >>= 40; " + limit + end,
			start + "r1 = 7; r2 = 0x6ffffffffff ll; if r6 > r2; r1 = r6; r1 >>= 40; " + end},
		{"a bound that nothing else reads but the branch", strings.Replace(first, "r1 = 7", "r3 = 1; r1 = 7", 1) + "r1 = r6; r1 >>= 2; r1 += r3; r1 -= r2; " + limit + end, ""},
		{"the bound that is there", start + "r1 = 7; if r6 > 27 goto L9; L1: r1 = r6; r1 >>= 2; " + limit + end,
			start + "r1 = 7; if r6 > 27; r1 = r6; r1 >>= 2; " + end},
		{"what never comes to the limit", start + "r1 = 7; if r6 > 26 goto L9; L1: r1 = r6; r1 >>= 3; " + limit + end,
			start + "r1 = 7; if r6 > 26; r1 = r6; r1 >>= 3; " + end},
		{"what falls", first + "r1 = 100; r1 -= r6; " + limit + end, ""},
		{"what goes up and down", first + "r1 = r6; r1 ^= 9; " + limit + end, ""},
		{"another limit", strings.Replace(first, "r1 = 7", "r1 = 8", 1) + "r1 = r6; r1 >>= 2; " + limit + end, ""},
		{"a limit of something else", first + "r1 = r6; r1 >>= 2; r3 = r1; if r3 < 7 goto L9; L8: r1 = 7; L9: " + end, ""},
		{"a minimum", first + "r1 = r6; r1 >>= 2; if r1 > 7 goto L9; L8: r1 = 7; L9: " + end, ""},
		{"what facts do not know to keep to the limit", first + "r1 = r6; r3 = r6; r3 &= 1; r4 = r3; r3 <<= 5; r4 <<= 5; r3 ^= r4; r1 += r3; r1 >>= 2; " + limit + end, ""},
		{"the other number is read later", first + "r1 = r6; r1 >>= 2; r6 = 4; " + limit + "r1 += r6; " + end, ""},
		{"the other number is read later, as it was", first + "r1 = r6; r1 >>= 2; " + limit + "r1 += r6; " + end,
			start + "r1 = 7; if r6 > 27; r1 = r6; r1 >>= 2; r1 += r6; " + end},
		{"a shift that the verifier does not follow", first + "r3 = r6; r3 &= 1; r1 = r6; r1 >>= r3; " + limit + end, ""},
		{"what the verifier does not follow", first + "r1 = r6; r1 /= 4; " + limit + end, ""},
		{"a store in between", first + "r1 = r6; r1 >>= 2; *(u64 *)(r10 - 8) = r1; " + limit + end, ""},
		{"a way in from elsewhere", start + "if r6 == 3 goto L1; " + strings.TrimPrefix(first, start) + "r1 = r6; r1 >>= 2; " + limit + end, ""},
		{"a loop", first + "L2: r6 >>= 1; if r6 > 9 goto L2; L3: r1 = r6; " + limit + end, ""},
	} {
		t.Run(tt.name, func(t *testing.T) { wantSimplified(t, tt.src, tt.want) })
	}
}

func TestFlags(t *testing.T) {
	const (
		start = "r7 = r1; call 7; r6 = 1; if r0 s< 0 goto L3; L1: r1 = *(u32 *)(r7 + 12); if r0 == r1 goto L3; L2: r6 = 0; L3: "
		short = "r7 = r1; call 7; r6 = 1; if r0 s< 0; r1 = *(u32 *)(r7 + 12); if r0 != r1; "
		end   = "L5: call 5; L9: r0 = 0; exit"
	)
	for _, tt := range []struct {
		name, src string
		want      string // "" for nothing but the input
	}{
		{"a flag", start + "if r6 == 0 goto L9; " + end, short + "call 5; r0 = 0; exit"},
		{"a flag behind another test", start + "if r0 > 9 goto L9; L4: if r6 == 0 goto L9; " + end, short + "if r0 > 9; call 5; r0 = 0; exit"},
		{"a flag that is masked", start + "r6 &= 1; if r6 == 0 goto L9; " + end, short + "r6 &= 1; call 5; r0 = 0; exit"},
		{"a flag that something is made of", start + "r2 = r6; r2 += 3; if r2 < 4 goto L9; " + end, short + "r2 = r6; r2 += 3; call 5; r0 = 0; exit"},
		{"tests of two flags", strings.ReplaceAll(start, "r6 = 1", "r8 = 0; r6 = 1") + "if r8 != 0 goto L5; L4: if r6 == 0 goto L9; " + end,
			strings.ReplaceAll(short, "r6 = 1", "r8 = 0; r6 = 1") + "call 5; r0 = 0; exit"},
		{"another way behind another test", start + "if r0 > 9 goto L8; L4: if r6 == 0 goto L9; L5: call 5; L8: r0 = 1; exit; L9: r0 = 0; exit", ""},
		{"a flag that is read later", start + "if r6 == 0 goto L9; L5: call 5; L9: r0 = r6; exit", ""},
		{"something that is computed before the test", start + "r8 = r0; r8 += 5; if r6 == 0 goto L9; L5: call 5; r8 = 3; L9: r0 = r8; exit", ""},
		{"a store before the test", start + "*(u32 *)(r10 - 4) = r0; if r6 == 0 goto L9; " + end, ""},
		{"a test of something else", start + "if r0 == 0 goto L9; " + end, ""},
		{"a flag that is set to what a load gives", strings.Replace(start, "r6 = 0", "r6 = *(u32 *)(r7 + 0)", 1) + "if r6 == 0 goto L9; " + end, ""},
		{"a flag that is not set where another way comes in", strings.Replace(start, "r6 = 1", "r6 = r0", 1) + "if r6 == 0 goto L9; " + end,
			strings.Replace(short, "r6 = 1", "r6 = r0", 1) + "if r6 == 0; call 5; r0 = 0; exit"},
	} {
		t.Run(tt.name, func(t *testing.T) { wantSimplified(t, tt.src, tt.want) })
	}
}

// wantSimplified wants code to become other code, or to stay as it is for "".
func wantSimplified(t *testing.T, src, want string) {
	t.Helper()
	fn := parse(t, strings.ReplaceAll(src, ": ", ":; "))
	if want == "" {
		want = format(fn)
	}
	out, err := guards.Simplify(t.Context(), encode.New(encode.Options{}), fn, windows.Target{Level: bpf.V3})
	if err != nil {
		t.Fatal(err)
	}
	if got := format(out); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// On ISA v1 there is no jump on "at most".
func TestLevel(t *testing.T) {
	const src = "call 7; r1 = 3; r2 = 8; if r0 > 255 goto L2; r2 = 0; L2:; r1 += r2; r0 = r1; exit"
	for level, want := range map[bpf.Level]int{bpf.V1: 8, bpf.V2: 6} {
		out, err := guards.Simplify(t.Context(), encode.New(encode.Options{}), parse(t, src), windows.Target{Level: level})
		if err != nil || out.Slots() != want {
			t.Errorf("%v: %d slots, want %d; error %v", level, out.Slots(), want, err)
		}
	}
}

// All regions of a function are proven at once: one after the other would take time
// that grows with the square of the function.
func TestMany(t *testing.T) {
	const regions = 400
	var src strings.Builder
	src.WriteString("call 7; r1 = 0; r3 = r0; ")
	for i := range regions {
		fmt.Fprintf(&src, "r2 = %d; if r3 > %d goto L%d; r2 = 0; L%d:; r1 += r2; r1 ^= 5; ", i+1, i, 2*i+2, 2*i+2)
	}
	src.WriteString("r0 = r1; exit")
	start := time.Now()
	out, err := guards.Simplify(t.Context(), encode.New(encode.Options{}), parse(t, src.String()), windows.Target{Level: bpf.V3})
	if err != nil {
		t.Fatal(err)
	}
	if left := strings.Count(format(out), "r1 += r2"); left > 0 {
		t.Errorf("%d of %d regions were left", left, regions)
	}
	t.Logf("%d regions in %v", regions, time.Since(start))
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	const src = "call 7; r1 = 3; r2 = 8; if r0 > 255 goto L2; r2 = 0; L2:; r1 += r2; r0 = r1; exit"
	if _, err := guards.Simplify(ctx, encode.New(encode.Options{}), parse(t, src), windows.Target{Level: bpf.V3}); err == nil {
		t.Error("no error though the context has ended")
	}
}
