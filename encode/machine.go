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
	m  *memory
	fn *bpf.Function
	// context is the pointer to the context as the function found it.
	context *node
	big     bool
	regs    [bpf.NumRegisters]value
	log     log
	events  []event
	cond    *value          // whether the jump at the end is taken
	branch  bpf.Instruction // that jump
	// operands of the jump, as nodes: a comparison of pointers has to stay
	cmp    [2]*node
	copies copies

	careful     bool  // fields and wide loads as the plan wants them
	fields      bool  // accesses of unknown kind are to a context, perhaps
	epochs      []int // the epoch of each access to common memory, in order
	accesses    int   // accesses to common memory so far
	epoch       int   // that of the latest one
	fieldStores int   // stores that may have been to a context so far
	stores      int   // stores to common memory in this epoch so far

	calling []called // the calls that the old code makes
	calls   []call

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

// BigEndian tells the target's byte order.
func (mc *machine) BigEndian() bool { return mc.big }

// Reg is r's value.
func (mc *machine) Reg(r bpf.Register) value { return mc.regs[r] }

// SetReg gives r a value.
func (mc *machine) SetReg(r bpf.Register, v value) {
	mc.regs[r] = v
	mc.results[v.node] = true
}

// Imm is the immediate, or the symbol that a loader puts in its place.
func (mc *machine) Imm(in bpf.Instruction) value { return immediate(mc.terms, mc.fn, in) }

// immediate is what an instruction's immediate stands for in a function.
func immediate(t terms, fn *bpf.Function, in bpf.Instruction) value {
	if in.Ref == 0 {
		return t.Const(uint64(in.Imm), 64)
	}
	if in.Op != bpf.LoadImm64 {
		return scalar(t.g.sext(t.g.extract(t.g.variable(symbolName(in.Ref), 64), 31, 0), 64))
	}
	anchor, off := fn.Anchored(in.Ref)
	x := t.g.variable(symbolName(anchor), 64)
	if sym := fn.Symbol(anchor); sym != nil {
		t.g.align(x, sym.Align)
	}
	v := value{node: t.g.binary(opAdd, x, t.g.constant(uint64(off), 64)), kind: flow.KindAny}
	if sym := fn.Symbol(in.Ref); sym != nil {
		v.kind = symbolKind(sym.Kind)
	}
	return v
}

func symbolKind(k bpf.SymbolKind) flow.Kind {
	switch k {
	case bpf.SymbolMap:
		return flow.KindMap
	case bpf.SymbolData:
		return flow.KindMapValue
	case bpf.SymbolCore:
		return flow.KindScalar
	}
	return flow.KindAny
}

// run executes straight-line code.
func (mc *machine) run(code []bpf.Instruction) error {
	for i, in := range code {
		if err := mc.step(in, i == len(code)-1); err != nil {
			return fmt.Errorf("%v: %w", in, err)
		}
	}
	return nil
}

func (mc *machine) step(in bpf.Instruction, last bool) error {
	if isCall(in) {
		mc.copies.step(in, &mc.regs)
		return mc.call(in)
	}
	if err := mc.readable(in); err != nil {
		return err
	}
	mc.copies.step(in, &mc.regs)
	switch {
	case in.IsCondJump():
		if !last {
			return fmt.Errorf("jump inside a window: %w", errNotModelled)
		}
		return mc.jump(in)
	case in.IsALU():
		return mc.arithmetic(in)
	case in.Op == bpf.LoadImm64:
		if in.Src != bpf.PseudoImm && in.Ref == 0 {
			return fmt.Errorf("what the kernel puts there: %w", errNotModelled)
		}
		return semantics.Step[value](mc, in)
	case in.IsLoad(), in.IsStore(), in.IsAtomic():
		return mc.access(in)
	}
	return errNotModelled
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
