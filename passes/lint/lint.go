// Package lint looks in code for patterns that compilers are known to leave
// behind and optimisers to take out, and says why each that is left was left.
// It goes by the look of the code, not by what a proposer thinks of it, so that
// what no proposer sees is seen here.
package lint

import (
	"cmp"
	"context"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

// Site is a place where a pattern was found.
type Site struct {
	Pattern  string
	Function string
	Block    int
	At, Last int // its first and last instruction in the block
	Why      string
}

// pattern finds its sites in one block.
type pattern struct {
	name string
	find func(c *code) []span
	// why says why a site that nobody proposes anything for is left, if it is for
	// a reason that can be told by its look.
	why func(c *code, s span) string
}

// span is a stretch of a block's instructions: the first and the last.
type span struct{ from, to int }

// patterns is all of them, in the order in which they are reported.
var patterns = []pattern{
	{name: "relocated offset moved, then added", find: movedOffsets},
	{name: "narrow loads put together", find: narrowLoads},
	{name: "immediate in a register only to be stored", find: storedImmediates},
	{name: "adjacent immediate stores", find: immediateStores},
	{name: "value stored piece by piece", find: piecewiseStores},
	{name: "narrow load and store pairs", find: copyPairs},
	{name: "mask, then branch", find: maskedBranches, why: otherWay},
	{name: "mask or extension without effect", find: idleMasks},
	{name: "branch over a jump", find: skippedJumps, why: noOpposite},
	{name: "value loaded that a register has", find: reloads},
	{name: "store of what is there", find: restores},
	{name: "equal tails"}, // found over a whole function
	{name: "branch of known outcome", find: knownBranches},
	{name: "dead instruction", find: dead},
	{name: "addition before an addition or an access", find: addChains},
	{name: "long immediate that a short one can be", find: longImmediates},
	{name: "sign bit by a mask", find: signMasks},
}

// Patterns is the names of the patterns, in the order of reports.
func Patterns() []string {
	var names []string
	for _, p := range patterns {
		names = append(names, p.name)
	}
	return names
}

// code is a block and what is known in it.
type code struct {
	fn     *bpf.Function
	block  int
	list   []bpf.Instruction
	states []flow.State // before each instruction and behind the last
	lives  []flow.Live  // likewise
	facts  *flow.Facts
	big    bool
	level  bpf.Level
}

// Find is the sites in a function, by pattern and place, each with why it was
// left.
func Find(ctx context.Context, fn *bpf.Function, t windows.Target) ([]Site, error) {
	facts, needs, err := flow.Both(ctx, fn, flow.Options{BigEndian: t.BigEndian})
	if err != nil {
		return nil, err
	}
	judge := newJudge(fn, facts, needs, t)
	var out []Site
	for b, block := range fn.Blocks {
		if !facts.Reachable(b) {
			continue
		}
		c := &code{
			fn: fn, block: b, list: block.Code, facts: facts, big: t.BigEndian, level: t.Level,
			states: facts.Block(b), lives: append([]flow.Live{needs.In(b)}, needs.Block(b)...),
		}
		for _, p := range patterns {
			if p.find == nil {
				continue
			}
			for _, s := range p.find(c) {
				site := Site{Pattern: p.name, Function: fn.Name, Block: b, At: s.from, Last: s.to}
				site.Why = judge.why(ctx, b, s)
				if (site.Why == unseen || site.Why == noSlots) && p.why != nil {
					site.Why = cmp.Or(p.why(c, s), site.Why)
				}
				out = append(out, site)
			}
		}
	}
	out = append(out, equalTails(fn)...)
	slices.SortStableFunc(out, func(a, b Site) int {
		return cmp.Or(cmp.Compare(rank(a.Pattern), rank(b.Pattern)), cmp.Compare(a.Block, b.Block), cmp.Compare(a.At, b.At))
	})
	return out, nil
}

func rank(name string) int { return slices.Index(Patterns(), name) }

// uses is where the value that instruction i gives r is read in the block, and
// whether it may be read behind the last of these or behind the block.
func (c *code) uses(i int, r bpf.Register) (at []int, more bool) {
	for j := i + 1; j < len(c.list); j++ {
		if c.list[j].Reads().Has(r) {
			at = append(at, j)
		}
		if c.list[j].Writes().Has(r) {
			return at, false
		}
	}
	return at, c.lives[len(c.list)].Regs[r] != 0
}

// same tells whether r has the same value before j as before i.
func (c *code) same(r bpf.Register, i, j int) bool {
	for k := i; k < j; k++ {
		if c.list[k].Writes().Has(r) {
			return false
		}
	}
	return true
}

// definition is the instruction before i that gives r its value, or -1.
func (c *code) definition(i int, r bpf.Register) int {
	for j := i - 1; j >= 0; j-- {
		if c.list[j].Writes().Has(r) {
			return j
		}
	}
	return -1
}

// calm tells whether no call, store or atomic stands between i and j.
func (c *code) calm(i, j int) bool {
	for k := i + 1; k < j; k++ {
		in := c.list[k]
		if in.IsCall() || in.IsStore() || in.IsAtomic() || in.IsPacketLoad() {
			return false
		}
	}
	return true
}

func isMove(in bpf.Instruction) bool {
	return in.IsALU() && in.Op.ALU() == bpf.OpMov && in.Op&bpf.SourceX == 0
}

// plain tells a load that extends with zeros.
func plain(in bpf.Instruction) bool {
	return in.IsLoad() && in.Op.Mode() == bpf.ModeMem
}

func isImmediateStore(in bpf.Instruction) bool {
	return in.IsStore() && in.Op.Class() == bpf.ClassST && in.Op.Mode() == bpf.ModeMem
}

func isRegisterStore(in bpf.Instruction) bool {
	return in.IsStore() && in.Op.Class() == bpf.ClassSTX && in.Op.Mode() == bpf.ModeMem
}
