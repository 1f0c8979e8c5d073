package encode

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

// copies says which registers the verifier may take for copies of each other, up
// to an added constant: what it learns from a comparison of one it learns of all,
// in registers, on the stack and in callers.
type copies struct {
	of      [bpf.NumRegisters]origin
	last    origin
	spilled map[origin]bool
	// vague tells which were made in a way of which the verifier may not follow
	// what the facts know: where it takes nothing to be known, not even that the
	// upper half is zero (adjust_scalar_min_max_vals in kernel/bpf/verifier.c).
	vague [bpf.NumRegisters]bool
}

// origin tells values apart that were made by different instructions. Those that
// were in registers before the window have negative ones. Zero stands for what
// may be a copy of anything.
type origin int

func newCopies() copies {
	c := copies{spilled: map[origin]bool{}}
	for r := range c.of {
		c.of[r] = origin(-1 - r)
	}
	return c
}

// step follows an instruction that is about to be done with the given values in
// registers.
func (c *copies) step(in bpf.Instruction, regs *[bpf.NumRegisters]value) {
	onStack := func(r bpf.Register) bool { return regs[r].kind == flow.KindStack || !regs[r].kind.IsPointer() }
	switch {
	case in.IsStore() && in.Op.Class() == bpf.ClassSTX && onStack(in.Dst):
		c.spilled[c.of[in.Src]] = true
	case in.IsALU() && in.Op.ALU() == bpf.OpMov && in.UsesSrc():
		c.of[in.Dst] = c.of[in.Src]
		c.vague[in.Dst] = c.vague[in.Src] && in.Op.Class() == bpf.ClassALU64
		return
	case in.IsALU() && !in.UsesSrc() && (in.Op.ALU() == bpf.OpAdd || in.Op.ALU() == bpf.OpSub):
		return
	case in.IsLoad() && onStack(in.Src):
		c.of[in.Dst] = 0 // filled with what was spilled, perhaps
		return
	}
	for r := range bpf.Register(bpf.NumRegisters) {
		if in.Writes().Has(r) {
			c.last++
			c.of[r] = c.last
			c.vague[r] = in.IsALU() && untracked(in)
		}
	}
	if isCall(in) {
		c.of[bpf.R0] = 0 // what a function was given, perhaps
	}
}

// untracked tells whether the verifier may know nothing of what an operation makes.
func untracked(in bpf.Instruction) bool {
	switch in.Op.ALU() {
	case bpf.OpDiv, bpf.OpMod, bpf.OpEnd:
		return true
	case bpf.OpLsh, bpf.OpRsh, bpf.OpArsh:
		return in.UsesSrc()
	}
	return false
}

// forgets tells whether the new code's comparison may teach the verifier less
// than the old one's without loss.
func (ob *obligation) forgets(w *windows.Window) bool {
	old, neu := ob.old.branch, ob.new.branch
	renamed := neu
	renamed.Dst, renamed.Src = old.Dst, old.Src
	alike := bpf.SameCode(old, renamed) && ob.old.cmp == ob.new.cmp
	if !ob.forgetsOf(w, old.Dst, neu.Dst, alike) {
		return false
	}
	return !old.UsesSrc() || ob.forgetsOf(w, old.Src, neu.Src, alike)
}

// forgetsOf says that of what old, and now neu, hold when they are compared. Where
// the comparison is otherwise alike, it teaches of neu what it did of old, so all
// that had copies of the one has to have copies of the other; else there must be
// none.
func (ob *obligation) forgetsOf(w *windows.Window, old, neu bpf.Register, alike bool) bool {
	was, now := &ob.old.copies, &ob.new.copies
	from, to := was.of[old], now.of[neu]
	switch {
	case from == 0, from < 0 && (!alike || to != from), was.spilled[from]:
		return false // there may be copies elsewhere
	case now.vague[neu] && !was.vague[old]:
		return false
	}
	for r := range bpf.Register(bpf.NumRegisters) {
		if w.Needs.Regs[r] != 0 && was.of[r] == from && (!alike || now.of[r] != to) {
			return false
		}
	}
	return true
}
