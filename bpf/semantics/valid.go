package semantics

import (
	"fmt"

	"github.com/k2cc/k2cc/bpf"
)

// Valid says why in is no instruction of the set (RFC 9669 and
// include/uapi/linux/bpf.h): an unknown opcode, a reserved field that is not
// zero, a register that does not exist or, for a destination, is read-only.
func Valid(in bpf.Instruction) error {
	if in.Dst > bpf.R10 || in.Src > bpf.R10 {
		return fmt.Errorf("%v: no such register", in)
	}
	if in.Writes().Has(bpf.R10) {
		return fmt.Errorf("%v: the frame pointer is read-only", in)
	}
	ok := false
	switch in.Op.Class() {
	case bpf.ClassALU, bpf.ClassALU64:
		ok = validALU(in)
	case bpf.ClassJMP, bpf.ClassJMP32:
		ok = validJump(in)
	case bpf.ClassLD:
		ok = in.Op == bpf.LoadImm64 && in.Off == 0 && in.Src <= bpf.PseudoMapIdxV ||
			in.IsPacketLoad() && in.Size() != 8 && in.Off == 0
	case bpf.ClassLDX:
		ok = in.Op.Mode() == bpf.ModeMem && in.Imm == 0 ||
			in.Op.Mode() == bpf.ModeMemSX && in.Imm == 0 && in.Size() != 8
	case bpf.ClassST:
		ok = in.Op.Mode() == bpf.ModeMem && in.Src == 0
	case bpf.ClassSTX:
		ok = in.Op.Mode() == bpf.ModeMem && in.Imm == 0 || validAtomic(in)
	}
	if !ok {
		return fmt.Errorf("%v: opcode %#02x with these fields is no instruction", in, uint8(in.Op))
	}
	return nil
}

func validALU(in bpf.Instruction) bool {
	is64, reg := in.Op.Class() == bpf.ClassALU64, in.Op&bpf.SourceX != 0
	switch op := in.Op.ALU(); op {
	case bpf.OpEnd:
		return (in.Imm == 16 || in.Imm == 32 || in.Imm == 64) && in.Src == 0 && in.Off == 0 && !(is64 && reg)
	case bpf.OpNeg:
		return in.Imm == 0 && in.Src == 0 && in.Off == 0 && !reg
	case bpf.OpMov:
		if in.Off != 0 && !(reg && (in.Off == 8 || in.Off == 16 || is64 && in.Off == 32)) {
			return false
		}
	case bpf.OpDiv, bpf.OpMod:
		if in.Off != 0 && in.Off != 1 {
			return false
		}
		if !reg && in.Imm == 0 {
			return false // the verifier refuses a division by a constant zero
		}
	case bpf.OpLsh, bpf.OpRsh, bpf.OpArsh:
		if in.Off != 0 || !reg && (in.Imm < 0 || in.Imm >= 64 || !is64 && in.Imm >= 32) {
			return false // the verifier refuses a constant amount beyond the width
		}
	default:
		if op > bpf.OpEnd || in.Off != 0 {
			return false
		}
	}
	if reg {
		return in.Imm == 0
	}
	return in.Src == 0
}

func validJump(in bpf.Instruction) bool {
	is32, reg := in.Op.Class() == bpf.ClassJMP32, in.Op&bpf.SourceX != 0
	switch in.Op.Jump() {
	case bpf.OpJA:
		return !reg && in.Dst == 0 && in.Src == 0
	case bpf.OpCall:
		return !is32 && in.Off == 0 && (reg && in.Src == 0 && in.Imm == 0 || !reg && in.Dst == 0 && in.Src <= bpf.CallKfunc)
	case bpf.OpExit:
		return !is32 && !reg && in.Dst == 0 && in.Src == 0 && in.Imm == 0 && in.Off == 0
	case bpf.OpJCond:
		return !is32 && !reg && in.Dst == 0 && in.Src == 0 && in.Imm == 0
	}
	if in.Op.Jump() > bpf.OpJCond {
		return false
	}
	if reg {
		return in.Imm == 0
	}
	return in.Src == 0
}

func validAtomic(in bpf.Instruction) bool {
	if !in.IsAtomic() {
		return false
	}
	switch in.Imm {
	case bpf.AtomicLoadAcq, bpf.AtomicStRel:
		return true
	case bpf.AtomicXchg, bpf.AtomicCmpXchg:
		return in.Size() >= 4
	}
	switch in.Imm &^ bpf.AtomicFetch {
	case bpf.AtomicAdd, bpf.AtomicOr, bpf.AtomicAnd, bpf.AtomicXor:
		return in.Size() >= 4
	}
	return false
}
