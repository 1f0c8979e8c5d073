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
		{"equality", "call 7\nr1 = r0\nr1 ^= -1\nif r1 == -11 goto L3\n" + tail, 9, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			blocks, err := bpf.Parse(tt.src)
			if err != nil {
				t.Fatal(err)
			}
			fn := &bpf.Function{Name: "f", Context: bpf.ContextXDP, Blocks: blocks}
			out, err := turn.Simplify(context.Background(), encode.New(encode.Options{}), fn, windows.Target{Level: bpf.V1, Confirmed: true})
			if err != nil {
				t.Fatal(err)
			}
			if got := bpf.FormatBlocks(out.Blocks); out.Slots() != tt.slots || !strings.Contains(got, tt.contains) {
				t.Errorf("%d slots, want %d with %q:\n%s", out.Slots(), tt.slots, tt.contains, got)
			}
		})
	}
}

// In a large function no more branches are turned than there is work for.
func TestWorkIsBounded(t *testing.T) {
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
	left := strings.Count(bpf.FormatBlocks(out.Blocks), "^= -1")
	if left == branches || left < branches-50 {
		t.Errorf("%d of %d branches were turned", branches-left, branches)
	}
}
