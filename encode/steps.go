package encode

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
	"github.com/k2cc/k2cc/windows"
)

// Steps is two functions with the same blocks, of which the new one may hold in
// other registers what the old one computes.
type Steps struct {
	Old, New *bpf.Function
	Facts    *flow.Facts // of Old
	Before   *flow.Needs // of Old
	After    *flow.Needs // of New
	// Holders says where Old holds, at each block's start, what New has in its
	// registers.
	Holders   windows.Renaming
	Reuses    []Reuse
	BigEndian bool
}

// SameSteps proves that two functions do the same, step by step: where they
// access memory, call, jump or exit, both do so in the same order with the same
// operands. What lies between, computing in registers, may differ, and the new
// one does without Reuses.
//
// By induction over the blocks that a run passes through: where the registers of
// the new function hold at a block's start what Holders say, both take the same
// steps in the block, so that memory stays the same for both, and leave it the
// same way to a block where Holders hold again of all that the new one still
// reads. A load that the new one does without yields in the old one what it is
// to yield, in one of the runs that others' writes leave open: in that where they
// come right before the place was last read or written, or behind this load.
func (c *Checker) SameSteps(ctx context.Context, s *Steps) (err error) {
	// go-z3 panics on solver errors.
	defer func() {
		if r := recover(); r != nil {
			c.solver = nil
			err = fmt.Errorf("internal error: %v", r)
		}
	}()
	if err := s.sameBlocks(); err != nil {
		return err
	}
	for _, b := range s.Facts.Graph().Order() {
		if !s.Facts.Reachable(b) {
			continue // no run gets there
		}
		if err := c.sameBlock(ctx, s, b); err != nil {
			return fmt.Errorf("block %d: %w", b, err)
		}
	}
	return nil
}

// sameBlocks wants the same labels in the same order, and the function to be
// entered with every value in its place.
func (s *Steps) sameBlocks() error {
	same := slices.EqualFunc(s.Old.Blocks, s.New.Blocks, func(a, b *bpf.Block) bool { return a.Label == b.Label })
	if !same || len(s.Holders) != len(s.Old.Blocks) {
		return errors.New("other blocks")
	}
	for r, h := range s.Holders[0] {
		if h.Known && h != windows.Held(bpf.Register(r)) {
			return fmt.Errorf("r%d is not what the function is entered with", r)
		}
	}
	return nil
}

// sameBlock proves the steps of one block.
func (c *Checker) sameBlock(ctx context.Context, s *Steps, block int) error {
	states := s.Facts.Block(block)
	w := &windows.Window{Fn: s.Old, Block: block, Facts: states[0]}
	w.BigEndian = s.BigEndian
	e, err := newEntry(newGraph(), w)
	if err != nil {
		return err
	}
	for r := range e.regs {
		if block == 0 && len(s.Facts.Graph().Preds(0)) == 0 && e.regs[r].kind == flow.KindNone {
			e.regs[r] = e.unreadable()
		}
	}
	t := &tape{entry: e, results: map[*node]bool{}}
	old := &stepper{terms: terms{e.g}, tape: t, fn: s.Old, big: s.BigEndian, regs: e.regs}
	if old.reuses, err = s.reuses(block); err != nil {
		return err
	}
	args := callArguments(s.Before, block, s.Old.Blocks[block].Code)
	known := func(i int) (bpf.Registers, *flow.State) { return args[i], &states[i+1] }
	if err := old.run(s.Old.Blocks[block].Code, known); err != nil {
		return fmt.Errorf("old code: %w", err)
	}
	neu := &stepper{terms: old.terms, tape: t, fn: s.New, big: s.BigEndian, replay: true}
	neu.regs = e.holders(&s.Holders[block], &e.regs)
	if err := neu.run(s.New.Blocks[block].Code, nil); err != nil {
		return err
	}
	if neu.at != len(t.steps) {
		return errors.New("fewer steps")
	}
	for _, succ := range s.Facts.Graph().Succs(block) {
		if err := t.leave(s, succ, old, neu); err != nil {
			return fmt.Errorf("to block %d: %w", succ, err)
		}
	}
	return c.hold(ctx, t)
}

