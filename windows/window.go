// Package windows cuts a function into windows, stretches of one basic block
// with what holds before them and what must hold after them, and puts
// replacements for them back.
package windows

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// Window is a stretch of one basic block that can be replaced without a look
// at anything outside it.
type Window struct {
	Fn    *bpf.Function // for its symbols; the code is Code
	Block int           // index in Fn.Blocks
	Start int           // index of the first instruction in the block
	// Code is straight-line: arithmetic, immediates, loads, stores, atomics. Only
	// its last instruction may be a conditional jump, whose target and
	// fall-through a replacement keeps and whose condition it may rewrite.
	Code  []bpf.Instruction
	Facts flow.State // holds before Code
	Needs flow.Live  // read after Code (on either way out)

	Target
}

// Target says what a replacement may use.
type Target struct {
	Level     bpf.Level
	BigEndian bool
	// Atomics allows an atomic instruction where the old code had none.
	Atomics bool
	// Shared holds the pointer kinds whose memory others may read and write at
	// any time: accesses there may be merged or narrowed, never multiplied,
	// invented or swapped with each other.
	Shared map[flow.Kind]bool
	// Confirmed says that the kernel's verifier will be asked about the result,
	// so that a form it may refuse costs no more than the attempt.
	Confirmed bool
}

// End is the index in the block behind the window's last instruction.
func (w *Window) End() int { return w.Start + len(w.Code) }
