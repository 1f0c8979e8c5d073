package guards_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/semantics"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes/guards"
	"github.com/k2cc/k2cc/windows"
)

// randomFunction is code with choices, sums of them, flags and limits.
func randomFunction(rng *rand.Rand) string {
	var b strings.Builder
	b.WriteString("call 5; r6 = r0; call 7; r7 = r0; r1 = 3; r2 = 0; r3 = 1; r4 = r6; r4 >>= 5; ")
	pick := func(words ...string) string { return words[rng.IntN(len(words))] }
	reg := func() string { return pick("1", "2", "3", "4", "6", "7") }
	width := func() string { return pick("r", "r", "w") }
	label := 10
	for range 2 + rng.IntN(4) {
		label += 2
		x, w := pick("2", "3", "8"), width()
		numbers := []string{"0", fmt.Sprint(1 + rng.IntN(20))}
		if rng.IntN(2) == 0 {
			numbers[0], numbers[1] = numbers[1], numbers[0]
		}
		compared := pick("6", "7", "4")
		fmt.Fprintf(&b, "%s%s = %s; if %s%s %s %d goto L%d; L%d:; %s%s = %s; L%d:; ", w, x, numbers[0],
			width(), compared, pick(">", ">", "<=", "==", "s<"), 1<<rng.IntN(20)-rng.IntN(2), label, label+100, w, x, numbers[1], label)
		for range rng.IntN(3) {
			w := width()
			fmt.Fprintf(&b, "%s%s %s= %s%s; ", w, reg(), pick("+", "|", "^", ">>", "-", "<<"), w, reg())
		}
		if rng.IntN(3) > 0 {
			w := width()
			fmt.Fprintf(&b, "%s%s %s= %s%s; ", w, pick("6", "7", "1"), pick(">>", "+", "|", "<<"), w, x)
		}
		w = width()
		fmt.Fprintf(&b, "%s1 %s= %s%s; ", w, pick("|", "|", "+", "^"), w, x)
		if rng.IntN(3) == 0 {
			fmt.Fprintf(&b, "if r%s == %d goto L999; L%d:; ", x, rng.IntN(2), label+200)
		}
	}
	w := width()
	fmt.Fprintf(&b, "%s1 += %s6; L999:; r0 = r1; ", w, w)
	if rng.IntN(2) == 0 {
		w := width()
		fmt.Fprintf(&b, "r0 ^= r7; %s0 += %s%s; ", w, w, reg())
	}
	b.WriteString("exit")
	return b.String()
}

// Functions give what they gave, for numbers at and around powers of two.
func TestRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	c := encode.New(encode.Options{})
	changed := 0
	for range 250 {
		src := randomFunction(rng)
		fn := parse(t, src)
		out, err := guards.Simplify(t.Context(), c, fn, windows.Target{Level: bpf.V3})
		if err != nil {
			t.Fatal(err)
		}
		if format(out) == format(fn) {
			continue
		}
		changed++
		for k := range 64 {
			for _, x := range []uint64{1<<k - 1, 1 << k, rng.Uint64() >> k} {
				y := rng.Uint64() >> rng.UintN(64)
				if a, b := run(t, fn, x, y), run(t, out, x, y); a != b {
					t.Fatalf("for %#x and %#x %#x became %#x:\n%s\nbecame\n%s", x, y, a, b, src, bpf.FormatBlocks(out.Blocks))
				}
			}
		}
	}
	t.Logf("%d changed", changed)
	if changed < 50 {
		t.Errorf("only %d functions were changed", changed)
	}
}

// run is what a function gives for the numbers that its two calls give.
func run(t *testing.T, fn *bpf.Function, x, y uint64) uint64 {
	t.Helper()
	answers := map[int32]uint64{5: x, 7: y & 0xffffffff}
	e := semantics.Exec{State: &semantics.State{}, Helper: func(id int32, _ [5]uint64) (uint64, error) { return answers[id], nil }}
	out, err := e.Run(fn)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
