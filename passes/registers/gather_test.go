package registers_test

import (
	"context"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes/registers"
)

// section is the start of a section, what is 4 and 8 bytes behind it and what is
// too far away for an offset, and other data.
var section = []bpf.Symbol{
	{Kind: bpf.SymbolData, Name: "start", Anchor: 1, Align: 8},
	{Kind: bpf.SymbolData, Name: "second", Anchor: 1, Offset: 4},
	{Kind: bpf.SymbolData, Name: "third", Anchor: 1, Offset: 8},
	{Kind: bpf.SymbolData, Name: "far", Anchor: 1, Offset: 40000},
	{Kind: bpf.SymbolData, Name: "other"},
}

func TestGather(t *testing.T) {
	const (
		first  = "r1 = @2 ll\nr2 = *(u32 *)(r1 + 0)\nif r2 == 0 goto L9\n"
		second = "r1 = @3 ll\nr3 = *(u32 *)(r1 + 0)\nr2 += r3\n"
		end    = "L9:\nr0 = r2\nexit"
	)
	for _, tt := range []struct {
		name, src string
		saved     int
		contains  string
	}{
		{"two settings", first + second + end, 2, "r3 = *(u32 *)(r1 + 4)"},
		{"the first one comes back", first + strings.ReplaceAll(second, "@3", "@1") + end, 2, "r3 = *(u32 *)(r1 - 4)"},
		{"over a call", first + "r6 = r2\ncall 7\nr2 = r6\n" + second + end, 2, "r3 = *(u32 *)(r7 + 4)"},
		{"stores as well", first + "r1 = @3 ll\n*(u32 *)(r1 + 0) = r2\n" + end, 2, "*(u32 *)(r1 + 4) = r2"},
		{"and atomics", first + "r1 = @3 ll\nlock *(u32 *)(r1 + 0) += w2\n" + end, 2, "lock *(u32 *)(r1 + 4) += w2"},
		{"the register is written in between", first + "r1 = r2\nr2 += r1\n" + second + end, 2, "r3 = *(u32 *)(r3 + 4)"},
		{"too far away", first + strings.ReplaceAll(second, "@3", "@4") + end, 0, ""},
		{"another section", first + strings.ReplaceAll(second, "@3", "@5") + end, 0, ""},
		{"one of which more is done with", "r1 = @2 ll\nr2 = *(u32 *)(r1 + 0)\nr2 &= 7\nr1 = @2 ll\nr1 += r2\nr2 = *(u8 *)(r1 + 0)\n" + end, 1, ""},
		{"one at another place stays", "r1 = @2 ll\nr2 = *(u32 *)(r1 + 0)\nr2 &= 7\nr1 = @3 ll\nr1 += r2\nr2 = *(u8 *)(r1 + 0)\n" + end, 0, ""},
		{"two ways, none through the other", "r2 = *(u32 *)(r1 + 12)\nif r2 == 0 goto L2\n" + first + "goto L9\nL2:\n" + second + end, 0, ""},
		{"one address of two ways", "r2 = *(u32 *)(r1 + 12)\nr1 = @2 ll\nif r2 == 0 goto L2\nr1 = @3 ll\nL2:\nr2 = *(u32 *)(r1 + 0)\n" + end, 0, ""},
		{"a pointer that is stored", first + "r1 = @3 ll\n*(u64 *)(r1 + 0) = r1\n" + end, 0, ""},
		{"around a loop", "r2 = 0\nr4 = *(u32 *)(r1 + 12)\nL1:\n" + strings.ReplaceAll(first, "r2 =", "r3 =") + second + "r4 -= 1\nif r4 != 0 goto L1\n" + end, 2, "r3 = *(u32 *)(r1 + 4)"},
		{"no register over a call", "r6 = r1\nr7 = *(u32 *)(r6 + 12)\nr8 = *(u32 *)(r6 + 16)\nr9 = *(u32 *)(r6 + 20)\n" + first + "call 7\nr2 = r6\nr2 = *(u32 *)(r2 + 12)\nr2 += r7\nr2 += r8\nr2 += r9\n" + second + end, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fn := parse(t, tt.src)
			fn.Symbols = section
			out, err := registers.Take(context.Background(), encode.New(encode.Options{}), fn, target, registers.Gather)
			if err != nil {
				t.Fatal(err)
			}
			got := bpf.FormatBlocks(out.Blocks)
			if saved := fn.Slots() - out.Slots(); saved != tt.saved || !strings.Contains(got, tt.contains) {
				t.Errorf("%d slots saved, want %d with %q:\n%s", saved, tt.saved, tt.contains, got)
			}
		})
	}
}
