package turn_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes/turn"
	"github.com/k2cc/k2cc/windows"
)

func TestSimplify(t *testing.T) {
	const tail = "L2:\nr0 += 9\nr0 *= 3\nexit\nL3:\nr0 = 2\nexit"
	for _, tt := range []struct {
		name, src string
		slots     int
		contains  string // of the result, or of nothing but the input
	}{
		{"unsigned", "call 7\nr1 = r0\nr1 ^= -1\nif r1 >= -11 goto L3\n" + tail, 7, "if r0 > 10 goto L2"},
		{"without the bound itself", "call 7\nr1 = r0\nr1 ^= -1\nif r1 > -11 goto L3\n" + tail, 7, "if r0 >= 10 goto L2"},
		{"signed", "call 7\nr1 = r0\nr1 ^= -1\nif r1 s>= -11 goto L3\n" + tail, 7, "if r0 s> 10 goto L2"},
		{"signed without the bound itself", "call 7\nr1 = r0\nr1 ^= -1\nif r1 s> -11 goto L3\n" + tail, 7, "if r0 s>= 10 goto L2"},
		{"the complement is read later", "call 7\nr1 = r0\nr1 ^= -1\nif r1 >= -11 goto L3\nL2:\nr0 += r1\nr0 *= 3\nexit\nL3:\nr0 = 2\nexit", 9, ""},
		{"another number", "call 7\nr1 = r0\nr1 ^= -2\nif r1 >= -11 goto L3\n" + tail, 9, ""},
		{"no bit", "call 7\nr1 = r0\nr1 &= 8\nif r1 == 0 goto L3\n" + tail, 7, "if r0 & 8 goto L2"},
		{"no bit, with something in between", "call 7\nr1 = r0\nr1 &= 8\nr0 = 5\nif r1 == 0 goto L3\n" + tail, 9, "if r1 & 8 goto L2"},
		{"no bit of the mask in a register", "call 7\nr6 = r0\ncall 7\nr6 &= r0\nif r6 == 0 goto L3\n" + tail, 9, "if r6 & r0 goto L2"},
		{"no bit of a mask that changes", "call 7\nr6 = r0\ncall 7\nr6 &= r0\nr0 = 1\nif r6 == 0 goto L3\n" + tail, 11, ""},
		{"no bit of the low half", "call 7\nw1 = w0\nw1 &= 8\nif w1 == 0 goto L3\n" + tail, 7, "if w0 & 8 goto L2"},
		{"no bit, and the rest is read", "call 7\nr1 = r0\nr1 &= 8\nif r1 == 0 goto L3\nL2:\nr0 += r1\nr0 *= 3\nexit\nL3:\nr0 = 2\nexit", 9, ""},
		{"no bit, but there is no place for the target", "call 7\nr0 &= 8\nif r0 == 0 goto L3\nL2:\nr0 = 1\nL3:\nr0 = 2\nexit", 6, ""},
		{"equality", "call 7\nr1 = r0\nr1 ^= -1\nif r1 == -11 goto L3\n" + tail, 9, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			blocks, err := bpf.Parse(tt.src)
			if err != nil {
				t.Fatal(err)
			}
			fn := &bpf.Function{Name: "f", Context: bpf.ContextXDP, Blocks: blocks}
			level := bpf.V1
			if strings.Contains(tt.src, "w1") {
				level = bpf.V3
			}
			out, err := turn.Simplify(context.Background(), encode.New(encode.Options{}), fn, windows.Target{Level: level, Confirmed: true})
			if err != nil {
				t.Fatal(err)
			}
			if got := bpf.FormatBlocks(out.Blocks); out.Slots() != tt.slots || !strings.Contains(got, tt.contains) {
				t.Errorf("%d slots, want %d with %q:\n%s", out.Slots(), tt.slots, tt.contains, got)
			}
		})
	}
}

// All branches of a function are turned at once: one after the other would take
// time that grows with the square of the function.
func TestMany(t *testing.T) {
	const branches = 300
	var src strings.Builder
	src.WriteString("r1 = *(u32 *)(r1 + 12)\nr3 = 1\n")
	for i := range branches {
		fmt.Fprintf(&src, "L%d:\nr2 = r1\nr2 ^= -1\nif r2 >= -%d goto L%d\nL%d:\nr3 += 1\n", 2*i+1, i+5, 2*i+3, 2*i+2)
	}
	fmt.Fprintf(&src, "L%d:\nr0 = r3\nexit", 2*branches+1)
	blocks, err := bpf.Parse(src.String())
	if err != nil {
		t.Fatal(err)
	}
	fn := &bpf.Function{Name: "f", Context: bpf.ContextXDP, Blocks: blocks}
	out, err := turn.Simplify(t.Context(), encode.New(encode.Options{}), fn, windows.Target{Level: bpf.V1, Confirmed: true})
	if err != nil {
		t.Fatal(err)
	}
	if left := strings.Count(bpf.FormatBlocks(out.Blocks), "^= -1"); left > 0 {
		t.Errorf("%d of %d branches were left", left, branches)
	}
}
