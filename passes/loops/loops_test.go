package loops_test

import (
	"context"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes/loops"
	"github.com/k2cc/k2cc/windows"
)

func TestSimplify(t *testing.T) {
	const body = "L2:\nr2 += r1\nif r2 s< 100 goto L1\nL3:\nr0 = r2\nexit"
	for _, tt := range []struct{ name, head, want string }{
		{
			"a step and a branch", "r1 = 4\ngoto L2\nL1:\nr1 += 4\nif r1 == 128 goto L3\n",
			"r1 = 0\nL1:\nr1 += 4\nif r1 == 128 goto L3\n",
		},
		{
			"a step", "r1 = 4\nr3 = 1\ngoto L2\nL1:\nr1 += 4\n",
			"r1 = 0\nr3 = 1\nL1:\nr1 += 4\n",
		},
		{
			"a narrow step", "w1 = 8\ngoto L2\nL1:\nw1 += 4\nif w1 > 128 goto L3\n",
			"w1 = 4\nL1:\nw1 += 4\nif w1 > 128 goto L3\n",
		},
		{"the branch is taken", "r1 = 128\ngoto L2\nL1:\nr1 += 4\nif r1 == 128 goto L3\n", ""},
		{"a narrow number wraps around", "w1 = 2\ngoto L2\nL1:\nr1 += 4\nif r1 == 128 goto L3\n", ""},
		{"the counter is read first", "r1 = 4\nr3 = r1\ngoto L2\nL1:\nr1 += 4\nif r1 == 128 goto L3\n", ""},
		{"no constant", "r1 = r2\ngoto L2\nL1:\nr1 += 4\nif r1 == 128 goto L3\n", ""},
		{"lost in a call", "r1 = 4\ncall 7\ngoto L2\nL1:\nr1 += 4\nif r1 == 128 goto L3\n", ""},
		{"a branch on something else", "r1 = 4\ngoto L2\nL1:\nr1 += 4\nif r2 == 128 goto L3\n", ""},
		{"more than a step", "r1 = 4\ngoto L2\nL1:\nr2 += 1\nr1 += 4\nif r1 == 128 goto L3\n", ""},
		{
			"minus one by or", "r1 = 0\ngoto L2\nL1:\nr1 += 1\nif r1 == 128 goto L3\n",
			"r1 |= -1\nL1:\nr1 += 1\nif r1 == 128 goto L3\n",
		},
		{"nothing there for or", "call 7\nr1 = 0\ngoto L2\nL1:\nr1 += 1\nif r1 == 128 goto L3\n", ""},
		{"longer machine code", "r1 = 0\ngoto L2\nL1:\nr1 += 2\nif r1 == 128 goto L3\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := "r1 = 7\nr2 = r1\n" + tt.head + body
			want := src
			if tt.want != "" {
				want = "r1 = 7\nr2 = r1\n" + tt.want + body
			}
			for _, goal := range []cost.Goal{cost.Size, cost.Balanced} {
				if got := simplify(t, src, goal); got != format(t, want) {
					t.Errorf("got %s", got)
				}
			}
			if got := simplify(t, src, cost.Latency); got != format(t, src) {
				t.Errorf("slower for latency: %s", got)
			}
		})
	}
}

func simplify(t *testing.T, src string, goal cost.Goal) string {
	t.Helper()
	target := windows.Target{Level: bpf.V3, Costs: cost.Model{Goal: goal}}
	out, err := loops.Simplify(context.Background(), encode.New(encode.Options{}), parse(t, src), target)
	if err != nil {
		t.Fatal(err)
	}
	return bpf.FormatBlocks(out.Blocks)
}

func parse(t *testing.T, src string) *bpf.Function {
	t.Helper()
	blocks, err := bpf.Parse(strings.TrimSpace(src))
	if err != nil {
		t.Fatal(err)
	}
	return &bpf.Function{Name: "f", Blocks: blocks}
}

func format(t *testing.T, src string) string { return bpf.FormatBlocks(parse(t, src).Blocks) }
