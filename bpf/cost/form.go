package cost

import (
	"math"

	"github.com/k2cc/k2cc/bpf"
)

// Form is what instructions have in common that a JIT compiler emits the same
// machine code for, registers and the values of operands apart.
type Form struct {
	Op      bpf.Op
	Variant int16 // width of a byte swap or sign extension, signed division, kind of atomic
	Operand Operand
	Far     bool // the offset of a memory access does not fit in 8 bits
}

// Operand is the kind of an immediate.
type Operand uint8

// The kinds of immediates.
const (
	NoImmediate Operand = iota
	Zero
	One
	Byte         // positive, in 8 bits with a sign
	NegativeByte // negative, in 8 bits with a sign
	Word         // positive, in 32 bits with a sign
	NegativeWord // negative, in 32 bits with a sign
	UnsignedWord // in 32 bits without a sign only
	Wide         // in 64 bits only, as addresses are
)

// FormOf is the form of an instruction.
func FormOf(in bpf.Instruction) Form {
	f := Form{Op: in.Op}
	switch {
	case in.IsALU() && in.Op.ALU() == bpf.OpEnd:
		f.Variant = int16(in.Imm)
	case in.IsALU() && in.Op.ALU() == bpf.OpNeg:
	case in.IsALU():
		f.Variant = in.Off
		if !in.UsesSrc() {
			f.Operand = operand(in.Imm)
		}
	case in.Op == bpf.LoadImm64 && (in.Src != bpf.PseudoImm || in.Ref != 0):
		f.Operand = Wide
	case in.Op == bpf.LoadImm64:
		f.Operand = operand(in.Imm)
	case in.IsCondJump() && !in.UsesSrc():
		f.Operand = operand(in.Imm)
	case in.IsLoad(), in.IsStore(), in.IsAtomic():
		f.Far = in.Off < math.MinInt8 || in.Off > math.MaxInt8
		if in.IsAtomic() {
			f.Variant = int16(in.Imm)
		}
	}
	return f
}

func operand(imm int64) Operand {
	switch {
	case imm == 0:
		return Zero
	case imm == 1:
		return One
	case imm > 0 && imm <= math.MaxInt8:
		return Byte
	case imm < 0 && imm >= math.MinInt8:
		return NegativeByte
	case imm > 0 && imm <= math.MaxInt32:
		return Word
	case imm < 0 && imm >= math.MinInt32:
		return NegativeWord
	case imm > 0 && imm <= math.MaxUint32:
		return UnsignedWord
	}
	return Wide
}

// registers is the two registers that an instruction's machine code may depend
// on. Where the instruction has one or none, the others are R0.
func registers(in bpf.Instruction) (dst, src bpf.Register) {
	dst = in.Dst
	if in.IsLoad() || in.Op.Class() == bpf.ClassSTX || in.UsesSrc() {
		src = in.Src
	}
	return dst, src
}
