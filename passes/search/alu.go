package search

import (
	"math/bits"

	"github.com/k2cc/k2cc/bpf"
)

// The evaluator in this file and in step.go is the search's inner loop. What
// instructions mean is written in bpf/semantics; a fuzz test holds this
// evaluator to it.

// alu is the value that an arithmetic instruction leaves in its destination,
// from its operands a (the destination) and b.
func alu(in *bpf.Instruction, a, b uint64, big bool) uint64 {
	if in.Op.ALU() == bpf.OpEnd {
		return swap(in, a, big)
	}
	if in.Op.Class() == bpf.ClassALU {
		return alu32(in, uint32(a), uint32(b))
	}
	switch in.Op.ALU() {
	case bpf.OpAdd:
		return a + b
	case bpf.OpSub:
		return a - b
	case bpf.OpMul:
		return a * b
	case bpf.OpDiv:
		return div(a, b, in.Off == 1)
	case bpf.OpMod:
		return mod(a, b, in.Off == 1)
	case bpf.OpOr:
		return a | b
	case bpf.OpAnd:
		return a & b
	case bpf.OpXor:
		return a ^ b
	case bpf.OpLsh:
		return a << (b & 63)
	case bpf.OpRsh:
		return a >> (b & 63)
	case bpf.OpArsh:
		return uint64(int64(a) >> (b & 63))
	case bpf.OpNeg:
		return -a
	}
	return signExtend(b, int(in.Off)) // OpMov
}

func alu32(in *bpf.Instruction, a, b uint32) uint64 {
	signed := in.Off == 1
	switch in.Op.ALU() {
	case bpf.OpAdd:
		a += b
	case bpf.OpSub:
		a -= b
	case bpf.OpMul:
		a *= b
	case bpf.OpDiv:
		a = uint32(div(extend32(a, signed), extend32(b, signed), signed))
	case bpf.OpMod:
		a = uint32(mod(extend32(a, signed), extend32(b, signed), signed))
	case bpf.OpOr:
		a |= b
	case bpf.OpAnd:
		a &= b
	case bpf.OpXor:
		a ^= b
	case bpf.OpLsh:
		a <<= b & 31
	case bpf.OpRsh:
		a >>= b & 31
	case bpf.OpArsh:
		a = uint32(int32(a) >> (b & 31))
	case bpf.OpNeg:
		a = -a
	default: // OpMov
		a = uint32(signExtend(uint64(b), int(in.Off)))
	}
	return uint64(a)
}

func extend32(v uint32, signed bool) uint64 {
	if signed {
		return uint64(int64(int32(v)))
	}
	return uint64(v)
}

func div(a, b uint64, signed bool) uint64 {
	switch {
	case b == 0:
		return 0
	case signed && b == ^uint64(0):
		return -a // spares the one quotient that overflows
	case signed:
		return uint64(int64(a) / int64(b))
	}
	return a / b
}

func mod(a, b uint64, signed bool) uint64 {
	switch {
	case b == 0:
		return a
	case signed && b == ^uint64(0):
		return 0
	case signed:
		return uint64(int64(a) % int64(b))
	}
	return a % b
}

// signExtend takes the low width bits of v as a signed number; width 0 takes v
// as it is.
func signExtend(v uint64, width int) uint64 {
	if width == 0 || width == 64 {
		return v
	}
	return uint64(int64(v<<(64-width)) >> (64 - width))
}

func swap(in *bpf.Instruction, v uint64, big bool) uint64 {
	toBig := in.Op&bpf.SourceX != 0
	keep := in.Op.Class() == bpf.ClassALU && toBig == big
	switch in.Imm {
	case 16:
		if keep {
			return uint64(uint16(v))
		}
		return uint64(bits.ReverseBytes16(uint16(v)))
	case 32:
		if keep {
			return uint64(uint32(v))
		}
		return uint64(bits.ReverseBytes32(uint32(v)))
	}
	if keep {
		return v
	}
	return bits.ReverseBytes64(v)
}

// taken tells whether a conditional jump's condition holds of its operands.
func taken(in *bpf.Instruction, a, b uint64) bool {
	sa, sb := int64(a), int64(b)
	if in.Op.Class() == bpf.ClassJMP32 {
		a, b = uint64(uint32(a)), uint64(uint32(b))
		sa, sb = int64(int32(a)), int64(int32(b))
	}
	switch in.Op.Jump() {
	case bpf.OpJEq:
		return a == b
	case bpf.OpJNE:
		return a != b
	case bpf.OpJSet:
		return a&b != 0
	case bpf.OpJGT:
		return a > b
	case bpf.OpJGE:
		return a >= b
	case bpf.OpJLT:
		return a < b
	case bpf.OpJLE:
		return a <= b
	case bpf.OpJSGT:
		return sa > sb
	case bpf.OpJSGE:
		return sa >= sb
	case bpf.OpJSLT:
		return sa < sb
	}
	return sa <= sb // OpJSLE
}
