package registers

import (
	"context"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/windows"
)

// How often it is tried to have a value at hand that is loaded again: maxCarried
// times in small functions, less often in larger ones, with carryWork in all, counted
// in their slots.
const (
	maxCarried = 8
	carryWork  = 8_000
)

// Carry is the function without loads of what registers had but have no more:
// another register keeps that, as far as this makes the function smaller. It fails
// only where ctx ends.
func Carry(ctx context.Context, c *encode.Checker, fn *bpf.Function, t windows.Target) (*bpf.Function, error) {
	tried := map[place]bool{}
	for range min(maxCarried, carryWork/fn.Slots()) {
		facts, needs, err := analyze(ctx, fn, t)
		if err != nil {
			return fn, ctx.Err()
		}
		w := newWebs(fn, facts, needs, t)
		k, ok := w.carried(facts, tried)
		if !ok {
			break
		}
		tried[k.from] = true
		out, err := w.carry(ctx, c, facts, k, t)
		switch {
		case ctx.Err() != nil:
			return fn, ctx.Err()
		case err == nil && worthwhile(fn, out):
			fn = out
			clear(tried)
		}
	}
	return fn, ctx.Err()
}

// worthwhile tells whether out is smaller than fn, and its machine code as well,
// with what it takes to save registers for the caller.
func worthwhile(fn, out *bpf.Function) bool {
	return out.Slots() < fn.Slots() && machineCode(out) <= machineCode(fn)
}

// usedRegisters is the registers that a function names or changes.
func usedRegisters(fn *bpf.Function) (used bpf.Registers) {
	for _, b := range fn.Blocks {
		for _, in := range b.Code {
			used |= in.Reads() | in.Writes()
		}
	}
	return used
}

// keeper is a register that can keep what an instruction leaves in its own.
type keeper struct {
	from place
	reg  bpf.Register
}

// carried finds an instruction that leaves what is loaded later, and a register
// that can keep it until the last such load.
func (w *webs) carried(facts *flow.Facts, tried map[place]bool) (keeper, bool) {
	var order []place
	loads := map[place][]place{}
	for b := range w.fn.Blocks {
		for _, r := range facts.Rereads(b) {
			from := place{r.Block, r.At}
			if r.Regs != 0 || r.Block < 0 || tried[from] {
				continue
			}
			if loads[from] == nil {
				order = append(order, from)
			}
			loads[from] = append(loads[from], place{b, r.Index})
		}
	}
	for _, from := range order {
		if reg, ok := w.idle(from, loads[from]); ok {
			return keeper{from, reg}, true
		}
		tried[from] = true
	}
	return keeper{}, false
}

// idle is a register of which nobody needs or changes the value on any way from
// one place to others. Those that the function uses anyway come first.
func (w *webs) idle(from place, to []place) (bpf.Register, bool) {
	busy := w.fn.Blocks[from.block].Code[from.i].Writes()
	for _, p := range to {
		busy |= w.busy(from, p)
	}
	used := usedRegisters(w.fn)
	for _, want := range []bpf.Registers{used, ^used} {
		for r := range bpf.R10 {
			if want.Has(r) && !busy.Has(r) {
				return r, true
			}
		}
	}
	return 0, false
}

// busy is the registers that are needed or written on some way from one place to
// another.
func (w *webs) busy(from, to place) (busy bpf.Registers) {
	// what comes before instruction i of the block, back to from; it tells whether
	// that is in the block
	back := func(block, i int) bool {
		for i--; i >= 0; i-- {
			at := place{block, i}
			busy |= w.sites[block][i].live
			if at == from {
				return true
			}
			busy |= w.fn.Blocks[block].Code[i].Writes()
		}
		busy |= w.liveIn[block]
		return false
	}
	if back(to.block, to.i) {
		return busy
	}
	seen := map[int]bool{}
	work := []int{to.block}
	for len(work) > 0 {
		b := work[len(work)-1]
		work = work[:len(work)-1]
		for _, p := range w.graph.Preds(b) {
			if !w.graph.Reachable(p) || seen[p] {
				continue
			}
			seen[p] = true
			if !back(p, len(w.fn.Blocks[p].Code)) {
				work = append(work, p)
			}
		}
	}
	return busy
}

// carry is the function with a copy kept, and without the loads of what it is.
func (w *webs) carry(ctx context.Context, c *encode.Checker, facts *flow.Facts, k keeper, t windows.Target) (*bpf.Function, error) {
	kept := w.fn.Clone()
	b := kept.Blocks[k.from.block]
	in := b.Code[k.from.i]
	copied := bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpMov | bpf.SourceX, Dst: k.reg, Src: in.Dst, Pos: in.Pos}
	b.Code = append(b.Code[:k.from.i+1:k.from.i+1], append([]bpf.Instruction{copied}, b.Code[k.from.i+1:]...)...)
	err := Step{Name: "copy kept"}.prove(ctx, c, &encode.Steps{
		Old: w.fn, New: kept, Facts: facts, Before: w.needs, Holders: windows.Identity(len(kept.Blocks)), BigEndian: t.BigEndian,
	})
	if err != nil {
		return nil, err
	}
	list, err := reuses(ctx, kept, t)
	if err != nil {
		return nil, err
	}
	var only []encode.Reuse
	for _, u := range list {
		if u.Reg == k.reg {
			only = append(only, u)
		}
	}
	thin, err := proveReuses(ctx, c, kept, only, t)
	if err != nil {
		return nil, err
	}
	out, err := Take(ctx, c, thin.fn, t, Coalesce)
	if err != nil {
		return nil, err
	}
	if lower, err := lower.Prove(ctx, c, out, t); err == nil {
		out = lower
	}
	return out, ctx.Err()
}

// lower takes registers out of use that the function has to save for its caller,
// the last ones first, where others can hold what they hold.
var lower = Step{Name: "lower", apply: func(w *webs, _ *flow.Facts, _ windows.Target) (*bpf.Function, windows.Renaming) {
	c := w.coloring()
	for r := bpf.R9; r >= bpf.R6; r-- {
		c.vacate(r)
	}
	return c.function(), c.renaming()
}}

// vacate gives all webs of a register other ones before it, if that works for all.
func (c *coloring) vacate(r bpf.Register) {
	var done []move
	for n := range node(len(c.parent)) {
		if c.find(n) != n || c.color[n] != r {
			continue
		}
		was := len(done)
		for to := bpf.R0; to < r && !c.fixed[n] && len(done) == was; to++ {
			if c.free(n, to) {
				done = append(done, move{n, r})
				c.color[n] = to
			}
		}
		if len(done) == was {
			c.undo(&done, 0)
			return
		}
	}
}
