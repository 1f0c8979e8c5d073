package guards

import (
	"fmt"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
	"github.com/k2cc/k2cc/passes/jumps"
)

// maxTests bounds the branches that are followed to find where a flag leads.
const maxTests = 8

// flag is a block that sets something to a number of which branches behind it tell
// that there is but one way to go on:
//
//	if w0 == w1 goto L1          if w0 != w1 goto L9
//	w6 = 0                       if w7 > 9 goto L9
//	L1:                    →     …
//	if w7 > 9 goto L9
//	if w6 == 0 goto L9
//	…
type flag struct {
	block int // that sets it; the one before branches around it
	tests int // how many blocks behind it, which compute and branch, are gone through
	to    bpf.Label
}

// follow is the flag that a block sets, if it does and there is such a way.
func (f *finder) follow(block int) (flag, bool) {
	out := flag{block: block}
	known := numbers(f.facts.Before(block, len(f.fn.Blocks[block].Code)))
	for b := block + 1; out.tests < maxTests && b < len(f.fn.Blocks); b++ {
		in, ok := f.lastBranch(b)
		if !ok || !known.through(f.fn.Blocks[b].Code[:len(f.fn.Blocks[b].Code)-1]) {
			return out, false
		}
		out.tests++
		taken, decided := known.outcome(in)
		switch {
		case decided && !taken:
			continue
		case out.to == 0:
			out.to = in.Target
		case out.to != in.Target:
			return out, false
		}
		if decided {
			return out, f.at[out.to] > b
		}
	}
	return out, false
}

// known is the registers of which numbers are known, and these.
type known struct {
	regs bpf.Registers
	semantics.State
}

// numbers is the numbers that facts know.
func numbers(s flow.State) (out known) {
	for r, v := range s.Regs {
		if isConst(v) {
			out.regs |= bpf.Set(bpf.Register(r))
			out.Regs[r] = v.Bits
		}
	}
	return out
}

// through makes the numbers those behind code, if that only computes.
func (k *known) through(code []bpf.Instruction) bool {
	for _, in := range code {
		if other(in) {
			return false
		}
		reads := in.Reads()
		if _, err := k.Run([]bpf.Instruction{in}); reads&^k.regs == 0 && err == nil {
			k.regs |= in.Writes()
		} else {
			k.regs &^= in.Writes()
		}
	}
	return true
}

// outcome is whether a branch is taken, where both of what it compares is known.
func (k *known) outcome(in bpf.Instruction) (taken, decided bool) {
	taken, err := k.Taken(in)
	return taken, err == nil && in.Reads()&^k.regs == 0
}

// flags finds the blocks of a function that set flags which need not be set.
func flags(f *finder) ([]flag, error) {
	fn := f.fn
	var blocks []int
	for i := range fn.Blocks {
		in, ok := f.lastBranch(i)
		if !ok || i+2 >= len(fn.Blocks) || in.Target != fn.Blocks[i+2].Label || f.jumped[fn.Blocks[i+1].Label] > 0 {
			continue
		}
		inverse, ok := jumps.Inverse(in)
		over := fn.Blocks[i+1].Code
		if ok && inverse.Level() <= f.target.Level && len(over) > 0 && !slices.ContainsFunc(over, other) && f.tests(i+2, over) {
			blocks = append(blocks, i+1)
		}
	}
	if len(blocks) == 0 {
		return nil, nil
	}
	if err := f.analyze(); err != nil {
		return nil, err
	}
	var all []flag
	for _, b := range blocks {
		if flag, ok := f.follow(b); ok && f.facts.Reachable(b) {
			all = append(all, flag)
		}
	}
	return all, nil
}

// tests tells whether a block and those behind it, as long as they compute and
// branch, read something in their branches that code sets, or compute with it.
func (f *finder) tests(block int, code []bpf.Instruction) bool {
	var set bpf.Registers
	for _, in := range code {
		set |= in.Writes()
	}
	for b := block; b < min(block+maxTests, len(f.fn.Blocks)); b++ {
		if _, ok := f.lastBranch(b); !ok {
			return false
		}
		for _, in := range f.fn.Blocks[b].Code {
			switch {
			case in.Reads()&set != 0:
				return true
			case !in.IsCondJump() && other(in):
				return false
			}
		}
	}
	return false
}

