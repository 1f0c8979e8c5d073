package verify

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// written is which registers are readable at a point, with no thought given to
// which paths are possible: the verifier knows less of that than facts do in
// one place and more in another.
type written struct {
	every, some bpf.Registers // on every path, on some path
}

const arguments = bpf.Registers(1<<bpf.R1 | 1<<bpf.R2 | 1<<bpf.R3 | 1<<bpf.R4 | 1<<bpf.R5)

// step goes past an instruction.
func (w *written) step(in bpf.Instruction) {
	gained, lost := in.Writes(), bpf.Registers(0)
	if in.IsCall() || in.IsPacketLoad() {
		gained, lost = bpf.Set(bpf.R0), arguments
	}
	w.every = w.every&^lost | gained
	w.some = w.some&^lost | gained
}

// writtenAtStarts is what is readable at the start of each block.
func writtenAtStarts(fn *bpf.Function, graph *flow.Graph) []written {
	entry := bpf.Set(bpf.R1, bpf.R10)
	if fn.Context == bpf.ContextNone {
		entry |= arguments
	}
	starts := make([]written, len(fn.Blocks))
	for b := range starts {
		starts[b].every = 1<<bpf.NumRegisters - 1 // until a path is found that says less
	}
	starts[0] = written{entry, entry}
	for changed := true; changed; {
		changed = false
		for _, b := range graph.Order() {
			w := starts[b]
			for _, in := range fn.Blocks[b].Code {
				w.step(in)
			}
			for _, next := range graph.Succs(b) {
				joined := written{starts[next].every & w.every, starts[next].some | w.some}
				changed = changed || joined != starts[next]
				starts[next] = joined
			}
		}
	}
	return starts
}

// reads checks that all is readable that the instruction needs.
func (c *checker) reads(in bpf.Instruction) {
	reads := in.Reads()
	switch {
	case in.IsCall():
		reads &^= arguments // which of them a call reads is the callee's business
	case in.IsExit() && c.fn.Context == bpf.ContextNone:
		return // a subprogram need not return anything
	}
	for r := bpf.R0; r <= bpf.R10; r++ {
		switch {
		case !reads.Has(r) || c.written.every.Has(r):
		case c.written.some.Has(r):
			c.fail(ruleSomeUnwritten, in, "%v is not readable on every path", r)
		default:
			c.fail(ruleUnwritten, in, "%v is not readable", r)
		}
	}
}
