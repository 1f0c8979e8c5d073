package lint

import (
	"slices"
	"strings"

	"github.com/k2cc/k2cc/bpf"
)

// skippedJumps: if c goto +1; goto X.
func skippedJumps(c *code) []span {
	last := len(c.list) - 1
	if last < 0 || !c.list[last].IsCondJump() || c.list[last].IsMayGoto() || c.block+2 >= len(c.fn.Blocks) {
		return nil
	}
	next := c.fn.Blocks[c.block+1].Code
	if len(next) != 1 || !next[0].IsGoto() || c.list[last].Target != c.fn.Blocks[c.block+2].Label {
		return nil
	}
	return []span{{last, last}}
}

// noOpposite: what JSET does in one branch takes two where it leads the other way.
func noOpposite(c *code, s span) string {
	if c.list[s.to].Op.Jump() != bpf.OpJSet {
		return ""
	}
	return "JSET has no opposite"
}

// knownBranches: the facts say which way it goes.
func knownBranches(c *code) []span {
	last := len(c.list) - 1
	if last < 0 || !c.list[last].IsCondJump() || c.list[last].IsMayGoto() {
		return nil
	}
	if taken, next := c.facts.Taken(c.block); taken && next {
		return nil
	}
	return []span{{last, last}}
}

// equalTails: the last two instructions of blocks that end alike.
func equalTails(fn *bpf.Function) []Site {
	seen := map[string]bool{}
	var out []Site
	for b, block := range fn.Blocks {
		n := len(block.Code)
		if n < 2 || block.Code[n-1].FallsThrough() || !slices.ContainsFunc(fn.Blocks, func(o *bpf.Block) bool { return o != block }) {
			continue
		}
		tail := bpf.Format(block.Code[n-2:])
		if strings.Contains(tail, "call") {
			continue // calls are told apart by where they stand
		}
		if seen[tail] {
			out = append(out, Site{
				Pattern: "equal tails", Function: fn.Name, Block: b, At: n - 2, Last: n - 1,
				Why: "a jump would take its place that costs as much, or the verifier's walks differ",
			})
		}
		seen[tail] = true
	}
	return out
}
