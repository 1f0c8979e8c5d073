package examples

import (
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// A stack often holds the zeros, or the values of an earlier run, that a store
// which is missing should have put there. So every function begins with stores
// of a pattern to all of its stack. They make nothing known to the verifier that
// a program which was accepted could need.

const stainPattern = 0x5a5a5a5a

// stain puts those stores in front of every function of a program.
func stain(code asm.Instructions) asm.Instructions {
	var stained asm.Instructions
	for start := 0; start < len(code); {
		end := start + 1
		for end < len(code) && code[end].Symbol() == "" {
			end++
		}
		stained = append(stained, stainFunction(code[start:end])...)
		start = end
	}
	return stained
}

func stainFunction(code asm.Instructions) asm.Instructions {
	depth := stackDepth(code)
	if depth == 0 {
		return code
	}
	var stained asm.Instructions
	for off := int16(4); off <= depth; off += 4 {
		stained = append(stained, asm.StoreImm(asm.RFP, -off, stainPattern, asm.Word))
	}
	// What names the function and its first line moves to its new beginning.
	first := code[0]
	head := stained[0].WithSymbol(first.Symbol())
	if fn := btf.FuncMetadata(&first); fn != nil {
		head = btf.WithFuncMetadata(head, fn)
		first = btf.WithFuncMetadata(first, nil)
	}
	if line := first.Source(); line != nil {
		head = head.WithSource(line)
	}
	stained[0] = head
	stained = append(stained, first.WithSymbol(""))
	return append(stained, code[1:]...)
}

// stackDepth is how many bytes of its stack a function speaks of, a multiple of
// eight. It takes the code line by line, as compilers lay it out.
func stackDepth(code asm.Instructions) int16 {
	var lowest int16
	frame := map[asm.Register]bool{asm.RFP: true} // registers that equal R10
	for _, in := range code {
		class := in.OpCode.Class()
		switch {
		case class.IsStore() && frame[in.Dst], class.IsLoad() && !in.IsLoadFromMap() && frame[in.Src]:
			lowest = min(lowest, in.Offset)
		case in.OpCode.ALUOp() == asm.Add && in.OpCode.Source() == asm.ImmSource && frame[in.Dst]:
			lowest = min(lowest, int16(max(in.Constant, -512)))
		}
		if class.IsALU() || class.IsLoad() {
			frame[in.Dst] = in.OpCode.ALUOp() == asm.Mov && in.Src == asm.RFP &&
				in.OpCode.Source() == asm.RegSource || in.Dst == asm.RFP
		}
	}
	return (-lowest + 7) &^ 7
}
