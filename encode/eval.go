package encode

import "github.com/k2cc/k2cc/bpf/semantics"

// valuation gives every term a number: its variables are asked for once, all
// else is computed with the words that the interpreter computes with.
type valuation struct {
	variable func(n *node) uint64
	values   []uint64
	known    []bool
}

func newValuation(g *graph, variable func(n *node) uint64) *valuation {
	return &valuation{variable, make([]uint64, len(g.nodes)), make([]bool, len(g.nodes))}
}

// of is the value of n.
func (v *valuation) of(n *node) uint64 {
	if n.op == opConst {
		return n.k
	}
	if n.id >= len(v.known) { // made after the valuation
		more := n.id + 64 - len(v.known)
		v.values = append(v.values, make([]uint64, more)...)
		v.known = append(v.known, make([]bool, more)...)
	}
	if v.known[n.id] {
		return v.values[n.id]
	}
	var out uint64
	if n.op == opVar {
		out = v.variable(n) & maskOf(n.width)
	} else {
		out = v.compute(n)
	}
	v.values[n.id], v.known[n.id] = out, true
	return out
}

func (v *valuation) word(n *node) semantics.Word {
	return semantics.Word{Value: v.of(n), Width: n.width}
}

func (v *valuation) compute(n *node) uint64 {
	var d semantics.Words
	switch n.op {
	case opIte:
		if v.of(n.c) != 0 {
			return v.of(n.a)
		}
		return v.of(n.b)
	case opExtract:
		return d.Extract(v.word(n.a), int(n.k)+n.width-1, int(n.k)).Value
	case opZExt:
		return d.ZExt(v.word(n.a), n.width).Value
	case opSExt:
		return d.SExt(v.word(n.a), n.width).Value
	case opConcat:
		return d.Concat(v.word(n.a), v.word(n.b)).Value
	}
	return wordOps[n.op](d, v.word(n.a), v.word(n.b)).Value
}

// wordOps is the concrete reading of the operations on two operands.
var wordOps = map[op]func(d semantics.Words, a, b semantics.Word) semantics.Word{
	opAdd:  semantics.Words.Add,
	opSub:  semantics.Words.Sub,
	opMul:  semantics.Words.Mul,
	opUDiv: semantics.Words.UDiv,
	opURem: semantics.Words.URem,
	opSDiv: semantics.Words.SDiv,
	opSRem: semantics.Words.SRem,
	opAnd:  semantics.Words.And,
	opOr:   semantics.Words.Or,
	opXor:  semantics.Words.Xor,
	opShl:  semantics.Words.Shl,
	opLShr: semantics.Words.LShr,
	opAShr: semantics.Words.AShr,
	opEq:   semantics.Words.Eq,
	opULt:  semantics.Words.ULt,
	opSLt:  semantics.Words.SLt,
}
