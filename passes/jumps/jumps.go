// Package jumps rearranges the blocks of a function so that fewer jumps are
// left: it drops branches of known outcome, threads jumps to jumps, inverts
// branches around a jump, merges equal
// tails and heads, and moves blocks to where control comes from. The instructions
// that run on each path stay as they are, which encode's SameShape checks.
package jumps

import (
	"context"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/windows"
)

// Simplify is the function with fewer jumps. The input is not changed. Inverse
// conditions that need a higher ISA level than the target's are not used. Equal
// tails are merged only where that is wanted, equal heads only where the kernel will
// confirm the result as well. It makes code shorter, but no run through it: a jump
// is what it takes instead.
func Simplify(ctx context.Context, fn *bpf.Function, t windows.Target, tails bool) *bpf.Function {
	e := &editor{ctx: ctx, fn: fn.Clone(), level: t.Level, bigEndian: t.BigEndian, confirmed: t.Confirmed}
	e.dropKnown()
	steps := []func() bool{e.dropUnreachable, e.thread, e.dropGotos, e.invert, e.moveBlocks, e.rotate}
	if goal := t.Costs.Goal; tails && goal != cost.Latency && goal != cost.Verifier {
		steps = append(steps, e.mergeTails)
		if t.Confirmed {
			steps = append(steps, e.hoist)
		}
	}
	// Each step only ever takes instructions out or leaves their number alone
	// while it brings blocks into place, so that this ends; the bound is for
	// inputs with very long chains.
	for range len(fn.Blocks) + 1 {
		changed := false
		for _, step := range steps {
			changed = step() || changed
		}
		if !changed {
			break
		}
	}
	return e.fn
}

type editor struct {
	ctx       context.Context // of the one call that the editor is for
	fn        *bpf.Function
	level     bpf.Level
	bigEndian bool
	confirmed bool // the kernel will be asked
	analyzed  int  // slots, so far
	followed  int  // instructions, so far
}

// index maps labels to block indices.
func (e *editor) index() map[bpf.Label]int {
	m := make(map[bpf.Label]int, len(e.fn.Blocks))
	for i, b := range e.fn.Blocks {
		m[b.Label] = i
	}
	return m
}

// last is a block's last instruction, or nil for an empty block.
func last(b *bpf.Block) *bpf.Instruction {
	if len(b.Code) == 0 {
		return nil
	}
	return &b.Code[len(b.Code)-1]
}

func fallsThrough(b *bpf.Block) bool {
	in := last(b)
	return in == nil || in.FallsThrough()
}

func isGoto(b *bpf.Block) bool {
	in := last(b)
	return in != nil && in.IsGoto()
}

// jumpedTo counts the jumps to each label.
func (e *editor) jumpedTo() map[bpf.Label]int {
	n := map[bpf.Label]int{}
	for _, b := range e.fn.Blocks {
		if in := last(b); in != nil && in.IsJump() {
			n[in.Target]++
		}
	}
	return n
}

// dropUnreachable deletes blocks that no path reaches, and empty ones.
func (e *editor) dropUnreachable() bool {
	at := e.index()
	reached := make([]bool, len(e.fn.Blocks))
	work := []int{0}
	for len(work) > 0 {
		i := work[len(work)-1]
		work = work[:len(work)-1]
		if i >= len(reached) || reached[i] {
			continue
		}
		reached[i] = true
		b := e.fn.Blocks[i]
		if fallsThrough(b) {
			work = append(work, i+1)
		}
		if in := last(b); in != nil && in.IsJump() {
			work = append(work, at[in.Target])
		}
	}
	var out []*bpf.Block
	for i, b := range e.fn.Blocks {
		if reached[i] {
			out = append(out, b)
		}
	}
	changed := len(out) < len(e.fn.Blocks)
	e.fn.Blocks = out
	return e.dropEmpty() || changed
}

// dropEmpty deletes empty blocks; who jumped to one jumps to the next.
func (e *editor) dropEmpty() bool {
	to := map[bpf.Label]bpf.Label{}
	var out []*bpf.Block
	for i := len(e.fn.Blocks) - 1; i >= 0; i-- {
		b := e.fn.Blocks[i]
		if len(b.Code) == 0 && len(out) > 0 {
			to[b.Label] = out[len(out)-1].Label
			continue
		}
		out = append(out, b)
	}
	slices.Reverse(out)
	e.fn.Blocks = out
	for _, b := range out {
		if in := last(b); in != nil && in.IsJump() && to[in.Target] != 0 {
			in.Target = to[in.Target]
		}
	}
	return len(to) > 0
}

// thread makes jumps to an unconditional jump go where that goes.
func (e *editor) thread() bool {
	at, changed := e.index(), false
	for _, b := range e.fn.Blocks {
		in := last(b)
		if in == nil || !in.IsJump() || in.IsMayGoto() {
			continue
		}
		for range len(e.fn.Blocks) {
			next := e.fn.Blocks[at[in.Target]]
			if len(next.Code) != 1 || !isGoto(next) || next.Code[0].Target == in.Target {
				break
			}
			in.Target, changed = next.Code[0].Target, true
		}
	}
	return changed
}

// dropGotos deletes jumps to the next block, conditional ones as well.
func (e *editor) dropGotos() bool {
	changed := false
	for i, b := range e.fn.Blocks[:len(e.fn.Blocks)-1] {
		in := last(b)
		if in != nil && (in.IsGoto() || in.IsCondJump()) && in.Target == e.fn.Blocks[i+1].Label {
			b.Code = b.Code[:len(b.Code)-1]
			changed = true
		}
	}
	return changed
}

// inverses has each condition's opposite. JSET has none.
var inverses = map[bpf.Op]bpf.Op{
	bpf.OpJEq: bpf.OpJNE, bpf.OpJNE: bpf.OpJEq,
	bpf.OpJGT: bpf.OpJLE, bpf.OpJLE: bpf.OpJGT,
	bpf.OpJGE: bpf.OpJLT, bpf.OpJLT: bpf.OpJGE,
	bpf.OpJSGT: bpf.OpJSLE, bpf.OpJSLE: bpf.OpJSGT,
	bpf.OpJSGE: bpf.OpJSLT, bpf.OpJSLT: bpf.OpJSGE,
}

// Inverse is the conditional jump that is taken where in is not.
func Inverse(in bpf.Instruction) (bpf.Instruction, bool) {
	op, ok := inverses[in.Op.Jump()]
	if !ok || !in.IsCondJump() {
		return in, false
	}
	in.Op = in.Op&^0xf0 | op
	return in, true
}

// invert turns "if c goto A; goto B; A:" into "if !c goto B; A:".
func (e *editor) invert() bool {
	changed := false
	jumps := e.jumpedTo()
	for i := 0; i+2 < len(e.fn.Blocks); i++ {
		b, next, after := e.fn.Blocks[i], e.fn.Blocks[i+1], e.fn.Blocks[i+2]
		in := last(b)
		if in == nil || !in.IsCondJump() || in.Target != after.Label {
			continue
		}
		if len(next.Code) != 1 || !isGoto(next) || jumps[next.Label] > 0 {
			continue
		}
		inv, ok := Inverse(*in)
		if !ok || inv.Level() > e.level {
			continue
		}
		inv.Target = next.Code[0].Target
		*in = inv
		next.Code = nil
		changed = true
	}
	return changed
}
