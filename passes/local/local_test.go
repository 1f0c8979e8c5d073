package local

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/windows"
)

// entryFacts are what holds before the tests' windows: r1 is a context, r6 and
// r7 packets that may overlap, r8 a map value, others numbers.
const entryFacts = "r0 = scalar; r1 = context(b1001); r2 = scalar; r3 = scalar; r4 = scalar; r5 = scalar; " +
	"r6 = packet(b1006); r7 = packet(b1007); r8 = map_value(b1008a8); r9 = scalar"

// program is one case: code, what holds before it and is needed after it, and
// what it should come to.
type program struct {
	name    string
	level   bpf.Level // V1 where it is not said
	facts   string    // beside entryFacts
	needs   string
	code    string
	want    string // "" where nothing is to be found
	big     bool
	atomics bool
	limited bool // no more machine code than before
	unasked bool // no kernel is asked
}

func (p program) window(t testing.TB) *windows.Window {
	t.Helper()
	code, err := bpf.ParseCode(p.code)
	if err != nil {
		t.Fatal(err)
	}
	facts, err := flow.ParseState(entryFacts + ";" + p.facts)
	if err != nil {
		t.Fatal(err)
	}
	needs, err := flow.ParseLive(p.needs)
	if err != nil {
		t.Fatal(err)
	}
	w := &windows.Window{
		Fn:    &bpf.Function{Context: bpf.ContextXDP, Symbols: make([]bpf.Symbol, 4)},
		Code:  code,
		Facts: facts,
		Needs: needs,
	}
	for i := range w.Fn.Symbols {
		w.Fn.Symbols[i] = bpf.Symbol{Kind: bpf.SymbolCore, Index: i}
	}
	w.Level, w.BigEndian, w.Atomics = max(p.level, bpf.V1), p.big, p.atomics
	w.Shared = map[flow.Kind]bool{flow.KindMapValue: true, flow.KindOther: true}
	// Comparisons may change their form only where the kernel is asked.
	w.Confirmed = len(w.Code) > 0 && w.Code[len(w.Code)-1].IsCondJump() && !p.unasked
	w.Costs.Limits.Code.Set = p.limited
	return w
}

// propose is the first proven proposal, as text, or "". It fails the test where
// a candidate is not proven.
func propose(t *testing.T, w *windows.Window) string {
	t.Helper()
	checker := encode.New(encode.Options{})
	out := ""
	New().Propose(context.Background(), w, func(code []bpf.Instruction) encode.Verdict {
		v := checker.Check(context.Background(), w, code)
		if v.Outcome != encode.Proven {
			t.Errorf("%v (%s):\n%s", v.Outcome, v.Reason, bpf.Format(code))
		} else if out == "" {
			out = bpf.Format(code)
		}
		return v
	})
	return out
}

