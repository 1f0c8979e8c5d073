package lint

import (
	"context"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes"
	"github.com/k2cc/k2cc/passes/local"
	"github.com/k2cc/k2cc/passes/rules"
	"github.com/k2cc/k2cc/windows"
)

// judge asks the proposers about a site, without any limit on what code may
// cost, to tell why it was left.
type judge struct {
	ws        []*windows.Window
	checker   *encode.Checker
	proposers []passes.Proposer
}

// whole is the longest window that is asked about.
const whole = 64

func newJudge(fn *bpf.Function, facts *flow.Facts, needs *flow.Needs, t windows.Target) *judge {
	t.Costs, t.Confirmed = cost.Model{Goal: cost.Size}, true
	j := &judge{
		ws:      windows.Cut(fn, whole).Windows(facts, needs, t),
		checker: encode.New(encode.Options{}), proposers: []passes.Proposer{local.New()},
	}
	if shipped, err := rules.Shipped(); err == nil {
		j.proposers = append(j.proposers, rules.New(shipped))
	}
	return j
}

// What is said where nothing proposed anything.
const (
	apart    = "spread over what no window holds together"
	unseen   = "no proposer has code for it"
	tooDear  = "shorter code is proven; where it is not taken, its cost or the verifier stands in its way"
	noSlots  = "what was proven is no shorter"
	unproven = "the solver gave up"
)

// why says why the code in a stretch of a block was left.
func (j *judge) why(ctx context.Context, block int, s span) string {
	w := j.window(block, s)
	if w == nil {
		return apart
	}
	reason := unseen
	for _, p := range j.proposers {
		p.Propose(ctx, w, func(code []bpf.Instruction) encode.Verdict {
			v := j.checker.Check(ctx, w, code)
			switch {
			case v.Outcome == encode.Proven && bpf.Slots(code) < bpf.Slots(w.Code):
				reason = tooDear
			case v.Outcome == encode.Proven && reason == unseen:
				reason = noSlots
			case v.Outcome == encode.Unsafe && reason != tooDear:
				reason = v.Reason
			case v.Outcome == encode.Undecided && reason == unseen:
				reason = unproven
			}
			return v
		})
		if reason == tooDear {
			break
		}
	}
	return reason
}

// window is the stretch as a window, or nil where it is not in one.
func (j *judge) window(block int, s span) *windows.Window {
	for _, w := range j.ws {
		if w != nil && w.Block == block && w.Start <= s.from && s.to < w.End() {
			return w.Part(s.from-w.Start, s.to+1-w.Start)
		}
	}
	return nil
}
