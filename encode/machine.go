package encode

import (
	"errors"
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
)

// machine runs one code of a check on terms (semantics.Machine). It notes every
// access and, for new code, what the verifier would refuse.
type machine struct {
	terms
	m      *memory
	fn     *bpf.Function
	big    bool
	regs   [bpf.NumRegisters]value
	log    log
	events []event
	cond   *value          // whether the jump at the end is taken
	branch bpf.Instruction // that jump
	// operands of the jump, as nodes: a comparison of pointers has to stay
	cmp [2]*node

	ctxStores int
	current   bpf.Instruction

	// old is the finished machine of the old code while the new one runs: what
	// the old code did to a value, the new one may do as well. Nil for the old
	// code itself.
	old *machine
	// numbers holds terms that were used in a way that the verifier allows for
	// numbers only, results every term computed.
	numbers map[*node]bool
	results map[*node]bool
}

// errNotModelled marks code that the checker does not understand.
var errNotModelled = errors.New("not modelled")

// unsafeError says what the verifier would refuse.
type unsafeError struct{ reason string }

func (e *unsafeError) Error() string { return e.reason }

func unsafef(format string, args ...any) error {
	return &unsafeError{fmt.Sprintf(format, args...)}
}

func (mc *machine) BigEndian() bool          { return mc.big }
func (mc *machine) Reg(r bpf.Register) value { return mc.regs[r] }

func (mc *machine) SetReg(r bpf.Register, v value) {
	mc.regs[r] = v
	mc.results[v.node] = true
}

// Imm is the immediate, or the symbol that a loader puts in its place.
func (mc *machine) Imm(in bpf.Instruction) value {
	if in.Ref == 0 {
		return mc.Const(uint64(in.Imm), 64)
	}
	sym := mc.fn.Symbol(in.Ref)
	name := fmt.Sprintf("s%d", in.Ref)
	if in.Op != bpf.LoadImm64 {
		return scalar(mc.g.sext(mc.g.extract(mc.g.variable(name, 64), 31, 0), 64))
	}
	v := value{node: mc.g.variable(name, 64), kind: flow.KindAny}
	if sym != nil {
		switch sym.Kind {
		case bpf.SymbolMap:
			v.kind = flow.KindMap
		case bpf.SymbolData:
			v.kind = flow.KindMapValue
		case bpf.SymbolCore:
			v.kind = flow.KindScalar
		}
	}
	return v
}

// run executes straight-line code.
func (mc *machine) run(code []bpf.Instruction) error {
	for i, in := range code {
		mc.current = in
		err := mc.step(in, i == len(code)-1)
		if err != nil {
			return fmt.Errorf("%v: %w", in, err)
		}
	}
	return nil
}

func (mc *machine) step(in bpf.Instruction, last bool) error {
	if err := mc.readable(in); err != nil {
		return err
	}
	switch {
	case in.IsCondJump():
		if !last {
			return fmt.Errorf("jump inside a window: %w", errNotModelled)
		}
		return mc.jump(in)
	case in.IsALU():
		if err := mc.checkALU(in); err != nil {
			return err
		}
		// Moving keeps a pointer's kind, which the description of values
		// knows nothing of.
		return mc.stepKeepingNull(in)
	case in.Op == bpf.LoadImm64:
		return semantics.Step[value](mc, in)
	case in.IsLoad(), in.IsStore(), in.IsAtomic():
		return mc.access(in)
	}
	return errNotModelled
}

// stepKeepingNull runs arithmetic; a copy of a pointer that may be null may be
// null.
func (mc *machine) stepKeepingNull(in bpf.Instruction) error {
	null := in.UsesSrc() && in.Op.ALU() == bpf.OpMov && mc.regs[in.Src].null
	if err := semantics.Step[value](mc, in); err != nil {
		return err
	}
	mc.regs[in.Dst].null = null
	return nil
}

func (mc *machine) readable(in bpf.Instruction) error {
	for r := range bpf.Register(bpf.NumRegisters) {
		if in.Reads().Has(r) && mc.regs[r].kind == flow.KindNone {
			return unsafef("reads r%d, which holds nothing readable", r)
		}
	}
	return nil
}

func (mc *machine) jump(in bpf.Instruction) error {
	a, b := mc.Reg(in.Dst), semantics.Operand[value](mc, in)
	taken := semantics.Taken[value](mc, in, a, b)
	mc.cond, mc.branch, mc.cmp = &taken, in, [2]*node{a.node, b.node}
	if mc.old == nil || mc.number(a) && mc.number(b) {
		return nil
	}
	if mc.old.cond == nil || mc.old.branch.Op != in.Op || mc.old.cmp != mc.cmp {
		return unsafef("compares a pointer in another way")
	}
	return nil
}

// number tells whether v is known to be no pointer, by its kind or because the
// old code used it as a number.
func (mc *machine) number(v value) bool {
	return v.kind == flow.KindScalar || mc.old != nil && mc.old.numbers[v.node]
}

// checkALU refuses arithmetic on pointers that the verifier refuses
// (kernel/bpf/verifier.c, adjust_ptr_min_max_vals).
func (mc *machine) checkALU(in bpf.Instruction) error {
	dst, src := mc.Reg(in.Dst), semantics.Operand[value](mc, in)
	op, is64 := in.Op.ALU(), in.Op.Class() == bpf.ClassALU64
	move := op == bpf.OpMov && is64 && in.Off == 0
	sum := (op == bpf.OpAdd || op == bpf.OpSub) && is64
	switch {
	case move:
		return nil
	case sum:
		return mc.checkSum(op, dst, src)
	}
	operands := []value{src}
	if op != bpf.OpMov {
		operands = append(operands, dst)
	}
	for _, v := range operands {
		if !mc.number(v) && mc.old != nil {
			return unsafef("computes with what may be a pointer")
		}
		mc.numbers[v.node] = true
	}
	return nil
}

func (mc *machine) checkSum(op bpf.Op, dst, src value) error {
	if mc.old == nil || mc.number(dst) && mc.number(src) {
		return nil
	}
	if mc.old.results[mc.sumTerm(op, dst, src)] {
		return nil
	}
	known := func(v value) bool {
		return !v.null && (v.kind == flow.KindStack || v.kind == flow.KindPacket || v.kind == flow.KindMapValue)
	}
	switch {
	case known(dst) && mc.number(src) && src.isConst():
		return nil
	case op == bpf.OpAdd && known(src) && mc.number(dst) && dst.isConst():
		return nil
	}
	return unsafef("new arithmetic on a pointer")
}

func (mc *machine) sumTerm(op bpf.Op, dst, src value) *node {
	if op == bpf.OpSub {
		return mc.g.binary(opSub, dst.node, src.node)
	}
	return mc.g.binary(opAdd, dst.node, src.node)
}
