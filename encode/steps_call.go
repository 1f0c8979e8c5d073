package encode

import (
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// call takes the step of a call or of a legacy packet load.
func (st *stepper) call(in bpf.Instruction, args bpf.Registers) error {
	operands, err := st.arguments(in, args)
	if err != nil {
		return err
	}
	if in.IsPacketLoad() && in.Op.Mode() == bpf.ModeInd && in.Ref == 0 {
		in.Imm = 0 // it is in the operand
	}
	n, err := st.step(in, operands...)
	if err != nil {
		return err
	}
	for r := bpf.R1; r <= bpf.R5; r++ {
		st.regs[r] = st.tape.entry.unreadable()
	}
	st.result(n, bpf.R0)
	return nil
}

// arguments is what a call or legacy packet load reads. Operands that the old
// code's call does not read are nil on the tape, whatever the new one has there.
func (st *stepper) arguments(in bpf.Instruction, args bpf.Registers) ([]value, error) {
	var out []value
	if in.IsPacketLoad() {
		out = append(out, st.regs[bpf.R6])
		if in.Op.Mode() == bpf.ModeInd {
			out = append(out, st.offset(in))
		}
		return out, nil
	}
	if in.Op&bpf.SourceX != 0 {
		out = append(out, st.regs[in.Dst])
	}
	for r := bpf.R1; r <= bpf.R5; r++ {
		read := args.Has(r)
		if st.replay && st.at < len(st.tape.steps) {
			was := st.tape.steps[st.at]
			read = len(out) < len(was.operands) && was.operands[len(out)].node != nil
		}
		switch {
		case !read:
			out = append(out, value{})
		case st.tape.lost(st.regs[r]):
			return nil, unsafef("r%d holds nothing readable", r)
		default:
			out = append(out, st.regs[r])
		}
	}
	return out, nil
}

// offset is where a legacy packet load reads that is told by a register and a
// constant: their sum in 32 bits (net/core/filter.c: bpf_gen_ld_abs, and the
// helpers that it calls).
func (st *stepper) offset(in bpf.Instruction) value {
	v := value{node: st.g.part(st.regs[in.Src].node, 31, 0), kind: st.regs[in.Src].kind}
	if in.Ref == 0 && in.Imm != 0 {
		v.node = st.g.binary(opAdd, v.node, st.g.constant(uint64(uint32(in.Imm)), 32))
	}
	return v
}

// result gives a register what a step leaves in it: the same for both codes, of
// which the old one's facts say what is known.
func (st *stepper) result(n int, r bpf.Register) {
	s := &st.tape.steps[n]
	if !st.replay {
		v := st.after.Regs[r]
		if v.Kind == flow.KindNone {
			v.Kind = flow.KindAny
		}
		v.Base, v.Offset = 0, 0
		s.result = st.tape.entry.value(v, fmt.Sprintf("x%d", n))
	}
	st.regs[r] = s.result
}
