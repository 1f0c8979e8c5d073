package jumps

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// maxAnalyzed bounds the slots that are analysed to find who reads what could be
// computed early: each change makes that necessary anew.
const maxAnalyzed = 1 << 15

// hoist computes before a branch what both of its ways begin with computing. One
// of them may branch again before, where nobody else reads what is computed.
func (e *editor) hoist() bool {
	jumped, at := e.jumpedTo(), e.index()
	var h *heads
	for i, b := range e.fn.Blocks {
		in := last(b)
		if in == nil || !in.IsCondJump() || in.IsMayGoto() {
			continue
		}
		to := at[in.Target]
		taken := e.fn.Blocks[to]
		if jumped[taken.Label] != 1 || to == 0 || fallsThrough(e.fn.Blocks[to-1]) || !computes(taken) {
			continue
		}
		head := taken.Code[0]
		if in.Reads().Has(head.Dst) {
			continue
		}
		if h == nil {
			h = &heads{editor: e, jumped: jumped, at: at}
		}
		if next := h.next(i+1, head); next != nil && next != taken {
			taken.Code, next.Code = taken.Code[1:], next.Code[1:]
			n := len(b.Code) - 1
			b.Code = append(b.Code[:n:n], head, *in)
			return true
		}
	}
	return false
}

// computes tells whether a block begins with computing in a register.
func computes(b *bpf.Block) bool {
	return len(b.Code) > 1 && b.Code[0].IsALU() && b.Code[0].Ref == 0
}

// heads finds out where a block's first instruction stands a second time.
type heads struct {
	*editor
	jumped map[bpf.Label]int
	at     map[bpf.Label]int
	needs  *flow.Needs // once they are wanted
}

// next is the block, from index i on, that begins with the instruction as well,
// with nothing but branches before that do not mind.
func (h *heads) next(i int, head bpf.Instruction) *bpf.Block {
	for ; i < len(h.fn.Blocks); i++ {
		b := h.fn.Blocks[i]
		if h.jumped[b.Label] != 0 || len(b.Code) == 0 {
			return nil
		}
		if computes(b) && bpf.SameCode(b.Code[0], head) {
			return b
		}
		in := b.Code[0]
		if len(b.Code) > 1 || !in.IsCondJump() || in.IsMayGoto() || in.Reads().Has(head.Dst) || !h.dead(h.at[in.Target], head.Dst) {
			return nil
		}
	}
	return nil
}

// dead tells whether nobody reads a register from a block's start on.
func (h *heads) dead(block int, r bpf.Register) bool {
	if h.needs == nil {
		if h.analyzed += h.fn.Slots(); h.analyzed > maxAnalyzed {
			return false
		}
		facts, err := flow.Analyze(h.ctx, h.fn, flow.Options{BigEndian: h.bigEndian})
		if err != nil {
			return false
		}
		if h.needs, err = flow.Liveness(h.fn, facts); err != nil {
			return false
		}
	}
	return h.needs.In(block).Regs[r] == 0
}
