package bpf

import (
	"fmt"
	"strings"
)

// The text form follows LLVM's and the kernel's. Parse reads what String
// writes.

var aluSymbols = map[Op]string{
	OpAdd: "+=", OpSub: "-=", OpMul: "*=", OpDiv: "/=", OpOr: "|=", OpAnd: "&=",
	OpLsh: "<<=", OpRsh: ">>=", OpMod: "%=", OpXor: "^=", OpMov: "=", OpArsh: "s>>=",
}

var jumpSymbols = map[Op]string{
	OpJEq: "==", OpJGT: ">", OpJGE: ">=", OpJSet: "&", OpJNE: "!=", OpJSGT: "s>", OpJSGE: "s>=",
	OpJLT: "<", OpJLE: "<=", OpJSLT: "s<", OpJSLE: "s<=",
}

var pseudoNames = [...]string{
	PseudoMapFD: "map_fd", PseudoMapValue: "map_value", PseudoBTFID: "btf_id",
	PseudoFunc: "func", PseudoMapIdx: "map_idx", PseudoMapIdxV: "map_idx_value",
}

var atomicSymbols = map[int64]string{AtomicAdd: "+=", AtomicOr: "|=", AtomicAnd: "&=", AtomicXor: "^="}

var fetchNames = map[int64]string{
	AtomicAdd: "atomic_fetch_add", AtomicOr: "atomic_fetch_or",
	AtomicAnd: "atomic_fetch_and", AtomicXor: "atomic_fetch_xor",
}

