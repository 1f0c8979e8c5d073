package flow

import (
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/semantics"
)

// recorder is a machine whose values are their widths. It notes which
// operations an instruction uses on which widths.
type recorder map[use]bool

var _ semantics.Machine[int] = recorder{}

func (r recorder) note(op string, width, second, low int) {
	r[use{op: op, width: width, second: second, low: low}] = true
}

func (r recorder) same(op string, a, b int) int {
	if a != b {
		panic(fmt.Sprintf("%s of %d and %d bits", op, a, b))
	}
	r.note(op, a, 0, 0)
	return a
}

func (r recorder) Const(_ uint64, width int) int { return width }
func (r recorder) Add(a, b int) int              { return r.same("Add", a, b) }
func (r recorder) Sub(a, b int) int              { return r.same("Sub", a, b) }
func (r recorder) Mul(a, b int) int              { return r.same("Mul", a, b) }
func (r recorder) UDiv(a, b int) int             { return r.same("UDiv", a, b) }
func (r recorder) URem(a, b int) int             { return r.same("URem", a, b) }
func (r recorder) SDiv(a, b int) int             { return r.same("SDiv", a, b) }
func (r recorder) SRem(a, b int) int             { return r.same("SRem", a, b) }
func (r recorder) And(a, b int) int              { return r.same("And", a, b) }
func (r recorder) Or(a, b int) int               { return r.same("Or", a, b) }
func (r recorder) Xor(a, b int) int              { return r.same("Xor", a, b) }
func (r recorder) Shl(a, b int) int              { return r.same("Shl", a, b) }
func (r recorder) LShr(a, b int) int             { return r.same("LShr", a, b) }
func (r recorder) AShr(a, b int) int             { return r.same("AShr", a, b) }
func (r recorder) Ite(_, a, b int) int           { return r.same("Ite", a, b) }

func (r recorder) Eq(a, b int) int  { r.same("Eq", a, b); return 1 }
func (r recorder) ULt(a, b int) int { r.same("ULt", a, b); return 1 }
func (r recorder) SLt(a, b int) int { r.same("SLt", a, b); return 1 }

func (r recorder) Extract(v, hi, lo int) int { r.note("Extract", v, hi, lo); return hi - lo + 1 }
func (r recorder) ZExt(v, width int) int     { r.note("ZExt", v, width, 0); return width }
func (r recorder) SExt(v, width int) int     { r.note("SExt", v, width, 0); return width }
func (r recorder) Concat(hi, lo int) int     { r.note("Concat", hi, lo, 0); return hi + lo }

func (r recorder) BigEndian() bool                                       { return false }
func (r recorder) Reg(bpf.Register) int                                  { return 64 }
func (r recorder) SetReg(bpf.Register, int)                              {}
func (r recorder) Imm(bpf.Instruction) int                               { return 64 }
func (r recorder) Unspecified(_ bpf.Instruction, width int) int          { return width }
func (r recorder) Load(in bpf.Instruction, _ bpf.Register) (int, error)  { return r.cells(in), nil }
func (r recorder) Store(in bpf.Instruction, _ bpf.Register, _ int) error { r.cells(in); return nil }

// cells notes what the analysis does to read a part of one cell of the stack,
// to put a number together from several, and to make a cell of one.
func (r recorder) cells(in bpf.Instruction) int {
	width := 8 * in.Size()
	r.note("Extract", 64, width-1, 0)
	for lo := 0; lo < 64; lo += 8 {
		r.note("Extract", 64, lo+7, lo)
	}
	for w := 8; w < width; w += 8 {
		r.note("Concat", 8, w, 0)
		r.note("Concat", w, 8, 0)
	}
	r.note("ZExt", width, 64, 0)
	return width
}

// usesOf is the operations that an instruction's meaning is made of.
func usesOf(in bpf.Instruction) (recorder, error) {
	r := recorder{}
	if in.IsCondJump() {
		semantics.Taken[int](r, in, 64, 64)
		return r, nil
	}
	return r, semantics.Step[int](r, in)
}

// computing is the forms that compute something. The others are left out: what
// calls, exits, unconditional jumps, may_goto and legacy packet loads leave is
// unknown, no matter what they are given, and code with casts is not analysed.
func computing() []bpf.Instruction {
	var out []bpf.Instruction
	for f := range bpf.Forms() {
		switch in := f.Example; {
		case in.IsCast(), in.IsMayGoto(), in.IsPacketLoad():
		case in.IsALU(), in.IsCondJump(), in.IsLoad(), in.IsStore(), in.IsAtomic():
			out = append(out, in)
		}
	}
	return out
}
