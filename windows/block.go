package windows

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// Body is a block's code without what ends it whatever values there are: an
// exit, an unconditional jump, may_goto.
func Body(b *bpf.Block) []bpf.Instruction {
	n := len(b.Code)
	if n > 0 && (b.Code[n-1].IsExit() || b.Code[n-1].IsGoto() || b.Code[n-1].IsMayGoto()) {
		return b.Code[:n-1]
	}
	return b.Code
}

// BehindBody is what is read behind the body of a block of fn, whose needs are
// given.
func BehindBody(fn *bpf.Function, block int, needs *flow.Needs) flow.Live {
	n := len(Body(fn.Blocks[block]))
	if n == 0 {
		return needs.In(block)
	}
	return needs.After(block, n-1)
}

// Block is a window of the body of a whole block, with its calls and what else
// belongs to no segment, or nil for a block that no path reaches. Facts are those
// of fn; needs are what is read behind the body by the code that will stand
// there.
func Block(fn *bpf.Function, block int, facts *flow.Facts, needs flow.Live, t Target) *Window {
	if !facts.Reachable(block) {
		return nil
	}
	return &Window{
		Fn: fn, Block: block, Code: Body(fn.Blocks[block]),
		Facts: facts.Before(block, 0), Needs: needs, Target: t,
	}
}
