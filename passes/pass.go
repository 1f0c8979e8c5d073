// Package passes holds the pass manager and what passes share: a pass proposes
// replacements for windows, and the manager has them proven before any is
// taken.
package passes

import (
	"context"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/windows"
)

// Try asks the checker about a candidate. A proposer that learns from refuted
// candidates finds the counterexample in the verdict.
type Try func(code []bpf.Instruction) encode.Verdict

// Proposer proposes code that might do what a window's code does, at less
// cost. A proposal is a guess: nothing enters a program before the checker has
// proven it.
type Proposer interface {
	// Name is the name by which a pipeline calls the proposer.
	Name() string
	// Propose calls try with candidates, the most promising first. The manager
	// takes the cheapest that is proven, so that behind a proof only cheaper
	// ones are worth asking about. It returns early when ctx ends. It may be
	// called by several goroutines at once. What it does depends on the window
	// alone. It returns how many candidates it has looked at.
	Propose(ctx context.Context, w *windows.Window, try Try) int
}
