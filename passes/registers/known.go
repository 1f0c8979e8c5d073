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
			if !computes || !same(states[i].Regs[in.Dst], states[i+1].Regs[in.Dst]) {
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
