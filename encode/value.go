package encode

import "github.com/k2cc/k2cc/bpf/flow"

// value is a term with what the verifier takes it for.
type value struct {
	*node
	kind flow.Kind
	null bool // a pointer that nothing has compared with null yet
}

// terms is the domain of Z3 terms (semantics.Domain).
type terms struct{ g *graph }

// losePacket makes a packet pointer a mere number.
func (v *value) losePacket() {
	if v.kind == flow.KindPacket || v.kind == flow.KindPacketEnd {
		v.kind = flow.KindAny
	}
}

func scalar(n *node) value { return value{node: n, kind: flow.KindScalar} }

func (t terms) Const(v uint64, width int) value { return scalar(t.g.constant(v, width)) }

func (t terms) Add(a, b value) value {
	return value{node: t.g.binary(opAdd, a.node, b.node), kind: sumKind(a, b)}
}

// Sub is a - b. The difference of two pointers is a number, and the verifier lets
// nobody take a pointer from a number; what may be one is of unknown kind.
func (t terms) Sub(a, b value) value {
	kind := flow.KindAny
	switch {
	case a.kind == flow.KindScalar, a.kind.IsPointer() && b.kind.IsPointer():
		kind = flow.KindScalar
	case a.kind == flow.KindStack, b.kind == flow.KindScalar:
		kind = a.kind
	}
	return value{node: t.g.binary(opSub, a.node, b.node), kind: kind}
}

// sumKind is what a pointer and a number make. Of a pointer and what may be
// either, the verifier lets only a number be added. What may lead into the own
// frame is never of unknown kind.
func sumKind(a, b value) flow.Kind {
	switch {
	case a.kind == flow.KindStack || b.kind == flow.KindStack:
		return flow.KindStack
	case b.kind == flow.KindScalar, a.kind.IsPointer() && !a.null && !b.kind.IsPointer():
		return a.kind
	case a.kind == flow.KindScalar, b.kind.IsPointer() && !b.null && !a.kind.IsPointer():
		return b.kind
	}
	return flow.KindAny
}

func (t terms) Mul(a, b value) value  { return scalar(t.g.binary(opMul, a.node, b.node)) }
func (t terms) UDiv(a, b value) value { return scalar(t.g.binary(opUDiv, a.node, b.node)) }
func (t terms) URem(a, b value) value { return scalar(t.g.binary(opURem, a.node, b.node)) }
func (t terms) SDiv(a, b value) value { return scalar(t.g.binary(opSDiv, a.node, b.node)) }
func (t terms) SRem(a, b value) value { return scalar(t.g.binary(opSRem, a.node, b.node)) }
func (t terms) And(a, b value) value  { return scalar(t.g.binary(opAnd, a.node, b.node)) }
func (t terms) Or(a, b value) value   { return scalar(t.g.binary(opOr, a.node, b.node)) }
func (t terms) Xor(a, b value) value  { return scalar(t.g.binary(opXor, a.node, b.node)) }
func (t terms) Shl(a, b value) value  { return scalar(t.g.binary(opShl, a.node, b.node)) }
func (t terms) LShr(a, b value) value { return scalar(t.g.binary(opLShr, a.node, b.node)) }
func (t terms) AShr(a, b value) value { return scalar(t.g.binary(opAShr, a.node, b.node)) }
func (t terms) Eq(a, b value) value   { return scalar(t.g.compare(opEq, a.node, b.node)) }
func (t terms) ULt(a, b value) value  { return scalar(t.g.compare(opULt, a.node, b.node)) }
func (t terms) SLt(a, b value) value  { return scalar(t.g.compare(opSLt, a.node, b.node)) }

func (t terms) Ite(cond, a, b value) value {
	kind := a.kind
	if a.kind != b.kind {
		kind = flow.KindAny
	}
	return value{node: t.g.ite(cond.node, a.node, b.node), kind: kind}
}

func (t terms) Extract(v value, hi, lo int) value {
	if hi-lo+1 == v.width {
		return v
	}
	return scalar(t.g.part(v.node, hi, lo))
}

func (t terms) ZExt(v value, width int) value {
	if width == v.width {
		return v
	}
	return scalar(t.g.zext(v.node, width))
}

func (t terms) SExt(v value, width int) value {
	if width == v.width {
		return v
	}
	return scalar(t.g.sext(v.node, width))
}

func (t terms) Concat(hi, lo value) value { return scalar(t.g.concat(hi.node, lo.node)) }
