package bpf

import (
	"fmt"
	"math"
)

// Valid says why in is no instruction of the set (RFC 9669 and
// include/uapi/linux/bpf.h): an unknown opcode, a reserved field that is not
// zero, a register that does not exist or, for a destination, is read-only, a
// symbol where no loader patches one in. What a jump's offset field holds and
// whether it has a Target does not matter.
func (in Instruction) Valid() error {
	switch {
	case in.Dst > R10 || in.Src > R10:
		return fmt.Errorf("%v: no such register", in)
	case in.Writes().Has(R10):
		return fmt.Errorf("%v: the frame pointer is read-only", in)
	case !in.valid():
		return fmt.Errorf("%v: opcode %#02x with these fields is no instruction", in, uint8(in.Op))
	}
	return nil
}

// valid is Valid without its words, which String needs.
func (in Instruction) valid() bool {
	switch {
	case in.Dst > R10 || in.Src > R10 || in.Writes().Has(R10):
		return false
	case in.Target != 0 && !in.IsJump():
		return false
	case in.Target < 0 || in.Ref < 0 || in.Ref > 0 && !in.takesSymbol():
		return false
	case in.Op != LoadImm64 && (in.Imm < math.MinInt32 || in.Imm > math.MaxInt32):
		return false
	}
	switch in.Op.Class() {
	case ClassALU, ClassALU64:
		return in.validALU()
	case ClassJMP, ClassJMP32:
		return in.validJump()
	case ClassLD:
		return in.validLD()
	case ClassLDX:
		return in.Imm == 0 && (in.Op.Mode() == ModeMem || in.Op.Mode() == ModeMemSX && in.Size() != 8)
	case ClassST:
		return in.Op.Mode() == ModeMem && in.Src == 0
	default: // ClassSTX: there are eight classes
		return in.Op.Mode() == ModeMem && in.Imm == 0 || in.validAtomic()
	}
}

// PatchesOffset tells whether in's symbol, if it has one, is put into Off
// rather than Imm: a CO-RE relocation of a load or store.
func (in Instruction) PatchesOffset() bool {
	return in.IsLoad() || in.IsStore()
}

// takesSymbol tells whether loaders patch a symbol into such an instruction
// (libbpf's bpf_core_patch_insn and bpf_object__relocate).
func (in Instruction) takesSymbol() bool {
	switch {
	case in.IsALU():
		return in.Op&SourceX == 0 && in.Op.ALU() != OpEnd && in.Op.ALU() != OpNeg
	case in.IsCall():
		return in.Op&SourceX == 0 && in.Src != CallHelper
	}
	return in.Op == LoadImm64 || in.PatchesOffset()
}

func (in Instruction) validLD() bool {
	switch {
	case in.Off != 0:
		return false
	case in.Op == LoadImm64:
		return in.Src <= PseudoMapIdxV
	case in.Size() == 8 || in.Dst != 0:
		return false
	}
	return in.Op.Mode() == ModeInd || in.Op.Mode() == ModeAbs && in.Src == 0
}

func (in Instruction) validALU() bool {
	is64, reg := in.Op.Class() == ClassALU64, in.Op&SourceX != 0
	switch op := in.Op.ALU(); op {
	case OpEnd:
		return (in.Imm == 16 || in.Imm == 32 || in.Imm == 64) && in.Src == 0 && in.Off == 0 && !(is64 && reg)
	case OpNeg:
		return in.Imm == 0 && in.Src == 0 && in.Off == 0 && !reg
	case OpMov:
		if in.Off != 0 && !(reg && (in.Off == 8 || in.Off == 16 || is64 && in.Off == 32)) {
			return false
		}
	case OpDiv, OpMod:
		if in.Off != 0 && in.Off != 1 {
			return false
		}
		if !reg && in.Imm == 0 && in.Ref == 0 {
			return false // the verifier refuses a division by a constant zero
		}
	case OpLsh, OpRsh, OpArsh:
		tooFar := in.Imm < 0 || in.Imm >= 64 || !is64 && in.Imm >= 32
		if in.Off != 0 || !reg && in.Ref == 0 && tooFar {
			return false // the verifier refuses a constant amount beyond the width
		}
	default:
		if op > OpEnd || in.Off != 0 {
			return false
		}
	}
	if reg {
		return in.Imm == 0
	}
	return in.Src == 0
}

func (in Instruction) validJump() bool {
	is32, reg := in.Op.Class() == ClassJMP32, in.Op&SourceX != 0
	none := !reg && in.Dst == 0 && in.Src == 0
	switch op := in.Op.Jump(); op {
	case OpJA:
		return none && (is32 && in.Off == 0 || !is32 && in.Imm == 0)
	case OpCall:
		if is32 || in.Off != 0 {
			return false
		}
		return reg && in.Src == 0 && in.Imm == 0 || !reg && in.Dst == 0 && in.Src <= CallKfunc
	case OpExit:
		return none && !is32 && in.Imm == 0 && in.Off == 0
	case OpJCond:
		return none && !is32 && in.Imm == 0
	default:
		if op > OpJCond {
			return false
		}
	}
	if reg {
		return in.Imm == 0
	}
	return in.Src == 0
}

func (in Instruction) validAtomic() bool {
	if !in.IsAtomic() {
		return false
	}
	switch in.Imm {
	case AtomicLoadAcq, AtomicStRel:
		return true
	case AtomicXchg, AtomicCmpXchg:
		return in.Size() >= 4
	}
	switch in.Imm &^ AtomicFetch {
	case AtomicAdd, AtomicOr, AtomicAnd, AtomicXor:
		return in.Size() >= 4
	}
	return false
}
