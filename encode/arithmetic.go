package encode

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
)

// arithmetic runs an ALU instruction; a copy of a pointer that may be null may
// be null.
func (mc *machine) arithmetic(in bpf.Instruction) error {
	refused := mc.checkALU(in)
	null := in.UsesSrc() && in.Op.ALU() == bpf.OpMov && mc.regs[in.Src].null
	frame := in.Reads().Has(in.Dst) && mc.regs[in.Dst].kind == flow.KindStack ||
		in.UsesSrc() && mc.regs[in.Src].kind == flow.KindStack
	if err := semantics.Step[value](mc, in); err != nil {
		return err
	}
	mc.regs[in.Dst].null = null
	if v := mc.regs[in.Dst]; frame && v.kind != flow.KindStack && !v.isConst() {
		mc.m.escaped = true // where the frame is can be told from the number
	}
	if refused != nil && mc.old.results[mc.regs[in.Dst].node] {
		return nil // the old code computes it as well
	}
	return refused
}

// number tells whether v is known to be no pointer, by its kind or because the
// old code used it as a number.
func (mc *machine) number(v value) bool {
	return v.kind == flow.KindScalar || v.kind == flow.KindAny && mc.old != nil && mc.old.numbers[v.node]
}

// checkALU refuses arithmetic on pointers that the verifier refuses
// (kernel/bpf/verifier.c, adjust_ptr_min_max_vals).
func (mc *machine) checkALU(in bpf.Instruction) error {
	dst, src := mc.Reg(in.Dst), semantics.Operand[value](mc, in)
	op, is64 := in.Op.ALU(), in.Op.Class() == bpf.ClassALU64
	switch {
	case op == bpf.OpMov && is64 && in.Off == 0:
		return nil
	case (op == bpf.OpAdd || op == bpf.OpSub) && is64:
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
		if mc.old == nil && numbersOnly(op) {
			mc.isNumber(v)
		}
		mc.numbers[v.node] = true
	}
	return nil
}

// numbersOnly tells whether the verifier refuses the operation on a pointer
// even to the privileged, in both widths.
func numbersOnly(op bpf.Op) bool {
	switch op {
	case bpf.OpMul, bpf.OpDiv, bpf.OpMod, bpf.OpAnd, bpf.OpOr, bpf.OpXor, bpf.OpLsh, bpf.OpRsh, bpf.OpArsh:
		return true
	}
	return false
}

// isNumber notes that v, which a four-byte load may have made a pointer, is
// none, or the program had not been accepted: its upper half is zero.
func (mc *machine) isNumber(v value) {
	n := v.node
	upper := n
	if n.op == opConcat {
		upper = n.a
	}
	if upper.op != opVar || !upper.narrow {
		return
	}
	if len(upper.assume) == 0 {
		zero := mc.g.constant(0, 32)
		upper.assume = append(upper.assume, mc.g.compare(opEq, mc.g.extract(n, 63, 32), zero))
	}
}

// maxMove is how far the verifier lets a pointer be moved by a constant
// (BPF_MAX_VAR_OFF in include/linux/bpf_verifier.h).
const maxMove = 1<<29 - 1

func (mc *machine) checkSum(op bpf.Op, dst, src value) error {
	if mc.old == nil && op == bpf.OpSub && dst.kind == flow.KindScalar {
		mc.isNumber(src)
		mc.numbers[src.node] = true
	}
	if mc.old == nil || mc.number(dst) && mc.number(src) {
		return nil
	}
	known := func(v value) bool {
		return !v.null && (v.kind == flow.KindStack || v.kind == flow.KindPacket || v.kind == flow.KindMapValue)
	}
	near := func(v value) bool {
		return mc.number(v) && v.isConst() && v.k+maxMove <= 2*maxMove
	}
	if known(dst) && near(src) || op == bpf.OpAdd && known(src) && near(dst) {
		return nil
	}
	return unsafef("new arithmetic on a pointer")
}