// callArguments is, by instruction, which of R1 to R5 a call reads: those that
// are needed before it, as nothing of them is behind it.
func callArguments(needs *flow.Needs, block int, code []bpf.Instruction) []bpf.Registers {
	out := make([]bpf.Registers, len(code))
	lives := append([]flow.Live{needs.In(block)}, needs.Block(block)...)
	for i, in := range code {
		for r := bpf.R1; r <= bpf.R5 && in.IsCall(); r++ {
			if lives[i].Regs[r] != 0 {
				out[i] |= bpf.Set(r)
			}
		}
	}
	return out
}

// holders is what registers hold that stand for places of the old code, of
// which regs are the registers.
func (e *entry) holders(at *windows.Registers, regs *[bpf.NumRegisters]value) (out [bpf.NumRegisters]value) {
	for r, h := range at {
		switch {
		case !h.Known:
			out[r] = e.unreadable()
		case h.Ref != 0:
			out[r] = immediate(terms{e.g}, e.fn, bpf.Instruction{Op: bpf.LoadImm64, Ref: h.Ref})
		case h.Offset == 0:
			out[r] = regs[h.Reg]
		default:
			v := regs[h.Reg]
			out[r] = value{node: e.g.binary(opAdd, v.node, e.g.constant(uint64(h.Offset), 64)), kind: v.kind}
		}
	}
	return out
}

// unreadable is what a register holds that was never written, or lost in a call.
// What only some of the paths to a block have written is no such: it is a number
// like any other, which no run reads that has not written it.
func (e *entry) unreadable() value {
	return value{node: e.g.variable("none", 64), kind: flow.KindNone}
}

func (t *tape) lost(v value) bool { return v.node == t.entry.unreadable().node }

// leave wants the new code's registers to be, in a block behind, what Holders
// say, as far as they are read there.
func (t *tape) leave(s *Steps, succ int, old, neu *stepper) error {
	want := t.entry.holders(&s.Holders[succ], &old.regs)
	live := s.After.In(succ)
	for r, bits := range live.Regs {
		if bits == 0 {
			continue
		}
		a, b := want[r], neu.regs[r]
		if h := s.Holders[succ][r]; h.Known && h.Ref == 0 && t.lost(old.regs[h.Reg]) {
			continue // no run reads it there, or the old code would not have been accepted
		}
		if t.lost(a) || t.lost(b) {
			return fmt.Errorf("r%d is read there, and is not known to hold what it should", r)
		}
		m := t.entry.g.constant(bits, 64)
		if bits == ^uint64(0) {
			if err := t.equal(a, b); err != nil {
				return fmt.Errorf("r%d: %w", r, err)
			}
			continue
		}
		cut := func(v value) value { return scalar(t.entry.g.binary(opAnd, v.node, m)) }
		if err := t.equal(cut(a), cut(b)); err != nil {
			return fmt.Errorf("r%d: %w", r, err)
		}
	}
	return nil
}

// hold asks Z3 whether an equation can fail.
func (c *Checker) hold(ctx context.Context, t *tape) error {
	if len(t.equations) == 0 {
		return nil
	}
	if err := c.possible(ctx, t.entry); err != nil {
		return err
	}
	ob := &obligation{entry: t.entry, equations: t.equations}
	q := c.open(ob)
	defer q.close()
	sat, err := q.s.check(ctx)
	if ctx.Err() != nil {
		c.solver = nil // it may still be interrupted
	}
	switch {
	case err != nil:
		return err
	case sat:
		return fmt.Errorf("%s may differ", t.equations[0].what)
	}
	return nil
}

// step is what others may see of one instruction: it without its registers, and
// what these hold.
type step struct {
	in       bpf.Instruction
	operands []value
	result   value
}

// tape is the steps of a block, as the old code takes them.
type tape struct {
	entry     *entry
	steps     []step
	equations []equation
	results   map[*node]bool // that the old code computes
}

// equal wants two values to be the same. What may be a pointer has to be so by
// the terms alone.
func (t *tape) equal(a, b value) error {
	switch {
	case a.node == b.node:
		return nil
	case a.kind != flow.KindScalar || b.kind != flow.KindScalar:
		return errors.New("another value, which may be a pointer")
	}
	t.equations = append(t.equations, equation{"a value", a.node, b.node})
	return nil
}