// straight is the function with flags not set, where what they decide is decided at
// once, if that is proven.
func straight(w *work, fn *bpf.Function) (*bpf.Function, error) {
	all, err := flags(w.look(fn))
	for range maxRounds {
		if err != nil || len(all) == 0 {
			break
		}
		e := unset(fn, all)
		var wrong []int
		if wrong, err = e.prove(w); err == nil && len(wrong) == 0 {
			out, err := w.shorten(e.new, tests(fn, all))
			if err == nil && out.Slots() < fn.Slots() {
				return out, nil
			}
			return fn, err
		}
		all = without(all, wrong)
	}
	return fn, err
}

// without is a list without those of the given numbers.
func without[T any](all []T, wrong []int) (out []T) {
	for i, x := range all {
		if !slices.Contains(wrong, i) {
			out = append(out, x)
		}
	}
	return out
}

// unset is the function with a copy of the branches that are gone through behind
// each block that sets a flag, and with jumps in place of block and branches.
func unset(fn *bpf.Function, all []flag) *edited {
	old, now := *fn, *fn
	old.Blocks, now.Blocks = nil, nil
	e := &edited{fn: fn, old: &old, new: &now, free: unused(fn)}
	jump := func(to bpf.Label, pos int32) []bpf.Instruction {
		return []bpf.Instruction{{Op: bpf.ClassJMP | bpf.OpJA, Target: to, Pos: pos}}
	}
	for i, b := range fn.Clone().Blocks {
		e.old.Blocks = append(e.old.Blocks, b)
		if len(all) == 0 || all[0].block != i {
			e.new.Blocks = append(e.new.Blocks, &bpf.Block{Label: b.Label, Code: slices.Clone(b.Code)})
			continue
		}
		flag := all[0]
		all = all[1:]
		e.entries = append(e.entries, b.Label)
		e.new.Blocks = append(e.new.Blocks, &bpf.Block{Label: b.Label, Code: jump(flag.to, b.Code[0].Pos)})
		for k := range flag.tests {
			test := slices.Clone(fn.Blocks[i+1+k].Code)
			e.old.Blocks = append(e.old.Blocks, &bpf.Block{Label: e.free, Code: test})
			e.free++
		}
		e.old.Blocks = append(e.old.Blocks, &bpf.Block{Label: e.free, Code: jump(fn.Blocks[i+1+flag.tests].Label, 0)})
		e.free++
	}
	return e
}

// tests is the labels of the branches that flags are gone through.
func tests(fn *bpf.Function, all []flag) map[bpf.Label]bool {
	out := map[bpf.Label]bool{}
	for _, flag := range all {
		for k := range flag.tests {
			out[fn.Blocks[flag.block+1+k].Label] = true
		}
	}
	return out
}

// shorten is the function with simpler control flow, and without those of the
// tests that compare known numbers.
func (w *work) shorten(fn *bpf.Function, tests map[bpf.Label]bool) (*bpf.Function, error) {
	for range 2 {
		out := jumps.Simplify(w.ctx, fn, w.target, false)
		f := newFinder(w.ctx, out, w.target)
		if err := f.analyze(); err != nil {
			return nil, err
		}
		f.drop(tests)
		if err := w.checker.SameShape(w.ctx, fn, out); err != nil {
			return nil, fmt.Errorf("branches on flags: %w", err)
		}
		fn = out
	}
	return fn, nil
}

// drop drops those of the tests of which the facts know both operands.
func (f *finder) drop(tests map[bpf.Label]bool) {
	for i, b := range f.fn.Blocks {
		in, ok := f.lastBranch(i)
		if !ok || !tests[b.Label] || !f.facts.Reachable(i) {
			continue
		}
		n := len(b.Code) - 1
		known := numbers(f.facts.Before(i, n))
		switch taken, decided := known.outcome(in); {
		case decided && taken:
			b.Code[n] = bpf.Instruction{Op: bpf.ClassJMP | bpf.OpJA, Target: in.Target, Pos: in.Pos}
		case decided:
			b.Code = b.Code[:n]
		}
	}
}
