package passes

import (
	"context"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/windows"
)

// lookup is code that looks a key up in a map of a type (enum bpf_map_type).
func lookup(t *testing.T, mapType uint32, code string) *bpf.Function {
	t.Helper()
	fn := function(t, code+"\nr2 = r10\nr2 += -4\nr1 = @1 ll\ncall 1\nr0 = 0\nexit")
	fn.Symbols = []bpf.Symbol{{Kind: bpf.SymbolMap, Name: "m", Map: &bpf.Map{Type: mapType, KeySize: 4, ValueSize: 8}}}
	return fn
}

func TestHidesKey(t *testing.T) {
	const (
		hash, array, perCPUArray = 1, 2, 6

		apart  = "*(u32 *)(r10 - 4) = 1\n*(u32 *)(r10 - 8) = 2"
		merged = "r3 = 0x100000002 ll\n*(u64 *)(r10 - 8) = r3"
	)
	for _, tt := range []struct {
		name     string
		mapType  uint32
		old, new string
		hides    bool
	}{
		{"merged", array, apart, merged, true},
		{"of every processor", perCPUArray, apart, merged, true},
		{"no array", hash, apart, merged, false},
		{"from a register", array, "r3 = 1\n*(u32 *)(r10 - 4) = r3\n*(u32 *)(r10 - 8) = 2", merged, true},
		{"through a copy of the frame pointer", array, "r4 = r10\nr4 += -16\n*(u32 *)(r4 + 12) = 1\n*(u32 *)(r10 - 8) = 2", merged, true},
		{"not known before", array, "r3 = *(u32 *)(r1 + 0)\n*(u32 *)(r10 - 4) = r3\n*(u32 *)(r10 - 8) = 2", merged, false},
		{"hidden before", array, merged, merged, false},
		{"by itself", array, "r3 = 1\n*(u32 *)(r10 - 4) = r3", "*(u32 *)(r10 - 4) = 1", false},
		{"zeros from a register", array, "*(u32 *)(r10 - 4) = 0\n*(u32 *)(r10 - 8) = 0", "r3 = 0\n*(u64 *)(r10 - 8) = r3", true},
		{"zeros", array, "*(u32 *)(r10 - 4) = 0\n*(u32 *)(r10 - 8) = 0", "*(u64 *)(r10 - 8) = 0", false},
		{"in halves", array, "*(u32 *)(r10 - 4) = 1\n*(u32 *)(r10 - 8) = 2", "*(u16 *)(r10 - 4) = 1\n*(u16 *)(r10 - 2) = 0", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, code := lookupWindow(t, tt.mapType, tt.old, tt.new)
			if got := hidesKey(w, code); got != tt.hides {
				t.Errorf("hides the key: %v, want %v", got, tt.hides)
			}
		})
	}
}

// lookupWindow is the window before a lookup, and what may come in its place.
func lookupWindow(t *testing.T, mapType uint32, old, new string) (*windows.Window, []bpf.Instruction) {
	t.Helper()
	r := manager(1).Begin(lookup(t, mapType, old))
	_, ws, err := r.windows(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return ws[0], lookup(t, mapType, new).Blocks[0].Code[:len(lookup(t, mapType, new).Blocks[0].Code)-3]
}

// Candidates that cost more than they may, or hide a key, are not even proven.
func TestManagerLimits(t *testing.T) {
	const (
		old    = "*(u32 *)(r10 - 4) = 1\n*(u32 *)(r10 - 8) = 2"
		merged = "r3 = 0x100000002 ll\n*(u64 *)(r10 - 8) = r3"
	)
	limited := cost.Model{Limits: cost.Limits{Time: cost.Limit{Set: true}}}
	for _, tt := range []struct {
		name     string
		costs    cost.Model
		old, new string
		outcome  encode.Outcome
	}{
		{"a key may be hidden where size is all", cost.Model{}, old, merged, encode.Proven},
		{"or not", cost.Model{Goal: cost.Balanced}, old, merged, encode.Unsafe},
		{"slower but free to be", cost.Model{}, "r3 = 5", "r3 = 1\nr3 *= 5", encode.Proven},
		{"slower", limited, "r3 = 5", "r3 = 1\nr3 *= 5", encode.Unsafe},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, code := lookupWindow(t, 2, tt.old, tt.new)
			w.Costs = tt.costs
			var got encode.Verdict
			ask := proposer(func(_ *windows.Window, try Try) { got = try(code) })
			manager(1).improve(context.Background(), []Proposer{ask}, w)
			if got.Outcome != tt.outcome {
				t.Errorf("%v (%s), want %v", got.Outcome, got.Reason, tt.outcome)
			}
		})
	}
}
