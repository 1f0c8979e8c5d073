package search

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes"
	"github.com/k2cc/k2cc/windows"
)

func proposers() map[string]passes.Proposer {
	return map[string]passes.Proposer{"enumerate": Enumerate(EnumerateOptions{}), "mcmc": MCMC(MCMCOptions{})}
}

// propositions is all that a proposer asks about where every answer is the
// same.
func propositions(p passes.Proposer, w *windows.Window, v encode.Verdict) (asked [][]bpf.Instruction) {
	p.Propose(context.Background(), w, func(code []bpf.Instruction) encode.Verdict {
		asked = append(asked, code)
		return v
	})
	return asked
}

// TestKeepsOut has windows in which something cheaper would be right but for one
// rule, and looks for it in what is asked.
func TestKeepsOut(t *testing.T) {
	alu32 := func(in bpf.Instruction) bool {
		return in.Op.Class() == bpf.ClassALU && in.Op.ALU() != bpf.OpEnd || in.Op.Class() == bpf.ClassJMP32
	}
	for _, tt := range []struct {
		name  string
		level bpf.Level
		code  string
		facts facts
		needs needs
		stack []int
		bad   func(bpf.Instruction) bool
		times int // how often it may be there
	}{
		{name: "32-bit arithmetic", level: bpf.V1, code: "r2 = r1\nr2 <<= 32\nr2 >>= 32\nr1 = r2", needs: needs{1: all64}, bad: alu32},
		{name: "less-than jumps", level: bpf.V1, code: "r2 = r1\nr2 += 5\nr2 -= 5\nif r3 > r2 goto L1", bad: func(in bpf.Instruction) bool {
			return in.Level() > bpf.V1
		}},
		{name: "bytes between", level: bpf.V2, code: "r1 = *(u8 *)(r2 + 12)\nr3 = *(u8 *)(r2 + 14)\nr3 <<= 16\nr3 |= r1",
			facts: facts{2: pointer(packet, 2, 0)}, needs: needs{3: 0xff00ff}, bad: func(in bpf.Instruction) bool {
				return in.IsLoad() && in.Size() > 1
			}},
		{name: "stores between", level: bpf.V2, code: "r1 = 0\n*(u8 *)(r2 + 12) = r1\n*(u8 *)(r2 + 14) = r1",
			facts: facts{2: pointer(packet, 2, 0)}, bad: func(in bpf.Instruction) bool { return in.IsStore() && in.Size() > 1 }},
		{name: "misaligned on the stack", level: bpf.V2, code: "r1 = 0\n*(u32 *)(r10 - 12) = r1\n*(u32 *)(r10 - 8) = r1",
			stack: []int{-12, -11, -10, -9, -8, -7, -6, -5}, bad: func(in bpf.Instruction) bool { return in.Size() == 8 && in.IsStore() }},
		{name: "second load of shared memory", level: bpf.V2, code: "r1 = *(u32 *)(r3 + 0)\nr4 = r1\nr4 += 1\nr2 = r4\nr2 -= 1",
			facts: facts{3: pointer(flow.KindMapValue, 3, 0)}, needs: needs{1: all64, 2: all64},
			bad: func(in bpf.Instruction) bool { return in.IsLoad() }, times: 1},
		{name: "immediate to the context", level: bpf.V2, code: "r1 = 5\nr1 += 2\n*(u32 *)(r6 + 16) = r1",
			facts: facts{6: pointer(flow.KindContext, 3, 0)}, bad: func(in bpf.Instruction) bool { return in.Op.Class() == bpf.ClassST }},
		{name: "wider load from the context", level: bpf.V2, code: "r1 = *(u32 *)(r6 + 20)\nr1 <<= 32\nr2 = *(u32 *)(r6 + 16)\nr1 |= r2",
			facts: facts{6: pointer(flow.KindContext, 3, 0)}, needs: needs{1: all64},
			bad: func(in bpf.Instruction) bool { return in.IsLoad() && in.Size() != 4 }},
		{name: "new arithmetic on pointers", level: bpf.V3, code: "r1 = r2\nr3 = r1\nr1 = r3\nr1 += 0",
			facts: facts{2: pointer(packet, 2, 0), 4: unknown()}, needs: needs{1: low32},
			bad: func(in bpf.Instruction) bool {
				return alu32(in) || in.IsALU() && in.Op.ALU() > bpf.OpSub && in.Op.ALU() != bpf.OpMov
			}},
		{name: "another comparison of pointers", level: bpf.V2, code: "r4 = r2\nr4 += 14\nr5 = r4\nif r5 > r3 goto L1",
			facts: facts{2: pointer(packet, 2, 0), 3: pointer(flow.KindPacketEnd, 3, 0)},
			bad:   func(in bpf.Instruction) bool { return in.IsCondJump() && in.Op != bpf.ClassJMP|bpf.OpJGT|bpf.SourceX }},
		{name: "an atomic where there was none", level: bpf.V3, code: "r1 = *(u64 *)(r3 + 0)\nr1 += r2\n*(u64 *)(r3 + 0) = r1",
			facts: facts{2: unknown(), 3: pointer(flow.KindMapValue, 3, 0)}, bad: func(in bpf.Instruction) bool { return in.IsAtomic() }},
	} {
		for name, p := range proposers() {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				w := window(t, tt.level, tt.code, tt.facts, tt.needs)
				for _, off := range tt.stack {
					w.Needs.Stack.Add(off, 1)
				}
				for _, code := range propositions(p, w, encode.Verdict{Outcome: encode.Unsafe}) {
					n := 0
					for _, in := range code {
						if tt.bad(in) {
							n++
						}
					}
					if n > tt.times {
						t.Errorf("asks about\n%s", bpf.Format(code))
					}
					if !priceOf(code).less(priceOf(w.Code)) {
						t.Errorf("asks about what is not cheaper:\n%s", bpf.Format(code))
					}
				}
			})
		}
	}
}

