package local

import "github.com/k2cc/k2cc/bpf"

// foldField moves a CO-RE offset from the move that loads it to the addition
// that uses it.
func foldField(v *view) code {
	for i, in := range v.code {
		if !in.IsALU() || in.Op.ALU() != bpf.OpAdd || !in.UsesSrc() || in.Src == in.Dst || v.k.skip(in) {
			continue
		}
		from := v.lastTouch(i, in.Src)
		if from < 0 || v.live[i].Regs[in.Src] != 0 {
			continue
		}
		m := v.code[from]
		if m.Ref == 0 || !m.IsALU() || m.Op.ALU() != bpf.OpMov || m.UsesSrc() || m.Off != 0 {
			continue
		}
		if m.Op.Class() != bpf.ClassALU64 && in.Op.Class() != bpf.ClassALU {
			continue
		}
		out := v.code.with(i, in)
		out[i].Op &^= bpf.SourceX
		out[i].Src, out[i].Imm, out[i].Ref = 0, m.Imm, m.Ref
		return out.without(from)
	}
	return nil
}

// commute computes a commutative operation into the register of its second
// operand where that saves a copy of the first.
func commute(v *view) code {
	for i, in := range v.code {
		if !in.IsALU() || !in.UsesSrc() || in.Src == in.Dst || !commutes(in.Op.ALU()) || v.live[i].Regs[in.Src] != 0 || v.k.skip(in) {
			continue
		}
		from := v.lastTouch(i, in.Dst)
		if from < 0 || !v.code[from].isMove() || v.code[from].Dst != in.Dst {
			continue
		}
		source := v.code[from].Src
		if source == in.Src || v.regs[i][source] != v.regs[i][in.Dst] {
			continue
		}
		swapped := in
		swapped.Dst, swapped.Src = in.Src, source
		back := v.k.give(bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpMov | bpf.SourceX, Dst: in.Dst, Src: in.Src, Pos: in.Pos})
		now := v.k.view(v.code.with(i, swapped).insert(i+1, back).without(from))
		if c := now.coalesceAt(i); c != nil && v.k.better(c.price(), v.code.price()) {
			return c
		}
	}
	return nil
}

func commutes(op bpf.Op) bool {
	switch op {
	case bpf.OpAdd, bpf.OpMul, bpf.OpAnd, bpf.OpOr, bpf.OpXor:
		return true
	}
	return false
}
