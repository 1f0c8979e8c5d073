// Package loops lets control fall into a loop at its top, where it jumped into its
// middle, past a step that it had taken already:
//
//	r1 = 4                  r1 = 0
//	goto L2
//	L1:                     L1:
//	r1 += 4            →    r1 += 4
//	if r1 == 128 goto L3    if r1 == 128 goto L3
//	L2:                     L2:
package loops

import (
	"context"
	"fmt"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/windows"
)

// maxAnalyzed bounds the slots that are analysed: each change makes that necessary
// anew.
const maxAnalyzed = 1 << 17

// Simplify is the function with such loops, where that is proven. It makes code
// shorter, but a run through it takes a step more, and the verifier walks it. It
// fails only where ctx ends.
func Simplify(ctx context.Context, c *encode.Checker, fn *bpf.Function, t windows.Target) (*bpf.Function, error) {
	if g := t.Costs.Goal; g == cost.Latency || g == cost.Verifier {
		return fn, nil
	}
	analyzed := 0
	for i := range fn.Blocks {
		e, ok := entryAt(fn, i)
		if !ok {
			continue
		}
		if analyzed += fn.Slots(); analyzed > maxAnalyzed {
			break
		}
		out, err := e.proven(ctx, c, t)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil:
			fn = out
		}
	}
	return fn, nil
}

// entry is a block that jumps past a loop's step, which is the block behind it.
type entry struct {
	fn    *bpf.Function
	block int
	def   int // the instruction that gives the counter its number
	start bpf.Instruction
	step  []bpf.Instruction // the addition, and perhaps a branch
}

// shortGoto is how many bytes of machine code a jump takes at least.
const shortGoto = 2

func entryAt(fn *bpf.Function, i int) (e entry, ok bool) {
	if i+2 >= len(fn.Blocks) {
		return e, false
	}
	code, step := fn.Blocks[i].Code, fn.Blocks[i+1].Code
	last := len(code) - 1
	if last < 1 || !code[last].IsGoto() || code[last].Target != fn.Blocks[i+2].Label || !isStep(step) {
		return e, false
	}
	add := step[0]
	e = entry{fn: fn, block: i, step: step, def: definition(code[:last], add.Dst)}
	if e.def < 0 {
		return e, false
	}
	def := code[e.def]
	e.start = def
	e.start.Imm -= add.Imm
	if e.start.Imm == -1 && cost.Bytes(e.start) > cost.Bytes(def)+shortGoto {
		e.start.Op ^= bpf.OpMov ^ bpf.OpOr // shorter, if there is a number in the register
	}
	fits := e.start.Imm == int64(int32(e.start.Imm))
	return e, fits && cost.Bytes(e.start) <= cost.Bytes(def)+shortGoto
}

// isStep tells whether code adds a constant to a register and does no more than
// branch on what that comes to.
func isStep(code []bpf.Instruction) bool {
	if len(code) == 0 || len(code) > 2 {
		return false
	}
	add := code[0]
	if !add.IsALU() || add.Op.ALU() != bpf.OpAdd || add.UsesSrc() || add.Ref != 0 {
		return false
	}
	if len(code) == 1 {
		return true
	}
	test := code[1]
	return test.IsCondJump() && !test.IsMayGoto() && !test.UsesSrc() && test.Ref == 0 && test.Dst == add.Dst
}

// definition is the instruction of code that gives r a constant which nothing
// reads or changes behind it, or -1.
func definition(code []bpf.Instruction, r bpf.Register) int {
	for i, in := range slices.Backward(code) {
		switch {
		case !(in.Reads() | in.Writes()).Has(r):
		case in.IsALU() && in.Op.ALU() == bpf.OpMov && !in.UsesSrc() && in.Ref == 0:
			return i
		default:
			return -1
		}
	}
	return -1
}

// proven is the function with the loop entered at its top. That it does the same
// is proven in steps: the counter starts lower and takes a step before the jump; a
// branch whose outcome is known comes behind that; and then it is all the same
// whether the loop's own step is taken.
func (e *entry) proven(ctx context.Context, c *encode.Checker, t windows.Target) (*bpf.Function, error) {
	stepped := e.stepped()
	if err := e.check(ctx, c, stepped, t); err != nil {
		return nil, err
	}
	tested := stepped
	if len(e.step) > 1 {
		tested = e.tested(stepped)
		if err := c.SameShape(ctx, tested, stepped); err != nil {
			return nil, err
		}
	}
	out := stepped.Clone()
	b := out.Blocks[e.block]
	b.Code = b.Code[:len(b.Code)-2] // without step and jump
	return out, c.SameShape(ctx, tested, out)
}

// stepped is the function in which the block takes the step itself.
func (e *entry) stepped() *bpf.Function {
	out := e.fn.Clone()
	b := out.Blocks[e.block]
	last := len(b.Code) - 1
	step := e.step[0]
	step.Pos = b.Code[last].Pos
	b.Code = slices.Concat(b.Code[:last], []bpf.Instruction{step, b.Code[last]})
	b.Code[e.def] = e.start
	return out
}

// tested is the function in which the block has the step's branch as well.
func (e *entry) tested(stepped *bpf.Function) *bpf.Function {
	out := stepped.Clone()
	b := out.Blocks[e.block]
	last := len(b.Code) - 1
	label := bpf.Label(1)
	for _, o := range out.Blocks {
		label = max(label, o.Label+1)
	}
	jump := &bpf.Block{Label: label, Code: []bpf.Instruction{b.Code[last]}}
	b.Code = slices.Concat(b.Code[:last], e.step[1:])
	out.Blocks = slices.Insert(out.Blocks, e.block+1, jump)
	return out
}

// check proves the block of the function in which it takes the step itself.
func (e *entry) check(ctx context.Context, c *encode.Checker, stepped *bpf.Function, t windows.Target) error {
	facts, _, err := flow.Both(ctx, e.fn, flow.Options{BigEndian: t.BigEndian})
	if err != nil {
		return fmt.Errorf("before: %w", err)
	}
	_, needs, err := flow.Both(ctx, stepped, flow.Options{BigEndian: t.BigEndian})
	if err != nil {
		return fmt.Errorf("after: %w", err)
	}
	w := windows.Block(e.fn, e.block, facts, windows.BehindBody(stepped, e.block, needs), t)
	if w == nil {
		return fmt.Errorf("block %d is not reached", e.block)
	}
	if v := c.Check(ctx, w, windows.Body(stepped.Blocks[e.block])); v.Outcome != encode.Proven {
		return fmt.Errorf("%v: %s", v.Outcome, v.Reason)
	}
	return nil
}