func run(t *testing.T, tests []program) {
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := propose(t, test.window(t))
			want := ""
			if test.want != "" {
				code, err := bpf.ParseCode(test.want)
				if err != nil {
					t.Fatal(err)
				}
				want = bpf.Format(code)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLoads(t *testing.T) {
	run(t, []program{
		{
			name: "two bytes", needs: "r3",
			code: "r1 = *(u8 *)(r7 + 12)\nr3 = *(u8 *)(r7 + 13)\nr3 <<= 8\nr3 |= r1",
			want: "r3 = *(u16 *)(r7 + 12)",
		},
		{
			name: "two bytes in the other order", needs: "r3",
			code: "r1 = *(u8 *)(r7 + 12)\nr3 = *(u8 *)(r7 + 13)\nr1 <<= 8\nr3 |= r1",
			want: "r3 = *(u16 *)(r7 + 12)\nr3 = be16 r3",
		},
		{
			name: "base overwritten", needs: "r7",
			code: "r1 = *(u8 *)(r7 + 1)\nr7 = *(u8 *)(r7 + 0)\nr1 <<= 8\nr7 |= r1",
			want: "r7 = *(u16 *)(r7 + 0)",
		},
		{
			name: "four bytes", needs: "r3",
			code: "r1 = *(u8 *)(r7 + 0)\nr2 = *(u8 *)(r7 + 1)\nr2 <<= 8\nr2 |= r1\nr3 = *(u8 *)(r7 + 3)\nr3 <<= 8\nr1 = *(u8 *)(r7 + 2)\nr3 |= r1\nr3 <<= 16\nr3 |= r2",
			want: "r3 = *(u32 *)(r7 + 0)",
		},
		{
			name: "three bytes", needs: "r3",
			code: "r1 = *(u8 *)(r7 + 0)\nr2 = *(u8 *)(r7 + 1)\nr2 <<= 8\nr2 |= r1\nr3 = *(u8 *)(r7 + 2)\nr3 <<= 16\nr3 |= r2",
			want: "r2 = *(u16 *)(r7 + 0)\nr3 = *(u8 *)(r7 + 2)\nr3 <<= 16\nr3 |= r2",
		},
		{
			name: "three bytes in network order", needs: "r3",
			code: "r1 = *(u8 *)(r7 + 0)\nr1 <<= 16\nr3 = *(u8 *)(r7 + 1)\nr3 <<= 8\nr3 |= r1\nr1 = *(u8 *)(r7 + 2)\nr3 |= r1",
			want: "r3 = *(u16 *)(r7 + 0)\nr3 = be16 r3\nr3 <<= 8\nr1 = *(u8 *)(r7 + 2)\nr3 |= r1",
		},
		{
			name: "map value read again", needs: "r2 r3 r4",
			code: "r2 = *(u32 *)(r8 + 0)\nr4 = *(u32 *)(r8 + 8)\nr3 = *(u32 *)(r8 + 0)\nr3 += r2\nr4 += 0",
			want: "r2 = *(u32 *)(r8 + 0)\nr4 = *(u32 *)(r8 + 8)\nr3 = *(u32 *)(r8 + 0)\nr3 += r2",
		},
		{
			name: "stack must be aligned", facts: "written [r10-8:8]", needs: "r3",
			code: "r1 = *(u8 *)(r10 - 7)\nr3 = *(u8 *)(r10 - 6)\nr3 <<= 8\nr3 |= r1",
		},
		{
			name: "stack", facts: "written [r10-8:8]", needs: "r3",
			code: "r1 = *(u8 *)(r10 - 8)\nr3 = *(u8 *)(r10 - 7)\nr3 <<= 8\nr3 |= r1",
			want: "r3 = *(u16 *)(r10 - 8)",
		},
		{
			name: "other memory keeps its widths", facts: "r8 = other(b1008)", needs: "r3",
			code: "r1 = *(u8 *)(r8 + 12)\nr3 = *(u8 *)(r8 + 13)\nr3 <<= 8\nr3 |= r1",
		},
		{
			name: "map value", needs: "r3",
			code: "r1 = *(u8 *)(r8 + 12)\nr3 = *(u8 *)(r8 + 13)\nr3 <<= 8\nr3 |= r1",
			want: "r3 = *(u16 *)(r8 + 12)",
		},
		{
			name: "map value read once", needs: "r3 r2",
			code: "r1 = *(u8 *)(r8 + 12)\nr3 = *(u8 *)(r8 + 13)\nr2 = r3\nr3 <<= 8\nr3 |= r1",
		},
		{
			name: "big endian", needs: "r3", big: true,
			code: "r1 = *(u8 *)(r7 + 12)\nr3 = *(u8 *)(r7 + 13)\nr1 <<= 8\nr3 |= r1",
			want: "r3 = *(u16 *)(r7 + 12)",
		},
		{
			name: "loaded already", needs: "r2 r3",
			code: "r2 = *(u32 *)(r7 + 4)\nr3 = *(u32 *)(r7 + 4)\nr3 += 1",
			want: "r2 = *(u32 *)(r7 + 4)\nr3 = r2\nr3 += 1",
		},
		{
			name: "narrower", needs: "r2",
			code: "r2 = *(u32 *)(r7 + 4)\nr2 >>= 24",
			want: "r2 = *(u8 *)(r7 + 7)",
		},
		{
			name: "sign-extending", needs: "r2", level: bpf.V4,
			code: "r2 = *(u32 *)(r7 + 4)\nr2 <<= 32\nr2 s>>= 32",
			want: "r2 = *(s32 *)(r7 + 4)",
		},
		{
			name: "a store between may change it", needs: "r2 r3",
			code: "r2 = *(u32 *)(r7 + 4)\n*(u8 *)(r6 + 0) = 1\nr3 = *(u32 *)(r7 + 4)",
		},
		{
			name: "context", needs: "r2 r3",
			code: "r3 = *(u32 *)(r1 + 0)\nr2 = *(u32 *)(r1 + 4)\nr4 = *(u32 *)(r1 + 12)\nr5 = r2\nr5 += 1",
			want: "r3 = *(u32 *)(r1 + 0)\nr2 = *(u32 *)(r1 + 4)",
		},
	})
}

func TestStores(t *testing.T) {
	run(t, []program{
		{
			name: "constants", needs: "[r10-8:8]",
			code: "r1 = 0\n*(u32 *)(r10 - 4) = r1\nr1 = 1\n*(u32 *)(r10 - 8) = r1",
			want: "*(u64 *)(r10 - 8) = 1",
		},
		{
			name: "misaligned", needs: "[r10-12:8]",
			code: "r1 = 0\n*(u32 *)(r10 - 12) = r1\n*(u32 *)(r10 - 8) = r1",
			want: "*(u32 *)(r10 - 12) = 0\n*(u32 *)(r10 - 8) = 0",
		},
		{
			name: "bytes of a register", needs: "",
			code: "r1 = *(u16 *)(r10 - 2)\n*(u8 *)(r7 + 4) = r1\nr1 >>= 8\n*(u8 *)(r7 + 5) = r1", facts: "written [r10-2:2]",
			want: "r1 = *(u16 *)(r10 - 2)\n*(u16 *)(r7 + 4) = r1",
		},
		{
			name: "copy", needs: "[r10-16:16]",
			code: "r4 = *(u32 *)(r7 + 12)\n*(u32 *)(r10 - 4) = r4\nr4 = *(u32 *)(r7 + 8)\n*(u32 *)(r10 - 8) = r4\n" +
				"r4 = *(u32 *)(r7 + 4)\n*(u32 *)(r10 - 12) = r4\nr4 = *(u32 *)(r7 + 0)\n*(u32 *)(r10 - 16) = r4",
			want: "r4 = *(u64 *)(r7 + 8)\n*(u64 *)(r10 - 8) = r4\nr4 = *(u64 *)(r7 + 0)\n*(u64 *)(r10 - 16) = r4",
		},
		{
			name: "packets may overlap", needs: "",
			code: "r4 = *(u32 *)(r7 + 0)\n*(u32 *)(r6 + 0) = r4\nr4 = *(u32 *)(r7 + 4)\n*(u32 *)(r6 + 4) = r4",
		},
		{
			name: "swap of addresses", needs: "",
			code: "r1 = *(u16 *)(r7 + 0)\nr2 = *(u16 *)(r7 + 6)\n*(u16 *)(r7 + 0) = r2\nr2 = *(u16 *)(r7 + 8)\nr3 = *(u16 *)(r7 + 2)\n" +
				"*(u16 *)(r7 + 8) = r3\n*(u16 *)(r7 + 2) = r2\nr2 = *(u16 *)(r7 + 10)\nr3 = *(u16 *)(r7 + 4)\n*(u16 *)(r7 + 10) = r3\n" +
				"*(u16 *)(r7 + 6) = r1\n*(u16 *)(r7 + 4) = r2",
			want: "r0 = *(u64 *)(r7 + 4)\nr2 = r0\nr0 >>= 16\nr1 = *(u32 *)(r7 + 0)\n*(u64 *)(r7 + 0) = r0\n*(u32 *)(r7 + 6) = r1\n*(u16 *)(r7 + 10) = r2",
		},
		{
			name: "base folded", needs: "[r10-40:8]",
			code: "r3 = r10\nr3 += -48\n*(u32 *)(r3 + 12) = r4\n*(u32 *)(r3 + 8) = r5",
			want: "*(u32 *)(r10 - 36) = r4\n*(u32 *)(r10 - 40) = r5",
		},
		{
			name: "dead", needs: "[r10-8:4]",
			code: "*(u64 *)(r10 - 16) = r4\n*(u32 *)(r10 - 8) = r5\n*(u32 *)(r10 - 8) = r4",
			want: "*(u32 *)(r10 - 8) = r4",
		},
		{
			name: "there already", needs: "[r10-8:8] r4", facts: "written [r10-8:8]; [r10-8:8] = scalar",
			code: "r4 = *(u64 *)(r10 - 8)\n*(u64 *)(r10 - 8) = r4\nr4 += 1",
			want: "r4 = *(u64 *)(r10 - 8)\nr4 += 1",
		},
		{
			name: "no immediate to the context", needs: "",
			code: "r2 = 0\n*(u32 *)(r1 + 12) = r2\n*(u32 *)(r1 + 16) = r2",
		},
		{
			name: "shifted by a wider swap", needs: "[r10-60:4]",
			code: "r4 = *(u16 *)(r7 + 18)\n*(u16 *)(r10 - 60) = 0\nr4 = be16 r4\n*(u16 *)(r10 - 58) = r4",
			want: "r4 = *(u16 *)(r7 + 18)\nr4 = be32 r4\n*(u32 *)(r10 - 60) = r4",
		},
		{
			name: "wide, then narrow", needs: "[r10-8:8]",
			code: "*(u64 *)(r10 - 8) = 0\n*(u8 *)(r10 - 7) = 3",
			want: "*(u64 *)(r10 - 8) = 768",
		},
		{
			name: "map value in order", needs: "r4",
			code: "*(u32 *)(r8 + 0) = 1\nr4 = *(u32 *)(r8 + 16)\n*(u32 *)(r8 + 4) = 0",
		},
		{
			name: "map value", needs: "",
			code: "*(u32 *)(r8 + 0) = 1\n*(u32 *)(r8 + 4) = 0",
			want: "*(u64 *)(r8 + 0) = 1",
		},
	})
}

func TestArithmetic(t *testing.T) {
	run(t, []program{
		{
			name: "upper half not needed", needs: "r1:0xffffffff",
			code: "r1 = r2\nr1 <<= 32\nr1 >>= 32",
			want: "r1 = r2",
		},
		{
			name: "zero extension on v3", needs: "r1", level: bpf.V3,
			code: "r1 = r2\nr1 <<= 32\nr1 >>= 32",
			want: "w1 = w2",
		},
		{
			name: "sign extension on v4", needs: "r1", level: bpf.V4,
			code: "r1 = r2\nr1 <<= 32\nr1 s>>= 32",
			want: "r1 = (s32)r2",
		},
		{
			name: "upper half zero", needs: "r2", facts: "r2 = scalar[0,65535]",
			code: "r2 <<= 32\nr2 >>= 32\nr2 += 1",
			want: "r2 += 1",
		},
		{
			name: "mask", needs: "r2",
			code: "r2 = *(u8 *)(r7 + 0)\nr2 &= 255",
			want: "r2 = *(u8 *)(r7 + 0)",
		},
		{
			name: "additions", needs: "r2",
			code: "r2 += 4\nr2 += -7",
			want: "r2 += -3",
		},
		{
			name: "shifts", needs: "r2",
			code: "r2 >>= 4\nr2 >>= 8",
			want: "r2 >>= 12",
		},
		{
			name: "masks", needs: "r2",
			code: "r2 &= 31\nr2 &= 48",
			want: "r2 &= 16",
		},
		{
			name: "immediate operand", needs: "r2",
			code: "r4 = 12\nr2 *= r4",
			want: "r2 *= 12",
		},
		{
			name: "wide mask", needs: "[r10-4:4]",
			code: "r4 = *(u32 *)(r7 + 14)\nr5 = 0xffffff0f ll\nr4 &= r5\n*(u32 *)(r10 - 4) = r4",
			want: "r4 = *(u32 *)(r7 + 14)\nr4 &= -241\n*(u32 *)(r10 - 4) = r4",
		},
		{
			name: "field under a wide mask", needs: "r4 r2",
			code: "r3 = 0xffff8000 ll\nr4 = r2\nr4 &= r3\nr4 >>= 15\nr4 += 1",
			want: "r4 = r2\nr4 <<= 32\nr4 >>= 47\nr4 += 1",
		},
		{
			name: "64-bit load of a small number", needs: "r4",
			code: "r4 = 0x5 ll",
			want: "r4 = 5",
		},
		{
			name: "address known", needs: "r2", facts: "r9 = packet(b1007)+14",
			code: "r2 = r7\nr2 += 14",
			want: "r2 = r9",
		},
		{
			name: "address from the last", needs: "r2 r3",
			code: "r2 = r10\nr2 += -8\nr3 = *(u32 *)(r2 + 0)\nr2 = r10\nr2 += -16", facts: "written [r10-8:8]",
			want: "r2 = r10\nr2 += -8\nr3 = *(u32 *)(r2 + 0)\nr2 += -8",
		},
		{
			name: "not a 32-bit operation on what may be a pointer", needs: "r2:0xffffffff", facts: "r3 = any", level: bpf.V3,
			code: "r2 = r3\nr2 += 0",
			want: "r2 = r3",
		},
	})
}

func TestRegisters(t *testing.T) {
	run(t, []program{
		{
			name: "result computed in place", needs: "r1",
			code: "r4 = *(u32 *)(r7 + 0)\nr4 += 3\nr1 = r4",
			want: "r1 = *(u32 *)(r7 + 0)\nr1 += 3",
		},
		{
			name: "copy that is used up", needs: "r5",
			code: "r4 = r5\nr4 *= 3\nr5 = r4\nr5 += r2",
			want: "r5 *= 3\nr5 += r2",
		},
		{
			name: "one register for a constant", needs: "r0",
			code: "r2 = 0\n*(u32 *)(r1 + 12) = r2\nr0 = 0",
			want: "r0 = 0\n*(u32 *)(r1 + 12) = r0",
		},
		{
			name: "constant known before", needs: "r0", facts: "r9 = 7",
			code: "r0 = 7\n*(u32 *)(r1 + 12) = r0\nr0 = *(u32 *)(r7 + 0)",
			want: "*(u32 *)(r1 + 12) = r9\nr0 = *(u32 *)(r7 + 0)",
		},
		{
			name: "sum in the other operand", needs: "r4",
			code: "r4 = r7\nr4 += r3",
			want: "",
		},
		{
			name: "sum of what is used up", needs: "r3",
			code: "r4 = r7\nr4 += r3\nr3 = *(u8 *)(r4 + 0)", facts: "r3 = scalar[0,15]",
			want: "r7 += r3\nr3 = *(u8 *)(r7 + 0)",
		},
		{
			name: "CO-RE offset", needs: "r3", facts: "r8 = other(b1008)",
			code: "r2 = @1:40\nr3 = r8\nr3 += r2",
			want: "r3 = r8\nr3 += @1:40",
		},
		{
			name: "dead CO-RE offset", needs: "r3",
			code: "r2 = @1:40\nr3 = 5",
			want: "r3 = 5",
		},
	})
}

func TestBranches(t *testing.T) {
	run(t, []program{
		{
			name: "bit test", needs: "",
			code: "r2 &= 4\nif r2 != 0 goto L1",
			want: "if r2 & 4 goto L1",
		},
		{
			name: "bit test of what is needed", needs: "r2",
			code: "r3 = r2\nr3 &= 4\nif r3 != 0 goto L1",
			want: "if r2 & 4 goto L1",
		},
		{
			name: "zero test of the lower half", needs: "",
			code: "r2 <<= 32\nr2 >>= 32\nif r2 != 0 goto L1",
			want: "r2 = le32 r2\nif r2 != 0 goto L1",
		},
		{
			name: "32-bit compare", needs: "", level: bpf.V3,
			code: "r2 <<= 32\nr2 >>= 32\nif r2 == 7 goto L1",
			want: "if w2 == 7 goto L1",
		},
		{
			name: "32-bit order", needs: "", level: bpf.V3,
			code: "r2 <<= 32\nr2 >>= 32\nif r2 > 7 goto L1",
			want: "if w2 > 7 goto L1",
		},
		{
			name: "compare of a swapped number", needs: "", level: bpf.V3,
			code: "r2 = *(u16 *)(r7 + 0)\nr2 = be16 r2\nif r2 == 2048 goto L1",
			want: "r2 = *(u16 *)(r7 + 0)\nif w2 == 8 goto L1",
		},
		{
			name: "sign", needs: "", level: bpf.V2,
			code: "r3 = 0x8000000000000000 ll\nr2 &= r3\nif r2 != 0 goto L1",
			want: "if r2 s< 0 goto L1",
		},
		{
			name: "copy compared", needs: "r4",
			code: "r5 = r4\nif r5 == 3 goto L1",
			want: "if r4 == 3 goto L1",
		},
		{
			name: "constant on the left", needs: "r2", level: bpf.V2,
			code: "r6 = 2\nif r6 > r2 goto L1",
			want: "if r2 < 2 goto L1",
		},
		{
			name: "mask before the compare", needs: "r5", facts: "r5 = scalar[0,65535]",
			code: "r5 &= 65535\nif r5 == 0xa888 goto L1",
			want: "if r5 == 43144 goto L1",
		},
	})
}

// Where no kernel is asked, comparisons change only where the verifier learns
// nothing from them that matters.
func TestBranchesUnasked(t *testing.T) {
	run(t, []program{
		{
			name: "bit test", needs: "", unasked: true,
			code: "r1 = *(u32 *)(r8 + 0)\nr1 &= 8\nif r1 != 0 goto L1",
			want: "r1 = *(u32 *)(r8 + 0)\nif r1 & 8 goto L1",
		},
		{
			name: "copy shifted and compared", facts: "r2 = scalar(b20); r3 = scalar(b20)", needs: "r3", unasked: true,
			code: "r1 = *(u32 *)(r8 + 0)\nr4 = r3\nr4 >>= 32\nif r1 != r4 goto L1",
			want: "r1 = *(u32 *)(r8 + 0)\nr2 >>= 32\nif r1 != r2 goto L1",
		},
		{
			name: "of what is needed", needs: "r1", unasked: true,
			code: "r1 = *(u32 *)(r8 + 0)\nr2 = r1\nr2 &= 8\nr1 = r2\nif r2 != 0 goto L1",
			want: "r1 = *(u32 *)(r8 + 0)\nr1 &= 8\nif r1 != 0 goto L1",
		},
		{
			name: "of what was there before", facts: "r2 = scalar[0,255]", needs: "", level: bpf.V3, unasked: true,
			code: "if r2 != 0 goto L1",
		},
	})
}

// The verifier follows a shift only where it knows the count.
func TestShiftCountUnasked(t *testing.T) {
	run(t, []program{{
		name: "of another number", facts: "r7 = 0xffffffff", needs: "r7:0x3f", level: bpf.V3, unasked: true,
		code: "r7 = 3\nr1 += 1",
		want: "r7 &= 3",
	}})
}

func TestAtomics(t *testing.T) {
	run(t, []program{
		{
			name: "counter", needs: "", atomics: true,
			code: "r1 = *(u64 *)(r8 + 0)\nr1 += 1\n*(u64 *)(r8 + 0) = r1",
			want: "r1 = 1\nlock *(u64 *)(r8 + 0) += r1",
		},
		{
			name: "sum", needs: "", atomics: true,
			code: "r1 = *(u64 *)(r8 + 8)\nr1 += r9\n*(u64 *)(r8 + 8) = r1",
			want: "lock *(u64 *)(r8 + 8) += r9",
		},
		{
			name: "not unless allowed", needs: "",
			code: "r1 = *(u64 *)(r8 + 8)\nr1 += r9\n*(u64 *)(r8 + 8) = r1",
		},
		{
			name: "no pointer", needs: "", atomics: true,
			code: "r1 = *(u64 *)(r8 + 8)\nr1 += r7\n*(u64 *)(r8 + 8) = r1",
		},
	})
}
