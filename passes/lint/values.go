package lint

import (
	"math/bits"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// movedOffsets: rX = @field; rY += rX.
func movedOffsets(c *code) (out []span) {
	for i, in := range c.list {
		if !isMove(in) || in.Ref == 0 {
			continue
		}
		at, more := c.uses(i, in.Dst)
		if more || len(at) != 1 {
			continue
		}
		add := c.list[at[0]]
		if add.Op == bpf.ClassALU64|bpf.OpAdd|bpf.SourceX && add.Src == in.Dst && add.Dst != in.Dst {
			out = append(out, span{i, at[0]})
		}
	}
	return out
}

// maskedBranches: r &= 8; if r != 0 goto L1.
func maskedBranches(c *code) (out []span) {
	last := len(c.list) - 1
	if last < 1 || !c.list[last].IsCondJump() || c.list[last].Op&bpf.SourceX != 0 || c.list[last].Imm != 0 {
		return nil
	}
	jump := c.list[last]
	if op := jump.Op.Jump(); op != bpf.OpJNE && op != bpf.OpJEq {
		return nil
	}
	d := c.definition(last, jump.Dst)
	if d < 0 || !c.list[d].IsALU() || c.list[d].Op.ALU() != bpf.OpAnd {
		return nil
	}
	if at, more := c.uses(d, jump.Dst); more || len(at) != 1 {
		return nil
	}
	return []span{{d, last}}
}

// otherWay: JSET leads on where a bit is set.
func otherWay(c *code, s span) string {
	if c.list[s.to].Op.Jump() != bpf.OpJEq {
		return ""
	}
	return "the branch would lead the other way, which takes a jump in place of the mask"
}

// idleMasks: a mask that clears no bit that may be set, or none that is read.
func idleMasks(c *code) (out []span) {
	for i, in := range c.list {
		if !in.IsALU() || c.states[i].Regs[in.Dst].Kind != flow.KindScalar {
			continue
		}
		v, read := c.states[i].Regs[in.Dst], c.lives[i+1].Regs[in.Dst]
		may := (v.Mask | v.Bits) & (1<<bits.Len64(v.UMax) - 1)
		cleared := uint64(0)
		switch {
		case in.Op == bpf.ClassALU64|bpf.OpAnd:
			cleared = ^uint64(in.Imm)
		case in.Op == bpf.ClassALU|bpf.OpAnd:
			cleared = ^uint64(uint32(in.Imm))
		case in.Op == bpf.ClassALU|bpf.OpMov|bpf.SourceX && in.Src == in.Dst && in.Off == 0:
			cleared = ^uint64(0xffffffff)
		default:
			continue
		}
		if may&cleared&read == 0 {
			out = append(out, span{i, i})
		}
	}
	return out
}

// addChains: r += 4; r += 8, and r += 4; x = *(u8 *)(r + 0) with r dead behind.
func addChains(c *code) (out []span) {
	for i, in := range c.list {
		if in.Op != bpf.ClassALU64|bpf.OpAdd || in.Ref != 0 {
			continue
		}
		at, more := c.uses(i, in.Dst)
		if len(at) == 0 {
			continue
		}
		use := c.list[at[0]]
		switch {
		case use.Op == bpf.ClassALU64|bpf.OpAdd && use.Ref == 0:
			out = append(out, span{i, at[0]})
		case more || len(at) != 1 || in.Imm != int64(int16(in.Imm)) || use.Ref != 0:
		case plain(use) && use.Src == in.Dst, isRegisterStore(use) && use.Dst == in.Dst && use.Src != in.Dst, isImmediateStore(use):
			out = append(out, span{i, at[0]})
		}
	}
	return out
}

// longImmediates: r = 5 ll, and an address that a register has already.
func longImmediates(c *code) (out []span) {
	for i, in := range c.list {
		if in.Op != bpf.LoadImm64 {
			continue
		}
		short := in.Imm == int64(int32(in.Imm)) || in.Imm == int64(uint32(in.Imm)) && c.level >= bpf.V3
		switch {
		case in.Ref == 0 && in.Src == bpf.PseudoImm && short:
			out = append(out, span{i, i})
		case in.Ref != 0 && c.held(i, in):
			out = append(out, span{i, i})
		}
	}
	return out
}

// held tells whether a register has the symbol's address before i.
func (c *code) held(i int, in bpf.Instruction) bool {
	for r := range bpf.R10 {
		v := c.states[i].Regs[r]
		if ref, ok := c.facts.Ref(v); ok && ref == in.Ref && v.Offset == c.states[i+1].Regs[in.Dst].Offset && !v.MaybeNull {
			return true
		}
	}
	return false
}

// signMasks: r2 = 0x80000000 ll; r1 &= r2; if r1 != 0 goto L1.
func signMasks(c *code) (out []span) {
	for i, in := range c.list {
		sign := in.Op == bpf.LoadImm64 && in.Src == bpf.PseudoImm && (uint64(in.Imm) == 1<<63 || uint64(in.Imm) == 1<<31)
		if !sign || len(c.list) == 0 {
			continue
		}
		last := len(c.list) - 1
		at, _ := c.uses(i, in.Dst)
		for _, j := range at {
			and := c.list[j]
			if and.Op == bpf.ClassALU64|bpf.OpAnd|bpf.SourceX && c.list[last].IsCondJump() && c.list[last].Dst == and.Dst &&
				c.definition(last, and.Dst) == j && c.list[last].Op&bpf.SourceX == 0 && c.list[last].Imm == 0 {
				out = append(out, span{i, last})
			}
		}
	}
	return out
}

// dead: what writes only registers that nobody reads, and stores to the own
// frame that nobody reads.
func dead(c *code) (out []span) {
	for i, in := range c.list {
		switch {
		case in.IsALU(), in.Op == bpf.LoadImm64, in.IsLoad():
			if c.lives[i+1].Regs[in.Dst] == 0 {
				out = append(out, span{i, i})
			}
		case in.IsStore() && in.Dst == bpf.R10 && in.Ref == 0:
			read := false
			for k := range in.Size() {
				read = read || c.lives[i+1].Stack.Has(int(in.Off)+k)
			}
			if !read {
				out = append(out, span{i, i})
			}
		}
	}
	return out
}