// TestNothingToFind has windows for which there is nothing cheaper.
func TestNothingToFind(t *testing.T) {
	for _, tt := range []struct {
		name, code string
		facts      facts
		needs      needs
	}{
		{name: "sum", code: "r1 += r2\nr1 *= r3", needs: needs{1: all64}},
		{name: "load and use", code: "r1 = *(u8 *)(r2 + 0)\nr1 += r3", facts: facts{2: pointer(packet, 2, 0), 3: unknown()}, needs: needs{1: all64}},
		{name: "jump", code: "r1 += r2\nif r1 > 10 goto L1"},
		{name: "hash", code: "r1 *= 31\nr1 ^= r2\nr1 *= 31\nr1 ^= r3", needs: needs{1: all64}},
		{name: "field", code: "r1 >>= 3\nr1 &= 15\nr2 += r1\nr2 ^= r3", needs: needs{2: all64}},
		{name: "swapped stores", code: "*(u32 *)(r2 + 0) = 1\n*(u32 *)(r3 + 0) = 2\nr1 = *(u32 *)(r2 + 0)",
			facts: facts{2: pointer(flow.KindMapValue, 2, 0), 3: pointer(flow.KindMapValue, 3, 0)}, needs: needs{1: all64}},
	} {
		for name, p := range proposers() {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				w := window(t, bpf.V3, tt.code, tt.facts, tt.needs)
				begin := time.Now()
				found, ok, asked := search(t, p, w)
				t.Logf("%v, asked about %d", time.Since(begin), len(asked))
				if ok {
					t.Errorf("found\n%s", bpf.Format(found))
				}
			})
		}
	}
}

// TestDeterministic wants the same candidates in the same order, whatever the
// answers are.
func TestDeterministic(t *testing.T) {
	for name, p := range proposers() {
		t.Run(name, func(t *testing.T) {
			total := 0
			for _, tt := range append(findTests()[:8], longTests()...) {
				w := window(t, tt.level, tt.code, tt.facts, tt.needs)
				first := propositions(p, w, encode.Verdict{Outcome: encode.Unsafe})
				again := propositions(p, w, encode.Verdict{Outcome: encode.Unsafe})
				if !slices.EqualFunc(first, again, slices.Equal[[]bpf.Instruction]) {
					t.Errorf("%s: other candidates the second time", tt.name)
				}
				total += len(first)
			}
			if total < 8 {
				t.Errorf("only %d candidates in all", total)
			}
		})
	}
}

