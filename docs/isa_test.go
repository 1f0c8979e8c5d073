// Package docs checks the documents that are made from code.
package docs

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/windows"
)

// speed is measured, not made.
const speed = "On one core of an AMD EPYC on 25 November 2026 they ran at 239 and 250 million instructions per second " +
	"(medians of five)."

var update = flag.Bool("update", false, "write isa.md again")

const intro = `# The instruction set

What ` + "`bpf.Forms`" + ` lists, with the lowest ISA level (LLVM's ` + "`-mcpu`" + `) at which clang emits it and the text that describes it. Made by ` + "`go test ./docs -update`" + `, which tries every form on each of the three readings of ` + "`bpf/semantics`" + `:

- concrete: ` + "`semantics.Exec`" + ` runs it
- ranges: ` + "`bpf/flow`" + ` knows what holds behind it, in known bits and ranges
- Z3: ` + "`encode`" + ` proves a window that holds it

For calls, what happens inside the callee is no part of this table: see ` + "`semantics.Helper`" + `.

| form | level | described in | concrete | ranges | Z3 |
|---|---|---|---|---|---|
`

const outro = `
## What is not in it

- Jumps to an address in a register (gotox): kernels up to 6.18 have none. Functions that hold one are left as they are.
- Opcodes that the kernel's verifier puts in (probing loads, per-CPU addresses, no-speculation barriers): they are in no program that is loaded.

## Speed

` + "`BenchmarkRunner`" + ` (` + "`go test -bench Runner ./bpf/semantics`" + `) runs windows of 8 and of 24 instructions, arithmetic, memory and a jump, on the concrete reading that the search uses. %s
`

// TestISA tries every form on every reading and wants isa.md to say what came
// of it.
func TestISA(t *testing.T) {
	const file = "isa.md"
	var b strings.Builder
	b.WriteString(intro)
	checker := encode.New(encode.Options{})
	for f := range bpf.Forms() {
		in := f.Example
		fmt.Fprintf(&b, "| `%s` | %v | %s | %s | %s | %s |\n", strings.ReplaceAll(f.Name(), "|", `\|`), f.Level, f.Source,
			cell(t, f, concrete(in), nil), cell(t, f, ranges(t, in), noRanges), cell(t, f, proven(t, checker, in), noProof))
	}
	fmt.Fprintf(&b, outro, speed)
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(b.String(), string(got)); d != "" {
		t.Errorf("isa.md is stale; run go test ./docs -update\n%s", d)
	}
}

// cell is yes, or why a reading does not have a form.
func cell(t *testing.T, f bpf.Form, err error, why func(bpf.Instruction) string) string {
	t.Helper()
	if err == nil {
		return "yes"
	}
	if why != nil && why(f.Example) != "" {
		return why(f.Example)
	}
	t.Errorf("%s: a hole without a reason: %v", f.Name(), err)
	return "no"
}

// noRanges says why bpf/flow does not have a form.
func noRanges(in bpf.Instruction) string {
	if in.IsCast() {
		return "no: functions with arena pointers are left as they are"
	}
	return ""
}

// noProof says why Z3 does not have a form.
func noProof(in bpf.Instruction) string {
	switch {
	case in.IsCast():
		return noRanges(in)
	case in.IsPacketLoad(), in.IsExit():
		return "no: may leave the function, so windows end there"
	case in.IsGoto(), in.IsMayGoto():
		return "no: control flow, compared by `Checker.SameShape`"
	case in.IsCall():
		return "no: windows end there"
	case in.Op == bpf.LoadImm64:
		return "no: only the kernel knows the value; objects have a symbol there"
	}
	return ""
}

// functionOf is a function that ends behind the instruction, and what the
// instruction needs to be run.
func functionOf(in bpf.Instruction) *bpf.Function {
	callee := &bpf.Function{Name: "callee", Blocks: []*bpf.Block{{Label: 1, Code: code("r0 = 0\nexit")}}}
	fn := &bpf.Function{Name: "form", Context: bpf.ContextSKB, Symbols: []bpf.Symbol{{Kind: bpf.SymbolFunc, Name: "callee", Func: callee}}}
	head := code("r6 = r1\nr1 = r10\nr1 += -64\nr2 = r1\n*(u64 *)(r10 - 56) = 1")
	switch {
	case in.IsCall() && in.Op&bpf.SourceX != 0:
		head = append(head, code("r1 = func(@1) ll")...)
	case in.IsCall() && in.Src == bpf.CallLocal:
		in.Ref, in.Imm = 1, 0
	case in.IsPacketLoad(), !in.IsLoad() && !in.IsStore() && !in.IsAtomic():
		head = append(head, code("r1 = 5\nr2 = 3")...)
	case in.IsStore() || in.IsAtomic() && in.Imm != bpf.AtomicLoadAcq:
		head = append(head, code("r0 = 1\nr2 = 3")...)
	}
	fn.Blocks = []*bpf.Block{
		{Label: 2, Code: append(head, in)},
		{Label: 1, Code: code("r0 = 0\nexit")},
	}
	if in.IsExit() {
		fn.Blocks = fn.Blocks[:1]
	}
	return fn
}

// code reads instructions that are known to be right.
func code(src string) []bpf.Instruction {
	out, err := bpf.ParseCode(src)
	if err != nil {
		panic(err)
	}
	return out
}

func concrete(in bpf.Instruction) error {
	const ctx, stack = 0x1000, 0x8000
	answer := func([5]uint64) (uint64, error) { return 0, nil }
	e := &semantics.Exec{
		State:   &semantics.State{},
		Helper:  func(_ int32, args [5]uint64) (uint64, error) { return answer(args) },
		Kfunc:   func(_ bpf.Instruction, _ *bpf.Symbol, args [5]uint64) (uint64, error) { return answer(args) },
		Symbol:  func(*bpf.Symbol) (uint64, error) { return 0x1_0000_0000, nil },
		Packet:  func(uint32, int) (uint64, bool) { return 0, true },
		MayGoto: func() bool { return true },
	}
	e.Regs[bpf.R1], e.Regs[bpf.R10] = ctx, stack
	_, err := e.Run(functionOf(in))
	return err
}

func ranges(t *testing.T, in bpf.Instruction) error {
	_, err := flow.Analyze(t.Context(), functionOf(in), flow.Options{})
	return err
}

// proven puts the instruction into a window, with a copy behind it that the
// checker has to take out.
func proven(t *testing.T, c *encode.Checker, in bpf.Instruction) error {
	fn := functionOf(in)
	facts, err := flow.Analyze(t.Context(), fn, flow.Options{})
	if err != nil {
		return err
	}
	needs, err := flow.Liveness(fn, facts)
	if err != nil {
		return err
	}
	for _, w := range windows.Cut(fn, 64).Windows(facts, needs, windows.Target{Level: bpf.V4, Confirmed: true}) {
		for _, have := range w.Code {
			if bpf.SameCode(have, in) {
				return check(t.Context(), c, w)
			}
		}
	}
	return fmt.Errorf("%v is in no window", in)
}

// check proves a window's code against itself behind an instruction that does
// nothing.
func check(ctx context.Context, c *encode.Checker, w *windows.Window) error {
	again := append(code("r3 = 0"), w.Code...)
	if v := c.Check(ctx, w, again); v.Outcome != encode.Proven {
		return fmt.Errorf("%v: %s", v.Outcome, v.Reason)
	}
	return nil
}