// Format writes code, one instruction a line.
func Format(code []Instruction) string {
	var b strings.Builder
	for _, in := range code {
		b.WriteString(in.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// FormatBlocks writes blocks, each with its label on a line of its own.
func FormatBlocks(blocks []*Block) string {
	var b strings.Builder
	for _, block := range blocks {
		fmt.Fprintf(&b, "L%d:\n", block.Label)
		b.WriteString(Format(block.Code))
	}
	return b.String()
}

func (r Register) String() string { return fmt.Sprintf("r%d", uint8(r)) }

// String is the instruction as LLVM and the kernel write it, with labels as
// L1 and symbols as @1. What is no instruction is written as its fields. Pos is
// left out, and so is the offset of a jump that has a Target.
func (in Instruction) String() string {
	if !in.valid() {
		return in.fields()
	}
	switch in.Op.Class() {
	case ClassALU, ClassALU64:
		return in.aluText()
	case ClassJMP, ClassJMP32:
		return in.jumpText()
	case ClassLD:
		return in.ldText()
	case ClassLDX:
		return fmt.Sprintf("%s = %s", in.Dst, in.access(in.Src))
	case ClassST:
		return fmt.Sprintf("%s = %d", in.access(in.Dst), in.Imm)
	}
	if in.IsAtomic() {
		return in.atomicText()
	}
	return fmt.Sprintf("%s = %s", in.access(in.Dst), in.Src)
}

// fields writes every field as a number: opcode, Dst, Src, Off, Imm, Target and
// Ref.
func (in Instruction) fields() string {
	return fmt.Sprintf(".insn %#02x %d %d %d %d %d %d",
		uint8(in.Op), uint8(in.Dst), uint8(in.Src), in.Off, in.Imm, in.Target, in.Ref)
}

// reg writes r as a 32-bit register if narrow.
func reg(r Register, narrow bool) string {
	if narrow {
		return fmt.Sprintf("w%d", uint8(r))
	}
	return r.String()
}

// symbolOr writes @Ref if there is one, with the number that stands in the
// instruction behind it unless that is zero.
func (in Instruction) symbolOr(number string, isZero bool) string {
	switch {
	case in.Ref == 0:
		return number
	case isZero:
		return fmt.Sprintf("@%d", in.Ref)
	}
	return fmt.Sprintf("@%d:%s", in.Ref, number)
}

// imm writes the 32-bit immediate.
func (in Instruction) imm() string {
	return in.symbolOr(fmt.Sprint(in.Imm), in.Imm == 0)
}

func (in Instruction) aluText() string {
	narrow := in.Op.Class() == ClassALU
	dst := reg(in.Dst, narrow)
	switch in.Op.ALU() {
	case OpNeg:
		return fmt.Sprintf("%s = -%s", dst, dst)
	case OpEnd:
		name := "bswap"
		if narrow && in.Op&SourceX != 0 {
			name = "be"
		} else if narrow {
			name = "le"
		}
		return fmt.Sprintf("%s = %s%d %s", in.Dst, name, in.Imm, in.Dst)
	}
	op := aluSymbols[in.Op.ALU()]
	switch {
	case in.Off == 0:
	case in.IsCast():
		return fmt.Sprintf("%s = addr_space_cast(%s, %d, %d)", dst, in.Src, in.Imm>>16, in.Imm&0xffff)
	case in.Op.ALU() == OpMov:
		return fmt.Sprintf("%s = (s%d)%s", dst, in.Off, reg(in.Src, narrow))
	default:
		op = "s" + op
	}
	if in.UsesSrc() {
		return fmt.Sprintf("%s %s %s", dst, op, reg(in.Src, narrow))
	}
	return fmt.Sprintf("%s %s %s", dst, op, in.imm())
}

func (in Instruction) jumpText() string {
	switch in.Op.Jump() {
	case OpExit:
		return "exit"
	case OpCall:
		return in.callText()
	case OpJCond:
		return "may_goto " + in.target()
	case OpJA:
		if in.Op.Class() == ClassJMP32 {
			return "gotol " + in.target()
		}
		return "goto " + in.target()
	}
	narrow := in.Op.Class() == ClassJMP32
	by := fmt.Sprint(in.Imm)
	if in.UsesSrc() {
		by = reg(in.Src, narrow)
	}
	return fmt.Sprintf("if %s %s %s goto %s", reg(in.Dst, narrow), jumpSymbols[in.Op.Jump()], by, in.target())
}

// target writes a label, or the offset of a jump without one.
func (in Instruction) target() string {
	if in.Target != 0 {
		return fmt.Sprintf("L%d", in.Target)
	}
	return fmt.Sprintf("%+d", in.jumpOffset())
}

func (in Instruction) callText() string {
	switch {
	case in.Op&SourceX != 0:
		return fmt.Sprintf("callx %s", in.Dst)
	case in.Src == CallKfunc && in.Off != 0:
		return fmt.Sprintf("call kfunc %s btf %d", in.imm(), in.Off)
	case in.Src == CallKfunc:
		return "call kfunc " + in.imm()
	case in.Src == CallLocal && in.Ref == 0:
		return "call local " + in.imm()
	}
	return "call " + in.imm()
}

func (in Instruction) ldText() string {
	switch {
	case in.Op == LoadImm64:
		value := in.symbolOr(fmt.Sprintf("%#x", uint64(in.Imm)), in.Imm == 0)
		if in.Src != PseudoImm {
			value = fmt.Sprintf("%s(%s)", pseudoNames[in.Src], value)
		}
		return fmt.Sprintf("%s = %s ll", in.Dst, value)
	case in.Op.Mode() == ModeAbs:
		return fmt.Sprintf("r0 = *(u%d *)skb[%d]", 8*in.Size(), in.Imm)
	case in.Imm == 0:
		return fmt.Sprintf("r0 = *(u%d *)skb[%s]", 8*in.Size(), in.Src)
	}
	return fmt.Sprintf("r0 = *(u%d *)skb[%s]", 8*in.Size(), plus(in.Src, in.Imm))
}

// plus writes a register plus an offset.
func plus(r Register, off int64) string {
	if off < 0 {
		return fmt.Sprintf("%s - %d", r, -off)
	}
	return fmt.Sprintf("%s + %d", r, off)
}

// place writes the address of a memory access.
func (in Instruction) place(base Register) string {
	if in.Ref == 0 {
		return plus(base, int64(in.Off))
	}
	return fmt.Sprintf("%s + %s", base, in.symbolOr(fmt.Sprint(in.Off), in.Off == 0))
}

// access writes a plain memory operand.
func (in Instruction) access(base Register) string {
	return "*" + in.pointer(base)
}

// pointer writes an address with its type.
func (in Instruction) pointer(base Register) string {
	sign := 'u'
	if in.Op.Mode() == ModeMemSX {
		sign = 's'
	}
	return fmt.Sprintf("(%c%d *)(%s)", sign, 8*in.Size(), in.place(base))
}

func (in Instruction) atomicText() string {
	narrow := in.Size() == 4
	src := reg(in.Src, narrow)
	suffix := "_64"
	if narrow {
		suffix = "32_32"
	}
	switch in.Imm {
	case AtomicLoadAcq:
		return fmt.Sprintf("%s = load_acquire(%s)", in.Dst, in.pointer(in.Src))
	case AtomicStRel:
		return fmt.Sprintf("store_release(%s, %s)", in.pointer(in.Dst), in.Src)
	case AtomicXchg:
		return fmt.Sprintf("%s = xchg%s(%s, %s)", src, suffix, in.place(in.Dst), src)
	case AtomicCmpXchg:
		r0 := reg(R0, narrow)
		return fmt.Sprintf("%s = cmpxchg%s(%s, %s, %s)", r0, suffix, in.place(in.Dst), r0, src)
	}
	if in.Imm&AtomicFetch == 0 {
		return fmt.Sprintf("lock %s %s %s", in.access(in.Dst), atomicSymbols[in.Imm], src)
	}
	return fmt.Sprintf("%s = %s(%s, %s)", src, fetchNames[in.Imm&^AtomicFetch], in.pointer(in.Dst), src)
}
