package guards

import (
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// maxCopies bounds the blocks of an unfolded region.
const maxCopies = 128

// anyNumber is a helper that gives a number of which nothing is known
// (bpf_ktime_get_ns).
const anyNumber = 5

// unfolded is a region in which each block has a copy for each path that leads to
// it, so that the facts of a block are those of one path: the verifier walks paths.
type unfolded struct {
	f    *finder
	l    limit
	fn   *bpf.Function
	ends []int // the blocks with which paths end
}

// known tells whether facts show on each path through a region that the number is
// within its limit, without anything that holds it to that. What is known then is
// what the verifier knew of the old code.
func (f *finder) known(l limit, bound uint64) bool {
	u := unfolded{f: f, l: l, fn: &bpf.Function{Name: f.fn.Name, Context: bpf.ContextOther}}
	u.start(bound)
	if !u.add(l.from+1, 3) {
		return false
	}
	facts, err := flow.Analyze(f.ctx, u.fn, flow.Options{BigEndian: f.target.BigEndian})
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(u.ends, func(b int) bool {
		v := facts.Before(b, 0).Regs[l.set.Dst]
		return facts.Reachable(b) && (v.Kind != flow.KindScalar || v.UMax > l.most)
	})
}

// start has the other number, not above its bound, and all numbers that are known
// in registers.
func (u *unfolded) start(bound uint64) {
	l := u.l
	number := func(r bpf.Register, v uint64) bpf.Instruction {
		return bpf.Instruction{Op: bpf.LoadImm64, Dst: r, Imm: int64(v)}
	}
	code := []bpf.Instruction{
		{Op: bpf.ClassJMP | bpf.OpCall, Imm: anyNumber},
		{Op: bpf.ClassALU64 | bpf.OpMov | bpf.SourceX, Dst: l.branch.Dst, Src: bpf.R0},
		number(l.set.Dst, bound),
		{Op: bpf.ClassJMP | bpf.OpJGT | bpf.SourceX, Dst: l.branch.Dst, Src: l.set.Dst, Target: 2},
	}
	exit := []bpf.Instruction{{Op: bpf.ClassALU64 | bpf.OpMov, Dst: bpf.R0}, {Op: bpf.ClassJMP | bpf.OpExit}}
	var numbers []bpf.Instruction
	for r := range bpf.R10 {
		if v := l.numbers[r]; r != l.branch.Dst && isConst(v) {
			numbers = append(numbers, number(r, v.Bits))
		}
	}
	numbers = append(numbers, bpf.Instruction{Op: bpf.ClassJMP | bpf.OpJA, Target: 3})
	u.fn.Blocks = []*bpf.Block{{Label: 1, Code: code}, {Label: 4, Code: numbers}, {Label: 2, Code: exit}}
}

// add adds a block for one more path, under a label, and all behind it. It tells
// whether there were not too many.
func (u *unfolded) add(block int, label bpf.Label) bool {
	out := &bpf.Block{Label: label}
	u.fn.Blocks = append(u.fn.Blocks, out)
	if len(u.fn.Blocks) > maxCopies {
		return false
	}
	if block == u.l.end {
		u.ends = append(u.ends, len(u.fn.Blocks)-1)
		out.Code = []bpf.Instruction{{Op: bpf.ClassALU64 | bpf.OpMov, Dst: bpf.R0}, {Op: bpf.ClassJMP | bpf.OpExit}}
		return true
	}
	out.Code = slices.Clone(u.f.fn.Blocks[block].Code)
	n := len(out.Code) - 1
	switch {
	case block == u.l.end-2: // what holds the number to its limit
		out.Code = out.Code[:n]
		return u.add(u.l.end, u.free())
	case n < 0 || !out.Code[n].IsJump():
		return u.add(block+1, u.free())
	}
	to := u.f.at[out.Code[n].Target]
	if out.Code[n].IsGoto() {
		out.Code = out.Code[:n]
		return u.add(to, u.free())
	}
	taken := bpf.Label(1000 + len(u.fn.Blocks))
	out.Code[n].Target = taken
	return u.add(block+1, u.free()) && u.add(to, taken)
}

// free is a label that no block has: blocks fall through to it.
func (u *unfolded) free() bpf.Label { return bpf.Label(100 + len(u.fn.Blocks)) }