// stepper runs one block's code on terms (semantics.Machine): the old code's
// steps are put on the tape, those of the new one compared with it.
type stepper struct {
	terms
	tape   *tape
	fn     *bpf.Function
	big    bool
	replay bool
	regs   [bpf.NumRegisters]value
	at     int         // how many steps were taken
	after  *flow.State // behind the instruction, for the old code
	reuses map[int]bpf.Register
}

var _ semantics.Vague[value] = (*stepper)(nil)

// BigEndian tells the target's byte order.
func (st *stepper) BigEndian() bool { return st.big }

// Reg is r's value.
func (st *stepper) Reg(r bpf.Register) value { return st.regs[r] }

// SetReg gives r a value.
func (st *stepper) SetReg(r bpf.Register, v value) { st.regs[r] = v }

// Imm is the immediate, or the symbol that a loader puts in its place.
func (st *stepper) Imm(in bpf.Instruction) value { return immediate(st.terms, st.fn, in) }

// Unspecified is the same number for both codes.
func (st *stepper) Unspecified(_ bpf.Instruction, width int) value {
	return scalar(st.g.variable(fmt.Sprintf("u%d", st.at), width))
}

// Load takes the step of reading memory.
func (st *stepper) Load(in bpf.Instruction, base bpf.Register) (value, error) {
	v := scalar(st.g.variable(fmt.Sprintf("l%d", st.at), 8*in.Size()))
	in, at := st.address(in, base)
	_, err := st.step(in, at)
	return v, err
}

// Store takes the step of writing memory.
func (st *stepper) Store(in bpf.Instruction, base bpf.Register, v value) error {
	in, at := st.address(in, base)
	if in.Op.Class() == bpf.ClassST && movable(at.kind) {
		// An immediate may be stored where a register was, but to a context.
		in.Op, in.Imm = in.Op&^bpf.ClassST|bpf.ClassSTX, 0
	}
	_, err := st.step(in, at, v)
	return err
}

// address is where an access leads, and the instruction without its offset where
// the verifier does not mind how address and offset share the sum.
func (st *stepper) address(in bpf.Instruction, base bpf.Register) (bpf.Instruction, value) {
	v := st.regs[base]
	if in.Ref != 0 || !movable(v.kind) {
		return in, v
	}
	v.node = st.g.binary(opAdd, v.node, st.g.constant(uint64(int64(in.Off)), 64))
	in.Off = 0
	return in, v
}

// movable tells whether a pointer's kind lets an access be rewritten without a
// change of what is accessed.
func movable(k flow.Kind) bool {
	return k == flow.KindStack || k == flow.KindPacket || k == flow.KindMapValue
}

// step takes one step, and gives its number.
func (st *stepper) step(in bpf.Instruction, operands ...value) (int, error) {
	n := st.at
	st.at++
	in = anonymous(in)
	if !st.replay {
		st.tape.steps = append(st.tape.steps, step{in: in, operands: operands})
		return n, nil
	}
	if n >= len(st.tape.steps) {
		return n, fmt.Errorf("a step more than the old code takes")
	}
	was := st.tape.steps[n]
	if was.in != in || len(was.operands) != len(operands) {
		return n, fmt.Errorf("where the old code has %v", was.in)
	}
	for i, v := range operands {
		if err := st.tape.equal(was.operands[i], v); err != nil {
			return n, err
		}
	}
	return n, nil
}

// anonymous is the instruction without the registers that it names.
func anonymous(in bpf.Instruction) bpf.Instruction {
	in.Pos, in.Dst = 0, 0
	if !in.IsCall() && in.Op != bpf.LoadImm64 {
		in.Src = 0
	}
	return in
}

// run executes a block. For the old code, known gives what a call reads and what
// holds behind an instruction.
func (st *stepper) run(code []bpf.Instruction, known func(i int) (bpf.Registers, *flow.State)) error {
	for i, in := range code {
		if r, ok := st.reuses[i]; ok {
			st.regs[in.Dst] = st.regs[r]
			continue
		}
		args := bpf.Registers(0)
		if known != nil {
			args, st.after = known(i)
		}
		if err := st.instruction(in, args); err != nil {
			return fmt.Errorf("%v: %w", in, err)
		}
	}
	return nil
}

