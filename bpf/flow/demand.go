package flow

import (
	"math/bits"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/semantics"
)

// operation is what a term is made with.
type operation uint8

const (
	opLeaf operation = iota // a constant, or what memory holds
	opRegister
	opAdd // and whatever needs no more of its operands than their low bits
	opDivide
	opAnd
	opOr
	opXor
	opShl
	opLShr
	opAShr
	opEq
	opULt
	opSLt
	opIte
	opExtract
	opZExt
	opSExt
	opConcat
)

// term is a value that an instruction computes on its way.
type term struct {
	number // what is known of it
	op     operation
	args   [3]int // indices of terms
	low    int    // of opExtract
	reg    bpf.Register
	live   uint64 // bits that are needed
}

// ref names a term of an instruction.
type ref int

// terms reads the description of one instruction as terms, in the order in
// which they are computed, and what it does with them.
type terms struct {
	d         domain
	list      []term
	sets      []setRegister
	store     ref // what goes to memory, or -1
	src       Value
	in        bpf.Instruction
	bigEndian bool
}

type setRegister struct {
	reg bpf.Register
	v   ref
}

var _ semantics.Machine[ref] = (*terms)(nil)

// reset makes ready for an instruction with a source register of which src is
// known.
func (t *terms) reset(in bpf.Instruction, src Value) {
	t.list, t.sets, t.store, t.src, t.in = t.list[:0], t.sets[:0], -1, src, in
}

func (t *terms) add(op operation, n number, args ...ref) ref {
	x := term{number: n, op: op}
	for i, a := range args {
		x.args[i] = int(a)
	}
	t.list = append(t.list, x)
	return ref(len(t.list) - 1)
}

func (t *terms) at(r ref) number { return t.list[r].number }

// Const is a constant.
func (t *terms) Const(v uint64, width int) ref { return t.add(opLeaf, constant(v, width)) }

// Add is a + b.
func (t *terms) Add(a, b ref) ref { return t.add(opAdd, t.d.Add(t.at(a), t.at(b)), a, b) }

// Sub is a - b.
func (t *terms) Sub(a, b ref) ref { return t.add(opAdd, t.d.Sub(t.at(a), t.at(b)), a, b) }

// Mul is a * b.
func (t *terms) Mul(a, b ref) ref { return t.add(opAdd, t.d.Mul(t.at(a), t.at(b)), a, b) }

// UDiv is the unsigned quotient.
func (t *terms) UDiv(a, b ref) ref { return t.add(opDivide, unknown(t.at(a).width), a, b) }

// URem is the unsigned remainder.
func (t *terms) URem(a, b ref) ref { return t.add(opDivide, unknown(t.at(a).width), a, b) }

// SDiv is the signed quotient.
func (t *terms) SDiv(a, b ref) ref { return t.add(opDivide, unknown(t.at(a).width), a, b) }

// SRem is the signed remainder.
func (t *terms) SRem(a, b ref) ref { return t.add(opDivide, unknown(t.at(a).width), a, b) }

// And is a & b.
func (t *terms) And(a, b ref) ref { return t.add(opAnd, t.d.And(t.at(a), t.at(b)), a, b) }

// Or is a | b.
func (t *terms) Or(a, b ref) ref { return t.add(opOr, t.d.Or(t.at(a), t.at(b)), a, b) }

// Xor is a ^ b.
func (t *terms) Xor(a, b ref) ref { return t.add(opXor, t.d.Xor(t.at(a), t.at(b)), a, b) }

// Shl is a << b.
func (t *terms) Shl(a, b ref) ref { return t.add(opShl, t.d.Shl(t.at(a), t.at(b)), a, b) }

// LShr is a >> b with zeros coming in.
func (t *terms) LShr(a, b ref) ref { return t.add(opLShr, t.d.LShr(t.at(a), t.at(b)), a, b) }

// AShr is a >> b with copies of the sign coming in.
func (t *terms) AShr(a, b ref) ref { return t.add(opAShr, t.d.AShr(t.at(a), t.at(b)), a, b) }

// Eq tells whether a is b.
func (t *terms) Eq(a, b ref) ref { return t.add(opEq, unknown(1), a, b) }

// ULt tells whether a is below b, both unsigned.
func (t *terms) ULt(a, b ref) ref { return t.add(opULt, unknown(1), a, b) }

// SLt tells whether a is below b, both signed.
func (t *terms) SLt(a, b ref) ref { return t.add(opSLt, unknown(1), a, b) }

// Ite is a where cond holds, else b.
func (t *terms) Ite(cond, a, b ref) ref {
	return t.add(opIte, unknown(t.at(a).width), a, b, cond)
}

// Extract is the bits hi down to lo.
func (t *terms) Extract(v ref, hi, lo int) ref {
	x := t.add(opExtract, t.d.Extract(t.at(v), hi, lo), v)
	t.list[x].low = lo
	return x
}

// ZExt widens v with zeros.
func (t *terms) ZExt(v ref, width int) ref { return t.add(opZExt, t.d.ZExt(t.at(v), width), v) }

// SExt widens v with copies of its sign.
func (t *terms) SExt(v ref, width int) ref { return t.add(opSExt, t.d.SExt(t.at(v), width), v) }

// Concat has hi's bits above lo's.
func (t *terms) Concat(hi, lo ref) ref {
	return t.add(opConcat, t.d.Concat(t.at(hi), t.at(lo)), hi, lo)
}

