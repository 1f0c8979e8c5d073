package flow_test

import (
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

func TestFollow(t *testing.T) {
	fn := &bpf.Function{Name: "f", Context: bpf.ContextSKB, Symbols: []bpf.Symbol{
		{Kind: bpf.SymbolMap, Name: "hash", Map: &bpf.Map{Type: 1, KeySize: 4, ValueSize: 12}},
		{Kind: bpf.SymbolExtern, Name: "kfunc"},
	}}
	for _, tt := range []struct {
		name, code, args                      string
		reads, writes, written, result        string
		frame, follows, escapes, moves, mayBe bool
	}{
		{name: "nothing", code: "call 5", result: "scalar(b99)"},
		{name: "lookup", code: "r1 = @1 ll\nr2 = r10\nr2 += -8\ncall 1", args: "r1 r2", reads: "[r10-8:4]", result: "map_value?(b99a8)"},
		{name: "update", code: "r1 = @1 ll\nr2 = r10\nr2 += -8\nr3 = r10\nr3 += -24\nr4 = 0\ncall 2", args: "r1 r2 r3 r4",
			reads: "[r10-24:20]", result: "scalar(b99)"},
		{name: "written", code: "r1 = r10\nr1 += -16\nr2 = 16\ncall 16", args: "r1 r2", writes: "[r10-16:16]", written: "[r10-16:16]",
			result: "scalar(b99)"},
		{name: "moves the packet", code: "r1 = r6\nr2 = 0\ncall 44", args: "r1 r2", moves: true, result: "scalar(b99)"},
		{name: "tail call", code: "r1 = r6\nr2 = @1 ll\nr3 = 0\ncall 12", args: "r1 r2 r3", moves: true, mayBe: true, result: "any(b99)"},
		{name: "kfunc", code: "r1 = 0\ncall kfunc @2", args: "r1", follows: true, moves: true, result: "any(b99)"},
		{name: "kfunc on the stack", code: "r1 = r10\nr1 += -8\ncall kfunc @2", args: "r1", frame: true, follows: true, escapes: true,
			moves: true, result: "any(b99)"},
		{name: "packet load", code: "r0 = *(u16 *)skb[12]", args: "r6", result: "scalar(b99)[0,65535]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, err := bpf.ParseCode(tt.code)
			if err != nil {
				t.Fatal(err)
			}
			from, err := flow.ParseState("r6 = context(b2)")
			if err != nil {
				t.Fatal(err)
			}
			calls, err := flow.Follow(fn, false, from, code)
			if err != nil || len(calls) != 1 {
				t.Fatalf("%d calls, %v", len(calls), err)
			}
			c := calls[0]
			c.Result.Base = 99 // whatever it is called
			var args flow.Live
			for r := range bpf.Register(bpf.NumRegisters) {
				if c.Args.Has(r) {
					args.Regs[r] = ^uint64(0)
				}
			}
			for _, p := range [][2]string{
				{args.String(), tt.args}, {c.Reads.String(), tt.reads}, {c.Writes.String(), tt.writes},
				{c.Written.String(), tt.written}, {c.Result.String(), tt.result},
			} {
				if p[0] != p[1] {
					t.Errorf("got %q, want %q", p[0], p[1])
				}
			}
			got := [...]bool{c.Frame, c.Follows, c.Escapes, c.MovesPacket, c.MayEnd}
			if want := [...]bool{tt.frame, tt.follows, tt.escapes, tt.moves, tt.mayBe}; got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}