func (st *stepper) instruction(in bpf.Instruction, args bpf.Registers) error {
	if err := st.readable(in); err != nil {
		return err
	}
	switch {
	case in.IsCall(), in.IsPacketLoad():
		return st.call(in, args)
	case in.IsExit():
		return st.exit(in)
	case in.IsCondJump():
		in, operands := st.compared(in)
		_, err := st.step(in, operands...)
		return err
	case in.IsJump():
		_, err := st.step(in)
		return err
	case in.IsALU(), in.Op == bpf.LoadImm64:
		return st.compute(in)
	}
	first := st.at
	if err := semantics.Step[value](st, in); err != nil {
		return err
	}
	for r := range bpf.R10 {
		if in.Writes().Has(r) {
			st.result(first, r)
		}
	}
	return nil
}

// readable wants the registers that an instruction names to hold something.
func (st *stepper) readable(in bpf.Instruction) error {
	reads := in.Reads()
	if in.IsCall() || in.IsExit() {
		reads = 0
	}
	for r := range bpf.Register(bpf.NumRegisters) {
		if reads.Has(r) && st.tape.lost(st.regs[r]) {
			return unsafef("reads r%d, which holds nothing readable", r)
		}
	}
	return nil
}

// exit takes the step of leaving the function, with what callers take of its
// result. Subprograms without one leave R0 unreadable.
func (st *stepper) exit(in bpf.Instruction) error {
	r0 := st.regs[bpf.R0]
	if !st.replay && st.tape.lost(r0) {
		_, err := st.step(in)
		return err
	}
	if st.replay && st.at < len(st.tape.steps) && len(st.tape.steps[st.at].operands) == 0 {
		_, err := st.step(in)
		return err
	}
	if st.fn.HalfResult {
		r0.node = st.g.part(r0.node, 31, 0)
	}
	_, err := st.step(in, r0)
	return err
}

// compute runs an instruction that touches nothing but registers. With what may
// be a pointer, new code may compute what the old code computes in the block,
// copy, and move pointers into memory by constants.
func (st *stepper) compute(in bpf.Instruction) error {
	if in.Op == bpf.LoadImm64 && in.Src != bpf.PseudoImm && in.Ref == 0 {
		return fmt.Errorf("what the kernel puts there: %w", errNotModelled)
	}
	numbers := st.numbers(in)
	if err := semantics.Step[value](st, in); err != nil {
		return err
	}
	v := st.regs[in.Dst]
	if !st.replay {
		st.tape.results[v.node] = true
		return nil
	}
	moved := movable(v.kind) && in.Op.Class() == bpf.ClassALU64 && in.Op.ALU() == bpf.OpAdd && !in.UsesSrc() && in.Ref == 0
	copied := in.Op.Class() == bpf.ClassALU64 && in.Op.ALU() == bpf.OpMov && in.Off == 0
	if !numbers && !st.tape.results[v.node] && !moved && !copied && in.Op != bpf.LoadImm64 {
		return unsafef("computes what the old code does not")
	}
	return nil
}

// numbers tells whether the instruction reads nothing that may be a pointer.
func (st *stepper) numbers(in bpf.Instruction) bool {
	for r := range bpf.Register(bpf.NumRegisters) {
		if in.Reads().Has(r) && st.regs[r].kind != flow.KindScalar {
			return false
		}
	}
	return true
}

// compared is what a conditional jump compares, and the instruction without it.
func (st *stepper) compared(in bpf.Instruction) (bpf.Instruction, []value) {
	out := []value{st.regs[in.Dst], semantics.Operand[value](st, in)}
	if in.Op.Class() == bpf.ClassJMP32 {
		for i, v := range out {
			out[i] = value{node: st.g.part(v.node, 31, 0), kind: v.kind}
		}
	}
	if in.Ref == 0 {
		in.Op, in.Imm = in.Op|bpf.SourceX, 0
	}
	return in, out
}
