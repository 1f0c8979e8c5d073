package jumps_test

import (
	"context"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes/jumps"
	"github.com/k2cc/k2cc/windows"
)

// Where no kernel is asked, one tail stands for two only where the verifier is
// sure to take each of its instructions on both ways.
func TestTailsUnasked(t *testing.T) {
	for _, tt := range []struct {
		name, first, second, tail string
		merged                    bool
	}{
		{"numbers", "r3 = 3", "r3 = 4", "r3 *= 7\nr3 += r2\nr0 = r3\nexit", true},
		{"less machine code than a jump", "r3 = 3", "r3 = 4", "r0 = 0\nexit", false},
		{"the frame, at different places", "r3 = r10\nr3 += -8", "r3 = r10\nr3 += -16", "*(u64 *)(r3 + 0) = r2\nr0 = 1\nexit", true},
		{"map values", "r3 = @1 ll", "r3 = @2 ll", "*(u64 *)(r3 + 0) = r2\nr0 = 1\nexit", true},
		{"the frame and a map value", "r3 = @1 ll", "r3 = r10\nr3 += -8", "*(u64 *)(r3 + 0) = r2\nr0 = 1\nexit", false},
		{"what may be any pointers", "r3 = *(u64 *)(r6 + 8)", "r3 = *(u64 *)(r6 + 16)", "r3 = *(u64 *)(r3 + 0)\nr0 = r3\nr0 += 1\nexit", false},
		{"filled with the frame's address or a map value's", "r3 = r10\nr3 += -16\n*(u64 *)(r10 - 8) = r3", "r3 = @1 ll\n*(u64 *)(r10 - 8) = r3", "r4 = *(u64 *)(r10 - 8)\n*(u64 *)(r4 + 0) = r2\nr0 = 1\nexit", false},
		{"filled with map values", "r3 = @2 ll\n*(u64 *)(r10 - 8) = r3", "r3 = @1 ll\n*(u64 *)(r10 - 8) = r3", "r4 = *(u64 *)(r10 - 8)\n*(u64 *)(r4 + 0) = r2\nr0 = 1\nexit", true},
		{"a number added to a pointer", "r3 = @1 ll\nr4 = 3", "r3 = @2 ll\nr4 = 4", "r3 += r4\nr0 = *(u8 *)(r3 + 0)\nr0 *= 3\nexit", false},
		{"a lookup in one map", "*(u32 *)(r10 - 4) = 0", "*(u32 *)(r10 - 4) = 1", "r2 = r10\nr2 += -4\nr1 = @3 ll\ncall 1\nexit", true},
		{"lookups in two maps", "*(u32 *)(r10 - 4) = 0\nr1 = @3 ll", "*(u32 *)(r10 - 4) = 1\nr1 = @4 ll", "r2 = r10\nr2 += -4\ncall 1\nr0 *= 3\nexit", false},
		{"a tail call", "r3 = 3", "r3 = 4", "r1 = r6\nr2 = @3 ll\ncall 12\nexit", false},
		{"a helper that nobody knows", "r3 = 3", "r3 = 4", "r1 = r6\nr2 = @3 ll\ncall 9999\nexit", false},
		{"a kernel function", "r1 = 3", "r1 = 4", "r1 *= 3\nr2 = 7\ncall kfunc 77\nexit", false},
		{"a branch on the way", "r3 = 3", "r3 = 4", "r3 *= 7\nif r2 == 7 goto L9\nr3 = *(u64 *)(r10 - 8)\nr0 = *(u8 *)(r3 + 0)\nexit", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fn := parse(t, "r6 = r1\nr2 = *(u32 *)(r6 + 0)\nif r2 == 5 goto L2\n"+tt.first+"\n"+tt.tail+"\nL2:\n"+tt.second+"\n"+tt.tail+"\nL9:\nr0 = 9\nexit")
			fn.Context = bpf.ContextPlain
			fn.Symbols = []bpf.Symbol{{Kind: bpf.SymbolData}, {Kind: bpf.SymbolData}, {Kind: bpf.SymbolMap}, {Kind: bpf.SymbolMap}}
			for i := range fn.Symbols {
				fn.Symbols[i].Index = i
			}
			apart := jumps.Simplify(context.Background(), fn, windows.Target{Level: bpf.V3}, false)
			out := jumps.Simplify(context.Background(), fn, windows.Target{Level: bpf.V3}, true)
			if merged := out.Slots() < apart.Slots(); merged != tt.merged {
				t.Errorf("merged is %v, want %v: %s", merged, tt.merged, format(out))
			}
			if err := encode.New(encode.Options{}).SameShape(context.Background(), fn, out); err != nil {
				t.Errorf("the checker does not agree: %v", err)
			}
		})
	}
}
