package bpf

import (
	"iter"
	"math"
	"math/rand/v2"
	"slices"
)

// Form is one form of instruction: an opcode with those values of the other
// fields that choose what the instruction does. What Forms lists is the
// instruction set; validity and levels follow from it.
type Form struct {
	Example Instruction // operands with R1, R2, 7 and so on
	Level   Level       // the lowest at which it exists
	Source  string      // where it is described
	Fields  Fields      // the operands; all other fields choose the form

	imm immediate
}

// Fields is a set of an instruction's fields.
type Fields uint8

// The fields. Where a jump leads stands in Target, or in FieldOff, or for gotol
// in FieldImm.
const (
	FieldDst Fields = 1 << iota
	FieldSrc
	FieldOff
	FieldImm
	FieldTarget
)

// Has tells whether all of f are in the set.
func (s Fields) Has(f Fields) bool { return s&f == f }

// immediate is what may stand in the immediate where it is an operand.
type immediate uint8

const (
	immSigned  immediate = iota // 32 bits, sign-extended
	immHandle                   // 32 bits, zero-extended: the upper half of a 64-bit immediate is zero
	immWhole                    // 64 bits
	immDivisor                  // 32 bits, which the verifier wants not to be zero
	immShift64                  // 32 bits, which the verifier wants to be 0 to 63
	immShift32                  // 32 bits, which the verifier wants to be 0 to 31
	immTarget                   // where gotol leads
)

// Name is the text of Example.
func (f Form) Name() string { return f.Example.String() }

// Forms lists the instruction set, in the order of the opcodes' classes: RFC
// 9669, what include/uapi/linux/bpf.h adds, and what LLVM emits besides. Jumps
// to an address in a register (gotox) are not in it: kernels up to 6.18 know
// none.
func Forms() iter.Seq[Form] {
	return func(yield func(Form) bool) {
		for _, f := range forms {
			if !yield(*f) {
				return
			}
		}
	}
}

// Form finds the form of which in is an instance; ok is false where in is no
// instruction. Unlike Valid it takes immediates as RFC 9669 does: a division by
// a constant zero and shifts by any constant have a meaning.
func (in Instruction) Form() (f Form, ok bool) {
	if p := in.form(); p != nil {
		return *p, true
	}
	return Form{}, false
}

func (in *Instruction) form() *Form {
	if in.Dst > R10 || in.Src > R10 ||
		(in.Dst == R10 || in.Src == R10) && in.Writes().Has(R10) ||
		in.Target != 0 && (in.Target < 0 || !in.IsJump()) ||
		in.Ref != 0 && (in.Ref < 0 || !in.takesSymbol()) {
		return nil
	}
	for _, f := range formsByOp[in.Op] {
		if f.covers(in) {
			return f
		}
	}
	return nil
}

// covers tells whether in, whose opcode is f's, has the fields of f.
func (f *Form) covers(in *Instruction) bool {
	e := &f.Example
	return (f.Fields.Has(FieldImm) && f.encodes(in.Imm) || in.Imm == e.Imm) &&
		(f.Fields.Has(FieldOff) || in.Off == e.Off) &&
		(f.Fields.Has(FieldSrc) || in.Src == e.Src) &&
		(f.Fields.Has(FieldDst) || in.Dst == e.Dst)
}

// encodes tells whether the wire format can hold imm.
func (f *Form) encodes(imm int64) bool {
	switch f.imm {
	case immWhole:
		return true
	case immHandle:
		return imm>>32 == 0
	}
	return imm >= math.MinInt32 && imm <= math.MaxInt32
}

// allows tells whether the verifier takes imm, which no loader patches.
func (f *Form) allows(imm int64) bool {
	switch f.imm {
	case immDivisor:
		return imm != 0
	case immShift32:
		return imm >= 0 && imm < 32
	case immShift64:
		return imm >= 0 && imm < 64
	}
	return true
}

// Random makes a valid instruction of the form, with random operands. Jumps
// lead to L1.
func (f Form) Random(rng *rand.Rand) Instruction {
	for {
		in := f.Example
		if f.Fields.Has(FieldDst) {
			in.Dst = Register(rng.IntN(NumRegisters))
		}
		if f.Fields.Has(FieldSrc) {
			in.Src = Register(rng.IntN(NumRegisters))
		}
		if f.Fields.Has(FieldOff) && !f.Fields.Has(FieldTarget) {
			in.Off = int16(rng.Uint32() >> rng.IntN(32))
		}
		if f.Fields.Has(FieldImm) && f.imm != immTarget {
			in.Imm = f.randomImm(rng)
		}
		if in.Valid() == nil {
			return in
		}
	}
}

// randomImm favours numbers at which mistakes show: about zero and about
// powers of two.
func (f Form) randomImm(rng *rand.Rand) int64 {
	width := 32
	switch f.imm {
	case immWhole:
		width = 64
	case immShift32, immShift64:
		return rng.Int64N(64)
	}
	v := int64(rng.Uint64())
	switch rng.IntN(4) {
	case 0:
		v >>= rng.IntN(64)
	case 1:
		v = 1<<rng.IntN(width) + rng.Int64N(3) - 1
	case 2:
		v = rng.Int64N(5) - 2
	}
	switch f.imm {
	case immWhole:
		return v
	case immHandle:
		return int64(uint32(v))
	}
	return int64(int32(v))
}

var (
	forms     = slices.Concat(aluForms(), jumpForms(), callForms(), accessForms(), atomicForms(), immediateForms(), packetForms())
	formsByOp = byOp(forms)
)

func byOp(forms []*Form) (table [256][]*Form) {
	for _, f := range forms {
		table[f.Example.Op] = append(table[f.Example.Op], f)
	}
	return table
}

// newForm completes a form with an example whose operands are in their usual
// registers.
func newForm(in Instruction, fields Fields, imm immediate, level Level, source string) *Form {
	if fields.Has(FieldDst) {
		in.Dst = R1
	}
	if fields.Has(FieldSrc) {
		in.Src = R2
	}
	if fields.Has(FieldTarget) {
		in.Target = 1
	} else if fields.Has(FieldOff) {
		in.Off = 8
	}
	if fields.Has(FieldImm) && imm != immTarget {
		in.Imm = 7
	}
	return &Form{Example: in, Level: level, Source: source, Fields: fields, imm: imm}
}
