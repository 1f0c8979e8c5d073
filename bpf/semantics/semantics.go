// Package semantics says what each BPF instruction does, once, over an abstract
// domain of values. Concrete 64-bit words, known bits with ranges, and Z3's bit
// vectors are domains; whatever runs or reasons about code reads this one
// description.
package semantics

import (
	"fmt"

	"github.com/k2cc/k2cc/bpf"
)

// Domain is a set of values with a width in bits (1 to 64) and the operations
// of bit-vector arithmetic on them, with SMT-LIB's meaning: operands of one
// operation have the same width, results wrap. Truth values have width 1.
type Domain[V any] interface {
	Const(v uint64, width int) V

	Add(a, b V) V
	Sub(a, b V) V
	Mul(a, b V) V
	UDiv(a, b V) V // used only where b is not zero
	URem(a, b V) V // used only where b is not zero
	SDiv(a, b V) V // truncates; used only where b is not zero
	SRem(a, b V) V // sign of a; used only where b is not zero
	And(a, b V) V
	Or(a, b V) V
	Xor(a, b V) V
	Shl(a, b V) V  // used only where b is below the width
	LShr(a, b V) V // used only where b is below the width
	AShr(a, b V) V // used only where b is below the width

	Eq(a, b V) V
	ULt(a, b V) V
	SLt(a, b V) V
	Ite(cond, a, b V) V

	// Extract is the bits hi down to lo, of width hi-lo+1.
	Extract(v V, hi, lo int) V
	ZExt(v V, width int) V
	SExt(v V, width int) V
	// Concat has hi's bits above lo's.
	Concat(hi, lo V) V
}

// Machine is a domain with the state that straight-line code works on. Register
// values have width 64.
type Machine[V any] interface {
	Domain[V]
	BigEndian() bool
	Reg(r bpf.Register) V
	SetReg(r bpf.Register, v V)
	// Imm is the value of width 64 that in's immediate stands for: in.Imm, or,
	// when in.Ref is set, what the loader puts in its place. For a 64-bit
	// immediate load that is the symbol's value, for all else its low 32 bits,
	// sign-extended.
	Imm(in bpf.Instruction) V
	// Load reads in.Size() bytes at in's address as a value of that width. The
	// address is the base register plus in.Off or, when in.Ref is set, plus
	// the symbol's value, a number from 0 to 32767.
	Load(in bpf.Instruction, base bpf.Register) (V, error)
	// Store writes v, of width 8*in.Size(), at in's address.
	Store(in bpf.Instruction, base bpf.Register, v V) error
}

// Vague is what a Machine may be as well, to reason about code for kernels that
// leave a value open where RFC 9669 does not.
type Vague[V any] interface {
	// Unspecified is a value of the given width about which nothing is known.
	// The same instruction in the same state gives the same value.
	Unspecified(in bpf.Instruction, width int) V
}

// Arena is what a Machine may be as well, to run programs with an arena.
type Arena[V any] interface {
	// ArenaHigh is the upper half, of width 32, of the addresses at which user
	// space sees the arena.
	ArenaHigh() V
}

// Step executes one instruction that neither jumps, calls, exits nor loads
// from the packet in the legacy way. It fails for those, for what is no
// instruction, and where a memory access fails.
func Step[V any](m Machine[V], in bpf.Instruction) error {
	if err := exists(in); err != nil {
		return err
	}
	switch {
	case in.IsCast():
		return cast(m, in)
	case in.IsALU():
		m.SetReg(in.Dst, ALU[V](m, m.BigEndian(), in, m.Reg(in.Dst), Operand(m, in)))
	case in.Op == bpf.LoadImm64:
		m.SetReg(in.Dst, m.Imm(in))
	case in.IsLoad():
		return load(m, in)
	case in.IsStore():
		return store(m, in)
	case in.IsAtomic():
		return atomic(m, in)
	default:
		return fmt.Errorf("%v is no straight-line instruction", in)
	}
	return nil
}

// Operand is the second operand, of width 64, of an arithmetic or conditional
// jump instruction: the source register or the immediate.
func Operand[V any](m Machine[V], in bpf.Instruction) V {
	if in.UsesSrc() {
		return m.Reg(in.Src)
	}
	return m.Imm(in)
}

