package registers

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// fold has legacy packet loads add a constant to an offset by themselves, where a
// register holds the offset without it, and drops what is then computed for
// nobody.
func (w *webs) fold(facts *flow.Facts) *bpf.Function {
	out := w.fn.Clone()
	folded := map[place]bool{}
	for _, b := range w.graph.Order() {
		var states []flow.State
		for i, in := range out.Blocks[b].Code {
			if !in.IsPacketLoad() || in.Op.Mode() != bpf.ModeInd || in.Ref != 0 || !facts.Reachable(b) {
				continue
			}
			if states == nil {
				states = facts.Block(b)
			}
			if r, imm, ok := offsetFrom(&states[i], in, w.sites[b][i].live); ok {
				out.Blocks[b].Code[i].Src, out.Blocks[b].Code[i].Imm = r, imm
				folded[place{b, i}] = true
			}
		}
	}
	if len(folded) == 0 {
		return out
	}
	unused := w.unused(folded)
	for _, b := range w.graph.Order() {
		code := out.Blocks[b].Code[:0:0]
		for i, in := range out.Blocks[b].Code {
			if dst := w.sites[b][i].dst; dst == none || !unused[w.find(dst)] {
				code = append(code, in)
			}
		}
		out.Blocks[b].Code = code
	}
	return out
}

// place is an instruction of a function: block index, index in the block.
type place struct{ block, i int }

// offsetFrom finds a register that is needed behind a legacy packet load anyway,
// and that the load's offset differs from by a constant.
func offsetFrom(s *flow.State, in bpf.Instruction, live bpf.Registers) (bpf.Register, int64, bool) {
	v := s.Regs[in.Src]
	for r := range bpf.R10 {
		o := s.Regs[r]
		imm := in.Imm + v.Offset - o.Offset
		if r != in.Src && live.Has(r) && v.Base != 0 && o.Base == v.Base && imm == int64(int32(imm)) {
			return r, imm, true
		}
	}
	return 0, 0, false
}

// unused is the webs that nothing reads but what computes them, the instructions
// in but excepted.
func (w *webs) unused(but map[place]bool) map[node]bool {
	used, out := map[node]bool{}, map[node]bool{}
	for _, b := range w.graph.Order() {
		for i, in := range w.fn.Blocks[b].Code {
			at := w.sites[b][i]
			dst := none
			if at.dst != none {
				dst = w.find(at.dst)
				out[dst] = true
			}
			computes := in.IsALU() && in.Ref == 0
			if dst != none && !computes {
				used[dst] = true
			}
			if at.src != none && !but[place{b, i}] && (!computes || w.find(at.src) != dst) {
				used[w.find(at.src)] = true
			}
		}
	}
	for n := range out {
		out[n] = !used[n] && !w.fixed[n]
	}
	return out
}
