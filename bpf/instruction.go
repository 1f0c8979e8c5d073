package bpf

// Register is one of the eleven registers, or the kind of a pseudo source.
type Register uint8

// The registers of the BPF calling convention (RFC 9669, section 2).
const (
	R0 Register = iota // result
	R1                 // R1 to R5: arguments, lost in a call
	R2
	R3
	R4
	R5
	R6 // R6 to R9: kept by a call
	R7
	R8
	R9
	R10 // frame pointer, read-only

	NumRegisters = 11
)

// Label names a block of a function. The zero Label names none.
type Label int32

// Ref names an entry of its function's symbol table, counted from one. The
// zero Ref names none. Two instructions with the same Ref have the same
// unknown constant in them.
type Ref int32

// Instruction is one instruction, with labels where the wire format has
// offsets and symbols where it has relocations. Instructions are comparable;
// SameCode ignores where they came from.
type Instruction struct {
	Op  Op
	Dst Register
	Src Register // a register, or a Pseudo or Call kind
	Off int16    // meaningless for a jump: see Target

	// Imm is the 32-bit immediate, sign-extended, or for LoadImm64 all 64
	// bits. Meaningless where a gotol's or local call's Target or Ref says
	// where it leads.
	Imm int64

	Target Label // where a jump leads; zero for what is no jump
	Ref    Ref   // the symbol that a loader patches in; zero for none

	// Pos is one more than the index of the input's instruction that this one
	// stands for, in its function; zero where there is none. Line records
	// follow it.
	Pos int32
}

// SameCode tells whether a and b are the same but for Pos.
func SameCode(a, b Instruction) bool {
	a.Pos, b.Pos = 0, 0
	return a == b
}

// Slots is the instruction's size in units of 8 bytes.
func (in Instruction) Slots() int {
	if in.Op == LoadImm64 {
		return 2
	}
	return 1
}

// Slots is the size of code in units of 8 bytes.
func Slots(code []Instruction) int {
	n := 0
	for _, in := range code {
		n += in.Slots()
	}
	return n
}

// IsALU tells whether the instruction is arithmetic, moves and byte swaps
// included, casts between address spaces not.
func (in Instruction) IsALU() bool {
	return (in.Op.Class() == ClassALU || in.Op.Class() == ClassALU64) && !in.IsCast()
}

// IsCast tells whether the instruction casts a pointer between the address
// spaces of an arena.
func (in Instruction) IsCast() bool {
	return in.Op == ClassALU64|OpMov|SourceX && in.Off == OffCast
}

// UsesSrc tells whether an arithmetic or jump instruction's second operand is
// a register. It is false for negation and byte swaps, which have one operand.
func (in Instruction) UsesSrc() bool {
	switch in.Op.Class() {
	case ClassALU, ClassALU64:
		return in.Op&SourceX != 0 && in.Op.ALU() != OpEnd && in.Op.ALU() != OpNeg
	case ClassJMP, ClassJMP32:
		return in.Op&SourceX != 0 && in.IsCondJump()
	}
	return false
}

// IsJump tells whether control may go to Target.
func (in Instruction) IsJump() bool {
	switch in.Op.Class() {
	case ClassJMP:
		return in.Op.Jump() != OpCall && in.Op.Jump() != OpExit
	case ClassJMP32:
		return in.Op.Jump() != OpCall && in.Op.Jump() != OpExit
	}
	return false
}

// IsGoto tells whether control always goes to Target.
func (in Instruction) IsGoto() bool { return in.IsJump() && in.Op.Jump() == OpJA }

// IsMayGoto tells whether the instruction is may_goto, which the kernel takes
// or not as its own count says.
func (in Instruction) IsMayGoto() bool { return in.IsJump() && in.Op.Jump() == OpJCond }

// IsCondJump tells whether the instruction compares and jumps.
func (in Instruction) IsCondJump() bool {
	return in.IsJump() && !in.IsGoto() && !in.IsMayGoto()
}

// IsCall tells whether the instruction calls a helper, kfunc or subprogram.
func (in Instruction) IsCall() bool {
	return in.Op.Class() == ClassJMP && in.Op.Jump() == OpCall
}

// IsExit tells whether the instruction leaves the function.
func (in Instruction) IsExit() bool { return in.Op == ClassJMP|OpExit }

// EndsBlock tells whether nothing may follow the instruction in its block.
func (in Instruction) EndsBlock() bool { return in.IsJump() || in.IsExit() }

// FallsThrough tells whether control may go on behind the instruction.
func (in Instruction) FallsThrough() bool { return !in.IsGoto() && !in.IsExit() }

