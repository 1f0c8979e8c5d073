package examples

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// Two runs see the same time and the same random numbers only if the harness
// makes them. Calls of the helpers below become calls of a subprogram that
// reads a map, into which the harness writes before every run.

const (
	worldMap     = "k2cc_world"
	clockOffset  = 0
	randomOffset = 8
	worldSize    = 16
)

// worldHelpers are the helpers replaced, by the offset of what they say.
var worldHelpers = map[asm.BuiltinFunc]uint32{
	asm.FnKtimeGetNs:       clockOffset,
	asm.FnKtimeGetBootNs:   clockOffset,
	asm.FnKtimeGetCoarseNs: clockOffset,
	asm.FnKtimeGetTaiNs:    clockOffset,
	asm.FnJiffies64:        clockOffset,
	asm.FnGetPrandomU32:    randomOffset,
}

// fixWorld puts the harness's clock and random numbers into every program, and
// stains its stack.
func fixWorld(spec *ebpf.CollectionSpec) {
	spec.Maps[worldMap] = &ebpf.MapSpec{
		Name: worldMap, Type: ebpf.Array,
		KeySize: 4, ValueSize: worldSize, MaxEntries: 1,
	}
	for _, p := range spec.Programs {
		p.Instructions = fixProgram(p.Instructions)
	}
}

func fixProgram(code asm.Instructions) asm.Instructions {
	readers := map[uint32]string{clockOffset: "k2cc_clock", randomOffset: "k2cc_random"}
	used := map[uint32]bool{}
	for i := range code {
		in := &code[i]
		offset, replaced := worldHelpers[asm.BuiltinFunc(in.Constant)]
		if !in.IsBuiltinCall() || !replaced {
			continue
		}
		call := asm.Call.Label(readers[offset])
		call.Metadata = in.Metadata
		*in = call.WithReference(readers[offset])
		used[offset] = true
	}
	for offset, name := range readers {
		if used[offset] {
			code = append(code, reader(name, offset, code[0])...)
		}
	}
	return stain(code)
}

// reader is a subprogram that returns the 64-bit word of the world at offset.
// Where the program, which begins with first, has debug information for its
// functions, the kernel wants it for every one.
func reader(name string, offset uint32, first asm.Instruction) asm.Instructions {
	code := asm.Instructions{
		asm.LoadMapValue(asm.R1, 0, offset).WithReference(worldMap).WithSymbol(name),
		asm.LoadMem(asm.R0, asm.R1, 0, asm.DWord),
		asm.Return(),
	}
	if btf.FuncMetadata(&first) != nil {
		word := &btf.Int{Name: "unsigned long long", Size: 8}
		code[0] = btf.WithFuncMetadata(code[0], &btf.Func{
			Name: name, Type: &btf.FuncProto{Return: word}, Linkage: btf.StaticFunc,
		})
	}
	if line := first.Source(); line != nil {
		code[0] = code[0].WithSource(line)
	}
	return code
}
