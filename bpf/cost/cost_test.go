package cost

import (
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
)

func parse(t *testing.T, src string) []bpf.Instruction {
	t.Helper()
	code, err := bpf.ParseCode(src)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// The table that comes with k2cc says where it is from, and has what compilers
// use.
func TestDefault(t *testing.T) {
	table, err := Parse(x86)
	if err != nil {
		t.Fatal(err)
	}
	if table.Date == "" || table.CPU == "" || table.Kernel == "" {
		t.Errorf("measured on %q, %q, %q", table.Date, table.CPU, table.Kernel)
	}
	for f, e := range table.Entries {
		if e.Latency < 0 || e.Work < 0 || e.Latency > 50_000 || e.Work > 50_000 {
			t.Errorf("%+v takes %d and %d ps", f, e.Latency, e.Work)
		}
	}
	for _, in := range parse(t, "r1 = r2\nw1 = 7\nr1 = *(u32 *)(r2 + 500)\nif w1 s> -3 goto L1\nr1 = 5 ll\nr1 = be16 r1\nlock *(u64 *)(r1 + 8) += r2") {
		if table.Entries[FormOf(in)] == nil {
			t.Errorf("%v is not in the table", in)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"no instruction", "r1 + r2; 3; 1; 1", "no instruction"},
		{"two instructions", "r1 = 0\\nr2 = 0; 3; 1; 1", "no instruction"},
		{"a column is missing", "r1 += r2; 3; 1", "no line of a table"},
		{"bytes are no number", "r1 += r2; x; 1; 1", "bytes"},
		{"too few registers", "r1 += r2; 3333333333333; 1; 1", "bytes: want 1 or 11"},
		{"latency is no number", "r1 += r2; 3; x; 1", "latency"},
		{"a form twice", "r1 += r2; 3; 1; 1\nr3 += r4; 3; 1; 1", "line 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

// A table made for these tests.
const simple = `
forward -30
stall 300
r1 += r2; 3; 10; 1
r1 += 17; 4; 10; 1
r1 = r2; 3; 0; 1
w1 += w2; 22222333333 22222333333 22222333333 22222333333 22222333333 33333333333 33333333333 33333333333 33333333333 33333333333 ...........; 10; 1
r1 = -r1; 33333666666; 10; 25
r1 = *(u64 *)(r2 + 8); 4; 40; 2
r1 = *(u32 *)(r2 + 8); 4; 40; 2
*(u64 *)(r1 + 8) = r2; 4; 10; 4
*(u32 *)(r1 + 8) = r2; 4; 10; 4
`

func TestOf(t *testing.T) {
	table, err := Parse(simple)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, code  string
		bytes, time int
	}{
		{"nothing", "", 0, 0},
		{"one after the other", "r1 += r2\nr1 += 5\nr1 += r3", 10, 30},
		{"side by side", "r1 += r2\nr3 += 5", 7, 10},
		{"a move takes no time", "r1 += r2\nr3 = r1\nr3 += r4", 9, 20},
		{"so many that they don't fit", "r1 = -r1\nr2 = -r2\nr3 = -r3", 9, 75},
		{"bytes by register", "w1 += w6\nw6 += w1\nr7 = -r7", 12, 27},
		{"what is loaded", "r1 = *(u64 *)(r2 + 8)\nr1 += r3", 7, 50},
		{"read what was stored", "*(u64 *)(r10 - 8) = r1\nr2 = *(u64 *)(r10 - 8)", 8, 20},
		{"read a part of what was stored", "*(u64 *)(r10 - 8) = r1\nr2 = *(u32 *)(r10 - 4)", 8, 20},
		{"read more than was stored", "*(u32 *)(r10 - 8) = r1\nr2 = *(u64 *)(r10 - 8)", 8, 350},
		{"read beside what was stored", "*(u32 *)(r10 - 8) = r1\nr2 = *(u32 *)(r10 - 4)", 8, 40},
		{"read from elsewhere since the base moved", "*(u64 *)(r1 + 8) = r2\nr1 += 8\nr2 = *(u64 *)(r1 + 8)", 12, 50},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := table.of(parse(t, tt.code))
			if got.Bytes != tt.bytes || got.Time != tt.time {
				t.Errorf("%d bytes and %d ps, want %d and %d", got.Bytes, got.Time, tt.bytes, tt.time)
			}
		})
	}
}

func TestFormOf(t *testing.T) {
	for _, tt := range []struct {
		name, a, b string
		same       bool
	}{
		{"registers don't matter", "r1 += r2", "r8 += r9", true},
		{"width does", "r1 += r2", "w1 += w2", false},
		{"small numbers", "r1 += 5", "r1 += 127", true},
		{"large ones", "r1 += 5", "r1 += 128", false},
		{"near offsets", "r1 = *(u8 *)(r2 + 127)", "r1 = *(u8 *)(r2 - 128)", true},
		{"far ones", "r1 = *(u8 *)(r2 + 127)", "r1 = *(u8 *)(r2 + 128)", false},
		{"swaps by width", "r1 = be16 r1", "r1 = be32 r1", false},
		{"what a store stores", "*(u8 *)(r1 + 0) = 1", "*(u8 *)(r1 + 0) = 100", true},
		{"atomics by kind", "lock *(u64 *)(r1 + 0) += r2", "lock *(u64 *)(r1 + 0) |= r2", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := FormOf(parse(t, tt.a)[0]) == FormOf(parse(t, tt.b)[0]); got != tt.same {
				t.Errorf("%s and %s have the same form: %v", tt.a, tt.b, got)
			}
		})
	}
	// A map's address is a wide number whatever stands in its place.
	in := bpf.Instruction{Op: bpf.LoadImm64, Src: bpf.PseudoMapFD, Imm: 3}
	if f := FormOf(in); f.Operand != Wide {
		t.Errorf("a map's address is %+v", f)
	}
}

