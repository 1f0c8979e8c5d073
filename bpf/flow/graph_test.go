package flow

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k2cc/k2cc/bpf"
)

func TestGraph(t *testing.T) {
	g, err := NewGraph(parse(`
	L1:
		if r1 == 0 goto L4
	L2:
		if r2 == 0 goto L2
	L3:
		goto L1
	L4:
		exit
	L5:
		goto L4`))
	if err != nil {
		t.Fatal(err)
	}
	var succs, preds [][]int
	var reachable, heads []bool
	for b := range 5 {
		succs, preds = append(succs, g.Succs(b)), append(preds, g.Preds(b))
		reachable, heads = append(reachable, g.Reachable(b)), append(heads, g.LoopHead(b))
	}
	if d := cmp.Diff([][]int{{3, 1}, {1, 2}, {0}, nil, {3}}, succs); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([][]int{{2}, {0, 1}, {1}, {0, 4}, nil}, preds); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]bool{true, true, true, true, false}, reachable); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]bool{true, true, false, false, false}, heads); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]int{0, 1, 2, 3}, g.Order()); d != "" {
		t.Error(d)
	}
}

func TestBadFunctions(t *testing.T) {
	exit := bpf.Instruction{Op: bpf.ClassJMP | bpf.OpExit}
	jump := bpf.Instruction{Op: bpf.ClassJMP | bpf.OpJA, Target: 7}
	core := bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpMov, Ref: 9}
	for want, blocks := range map[string][]*bpf.Block{
		"without blocks": {},
		"no such block":  {{Label: 1, Code: []bpf.Instruction{jump}}},
		"two blocks":     {{Label: 1}, {Label: 1, Code: []bpf.Instruction{exit}}},
		"falls off":      {{Label: 1}},
		"inside block":   {{Label: 1, Code: []bpf.Instruction{exit, exit}}},
		"no such symbol": {{Label: 1, Code: []bpf.Instruction{core, exit}}},
		"no instruction": {{Label: 1, Code: []bpf.Instruction{{Op: 0xff}, exit}}},
	} {
		_, err := Analyze(context.Background(), &bpf.Function{Name: "bad", Blocks: blocks}, Options{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "bad: ") {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

func TestTaken(t *testing.T) {
	fn := parse(`
	L1:
		r0 = 1
		if r0 == 1 goto L3
	L2:
		if r0 == 2 goto L4
	L3:
		if r1 == 1 goto L4
	L4:
		goto L5
	L5:
		r0 = 0
	L6:
		exit`)
	facts, err := Analyze(context.Background(), fn, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := [][2]bool{{true, false}, {false, false}, {true, true}, {true, false}, {false, true}, {false, false}}
	for b := range fn.Blocks {
		target, next := facts.Taken(b)
		if got := [2]bool{target, next}; got != want[b] {
			t.Errorf("block %d: got %v, want %v", b, got, want[b])
		}
	}
}

func TestAnalyzeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Analyze(ctx, parse("r0 = 0\nexit"), Options{}); err == nil {
		t.Error("no error")
	}
}
