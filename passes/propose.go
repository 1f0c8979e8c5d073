package passes

import (
	"context"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/windows"
)

// proposal is what came of one window: nil code where nothing did.
type proposal struct {
	code  []bpf.Instruction
	stats map[string]Stats
	// charges is what searchers did.
	charges []charge
	cut     bool // time ran out before the work was done
}

// improve runs a pipeline over one window, each proposer on what the one before
// it made.
func (m *Manager) improve(ctx context.Context, pipeline []Proposer, w *windows.Window) proposal {
	if m.Window > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, m.Window)
		defer cancel()
	}
	q := newQuestion(w)
	out := proposal{stats: map[string]Stats{}}
	for _, p := range pipeline {
		a, ok := m.answer(ctx, p, q, out.code)
		if ctx.Err() != nil {
			out.cut = true
		}
		if !ok {
			break
		}
		out.stats[p.Name()] = a.stats
		if _, ok := p.(Searcher); ok {
			out.charges = append(out.charges, m.chargeOf(a))
		}
		if a.code != nil {
			out.code = a.code
		}
	}
	out.code = q.original(out.code)
	return out
}

// ask has one proposer look at a window in which an earlier one has put code, if
// that is not nil. What it makes is nil where that is no better.
func (m *Manager) ask(ctx context.Context, p Proposer, w *windows.Window, code []bpf.Instruction) answer {
	now := w
	if code != nil {
		var err error
		if now, err = w.With(code); err != nil {
			return answer{} // another round has more to say of the code
		}
	}
	// A solver of its own: what one was asked before may matter to where it gives
	// up.
	checker := encode.New(encode.Options{Resources: m.Resources, Pool: m.Pool})
	var out answer
	best := now.Code
	out.stats.Work = p.Propose(ctx, now, func(code []bpf.Instruction) encode.Verdict {
		if out.stats.Undecided >= maxUndecided {
			return encode.Verdict{Outcome: encode.Undecided, Reason: "the window is too hard for the solver"}
		}
		c := cost.Of(code)
		switch {
		case !c.Within(w.Bounds()):
			return encode.Verdict{Outcome: encode.Unsafe, Reason: "it costs more than it may"}
		case w.Costs.Goal != cost.Size && hidesKey(w, code):
			return encode.Verdict{Outcome: encode.Unsafe, Reason: "it hides a constant key from the verifier"}
		}
		// Against the window's first code, not what another proposer made of it:
		// the proof is for what stands in the function.
		v := check(ctx, checker, w, code)
		out.stats.count(v)
		if v.Outcome == encode.Proven && w.Costs.Compare(c, cost.Of(best)) < 0 {
			best = append([]bpf.Instruction{}, code...)
			out.code = best
		}
		return v
	})
	out.stats.Slots = bpf.Slots(now.Code) - bpf.Slots(best)
	return out
}

// maxUndecided bounds how many answers the solver may fail to give about one
// proposer's candidates for a window: where it fails once it will fail again.
const maxUndecided = 3

// check proves code for w, by the stretch that it changes if that is enough.
func check(ctx context.Context, c *encode.Checker, w *windows.Window, code []bpf.Instruction) encode.Verdict {
	if sub, rest, ok := w.Trim(code); ok {
		// What is too hard for a stretch is too hard for the whole.
		if v := c.Check(ctx, sub, rest); v.Outcome == encode.Proven || v.Outcome == encode.Undecided {
			return v
		}
	}
	return c.Check(ctx, w, code)
}

func (s *Stats) count(v encode.Verdict) {
	s.Tried++
	switch v.Outcome {
	case encode.Proven:
		s.Proven++
	case encode.Refuted:
		s.Refuted++
	case encode.Unsafe:
		s.Unsafe++
	default:
		s.Undecided++
	}
}