// BigEndian tells the target's byte order.
func (t *terms) BigEndian() bool { return t.bigEndian }

// Reg is a register. Of the destination's value nothing is taken as known: two
// operands may not both do without bits because of what is known of the other.
func (t *terms) Reg(r bpf.Register) ref {
	n := unknown(64)
	if r == t.in.Src && r != t.in.Dst && t.in.UsesSrc() {
		n.Value = t.src
	}
	x := t.add(opRegister, n)
	t.list[x].reg = r
	return x
}

// SetReg notes what a register gets.
func (t *terms) SetReg(r bpf.Register, v ref) { t.sets = append(t.sets, setRegister{r, v}) }

// Imm is the immediate, or nothing known where a loader patches it.
func (t *terms) Imm(in bpf.Instruction) ref {
	if in.Ref != 0 && !in.PatchesOffset() {
		return t.add(opLeaf, unknown(64))
	}
	return t.Const(uint64(in.Imm), 64)
}

// Load is what memory holds. The address is the caller's business.
func (t *terms) Load(in bpf.Instruction, _ bpf.Register) (ref, error) {
	return t.add(opLeaf, unknown(8*in.Size())), nil
}

// Store notes what goes to memory.
func (t *terms) Store(_ bpf.Instruction, _ bpf.Register, v ref) error {
	t.store = v
	return nil
}

// need adds needed bits to an operand.
func (t *terms) need(x *term, arg int, live uint64) {
	a := &t.list[x.args[arg]]
	a.live |= live & ones(a.width)
}

// spread carries needs from results to registers. Where it does without bits of
// one operand because of known bits of another, all of the other's that matter
// are needed, so that they stay as known.
func (t *terms) spread() {
	for i := len(t.list) - 1; i >= 0; i-- {
		x := &t.list[i]
		if x.live == 0 {
			continue
		}
		switch x.op {
		case opLeaf, opRegister:
		case opAnd, opOr:
			t.spreadMask(x)
		case opShl, opLShr, opAShr:
			t.spreadShift(x)
		case opEq, opULt, opSLt:
			t.spreadCompare(x)
		case opExtract, opZExt, opSExt, opConcat:
			t.spreadWidth(x)
		case opAdd:
			low := lowBits(bits.Len64(x.live))
			t.need(x, 0, low)
			t.need(x, 1, low)
		case opXor:
			t.need(x, 0, x.live)
			t.need(x, 1, x.live)
		case opIte:
			t.need(x, 0, x.live)
			t.need(x, 1, x.live)
			t.need(x, 2, 1)
		default:
			t.need(x, 0, ^uint64(0))
			t.need(x, 1, ^uint64(0))
		}
	}
}

// lowBits is the number with the low n bits set.
func lowBits(n int) uint64 { return 1<<n - 1 }

func (t *terms) spreadMask(x *term) {
	a, b := &t.list[x.args[0]], &t.list[x.args[1]]
	matter := func(of *term) uint64 { // bits that other operand's may change the result
		if x.op == opAnd {
			return of.Bits | of.Mask
		}
		return ^of.Bits
	}
	if a.op == opLeaf {
		t.need(x, 1, x.live&matter(a))
		return
	}
	t.need(x, 0, x.live&matter(b))
	t.need(x, 1, x.live)
}

func (t *terms) spreadShift(x *term) {
	w, by := x.width, &t.list[x.args[1]]
	t.need(x, 1, ^uint64(0))
	sign := uint64(1) << (w - 1)
	if !by.IsConst() {
		switch {
		case x.op == opShl:
			t.need(x, 0, lowBits(bits.Len64(x.live)))
		default:
			t.need(x, 0, sign|^lowBits(bits.TrailingZeros64(x.live)))
		}
		return
	}
	n := int(by.Bits)
	switch {
	case x.op == opShl:
		t.need(x, 0, x.live>>n)
	case x.op == opAShr && x.live>>(w-1-n) != 0:
		t.need(x, 0, x.live<<n|sign)
	default:
		t.need(x, 0, x.live<<n)
	}
}

// spreadCompare knows that comparing with a power of two needs the bits from
// there up only, and with zero, both signed, the sign.
func (t *terms) spreadCompare(x *term) {
	a, b := &t.list[x.args[0]], &t.list[x.args[1]]
	all := ^uint64(0)
	needA, needB := all, all
	sign := uint64(1) << (a.width - 1)
	switch {
	case x.op == opULt && b.IsConst() && bits.OnesCount64(b.Bits) == 1:
		needA = ^(b.Bits - 1)
	case x.op == opULt && a.IsConst() && a.Bits != all && bits.OnesCount64(a.Bits+1) == 1:
		needB = ^a.Bits
	case x.op == opSLt && b.IsConst() && b.Bits == 0:
		needA = sign
	case x.op == opSLt && a.IsConst() && a.Bits == ones(a.width):
		needB = sign
	}
	t.need(x, 0, needA)
	t.need(x, 1, needB)
}

func (t *terms) spreadWidth(x *term) {
	a := &t.list[x.args[0]]
	switch x.op {
	case opExtract:
		t.need(x, 0, x.live<<x.low)
	case opSExt:
		need := x.live
		if x.live>>(a.width-1) != 0 {
			need |= 1 << (a.width - 1)
		}
		t.need(x, 0, need)
	case opConcat:
		t.need(x, 1, x.live)
		t.need(x, 0, x.live>>t.list[x.args[1]].width)
	default:
		t.need(x, 0, x.live)
	}
}
