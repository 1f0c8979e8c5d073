package jumps

import (
	"slices"

	"github.com/k2cc/k2cc/bpf"
)

// SplitExits gives each way into a short block that ends the function a copy of
// that block, so that what is returned may be set where it is known. It answers
// nil where there is nothing to copy. The copies make code longer; Simplify makes
// one of those that are still equal.
func SplitExits(fn *bpf.Function) *bpf.Function {
	e := &editor{fn: fn.Clone()}
	jumped, at := e.jumpedTo(), e.index()
	free := freeLabel(e.fn)
	var copies []*bpf.Block
	changed := false
	for _, b := range e.fn.Blocks {
		in := last(b)
		if in == nil || !in.IsJump() || in.IsMayGoto() {
			continue
		}
		to := at[in.Target]
		end := e.fn.Blocks[to]
		if !isShortExit(end) || jumped[end.Label] == 1 && (to == 0 || !fallsThrough(e.fn.Blocks[to-1])) {
			continue
		}
		changed = true
		if in.IsGoto() {
			b.Code = append(b.Code[:len(b.Code)-1:len(b.Code)-1], end.Code...)
			continue
		}
		in.Target = free
		copies = append(copies, &bpf.Block{Label: free, Code: slices.Clone(end.Code)})
		free++
	}
	if !changed {
		return nil
	}
	e.fn.Blocks = append(e.fn.Blocks, copies...)
	e.dropUnreachable()
	return e.fn
}

// isShortExit tells whether a block does nothing but set the result, if that,
// and exit.
func isShortExit(b *bpf.Block) bool {
	in := last(b)
	if in == nil || !in.IsExit() || len(b.Code) > 2 {
		return false
	}
	return len(b.Code) == 1 || b.Code[0].IsALU() && b.Code[0].Op.ALU() == bpf.OpMov && b.Code[0].Dst == bpf.R0
}
