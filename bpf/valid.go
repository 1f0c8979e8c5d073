package bpf

import "fmt"

// Valid says why in is no instruction of the set that the verifier takes: no
// form has its opcode and fields, a register does not exist or, for a
// destination, is read-only, a symbol stands where no loader patches one in, a
// constant divisor is zero or a constant shift beyond the width. What a jump's
// offset field holds and whether it has a Target does not matter.
func (in Instruction) Valid() error {
	switch {
	case in.valid():
		return nil
	case in.Dst > R10 || in.Src > R10:
		return fmt.Errorf("%v: no such register", in)
	case in.Writes().Has(R10):
		return fmt.Errorf("%v: the frame pointer is read-only", in)
	}
	return fmt.Errorf("%v: opcode %#02x with these fields is no instruction", in, uint8(in.Op))
}

// valid is Valid without its words, which String needs.
func (in Instruction) valid() bool {
	f := in.form()
	return f != nil && (in.Ref != 0 || f.allows(in.Imm))
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
