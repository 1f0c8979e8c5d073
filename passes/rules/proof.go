package rules

import (
	"fmt"
	"maps"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

// Window is the rule as a window and code to put in its place: a proof of that
// is one for all registers, immediates and offsets. Each hole is a register, of
// which no more is known than which numbers the immediate can hold, since an
// instruction with an immediate does what the one with a register does that
// holds the immediate, sign-extended (RFC 9669, section 4). An offset is part of
// the unknown address.
func (r *Rule) Window(t windows.Target) (*windows.Window, []bpf.Instruction, error) {
	p := prover{holes: map[string]bpf.Register{}}
	names := used(r.Old) | used(r.New)
	for reg := range bpf.R10 {
		if !names.Has(reg) {
			p.free = append(p.free, reg)
		}
	}
	w := &windows.Window{Fn: &bpf.Function{Context: bpf.ContextOther}, Target: t, Needs: r.Needs}
	var err error
	if w.Facts, err = r.entry(names); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", r.At, err)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Holes)) {
		if len(p.free) == 0 {
			return nil, nil, fmt.Errorf("%s: too many holes for a proof", r.At)
		}
		w.Facts.Regs[p.free[0]] = r.Holes[name]
		p.holes[name], p.free = p.free[0], p.free[1:]
	}
	if w.Code, err = p.code(r.Old); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", r.At, err)
	}
	code, err := p.code(r.New)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", r.At, err)
	}
	return w, code, nil
}

// memory is the first of the Bases that stand for where rules' pointers lead.
const memory = 100

// entry is what holds before the rule.
func (r *Rule) entry(names bpf.Registers) (flow.State, error) {
	s, err := flow.ParseState("")
	if err != nil {
		return s, err
	}
	for reg := range bpf.R10 {
		v, ok := r.Facts[reg]
		switch {
		case ok:
		case !names.Has(reg):
			continue
		case r.bases.Has(reg):
			v = flow.Unknown(flow.KindPacket)
			v.Base = memory + flow.Base(reg)
		default:
			v = flow.Unknown(flow.KindScalar)
		}
		s.Regs[reg] = v
	}
	return s, nil
}

// prover turns patterns into instructions that have holes in registers.
type prover struct {
	holes map[string]bpf.Register
	free  []bpf.Register
}

func (p *prover) code(code []Pattern) ([]bpf.Instruction, error) {
	var out []bpf.Instruction
	for _, pt := range code {
		if pt.imm == nil {
			out = append(out, pt.Instruction)
			continue
		}
		from, err := p.operand(&out, pt.imm)
		if err != nil {
			return nil, err
		}
		out = append(out, registerForm(pt.Instruction, from))
	}
	return out, nil
}

// operand is the register that holds an immediate.
func (p *prover) operand(out *[]bpf.Instruction, e *expr) (bpf.Register, error) {
	if name, ok := e.hole(); ok {
		return p.holes[name], nil
	}
	code, err := e.emit(p.holes, p.free)
	if err != nil {
		return 0, err
	}
	*out = append(*out, code...)
	return p.free[0], nil
}

// registerForm is the instruction with a register for its immediate.
func registerForm(in bpf.Instruction, from bpf.Register) bpf.Instruction {
	in.Imm, in.Src = 0, from
	switch {
	case in.Op == bpf.LoadImm64:
		in.Op = bpf.ClassALU64 | bpf.OpMov | bpf.SourceX
	case in.IsStore():
		in.Op = in.Op&^bpf.ClassST | bpf.ClassSTX
	default:
		in.Op |= bpf.SourceX
	}
	return in
}
