package jumps

import (
	"slices"

	"github.com/k2cc/k2cc/bpf"
)

// moveBlocks puts the block that a jump leads to behind the jump, with what it
// falls through to, and drops the jump. It never turns a jump forwards into one
// backwards: to the verifier that is a loop.
func (e *editor) moveBlocks() bool {
	at, changed := e.index(), false
	for i := range e.fn.Blocks {
		b := e.fn.Blocks[i]
		if !isGoto(b) {
			continue
		}
		from := at[last(b).Target]
		to, ok := e.chain(from)
		if !ok || from <= i+1 || e.enteredFromBetween(i, from, to) {
			continue
		}
		// What stands between changes places with the chain.
		rotated := slices.Concat(e.fn.Blocks[from:to], e.fn.Blocks[i+1:from])
		for k, moved := range rotated {
			e.fn.Blocks[i+1+k] = moved
			at[moved.Label] = i + 1 + k
		}
		b.Code = b.Code[:len(b.Code)-1]
		changed = true
	}
	return changed
}

// chain is the run of blocks from index from on that fall through one to the
// next, if nothing falls into its first.
func (e *editor) chain(from int) (to int, ok bool) {
	if from == 0 || fallsThrough(e.fn.Blocks[from-1]) {
		return 0, false
	}
	for to = from; to < len(e.fn.Blocks); to++ {
		if !fallsThrough(e.fn.Blocks[to]) {
			return to + 1, true
		}
	}
	return 0, false
}

// enteredFromBetween tells whether a block between i and the chain from..to
// jumps into the chain: after the move that would be a jump backwards.
func (e *editor) enteredFromBetween(i, from, to int) bool {
	inside := map[bpf.Label]bool{}
	for _, b := range e.fn.Blocks[from:to] {
		inside[b.Label] = true
	}
	for _, b := range e.fn.Blocks[i+1 : from] {
		if in := last(b); in != nil && in.IsJump() && inside[in.Target] {
			return true
		}
	}
	return false
}
