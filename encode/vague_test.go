package encode

import (
	"context"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

// A 32-bit compare-and-exchange does not leave the upper half of R0 zero on
// every kernel, so a zero extension behind it is not redundant.
func TestCompareExchangeUpperHalf(t *testing.T) {
	state, err := flow.ParseState("r1 = map_value(b3); r2 = scalar; r0 = scalar; r10 = stack(b1)")
	if err != nil {
		t.Fatal(err)
	}
	parse := func(src string) []bpf.Instruction {
		code, err := bpf.ParseCode(src)
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	const exchange = "w0 = cmpxchg32_32(r1 + 0, w0, w2)"
	w := &windows.Window{Fn: &bpf.Function{}, Facts: state, Code: parse(exchange + "\nw0 = w0")}
	w.Level = bpf.V4
	w.Shared = map[flow.Kind]bool{flow.KindMapValue: true}
	w.Needs.Regs[0] = ^uint64(0)
	c := New(Options{})
	if v := c.Check(context.Background(), w, parse(exchange)); v.Outcome == Proven {
		t.Errorf("the upper half is taken to be zero: %v %s", v.Outcome, v.Reason)
	}
	if v := c.Check(context.Background(), w, w.Code); v.Outcome != Proven {
		t.Errorf("the same code: %v %s", v.Outcome, v.Reason)
	}
	w.Needs.Regs[0] = 1<<32 - 1
	if v := c.Check(context.Background(), w, parse(exchange)); v.Outcome != Proven {
		t.Errorf("the lower half alone: %v %s", v.Outcome, v.Reason)
	}
}