// ALU is the 64-bit value that an arithmetic instruction leaves in its
// destination, from its two operands of width 64 (RFC 9669, sections 4.1 and
// 4.2).
func ALU[V any](d Domain[V], bigEndian bool, in bpf.Instruction, dst, src V) V {
	if in.Op.ALU() == bpf.OpEnd {
		return byteSwap(d, bigEndian, in, dst)
	}
	width := 64
	if in.Op.Class() == bpf.ClassALU {
		width = 32
		dst, src = d.Extract(dst, 31, 0), d.Extract(src, 31, 0)
	}
	return d.ZExt(alu(d, in, width, dst, src), 64)
}

func alu[V any](d Domain[V], in bpf.Instruction, width int, dst, src V) V {
	switch in.Op.ALU() {
	case bpf.OpAdd:
		return d.Add(dst, src)
	case bpf.OpSub:
		return d.Sub(dst, src)
	case bpf.OpMul:
		return d.Mul(dst, src)
	case bpf.OpDiv, bpf.OpMod:
		return divide(d, in, width, dst, src)
	case bpf.OpOr:
		return d.Or(dst, src)
	case bpf.OpAnd:
		return d.And(dst, src)
	case bpf.OpXor:
		return d.Xor(dst, src)
	case bpf.OpNeg:
		return d.Sub(d.Const(0, width), dst)
	case bpf.OpMov:
		if in.Off != 0 {
			return d.SExt(d.Extract(src, int(in.Off)-1, 0), width)
		}
		return src
	}
	// Shifts mask their amount (RFC 9669, section 4.1).
	by := d.And(src, d.Const(uint64(width-1), width))
	switch in.Op.ALU() {
	case bpf.OpLsh:
		return d.Shl(dst, by)
	case bpf.OpRsh:
		return d.LShr(dst, by)
	default:
		return d.AShr(dst, by)
	}
}

// divide gives division by zero the result zero and modulo by zero the
// dividend; the most negative number divided by -1 is itself, with remainder
// zero (RFC 9669, section 4.1).
func divide[V any](d Domain[V], in bpf.Instruction, width int, a, b V) V {
	zero := d.Const(0, width)
	isZero := d.Eq(b, zero)
	// Where b is zero the quotient is not used; dividing by one keeps every
	// domain away from a division that it need not define.
	by := d.Ite(isZero, d.Const(1, width), b)
	signed := in.Off == 1
	switch {
	case in.Op.ALU() == bpf.OpDiv && signed:
		return d.Ite(isZero, zero, d.SDiv(a, by))
	case in.Op.ALU() == bpf.OpDiv:
		return d.Ite(isZero, zero, d.UDiv(a, by))
	case signed:
		return d.Ite(isZero, a, d.SRem(a, by))
	default:
		return d.Ite(isZero, a, d.URem(a, by))
	}
}

// byteSwap truncates to in.Imm bits and, where the instruction says other than
// the target's order (or, in ClassALU64, always), turns the bytes round (RFC
// 9669, section 4.2).
func byteSwap[V any](d Domain[V], bigEndian bool, in bpf.Instruction, v V) V {
	width := int(in.Imm)
	low := d.Extract(v, width-1, 0)
	toBig := in.Op&bpf.SourceX != 0
	if in.Op.Class() == bpf.ClassALU && toBig == bigEndian {
		return d.ZExt(low, 64)
	}
	out := d.Extract(low, 7, 0)
	for lo := 8; lo < width; lo += 8 {
		out = d.Concat(out, d.Extract(low, lo+7, lo))
	}
	return d.ZExt(out, 64)
}

// Taken is the truth value of a conditional jump's condition, from its two
// operands of width 64 (RFC 9669, section 4.3).
func Taken[V any](d Domain[V], in bpf.Instruction, dst, src V) V {
	width := 64
	if in.Op.Class() == bpf.ClassJMP32 {
		width = 32
		dst, src = d.Extract(dst, 31, 0), d.Extract(src, 31, 0)
	}
	not := func(v V) V { return d.Xor(v, d.Const(1, 1)) }
	switch in.Op.Jump() {
	case bpf.OpJEq:
		return d.Eq(dst, src)
	case bpf.OpJNE:
		return not(d.Eq(dst, src))
	case bpf.OpJSet:
		return not(d.Eq(d.And(dst, src), d.Const(0, width)))
	case bpf.OpJGT:
		return d.ULt(src, dst)
	case bpf.OpJGE:
		return not(d.ULt(dst, src))
	case bpf.OpJLT:
		return d.ULt(dst, src)
	case bpf.OpJLE:
		return not(d.ULt(src, dst))
	case bpf.OpJSGT:
		return d.SLt(src, dst)
	case bpf.OpJSGE:
		return not(d.SLt(dst, src))
	case bpf.OpJSLT:
		return d.SLt(dst, src)
	default: // OpJSLE: Valid lets no other through
		return not(d.SLt(src, dst))
	}
}

