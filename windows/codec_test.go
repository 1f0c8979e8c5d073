package windows

import (
	"reflect"
	"testing"

	"github.com/k2cc/k2cc/bpf"
)

func TestBlocksComeBack(t *testing.T) {
	blocks := []*bpf.Block{
		{Label: 1, Code: []bpf.Instruction{{Op: 0x85, Dst: 1, Src: 2, Off: -3, Imm: -1 << 60, Target: 4, Ref: 5, Pos: 6}, {}}},
		{Label: -2, Code: []bpf.Instruction{}},
	}
	text := EncodeBlocks(blocks)
	if got, ok := DecodeBlocks(text); !ok || !reflect.DeepEqual(got, blocks) {
		t.Errorf("got %v, %v", got, ok)
	}
	// Damage is an error, whatever it is, or at least no panic.
	for n := range text {
		if _, ok := DecodeBlocks(text[:n]); ok {
			t.Errorf("%d of %d bytes are blocks", n, len(text))
		}
		for _, b := range []byte{0, 1, 0x7f, 0x80, 0xff} {
			damaged := append([]byte(nil), text...)
			damaged[n] = b
			DecodeBlocks(damaged)
			DecodeCode(damaged[n:])
		}
	}
}

func TestFunctionKey(t *testing.T) {
	make := func(change func(fn, callee *bpf.Function)) string {
		callee := &bpf.Function{Name: "g", Blocks: []*bpf.Block{{Label: 1, Code: []bpf.Instruction{{Op: 0x95}}}}}
		fn := &bpf.Function{Name: "f", Blocks: []*bpf.Block{{Label: 1, Code: []bpf.Instruction{{Op: 0x85, Src: 1, Ref: 1}, {Op: 0x95}}}}}
		fn.Symbols = []bpf.Symbol{{Kind: bpf.SymbolFunc, Name: "g", Func: callee}}
		callee.Symbols = []bpf.Symbol{{Kind: bpf.SymbolFunc, Name: "f", Func: fn}} // recursion ends
		change(fn, callee)
		return string(FunctionKey(fn, &Target{}))
	}
	keys := map[string]string{}
	for name, change := range map[string]func(fn, callee *bpf.Function){
		"nothing":       func(_, _ *bpf.Function) {},
		"code":          func(fn, _ *bpf.Function) { fn.Blocks[0].Code[0].Imm = 1 },
		"blocks":        func(fn, _ *bpf.Function) { fn.Blocks = append(fn.Blocks, &bpf.Block{Label: 2}) },
		"context":       func(fn, _ *bpf.Function) { fn.Context = bpf.ContextXDP },
		"global":        func(fn, _ *bpf.Function) { fn.Global = true },
		"symbol":        func(fn, _ *bpf.Function) { fn.Symbols[0].Name = "h" },
		"callee's code": func(_, callee *bpf.Function) { callee.Blocks[0].Code[0].Imm = 1 },
		"no callee":     func(fn, _ *bpf.Function) { fn.Symbols[0].Func = nil },
	} {
		key := make(change)
		if other, ok := keys[key]; ok {
			t.Errorf("%s and %s have one key", name, other)
		}
		keys[key] = name
	}
}