func TestCompare(t *testing.T) {
	short := Cost{Slots: 3, Bytes: 40, Time: 900, Walked: 3}
	small := Cost{Slots: 4, Bytes: 20, Time: 800, Walked: 4}
	fast := Cost{Slots: 5, Bytes: 30, Time: 100, Walked: 5}
	wide := Cost{Slots: 4, Bytes: 50, Time: 950, Walked: 2}
	for _, tt := range []struct {
		name        string
		goal        Goal
		better, not Cost
	}{
		{"size", Size, short, small},
		{"balanced", Balanced, short, fast},
		{"latency", Latency, fast, short},
		{"latency, of the others", Latency, small, short},
		{"verifier", Verifier, wide, short},
		{"bytes where slots are equal", Size, small, wide},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := Model{Goal: tt.goal}
			if m.Compare(tt.better, tt.not) >= 0 || m.Compare(tt.not, tt.better) <= 0 || m.Compare(tt.not, tt.not) != 0 {
				t.Errorf("%+v is not better than %+v", tt.better, tt.not)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	before := Cost{Slots: 10, Bytes: 100, Time: 1000, Walked: 10}
	percent := func(p float64) Limit { return Limit{Set: true, Percent: p} }
	for _, tt := range []struct {
		name   string
		limits Limits
		after  Cost
		within bool
	}{
		{"no limits", Limits{}, Cost{100, 1000, 10000, 100, 0}, true},
		{"as before", Limits{percent(0), percent(0), percent(0), percent(0)}, before, true},
		{"one byte more", Limits{Code: percent(0)}, Cost{9, 101, 900, 9, 0}, false},
		{"as many bytes more as may be", Limits{Code: percent(5)}, Cost{9, 105, 900, 9, 0}, true},
		{"one too many", Limits{Code: percent(5)}, Cost{9, 106, 900, 9, 0}, false},
		{"slower", Limits{Time: percent(10)}, Cost{9, 90, 1101, 9, 0}, false},
		{"a fraction of an instruction", Limits{Verifier: percent(5)}, Cost{9, 90, 900, 11, 0}, false},
		{"more slots", Limits{Slots: percent(0)}, Cost{11, 90, 900, 9, 0}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.after.Within(Model{Limits: tt.limits}.Bounds(before)); got != tt.within {
				t.Errorf("within its bounds: %v, want %v", got, tt.within)
			}
		})
	}
}
