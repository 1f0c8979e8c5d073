package lint

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/windows"
)

// TestFind looks for patterns in functions of their own: each is there once in
// one form, and not there in one that is much like it.
func TestFind(t *testing.T) {
	// What the functions work with: r6 and r7 are packets, r8 is a number.
	const head = "r6 = *(u32 *)(r1 + 0)\nr7 = *(u32 *)(r1 + 4)\nr8 = *(u32 *)(r1 + 12)\n"
	tests := []struct {
		name, code string
		symbols    []bpf.Symbol
		want       []string // pattern: block: from-to, without the head
	}{
		{name: "moved offset", symbols: []bpf.Symbol{{Kind: bpf.SymbolCore}},
			code: "r2 = @1\nr8 += r2\nr0 = r8\nexit", want: []string{"relocated offset moved, then added 0:0-1"}},
		{name: "moved offset that is read again", symbols: []bpf.Symbol{{Kind: bpf.SymbolCore}},
			code: "r2 = @1\nr8 += r2\nr0 = r8\nr0 += r2\nexit"},
		{name: "narrow loads", code: "r2 = *(u8 *)(r6 + 4)\nr0 = *(u8 *)(r6 + 5)\nr0 <<= 8\nr0 |= r2\nexit",
			want: []string{"narrow loads put together 0:0-3"}},
		{name: "narrow loads in the other order", code: "r2 = *(u8 *)(r6 + 4)\nr0 = *(u8 *)(r6 + 5)\nr2 <<= 8\nr0 |= r2\nexit",
			want: []string{"narrow loads put together 0:0-3"}},
		{name: "narrow loads apart", code: "r2 = *(u8 *)(r6 + 4)\nr0 = *(u8 *)(r6 + 6)\nr0 <<= 8\nr0 |= r2\nexit"},
		{name: "narrow loads of two bases", code: "r2 = *(u8 *)(r6 + 4)\nr0 = *(u8 *)(r7 + 5)\nr0 <<= 8\nr0 |= r2\nexit"},
		{name: "stored immediate", code: "r2 = 5\n*(u32 *)(r6 + 0) = r2\nr0 = 0\nexit",
			want: []string{"immediate in a register only to be stored 0:0-1"}},
		{name: "stored immediate that is returned", code: "r0 = 5\n*(u32 *)(r6 + 0) = r0\nexit"},
		{name: "immediate stores", code: "*(u8 *)(r6 + 1) = 5\n*(u8 *)(r6 + 0) = 6\nr0 = 0\nexit",
			want: []string{"adjacent immediate stores 0:0-1"}},
		{name: "immediate stores that would be misaligned on the stack",
			code: "*(u8 *)(r10 - 3) = 5\n*(u8 *)(r10 - 2) = 6\nr0 = *(u8 *)(r10 - 3)\nr2 = *(u8 *)(r10 - 2)\nr0 += r2\nexit"},
		{name: "piecewise", code: "*(u8 *)(r6 + 0) = r8\nr8 >>= 8\n*(u8 *)(r6 + 1) = r8\nr0 = 0\nexit",
			want: []string{"value stored piece by piece 0:0-2"}},
		{name: "piecewise from a copy", code: "r2 = r8\nr2 >>= 8\n*(u8 *)(r6 + 1) = r2\n*(u8 *)(r6 + 0) = r8\nr0 = 0\nexit",
			want: []string{"value stored piece by piece 0:2-3"}},
		{name: "piecewise with another shift", code: "*(u8 *)(r6 + 0) = r8\nr8 >>= 7\n*(u8 *)(r6 + 1) = r8\nr0 = 0\nexit"},
		{name: "copies", code: "r2 = *(u8 *)(r6 + 0)\n*(u8 *)(r7 + 0) = r2\nr2 = *(u8 *)(r6 + 1)\n*(u8 *)(r7 + 1) = r2\nr0 = 0\nexit",
			want: []string{"narrow load and store pairs 0:0-3"}},
		{name: "copies that cross", code: "r2 = *(u8 *)(r6 + 0)\n*(u8 *)(r7 + 1) = r2\nr2 = *(u8 *)(r6 + 1)\n*(u8 *)(r7 + 0) = r2\nr0 = 0\nexit"},
		{name: "mask and branch", code: "r8 &= 4\nif r8 == 0 goto L1\nr0 = 1\nexit\nL1:\nr0 = 0\nexit",
			want: []string{"mask, then branch 0:0-1"}},
		{name: "mask that is read", code: "r8 &= 4\nif r8 == 0 goto L1\nr0 = r8\nexit\nL1:\nr0 = 0\nexit"},
		{name: "idle mask", code: "r0 = *(u8 *)(r6 + 0)\nr0 &= 255\nexit", want: []string{"mask or extension without effect 0:1-1"}},
		{name: "mask of bits that nobody reads", code: "r8 &= 65535\n*(u8 *)(r6 + 0) = r8\nr0 = 0\nexit",
			want: []string{"mask or extension without effect 0:0-0"}},
		{name: "mask", code: "r0 = *(u8 *)(r6 + 0)\nr0 &= 15\nexit"},
		{name: "branch over a jump", code: "if r8 == 1 goto L2\nL1:\ngoto L3\nL2:\nr0 = 1\nexit\nL3:\nr0 = 2\nexit",
			want: []string{"branch over a jump 0:0-0"}},
		{name: "reload", code: "r2 = *(u8 *)(r6 + 3)\nr0 = *(u8 *)(r6 + 3)\nr0 += r2\nexit",
			want: []string{"value loaded that a register has 0:0-1"}},
		{name: "reload behind a load", code: "r2 = *(u8 *)(r6 + 3)\nr3 = *(u8 *)(r7 + 0)\nr0 = *(u8 *)(r6 + 3)\nr0 += r2\nr0 += r3\nexit"},
		{name: "reload in another block", code: "r2 = *(u8 *)(r6 + 3)\nif r7 == 5 goto L2\nr0 = *(u8 *)(r6 + 3)\nr0 += r2\nL2:\nexit",
			want: []string{"value loaded that a register has 1:0-0"}},
		{name: "reload of a spilled value", code: "r2 = *(u64 *)(r10 - 8)\nr0 = *(u64 *)(r10 - 8)\nr0 += r2\nexit",
			want: []string{"value loaded that a register has 0:0-1"}},
		{name: "reload behind a store", code: "r2 = *(u8 *)(r6 + 3)\n*(u8 *)(r7 + 0) = 1\nr0 = *(u8 *)(r6 + 3)\nr0 += r2\nexit"},
		{name: "restore", code: "r0 = *(u8 *)(r6 + 3)\n*(u8 *)(r6 + 3) = r0\nexit", want: []string{"store of what is there 0:0-1"}},
		{name: "known branch", code: "r2 = *(u8 *)(r6 + 0)\nif r2 > 255 goto L1\nr0 = 1\nexit\nL1:\nr0 = 0\nexit",
			want: []string{"branch of known outcome 0:1-1"}},
		{name: "dead", code: "r2 = r8\nr0 = 0\nexit", want: []string{"dead instruction 0:0-0"}},
		{name: "dead store", code: "*(u64 *)(r10 - 8) = 1\nr0 = 0\nexit", want: []string{"dead instruction 0:0-0"}},
		{name: "add chain", code: "r8 += 1\nr8 += 2\nr0 = r8\nexit", want: []string{"addition before an addition or an access 0:0-1"}},
		{name: "add before an access", code: "r6 += 2\nr0 = *(u8 *)(r6 + 0)\nexit", want: []string{"addition before an addition or an access 0:0-1"}},
		{name: "add before two accesses", code: "r6 += 2\nr0 = *(u8 *)(r6 + 0)\nr2 = *(u8 *)(r6 + 1)\nr0 += r2\nexit"},
		{name: "long immediate", code: "r0 = 5 ll\nexit", want: []string{"long immediate that a short one can be 0:0-0"}},
		{name: "immediate that is long", code: "r0 = 0x123456789 ll\nexit"},
		{name: "address twice", symbols: []bpf.Symbol{{Kind: bpf.SymbolData}},
			code: "r2 = @1 ll\nr3 = @1 ll\nr0 = *(u8 *)(r2 + 0)\nr4 = *(u8 *)(r3 + 1)\nr0 += r4\nexit",
			want: []string{"long immediate that a short one can be 0:1-1"}},
		{name: "sign bit", code: "r2 = 0x80000000 ll\nr8 &= r2\nif r8 != 0 goto L1\nr0 = 1\nexit\nL1:\nr0 = 0\nexit",
			want: []string{"mask, then branch 0:1-2", "long immediate that a short one can be 0:0-0", "sign bit by a mask 0:0-2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			blocks, err := bpf.Parse(head + tt.code)
			if err != nil {
				t.Fatal(err)
			}
			fn := &bpf.Function{Name: "f", Context: bpf.ContextXDP, Blocks: blocks, Symbols: tt.symbols}
			sites, err := Find(context.Background(), fn, windows.Target{Level: bpf.V3})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range sites {
				if s.Block == 0 {
					s.At, s.Last = s.At-3, s.Last-3
				}
				if s.Last < 0 { // the head's own, where a test reads less of it
					continue
				}
				if s.Why == "" {
					t.Errorf("%s: no reason", s.Pattern)
				}
				got = append(got, fmt.Sprintf("%s %d:%d-%d", s.Pattern, s.Block, s.At, s.Last))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestWhy gives reasons that can be told.
func TestWhy(t *testing.T) {
	tests := []struct{ name, code, want string }{
		{"shorter code is there", "r2 = *(u32 *)(r1 + 0)\nr0 = *(u8 *)(r2 + 0)\nr0 &= 255\nexit", tooDear},
		{"a context stays as it is", "r2 = 5\n*(u32 *)(r1 + 16) = r2\nr0 = 0\nexit", "another store to the context"},
		{"a call in between", "r6 = 5\ncall 5\n*(u64 *)(r10 - 8) = r6\nr0 = *(u64 *)(r10 - 8)\nexit", apart},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			blocks, err := bpf.Parse(tt.code)
			if err != nil {
				t.Fatal(err)
			}
			fn := &bpf.Function{Name: "f", Context: bpf.ContextXDP, Blocks: blocks}
			sites, err := Find(context.Background(), fn, windows.Target{Level: bpf.V3})
			if err != nil {
				t.Fatal(err)
			}
			var got string
			for _, s := range sites {
				got += s.Why
			}
			if len(got) < len(tt.want) || got[len(got)-len(tt.want):] != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
