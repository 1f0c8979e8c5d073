package exits_test

import (
	"context"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes/exits"
	"github.com/k2cc/k2cc/passes/jumps"
	"github.com/k2cc/k2cc/windows"
)

func parse(t *testing.T, src string) *bpf.Function {
	t.Helper()
	blocks, err := bpf.Parse(strings.ReplaceAll(src, ": ", ":\n"))
	if err != nil {
		t.Fatal(err)
	}
	m := bpf.Symbol{Kind: bpf.SymbolMap, Name: "m", Map: &bpf.Map{Type: 1, KeySize: 4, ValueSize: 8}}
	return &bpf.Function{Name: "f", Context: bpf.ContextXDP, Blocks: blocks, Symbols: []bpf.Symbol{m}}
}

func TestSimplify(t *testing.T) {
	const lookup = "r2 = r10\nr2 += -4\nr1 = @1 ll\ncall 1\n"
	for _, tt := range []struct {
		name, src string
		want      string
	}{
		{"a constant kept across calls",
			"r7 = 1\nr6 = *(u32 *)(r1 + 0)\nif r6 > 5 goto L9\n" + "call 7\nif r0 > 9 goto L9\nL1: r1 = r6\ncall 23\nr7 = r0\nL9: r0 = r7\nexit",
			"r6 = *(u32 *)(r1 + 0); if r6 > 5; call 7; if r0 > 9; r1 = r6; call 23; exit; r0 = 1; exit"},
		{"a result that the branch tells",
			"r7 = 0\n*(u32 *)(r10 - 4) = 0\n" + lookup + "if r0 == 0 goto L9\nL1: *(u64 *)(r0 + 0) = 5\nr7 = 1\nL9: r0 = r7\nexit",
			"*(u32 *)(r10 - 4) = 0; r2 = r10; r2 += -4; r1 = @1 ll; call 1; if r0 == 0; *(u64 *)(r0 + 0) = 5; r0 = 1; exit"},
		{"a copy that makes way for the result",
			"*(u32 *)(r10 - 4) = 0\n" + lookup + "r1 = r0\nr0 = 0\nif r1 == 0 goto L9\nL1: *(u64 *)(r1 + 0) = 5\nL9: exit",
			"*(u32 *)(r10 - 4) = 0; r2 = r10; r2 += -4; r1 = @1 ll; call 1; if r0 == 0; *(u64 *)(r0 + 0) = 5; r0 = 0; exit"},
		{"copies of what is compared as well",
			"r7 = 2\nr6 = *(u32 *)(r1 + 12)\nif r7 > r6 goto L9\nL1: call 7\nif r0 > 9 goto L9\nL2: r1 = r6\ncall 23\nr7 = r0\nif r7 == 7 goto L9\nL3: r7 = 2\nL9: r0 = r7\nexit",
			"r7 = 2; r6 = *(u32 *)(r1 + 12); if r7 > r6; call 7; if r0 > 9; r1 = r6; call 23; if r0 == 7; r0 = 2; exit"},
		{"two results of which one follows from what the branch tells",
			"*(u32 *)(r10 - 4) = 0\n" + lookup + "r1 = 1\nif r0 == 0 goto L9\nL1: *(u64 *)(r0 + 0) = 5\nr1 = 0\nL9: r0 = r1\nexit",
			"*(u32 *)(r10 - 4) = 0; r2 = r10; r2 += -4; r1 = @1 ll; call 1; if r0 == 0; *(u64 *)(r0 + 0) = 5; r0 = 1; r0 ^= 1; exit"},
		{"a result of 32 bits",
			"r6 = r1\ncall 7\nr1 = r0\nw0 = -1\nif r1 != 0 goto L9\nL1: *(u32 *)(r10 - 4) = r1\nr2 = *(u32 *)(r6 + 12)\nw0 = -1\nif r2 == 0 goto L9\nL2: *(u32 *)(r10 - 4) = r2\nw0 = 0\nL9: exit",
			"r6 = r1; call 7; if r0 != 0; *(u32 *)(r10 - 4) = r0; r2 = *(u32 *)(r6 + 12); if r2 == 0; *(u32 *)(r10 - 4) = r2; exit; w0 = -1; exit"},
		{"a result that is one of a call on one way",
			"*(u32 *)(r10 - 4) = 0\n" + lookup + "w1 = 2\nif r0 == 0 goto L9\nL1: *(u64 *)(r0 + 0) = 5\ncall 7\nr1 = r0\nL9: w0 = w1\nexit",
			"*(u32 *)(r10 - 4) = 0; r2 = r10; r2 += -4; r1 = @1 ll; call 1; if r0 == 0; *(u64 *)(r0 + 0) = 5; call 7; exit; w0 = 2; exit"},
		{"a low half that the branch tells",
			"call 8\nr1 = r0\nw0 = 2\nif w1 == 0 goto L9\nL1: w0 = 0\nL9: exit",
			"call 8; if w0 == 0; w0 = 2; w0 ^= 2; exit"},
		{"results in their register from the start",
			"r6 = *(u32 *)(r1 + 12)\nif r6 > 5 goto L9\nL1: call 7\nr6 = r0\nr6 += 1\nL9: r0 = r6\nexit",
			"r0 = *(u32 *)(r1 + 12); if r0 > 5; call 7; r0 += 1; exit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target := windows.Target{Level: bpf.V3, Confirmed: true}
			fn := jumps.Simplify(context.Background(), parse(t, tt.src), target, true)
			fn.HalfResult = true
			out, err := exits.Simplify(context.Background(), encode.New(encode.Options{}), fn, target)
			if err != nil {
				t.Fatal(err)
			}
			if got := format(out); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// format is a function's code without labels.
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
