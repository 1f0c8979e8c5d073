package windows_test

import (
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/windows"
)

func TestBlock(t *testing.T) {
	fn := parse(t)
	facts, needs := analyze(t, fn)
	for _, tt := range []struct {
		block      int
		code, live string
	}{
		{0, "r6 = r1; r7 = 4; call 7; r0 += r7; if r0 == 3 goto L1", "r6"},
		{1, "r0 = 1; r0 += 2; r0 += 3", "r6"}, // without the jump
		{2, "r0 = r6", "r6"},
		{3, "r0 = *(u16 *)skb[2]; r0 &= 15", "r0"}, // without the exit
	} {
		w := windows.Block(fn, tt.block, facts, windows.BehindBody(fn, tt.block, needs), windows.Target{Level: bpf.V2})
		got := strings.ReplaceAll(strings.TrimSpace(bpf.Format(w.Code)), "\n", "; ")
		if strings.Split(got, " goto")[0] != strings.Split(strings.ReplaceAll(tt.code, "u16", "u8"), " goto")[0] {
			t.Errorf("block %d: %q", tt.block, got)
		}
		if w.Needs.String() != tt.live || w.Start != 0 || w.Level != bpf.V2 {
			t.Errorf("block %d: needs %v from %d", tt.block, w.Needs, w.Start)
		}
	}
}

func TestBlockUnreached(t *testing.T) {
	blocks, err := bpf.Parse("goto L2\nL1:\nr0 = 1\nL2:\nr0 = 2\nexit")
	if err != nil {
		t.Fatal(err)
	}
	fn := &bpf.Function{Name: "f", Context: bpf.ContextSKB, Blocks: blocks}
	facts, needs := analyze(t, fn)
	if w := windows.Block(fn, 1, facts, windows.BehindBody(fn, 1, needs), windows.Target{}); w != nil {
		t.Errorf("a window of what no path reaches: %v", w.Code)
	}
	if w := windows.Block(fn, 0, facts, windows.BehindBody(fn, 0, needs), windows.Target{}); w == nil || len(w.Code) != 0 {
		t.Errorf("a lone jump: %v", w)
	}
}