// TestLearns wants what is asked after a counterexample to stand it: the states
// that the search starts with have no r1 of -1234, where alone the result is
// not one.
func TestLearns(t *testing.T) {
	w := window(t, bpf.V2, "r1 += 1000\nr1 += 234\nr2 = r1\nr2 = -r2\nr1 |= r2\nr1 >>= 63", nil, needs{1: all64})
	for name, p := range proposers() {
		t.Run(name, func(t *testing.T) {
			checker := encode.New(encode.Options{})
			ctx := context.Background()
			var lanes []*lane
			view, ok := newProblem(w, nil, 0)
			if !ok {
				t.Fatal("no problem")
			}
			p.Propose(ctx, w, func(code []bpf.Instruction) encode.Verdict {
				for _, l := range lanes {
					if !view.rightIn(l, code) {
						t.Errorf("a counterexample refutes\n%s", bpf.Format(code))
					}
				}
				v := checker.Check(ctx, w, code)
				if v.Counterexample == nil {
					return v
				}
				l, ok := view.make.replay(v.Counterexample)
				if !ok || view.rightIn(l, code) {
					t.Errorf("%+v does not refute\n%s", v.Counterexample, bpf.Format(code))
				}
				lanes = append(lanes, l)
				return v
			})
			if len(lanes) == 0 {
				t.Error("nothing was refuted")
			}
		})
	}
}

func TestBudget(t *testing.T) {
	hard := window(t, bpf.V3, "r1 *= 31\nr1 ^= r2\nr1 *= 37\nr1 ^= r3\nr1 *= 41\nr1 ^= r4", nil, needs{1: all64})
	easy := window(t, bpf.V3, "r1 += 1\nr1 += 2", nil, needs{1: all64})
	t.Run("tiny", func(t *testing.T) {
		for _, p := range []passes.Proposer{Enumerate(EnumerateOptions{Budget: 1}), MCMC(MCMCOptions{Steps: 1, Chains: 1})} {
			if _, ok, _ := search(t, p, easy); ok {
				t.Errorf("%s finds something within no budget", p.Name())
			}
		}
	})
	t.Run("tries", func(t *testing.T) {
		for _, p := range []passes.Proposer{Enumerate(EnumerateOptions{Tries: 3}), MCMC(MCMCOptions{Tries: 3})} {
			if n := len(propositions(p, easy, encode.Verdict{Outcome: encode.Unsafe})); n > 3 {
				t.Errorf("%s asks %d times", p.Name(), n)
			}
		}
	})
	t.Run("length", func(t *testing.T) {
		for _, p := range []passes.Proposer{Enumerate(EnumerateOptions{MaxSlots: 1}), MCMC(MCMCOptions{MaxSlots: 1})} {
			if n := len(propositions(p, easy, encode.Verdict{Outcome: encode.Unsafe})); n > 0 {
				t.Errorf("%s looks at a window that is too long", p.Name())
			}
		}
	})
	t.Run("context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		for _, p := range []passes.Proposer{Enumerate(EnumerateOptions{Budget: 1 << 40}), MCMC(MCMCOptions{Steps: 1 << 40})} {
			p.Propose(ctx, hard, func([]bpf.Instruction) encode.Verdict { return encode.Verdict{} })
		}
	})
}

func BenchmarkPropose(b *testing.B) {
	hard := window(b, bpf.V3, "r1 >>= 3\nr1 &= 15\nr2 += r1\nr2 ^= r3\nr1 += 1", nil, needs{1: all64, 2: all64})
	for name, p := range proposers() {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				propositions(p, hard, encode.Verdict{Outcome: encode.Unsafe})
			}
		})
	}
}