// cast leaves in the destination a pointer into an arena as the other side sees
// it: the kernel's has 32 bits, user space's null or one upper half. Arithmetic
// of 64 bits on the kernel's has 32 bits as well; who reads this description
// for code that the kernel has given types has to see to that
// (kernel/bpf/verifier.c: adjust_reg_min_max_vals, bpf_do_misc_fixups;
// arch/x86/net/bpf_jit_comp.c: insn_is_cast_user).
func cast[V any](m Machine[V], in bpf.Instruction) error {
	low := m.Extract(m.Reg(in.Src), 31, 0)
	if in.Imm == bpf.CastToKernel {
		m.SetReg(in.Dst, m.ZExt(low, 64))
		return nil
	}
	arena, ok := m.(Arena[V])
	if !ok {
		return fmt.Errorf("%v: there is no arena", in)
	}
	isNull := m.Eq(low, m.Const(0, 32))
	m.SetReg(in.Dst, m.Ite(isNull, m.Const(0, 64), m.Concat(arena.ArenaHigh(), low)))
	return nil
}

func load[V any](m Machine[V], in bpf.Instruction) error {
	v, err := m.Load(in, in.Src)
	if err != nil {
		return err
	}
	if in.Op.Mode() == bpf.ModeMemSX {
		m.SetReg(in.Dst, m.SExt(v, 64))
	} else {
		m.SetReg(in.Dst, m.ZExt(v, 64))
	}
	return nil
}

func store[V any](m Machine[V], in bpf.Instruction) error {
	// A symbol of a store stands for its offset, never for its immediate.
	v := m.Const(uint64(in.Imm), 64)
	if in.Op.Class() == bpf.ClassSTX {
		v = m.Reg(in.Src)
	}
	return m.Store(in, in.Dst, m.Extract(v, 8*in.Size()-1, 0))
}

// atomic treats the read and the write as two steps: who reads this
// description for concurrent memory has to order them as one (RFC 9669,
// section 5.3).
func atomic[V any](m Machine[V], in bpf.Instruction) error {
	switch in.Imm {
	case bpf.AtomicLoadAcq:
		return load(m, in)
	case bpf.AtomicStRel:
		return m.Store(in, in.Dst, m.Extract(m.Reg(in.Src), 8*in.Size()-1, 0))
	}
	hi := 8*in.Size() - 1
	old, err := m.Load(in, in.Dst)
	if err != nil {
		return err
	}
	src := m.Extract(m.Reg(in.Src), hi, 0)
	if in.Imm == bpf.AtomicCmpXchg {
		same := m.Eq(m.Extract(m.Reg(bpf.R0), hi, 0), old)
		left := exchanged(m, in, old)
		// The store's address is read before R0 changes: it may be R0.
		if err := m.Store(in, in.Dst, m.Ite(same, src, old)); err != nil {
			return err
		}
		m.SetReg(bpf.R0, left)
		return nil
	}
	if err := m.Store(in, in.Dst, atomicResult[V](m, in, old, src)); err != nil {
		return err
	}
	if in.Imm&bpf.AtomicFetch != 0 {
		m.SetReg(in.Src, m.ZExt(old, 64))
	}
	return nil
}

// exchanged is what a compare-and-exchange leaves in R0: the old value,
// zero-extended (RFC 9669, section 5.3). On x86 the processor leaves the upper
// half of R0 as it was where a 32-bit exchange takes place; the verifier adds a
// zero extension, but Linux 6.18 forgets it where it has pruned the path that
// reads the upper half.
func exchanged[V any](m Machine[V], in bpf.Instruction, old V) V {
	if vague, ok := m.(Vague[V]); ok && in.Size() == 4 {
		return m.Concat(vague.Unspecified(in, 32), old)
	}
	return m.ZExt(old, 64)
}

func atomicResult[V any](d Domain[V], in bpf.Instruction, old, src V) V {
	switch in.Imm &^ bpf.AtomicFetch {
	case bpf.AtomicAdd:
		return d.Add(old, src)
	case bpf.AtomicOr:
		return d.Or(old, src)
	case bpf.AtomicAnd:
		return d.And(old, src)
	case bpf.AtomicXor:
		return d.Xor(old, src)
	default: // AtomicXchg: Valid lets no other through
		return src
	}
}
