package encode

import (
	"fmt"
	"maps"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
)

// behavior is what a callee does.
type behavior struct {
	r0    uint64
	keeps bool            // R0 is left as it was
	frame map[uint64]byte // what it writes to the own frame
	fill  func(at uint64) byte
}

// call is what the n-th callee does, as the counterexample has it.
func (cx *Counterexample) call(n int, _ *outcome) behavior {
	if n >= len(cx.Calls) {
		return behavior{fill: func(uint64) byte { return 0 }}
	}
	c := cx.Calls[n]
	b := behavior{r0: c.R0, keeps: c.Keeps, frame: map[uint64]byte{}, fill: func(at uint64) byte { return c.Memory[at] }}
	for at, v := range c.Memory {
		if flow.OnStack(int64(at-cx.Regs[bpf.R10]), 1) {
			b.frame[at] = v
		}
	}
	return b
}

// moment is the state that a call finds.
type moment struct {
	semantics.State
	stores int // to the context so far
}

// lost is what a call leaves in R1 to R5.
const lost = 0xdead_beef_0bad_cafe

// called does what the next call does. It fails where the callee would write
// bytes of the frame that it cannot reach.
func (o *outcome) called(c call, in world) error {
	o.calls = append(o.calls, moment{State: *o.State.Clone(), stores: len(o.toFields)})
	b := in.call(len(o.calls)-1, o)
	frame, first := in.Regs[bpf.R10], in.fill
	own := func(at uint64) bool { return flow.OnStack(int64(at-frame), 1) }
	for at, v := range b.frame {
		if off := int(int64(at - frame)); !c.frame && !c.Writes.Has(off) {
			return fmt.Errorf("%v writes to %+d from the frame pointer, which it cannot reach", c.in, off)
		}
		if o.Memory == nil {
			o.Memory = map[uint64]byte{}
		}
		o.Memory[at] = v
	}
	maps.DeleteFunc(o.Memory, func(at uint64, _ byte) bool { return !own(at) })
	o.Fill = func(at uint64) byte {
		switch {
		case !own(at):
			return b.fill(at)
		case first != nil:
			return first(at)
		}
		return 0
	}
	for r := bpf.R1; r <= bpf.R5; r++ {
		o.Regs[r] = lost
	}
	if !b.keeps {
		o.Regs[bpf.R0] = b.r0
	}
	return nil
}

// compareCalls says what differs in what the callees find, or nothing.
func (p *pair) compareCalls(frame uint64, a, b *outcome) string {
	if len(a.calls) != len(b.calls) {
		return "the number of calls"
	}
	for k := range a.calls {
		x, y, c := &a.calls[k], &b.calls[k], p.old.calls[k]
		for r := range bpf.Register(bpf.NumRegisters) {
			if c.Args.Has(r) && c.regs[r].kind != flow.KindNone && x.Regs[r] != y.Regs[r] {
				return fmt.Sprintf("the argument %v of %v: %#x and %#x", r, c.in, x.Regs[r], y.Regs[r])
			}
		}
		if x.stores != y.stores {
			return fmt.Sprintf("stores to the context before %v", c.in)
		}
		for _, m := range []map[uint64]byte{x.Memory, y.Memory} {
			for at := range m {
				off := int64(at - frame)
				if flow.OnStack(off, 1) && !c.frame && !c.Reads.Has(int(off)) {
					continue
				}
				if x.Byte(at) != y.Byte(at) {
					return fmt.Sprintf("the byte at %#x before %v: %#x and %#x", at, c.in, x.Byte(at), y.Byte(at))
				}
			}
		}
	}
	return ""
}
