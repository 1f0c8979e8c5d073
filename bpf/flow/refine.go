package flow

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/semantics"
)

// branch makes the state what holds on one way out of a conditional jump. It fails
// where that way is never taken.
func (m *machine) branch(in bpf.Instruction, taken bool) bool {
	dst, src := m.Reg(in.Dst), semantics.Operand[number](m, in)
	cond := semantics.Taken[number](m, in, dst, src)
	m.leaked = false // comparing a pointer does not give it away
	if cond.IsConst() {
		return (cond.Bits != 0) == taken
	}
	a, b := dst, src
	if in.Op.Class() == bpf.ClassJMP32 {
		a, b = m.Extract(dst, 31, 0), m.Extract(src, 31, 0)
		m.leaked = false
	}
	if !compare(in.Op.Jump(), taken, &a, &b) {
		return false
	}
	if in.UsesSrc() && !m.narrow(in.Src, src, b) {
		return false
	}
	if in.Op.Class() == bpf.ClassJMP {
		m.nullCheck(in, dst, src, taken)
	}
	return m.narrow(in.Dst, dst, a)
}

// compare makes two numbers of one width as narrow as the outcome of their
// comparison allows.
func compare(op bpf.Op, taken bool, a, b *number) bool {
	switch op {
	case bpf.OpJSet:
		return maskTest(taken, a, b)
	case bpf.OpJEq, bpf.OpJNE:
		if taken == (op == bpf.OpJEq) {
			return a.meet(*b) && b.meet(*a)
		}
		return differ(a, *b) && differ(b, *a)
	case bpf.OpJLT, bpf.OpJGE:
		return unsignedOrder(a, b, taken == (op == bpf.OpJLT))
	case bpf.OpJGT, bpf.OpJLE:
		return unsignedOrder(b, a, taken == (op == bpf.OpJGT))
	case bpf.OpJSLT, bpf.OpJSGE:
		return signedOrder(a, b, taken == (op == bpf.OpJSLT))
	case bpf.OpJSGT, bpf.OpJSLE:
		return signedOrder(b, a, taken == (op == bpf.OpJSGT))
	}
	return true
}

// unsignedOrder knows that a < b, or that it is not so.
func unsignedOrder(a, b *number, below bool) bool {
	switch {
	case !below:
		a.UMin, b.UMax = max(a.UMin, b.UMin), min(b.UMax, a.UMax)
	case b.UMax == 0 || a.UMin == ones(a.width):
		return false
	default:
		a.UMax, b.UMin = min(a.UMax, b.UMax-1), max(b.UMin, a.UMin+1)
	}
	return a.sync() && b.sync()
}

// signedOrder knows that a < b, or that it is not so.
func signedOrder(a, b *number, below bool) bool {
	top := unknown(a.width)
	switch {
	case !below:
		a.SMin, b.SMax = max(a.SMin, b.SMin), min(b.SMax, a.SMax)
	case b.SMax == top.SMin || a.SMin == top.SMax:
		return false
	default:
		a.SMax, b.SMin = min(a.SMax, b.SMax-1), max(b.SMin, a.SMin+1)
	}
	return a.sync() && b.sync()
}

// differ knows that a is not b.
func differ(a *number, b number) bool {
	if !b.IsConst() {
		return true
	}
	if a.IsConst() && a.Bits == b.Bits {
		return false
	}
	if a.UMin == b.UMin {
		a.UMin++
	}
	if a.UMax == b.UMax {
		a.UMax--
	}
	if a.SMin == b.SMin {
		a.SMin++
	}
	if a.SMax == b.SMax {
		a.SMax--
	}
	return a.sync()
}

// maskTest knows that a & b is not zero, or that it is.
func maskTest(set bool, a, b *number) bool {
	if !set {
		return a.meetBits(0, ^b.Bits) && b.meetBits(0, ^a.Bits) && a.sync() && b.sync()
	}
	if b.IsConst() && b.Bits&(b.Bits-1) == 0 && !a.meetBits(b.Bits, ^b.Bits) {
		return false
	}
	return a.sync()
}

// narrow makes register r, which held before, as narrow as after, which is
// before or its lower half, and with it every place that is a known amount
// away.
func (m *machine) narrow(r bpf.Register, before, after number) bool {
	n := before
	if after.width == 32 {
		if !n.meetLow(after) {
			return false
		}
	} else {
		n.Value = after.Value
	}
	n.Kind, n.MaybeNull = before.Kind, before.MaybeNull
	n.Base, n.Offset, n.Align = before.Base, before.Offset, before.Align
	if n.Value == before.Value || n.Kind.IsPointer() || n.Kind == KindNone {
		return true
	}
	if n.Base == 0 {
		m.s.Regs[r] = tidy(n.Value)
		return true
	}
	if n.IsConst() {
		m.s.resolve(based{n.Base, n.Offset}, n.Bits)
	}
	return m.eachOf(n.Base, func(v Value) (Value, bool) {
		if v.Kind.IsPointer() {
			return v, true
		}
		moved := addRange(n, constant(uint64(v.Offset-n.Offset), 64))
		w := number{v, 64}
		if v.Offset == n.Offset {
			moved = n
		}
		ok := w.meet(moved)
		return tidy(w.Value), ok
	})
}

// tidy gives the form that constants have.
func tidy(v Value) Value {
	if v.IsConst() {
		v.Base, v.Offset, v.Align = 0, 0, 0
		if v.Bits == 0 {
			v.Kind = KindScalar
		}
	}
	return v
}

// meetLow narrows n, of width 64, knowing its lower half.
func (n *number) meetLow(low number) bool {
	high := ^ones(32)
	if !n.meetBits(low.Bits, low.Mask|high) {
		return false
	}
	if n.Mask&high == 0 {
		top := n.Bits & high
		n.UMin, n.UMax = max(n.UMin, top|low.UMin), min(n.UMax, top|low.UMax)
	}
	return n.UMin <= n.UMax && n.sync()
}

// eachOf changes every place with the Base. It fails as soon as change does.
func (m *machine) eachOf(b Base, change func(Value) (Value, bool)) bool {
	ok := true
	apply := func(v *Value) {
		if v.Base == b && v.Kind != KindNone && ok {
			*v, ok = change(*v)
		}
	}
	for r := range m.s.Regs {
		apply(&m.s.Regs[r])
	}
	for f := range m.s.fields {
		apply(&m.s.fields[f])
	}
	m.s.eachCell(apply)
	return ok
}

// nullCheck learns from the comparison of what may be a null pointer with
// zero. The copies of the pointer are no more and no less null.
func (m *machine) nullCheck(in bpf.Instruction, dst, src number, taken bool) {
	op := in.Op.Jump()
	if op != bpf.OpJEq && op != bpf.OpJNE || !src.IsConst() || src.Bits != 0 {
		return
	}
	if !dst.MaybeNull || dst.Base == 0 {
		return
	}
	null := taken == (op == bpf.OpJEq)
	m.eachOf(dst.Base, func(v Value) (Value, bool) {
		switch {
		case v.Offset != dst.Offset:
		case null:
			return Const(0), true
		default:
			v.MaybeNull = false
		}
		return v, true
	})
}
