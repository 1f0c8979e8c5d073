package jumps

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// dropKnown takes out the branches of which the facts know where they lead, in
// either byte order, as SameShape wants it. The verifier may have learned
// something from one that it does not know otherwise, so that it has to be asked.
func (e *editor) dropKnown() {
	var facts []*flow.Facts
	for _, big := range []bool{false, true} {
		f, err := flow.Analyze(e.ctx, e.fn, flow.Options{BigEndian: big})
		if err != nil {
			return
		}
		facts = append(facts, f)
	}
	out := e.fn.Clone()
	for i, b := range out.Blocks {
		in := last(b)
		if in == nil || !in.IsCondJump() || in.IsMayGoto() {
			continue
		}
		taken, next := false, false
		for _, f := range facts {
			t, n := f.Taken(i)
			taken, next = taken || t, next || n
		}
		switch {
		case taken && !next:
			*in = bpf.Instruction{Op: bpf.ClassJMP | bpf.OpJA, Target: in.Target, Pos: in.Pos}
		case next && !taken:
			b.Code = b.Code[:len(b.Code)-1]
		}
	}
	e.fn = out
}
