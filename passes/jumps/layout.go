package jumps

import (
	"slices"

	"github.com/k2cc/k2cc/bpf"
)

// moveBlocks puts the block that a jump leads to behind the jump, with what it
// falls through to, and drops the jump. It never turns a jump forwards into one
// backwards: to the verifier that is a loop.
func (e *editor) moveBlocks() bool {
	for i, b := range e.fn.Blocks {
		if !isGoto(b) {
			continue
		}
		at := e.index()
		from := at[last(b).Target]
		to, ok := e.chain(from)
		if !ok || from <= i+1 || e.enteredFromBetween(i, from, to) {
			continue
		}
		moved := slices.Clone(e.fn.Blocks[from:to])
		rest := slices.Delete(slices.Clone(e.fn.Blocks), from, to)
		e.fn.Blocks = slices.Insert(rest, i+1, moved...)
		b.Code = b.Code[:len(b.Code)-1]
		return true
	}
	return false
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

// mergeTails lets blocks that end alike share the end: of two that run the same
// instructions and then go the same way, the earlier one jumps into the later
// one.
func (e *editor) mergeTails() bool {
	groups := map[bpf.Instruction][]int{}
	for i := range e.fn.Blocks {
		tail := e.tail(i)
		if len(tail.code) == 0 {
			continue
		}
		key := tail.code[len(tail.code)-1]
		key.Pos, key.Target = 0, tail.to
		for _, j := range groups[key] {
			if e.mergeTail(j, i) {
				return true
			}
		}
		groups[key] = append(groups[key], i)
	}
	return false
}

// ending is a block's code without a jump at its end, and where control goes
// then: zero for an exit, which is part of the code.
type ending struct {
	code []bpf.Instruction
	to   bpf.Label
}

// tail is empty where the block ends in a conditional jump.
func (e *editor) tail(i int) ending {
	b := e.fn.Blocks[i]
	in := last(b)
	switch {
	case in == nil || in.IsCondJump() || in.IsMayGoto():
		return ending{}
	case in.IsGoto():
		return ending{b.Code[:len(b.Code)-1], in.Target}
	case in.IsExit():
		return ending{b.Code, 0}
	case i+1 < len(e.fn.Blocks):
		return ending{b.Code, e.fn.Blocks[i+1].Label}
	}
	return ending{}
}

// mergeTail makes block j, which stands before block i, jump to the end that
// the two have in common, if that saves anything.
func (e *editor) mergeTail(j, i int) bool {
	a, b := e.tail(j), e.tail(i)
	n := 0
	for n < len(a.code) && n < len(b.code) && bpf.SameCode(a.code[len(a.code)-1-n], b.code[len(b.code)-1-n]) {
		n++
	}
	saved := bpf.Slots(a.code[len(a.code)-n:])
	if !isGoto(e.fn.Blocks[j]) {
		saved-- // the jump that comes in
	}
	if a.to != b.to || n == 0 || saved <= 0 || fallsThrough(e.fn.Blocks[j]) && a.to != 0 {
		return false
	}
	label := e.splitOff(i, len(b.code)-n)
	block := e.fn.Blocks[j]
	block.Code = append(slices.Clone(a.code[:len(a.code)-n]),
		bpf.Instruction{Op: bpf.ClassJMP | bpf.OpJA, Target: label, Pos: a.code[len(a.code)-n].Pos})
	return true
}

// splitOff makes the instructions from index at on of block i a block of their
// own and returns its label.
func (e *editor) splitOff(i, at int) bpf.Label {
	b := e.fn.Blocks[i]
	if at == 0 {
		return b.Label
	}
	label := bpf.Label(1)
	for _, o := range e.fn.Blocks {
		label = max(label, o.Label+1)
	}
	tail := &bpf.Block{Label: label, Code: slices.Clone(b.Code[at:])}
	b.Code = b.Code[:at]
	e.fn.Blocks = slices.Insert(e.fn.Blocks, i+1, tail)
	return label
}