// IsLoad tells whether the instruction is a plain load through a register,
// sign-extending or not.
func (in Instruction) IsLoad() bool {
	return in.Op.Class() == ClassLDX && (in.Op.Mode() == ModeMem || in.Op.Mode() == ModeMemSX)
}

// IsStore tells whether the instruction is a plain store, of a register or an
// immediate.
func (in Instruction) IsStore() bool {
	return (in.Op.Class() == ClassSTX || in.Op.Class() == ClassST) && in.Op.Mode() == ModeMem
}

// IsAtomic tells whether the instruction is an atomic one, load-acquire and
// store-release included.
func (in Instruction) IsAtomic() bool {
	return in.Op.Class() == ClassSTX && in.Op.Mode() == ModeAtomic
}

// IsPacketLoad tells whether the instruction is a legacy packet load (LD_ABS,
// LD_IND), which reads R6, may end the program, and overwrites R0 to R5.
func (in Instruction) IsPacketLoad() bool {
	return in.Op.Class() == ClassLD && (in.Op.Mode() == ModeAbs || in.Op.Mode() == ModeInd)
}

// Size is the width in bytes of a memory access.
func (in Instruction) Size() int { return in.Op.Size() }

// Registers is a set of registers.
type Registers uint16

// Set makes a set of registers.
func Set(regs ...Register) Registers {
	var s Registers
	for _, r := range regs {
		s |= 1 << r
	}
	return s
}

// Has tells whether r is in the set.
func (s Registers) Has(r Register) bool { return s&(1<<r) != 0 }

// Reads is the set of registers whose value the instruction uses. For a call
// it is R1 to R5, more than a callee with fewer arguments reads; for exit it
// is R0.
func (in Instruction) Reads() Registers {
	switch in.Op.Class() {
	case ClassLD:
		return in.packetLoadReads()
	case ClassLDX:
		return Set(in.Src)
	case ClassST:
		return Set(in.Dst)
	case ClassSTX:
		return in.storeReads()
	case ClassALU, ClassALU64:
		return in.aluReads()
	}
	return in.jumpReads()
}

func (in Instruction) packetLoadReads() Registers {
	switch {
	case in.Op == LoadImm64:
		return 0
	case in.Op.Mode() == ModeInd:
		return Set(R6, in.Src)
	}
	return Set(R6)
}

func (in Instruction) storeReads() Registers {
	if !in.IsAtomic() {
		return Set(in.Dst, in.Src)
	}
	switch in.Imm {
	case AtomicLoadAcq:
		return Set(in.Src)
	case AtomicCmpXchg:
		return Set(in.Dst, in.Src, R0)
	}
	return Set(in.Dst, in.Src)
}

func (in Instruction) aluReads() Registers {
	var s Registers
	if in.Op.ALU() != OpMov {
		s |= Set(in.Dst)
	}
	if in.UsesSrc() {
		s |= Set(in.Src)
	}
	return s
}

func (in Instruction) jumpReads() Registers {
	switch {
	case in.IsExit():
		return Set(R0)
	case in.IsCall() && in.Op&SourceX != 0:
		return Set(R1, R2, R3, R4, R5, in.Dst)
	case in.IsCall():
		return Set(R1, R2, R3, R4, R5)
	case in.IsCondJump() && in.UsesSrc():
		return Set(in.Dst, in.Src)
	case in.IsCondJump():
		return Set(in.Dst)
	}
	return 0
}

// Writes is the set of registers that the instruction gives a new value. For
// calls and legacy packet loads it is R0 to R5, of which R1 to R5 hold nothing
// readable afterwards.
func (in Instruction) Writes() Registers {
	switch in.Op.Class() {
	case ClassLD:
		if in.Op == LoadImm64 {
			return Set(in.Dst)
		}
		return Set(R0, R1, R2, R3, R4, R5)
	case ClassLDX, ClassALU, ClassALU64:
		return Set(in.Dst)
	case ClassSTX:
		return in.atomicWrites()
	case ClassJMP:
		if in.IsCall() {
			return Set(R0, R1, R2, R3, R4, R5)
		}
	}
	return 0
}

func (in Instruction) atomicWrites() Registers {
	switch {
	case !in.IsAtomic():
		return 0
	case in.Imm == AtomicLoadAcq:
		return Set(in.Dst)
	case in.Imm == AtomicCmpXchg:
		return Set(R0)
	case in.Imm&AtomicFetch != 0:
		return Set(in.Src)
	}
	return 0
}
