package jumps

import (
	"slices"

	"github.com/k2cc/k2cc/bpf"
)

// rotate moves the head of a loop to its end, where control enters behind the
// head: of two jumps that takes one.
//
//	    r1 = 4                      r1 = 4
//	    goto L2                 L2: ...
//	L1: r1 += 4                     if r2 == r3 goto L4
//	    if r1 == 64 goto L4     L1: r1 += 4
//	L2: ...                         if r1 == 64 goto L4
//	    if r2 == r3 goto L4         goto L2
//	    goto L1
//
// What leads backwards to the head then leads forwards, and backwards to what is
// behind it. Besides that no jump comes to lead backwards.
func (e *editor) rotate() bool {
	at := e.index()
	for i, b := range e.fn.Blocks {
		if !isGoto(b) {
			continue
		}
		head := at[last(b).Target]
		if head == 0 || head > i || !isGoto(e.fn.Blocks[head-1]) {
			continue
		}
		enters := last(e.fn.Blocks[head-1])
		body := at[enters.Target]
		if body <= head || body > i || !e.passes(head, body, i, at) {
			continue
		}
		b.Code = b.Code[:len(b.Code)-1]
		back := &bpf.Block{Label: freeLabel(e.fn), Code: []bpf.Instruction{*enters}}
		before := e.fn.Blocks[head-1]
		before.Code = before.Code[:len(before.Code)-1]
		e.fn.Blocks = slices.Concat(
			e.fn.Blocks[:head], e.fn.Blocks[body:i+1], e.fn.Blocks[head:body], []*bpf.Block{back}, e.fn.Blocks[i+1:])
		return true
	}
	return false
}

// passes tells whether control goes from the head on to the body and nowhere else
// up to index i.
func (e *editor) passes(head, body, i int, at map[bpf.Label]int) bool {
	for _, b := range e.fn.Blocks[head:body] {
		if !fallsThrough(b) {
			return false
		}
		if in := last(b); in != nil && in.IsJump() && at[in.Target] >= body && at[in.Target] <= i {
			return false
		}
	}
	return true
}

// freeLabel is a label that no block has, and none above it.
func freeLabel(fn *bpf.Function) bpf.Label {
	free := bpf.Label(1)
	for _, b := range fn.Blocks {
		free = max(free, b.Label+1)
	}
	return free
}
