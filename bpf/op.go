package bpf

// Op is the opcode byte of an instruction (RFC 9669, section 3). The low three
// bits are the class; what the others mean depends on it.
type Op uint8

// Instruction classes (RFC 9669, section 3.1).
const (
	ClassLD    Op = 0x00 // 64-bit immediates and legacy packet loads
	ClassLDX   Op = 0x01 // loads into a register
	ClassST    Op = 0x02 // stores of an immediate
	ClassSTX   Op = 0x03 // stores of a register, atomics
	ClassALU   Op = 0x04 // 32-bit arithmetic, zeroing the upper half
	ClassJMP   Op = 0x05 // jumps on 64-bit operands, calls, exit
	ClassJMP32 Op = 0x06 // jumps on 32-bit operands, gotol
	ClassALU64 Op = 0x07 // 64-bit arithmetic

	classMask Op = 0x07
)

// SourceX is set where the second operand is the source register, clear where
// it is the immediate. In a byte swap of ClassALU it selects big endian.
const SourceX Op = 0x08

// Arithmetic operations, for ClassALU and ClassALU64 (RFC 9669, section 4.1).
const (
	OpAdd  Op = 0x00
	OpSub  Op = 0x10
	OpMul  Op = 0x20
	OpDiv  Op = 0x30 // Off 1: signed
	OpOr   Op = 0x40
	OpAnd  Op = 0x50
	OpLsh  Op = 0x60
	OpRsh  Op = 0x70
	OpNeg  Op = 0x80
	OpMod  Op = 0x90 // Off 1: signed
	OpXor  Op = 0xa0
	OpMov  Op = 0xb0 // Off 8, 16, 32: sign-extending
	OpArsh Op = 0xc0
	OpEnd  Op = 0xd0 // Imm is the width in bits

	opMask Op = 0xf0
)

// Jump operations, for ClassJMP and ClassJMP32 (RFC 9669, section 4.3).
const (
	OpJA    Op = 0x00
	OpJEq   Op = 0x10
	OpJGT   Op = 0x20
	OpJGE   Op = 0x30
	OpJSet  Op = 0x40
	OpJNE   Op = 0x50
	OpJSGT  Op = 0x60
	OpJSGE  Op = 0x70
	OpCall  Op = 0x80
	OpExit  Op = 0x90
	OpJLT   Op = 0xa0
	OpJLE   Op = 0xb0
	OpJSLT  Op = 0xc0
	OpJSLE  Op = 0xd0
	OpJCond Op = 0xe0 // may_goto, not in RFC 9669: include/uapi/linux/bpf.h
)

// Access sizes, for loads and stores (RFC 9669, section 5).
const (
	SizeW  Op = 0x00 // 4 bytes
	SizeH  Op = 0x08 // 2 bytes
	SizeB  Op = 0x10 // 1 byte
	SizeDW Op = 0x18 // 8 bytes

	sizeMask Op = 0x18
)

// Access modes, for loads and stores (RFC 9669, section 5).
const (
	ModeImm    Op = 0x00
	ModeAbs    Op = 0x20
	ModeInd    Op = 0x40
	ModeMem    Op = 0x60
	ModeMemSX  Op = 0x80
	ModeAtomic Op = 0xc0

	modeMask Op = 0xe0
)

// Atomic operations, the Imm of an instruction with ModeAtomic (RFC 9669,
// section 5.3; the last two are in include/uapi/linux/bpf.h only).
const (
	AtomicAdd     = 0x00
	AtomicOr      = 0x40
	AtomicAnd     = 0x50
	AtomicXor     = 0xa0
	AtomicFetch   = 0x01 // flag: the old value is put in Src
	AtomicXchg    = 0xe0 | AtomicFetch
	AtomicCmpXchg = 0xf0 | AtomicFetch
	AtomicLoadAcq = 0x100
	AtomicStRel   = 0x110
)

// A move whose Off is OffCast casts a pointer between the address spaces of an
// arena, which the Imm names: source in its low, destination in its high half
// (kernel/bpf/verifier.c: BPF_ADDR_SPACE_CAST).
const (
	OffCast      = 1
	CastToKernel = 1       // from space 1, user space's, to 0
	CastToUser   = 1 << 16 // from space 0 to 1
)

// What the Src field of a 64-bit immediate load stands for (RFC 9669, section
// 5.4).
const (
	PseudoImm      Register = 0
	PseudoMapFD    Register = 1
	PseudoMapValue Register = 2
	PseudoBTFID    Register = 3
	PseudoFunc     Register = 4
	PseudoMapIdx   Register = 5
	PseudoMapIdxV  Register = 6
)

// What the Src field of a call stands for (RFC 9669, section 4.3.1).
const (
	CallHelper Register = 0
	CallLocal  Register = 1
	CallKfunc  Register = 2
)

// LoadImm64 is the opcode of the 64-bit immediate load, the only instruction
// that takes two slots.
const LoadImm64 = ClassLD | ModeImm | SizeDW

// Class is the instruction class.
func (op Op) Class() Op { return op & classMask }

// ALU is the arithmetic operation of an instruction for which IsALU holds.
func (op Op) ALU() Op { return op & opMask }

// Jump is the jump operation of an instruction of ClassJMP or ClassJMP32.
func (op Op) Jump() Op { return op & opMask }

// Mode is the access mode of a load or store.
func (op Op) Mode() Op { return op & modeMask }

// Size is the width in bytes of a load's or store's access.
func (op Op) Size() int {
	switch op & sizeMask {
	case SizeB:
		return 1
	case SizeH:
		return 2
	case SizeW:
		return 4
	default:
		return 8
	}
}

// SizeOp is the size field for an access of n bytes: 1, 2, 4 or 8.
func SizeOp(n int) (Op, bool) {
	switch n {
	case 1:
		return SizeB, true
	case 2:
		return SizeH, true
	case 4:
		return SizeW, true
	case 8:
		return SizeDW, true
	}
	return 0, false
}
