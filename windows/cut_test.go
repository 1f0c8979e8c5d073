package windows_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

const source = `r6 = r1
r7 = 4
call 7
r0 += r7
if r0 == 3 goto L2
r0 = 1
r0 += 2
r0 += 3
goto L3
L2:
r0 = r6
L3:
r0 = *(u8 *)skb[2]
r0 &= 15
exit`

func parse(t *testing.T) *bpf.Function {
	t.Helper()
	blocks, err := bpf.Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	return &bpf.Function{Name: "f", Context: bpf.ContextSKB, Blocks: blocks}
}

func code(t *testing.T, src string) []bpf.Instruction {
	t.Helper()
	c, err := bpf.ParseCode(src)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func analyze(t *testing.T, fn *bpf.Function) (*flow.Facts, *flow.Needs) {
	t.Helper()
	facts, err := flow.Analyze(context.Background(), fn, flow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	needs, err := flow.Liveness(fn, facts)
	if err != nil {
		t.Fatal(err)
	}
	return facts, needs
}

func TestCut(t *testing.T) {
	fn := parse(t)
	l := windows.Cut(fn, 2)
	var got []string
	for _, s := range l.Segments {
		got = append(got, strings.ReplaceAll(strings.TrimSpace(bpf.Format(s.Old)), "\n", "; "))
	}
	want := []string{"r6 = r1; r7 = 4", "r0 += r7; if r0 == 3 goto L2", "r0 = 1; r0 += 2", "r0 += 3", "r0 = r6", "r0 &= 15"}
	if strings.Join(got, " | ") != strings.Join(want, " | ") {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if out := l.Function(); bpf.FormatBlocks(out.Blocks) != bpf.FormatBlocks(fn.Blocks) {
		t.Errorf("put together again:\n%s", bpf.FormatBlocks(out.Blocks))
	}
}

func TestReplace(t *testing.T) {
	fn := parse(t)
	for i := range fn.Blocks {
		for j := range fn.Blocks[i].Code {
			fn.Blocks[i].Code[j].Pos = int32(10*i + j + 1)
		}
	}
	l := windows.Cut(fn, 32)
	seg := l.Segments[2]
	seg.Replace(code(t, "r0 = 6"))
	if !seg.Changed() || seg.New[0].Pos != seg.Old[0].Pos {
		t.Errorf("changed %v, position %d", seg.Changed(), seg.New[0].Pos)
	}
	if got := l.Function().Slots(); got != fn.Slots()-2 {
		t.Errorf("%d slots, want %d", got, fn.Slots()-2)
	}
	seg.Revert()
	if seg.Changed() || l.Function().Slots() != fn.Slots() {
		t.Error("not reverted")
	}
}

func TestWindows(t *testing.T) {
	fn := parse(t)
	l := windows.Cut(fn, 32)
	facts, needs := analyze(t, fn)
	ws := l.Windows(facts, needs, windows.Target{Level: bpf.V2})
	if len(ws) != len(l.Segments) {
		t.Fatalf("%d windows for %d segments", len(ws), len(l.Segments))
	}
	branch := ws[1] // behind the call
	if v := branch.Facts.Regs[bpf.R7]; !v.IsConst() || v.Bits != 4 {
		t.Errorf("r7 is %v before the window, want 4", v)
	}
	if branch.Start != 3 || branch.End() != 5 || branch.Level != bpf.V2 {
		t.Errorf("from %d to %d at %v", branch.Start, branch.End(), branch.Level)
	}
	if branch.Needs.Regs[bpf.R6] == 0 || branch.Needs.Regs[bpf.R7] != 0 || branch.Needs.Regs[bpf.R0] != 0 {
		t.Errorf("needs %v", branch.Needs.String())
	}
}

// The windows of a step have the facts of before and the needs of now.
func TestStep(t *testing.T) {
	fn := parse(t)
	l := windows.Cut(fn, 32)
	before := l.Codes()
	facts, _ := analyze(t, fn)
	l.Segments[3].Replace(code(t, "r0 += r7")) // reads r7, which nothing read there before
	_, needs := analyze(t, l.Function())
	ws := l.Step(before, facts, needs, windows.Target{})
	if ws[0].Needs.Regs[bpf.R7] == 0 || ws[3].Needs.Regs[bpf.R0] != 0 {
		t.Errorf("needs %v and %v", ws[0].Needs.String(), ws[3].Needs.String())
	}
	if bpf.SameCode(ws[3].Code[0], l.Segments[3].New[0]) {
		t.Error("the window has the new code")
	}
}

func TestTrim(t *testing.T) {
	fn := parse(t)
	l := windows.Cut(fn, 32)
	facts, needs := analyze(t, fn)
	w := l.Windows(facts, needs, windows.Target{})[2] // r0 = 1; r0 += 2; r0 += 3
	for _, tt := range []struct {
		name, code, old, new string
		ok                   bool
	}{
		{"middle", "r0 = 1\nr0 += 9\nr0 += 3", "r0 += 2\n", "r0 += 9\n", true},
		{"end", "r0 = 1\nr0 += 5", "r0 += 2\nr0 += 3\n", "r0 += 5\n", true},
		{"gone", "r0 = 1\nr0 += 3", "r0 += 2\n", "", true},
		{"all", "r0 = 6", "", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sub, rest, ok := w.Trim(code(t, tt.code))
			if ok != tt.ok {
				t.Fatalf("ok is %v", ok)
			}
			if !ok {
				return
			}
			if got := bpf.Format(sub.Code); got != tt.old || bpf.Format(rest) != tt.new {
				t.Errorf("old %q new %q", got, bpf.Format(rest))
			}
			if v := sub.Facts.Regs[bpf.R0]; !v.IsConst() || v.Bits != 1 {
				t.Errorf("r0 is %v before the stretch, want 1", v)
			}
		})
	}
}

func TestSame(t *testing.T) {
	state := func(text string) flow.State {
		s, err := flow.ParseState(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	fn := &bpf.Function{Name: "f", Symbols: make([]bpf.Symbol, 3)} // with Bases up to b13
	w := &windows.Window{Fn: fn, Code: code(t, "r0 = r1"), Facts: state("r1 = packet(b17)+14; r2 = packet(b17); r3 = packet(b19)")}
	for _, tt := range []struct {
		facts string
		same  bool
	}{
		{"r1 = packet(b27)+14; r2 = packet(b27); r3 = packet(b25)", true},
		{"r1 = packet(b17)+14; r2 = packet(b19); r3 = packet(b17)", false},
		{"r1 = packet(b17)+14; r2 = packet(b17); r3 = packet(b17)", false},
		{"r1 = packet(b17)+15; r2 = packet(b17); r3 = packet(b19)", false},
		{"r1 = packet(b8)+14; r2 = packet(b8); r3 = packet(b19)", false}, // a symbol, which the code may name
	} {
		o := *w
		o.Facts = state(tt.facts)
		if got := w.Same(&o); got != tt.same {
			t.Errorf("%s: same %v, want %v", tt.facts, got, tt.same)
		}
	}
}

func TestBounds(t *testing.T) {
	store := code(t, "r1 = 0\n*(u32 *)(r10 - 4) = r1")
	limited := cost.Model{Limits: cost.Limits{Code: cost.Limit{Set: true}}}
	bytes := cost.Of(store).Bytes
	for _, tt := range []struct {
		name string
		w    windows.Window
		want int
	}{
		{"of its code", windows.Window{Code: store, Target: windows.Target{Costs: limited}}, bytes},
		{"of the input", windows.Window{Input: cost.Cost{Bytes: 99}, Target: windows.Target{Costs: limited}}, 99},
		{"with slack", windows.Window{Code: store, Target: windows.Target{Costs: limited, Slack: 6}}, bytes + 6},
		{"none", windows.Window{Code: store, Target: windows.Target{Slack: 6}}, math.MaxInt},
	} {
		if got := tt.w.Bounds().Bytes; got != tt.want {
			t.Errorf("%s: %d bytes, want %d", tt.name, got, tt.want)
		}
	}
}
