package registers

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// known is the function without computations that leave in a register what is
// there already.
func (w *webs) known(facts *flow.Facts) *bpf.Function {
	out := w.fn.Clone()
	for _, b := range w.graph.Order() {
		if !facts.Reachable(b) {
			continue
		}
		states := facts.Block(b)
		code := out.Blocks[b].Code[:0:0]
		for i, in := range w.fn.Blocks[b].Code {
			computes := (in.IsALU() || in.Op == bpf.LoadImm64) && in.Dst < bpf.R10
			was, is := states[i].Regs[in.Dst], states[i+1].Regs[in.Dst]
			if !computes || !same(was, is) && !(halfReturned(w.fn, b, i) && sameHalf(was, is)) {
				code = append(code, in)
			}
		}
		out.Blocks[b].Code = code
	}
	return out
}

// withoutDead is the function without computations whose result nobody reads.
func (w *webs) withoutDead() *bpf.Function {
	out := w.fn.Clone()
	for _, b := range w.graph.Order() {
		code := out.Blocks[b].Code[:0:0]
		for i, in := range w.fn.Blocks[b].Code {
			if w.sites[b][i].live.Has(in.Dst) || !in.IsALU() && in.Op != bpf.LoadImm64 {
				code = append(code, in)
			}
		}
		out.Blocks[b].Code = code
	}
	return out
}

// same tells whether two values are known to be equal.
func same(a, b flow.Value) bool {
	if a.Kind != b.Kind || a.Kind == flow.KindNone {
		return false
	}
	constant := a.Kind == flow.KindScalar && a.Mask == 0 && b.Mask == 0
	return constant && a.Bits == b.Bits || a.Base != 0 && a.Base == b.Base && a.Offset == b.Offset
}

// halfReturned tells whether an instruction sets a result of which callers take
// the low half.
func halfReturned(fn *bpf.Function, b, i int) bool {
	code := fn.Blocks[b].Code
	return fn.HalfResult && code[i].Dst == bpf.R0 && returns(code[i+1:])
}

// sameHalf tells whether the low halves of two values are known to be equal.
func sameHalf(a, b flow.Value) bool {
	return a.Kind == flow.KindScalar && b.Kind == flow.KindScalar && uint32(a.Mask|b.Mask|(a.Bits^b.Bits)) == 0
}
