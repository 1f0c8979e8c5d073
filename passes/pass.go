// Package passes holds the pass manager and what passes share: a pass proposes
// replacements for windows, and the manager has them proven before any is
// taken.
package passes

import (
	"context"
	"iter"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/windows"
)

// Proposer proposes code that might do what a window's code does, at less
// cost. A proposal is a guess: nothing enters a program before the checker has
// proven it.
type Proposer interface {
	// Name is the name by which a pipeline calls the proposer.
	Name() string
	// Propose yields candidates, the most promising first. The consumer stops
	// when it has a proven one.
	Propose(ctx context.Context, w *windows.Window) iter.Seq[[]bpf.Instruction]
}
