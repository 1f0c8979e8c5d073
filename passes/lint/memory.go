package lint

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// adjacent tells whether two accesses of one size lie side by side.
func adjacent(a, b bpf.Instruction) bool {
	d := int(a.Off) - int(b.Off)
	return a.Size() == b.Size() && a.Size() < 8 && (d == a.Size() || d == -a.Size())
}

// narrowLoads: rA = *(u8 *)(b + 0); rB = *(u8 *)(b + 1); rB <<= 8; rB |= rA.
func narrowLoads(c *code) (out []span) {
	for i, in := range c.list {
		if !in.IsALU() || in.Op.ALU() != bpf.OpOr || in.Op&bpf.SourceX == 0 {
			continue
		}
		a, okA := c.piece(i, in.Dst)
		b, okB := c.piece(i, in.Src)
		if !okA || !okB || (a.shift == 0) == (b.shift == 0) {
			continue
		}
		x, y := c.list[a.load], c.list[b.load]
		first := min(a.load, b.load)
		if x.Src == y.Src && adjacent(x, y) && a.shift+b.shift == 8*x.Size() && c.same(x.Src, first, max(a.load, b.load)) {
			out = append(out, span{first, i})
		}
	}
	return out
}

// piece is a load whose value, shifted left, is in a register.
type piece struct{ load, shift int }

func (c *code) piece(i int, r bpf.Register) (piece, bool) {
	p := piece{}
	for j := c.definition(i, r); j >= 0; j = c.definition(j, r) {
		in := c.list[j]
		switch {
		case plain(in):
			p.load = j
			return p, true
		case in.IsALU() && in.Op.ALU() == bpf.OpLsh && in.Op&bpf.SourceX == 0:
			p.shift += int(in.Imm)
		default:
			return p, false
		}
	}
	return p, false
}

// storedImmediates: r = 5; *(u32 *)(b + 0) = r.
func storedImmediates(c *code) (out []span) {
	for i, in := range c.list {
		if !isMove(in) && (in.Op != bpf.LoadImm64 || in.Src != bpf.PseudoImm || in.Imm != int64(int32(in.Imm))) || in.Ref != 0 {
			continue
		}
		at, more := c.uses(i, in.Dst)
		if more || len(at) == 0 {
			continue
		}
		only := true
		for _, j := range at {
			s := c.list[j]
			only = only && isRegisterStore(s) && s.Src == in.Dst && s.Dst != in.Dst && s.Ref == 0
		}
		if only {
			out = append(out, span{i, at[len(at)-1]})
		}
	}
	return out
}

// immediateStores: *(u8 *)(b + 0) = 1; *(u8 *)(b + 1) = 2.
func immediateStores(c *code) (out []span) {
	for i := range c.list {
		if j, ok := c.partner(i, isImmediateStore); ok {
			out = append(out, span{i, j})
		}
	}
	return out
}

// partner is the next access of a kind, if it lies beside the one at i and
// nothing in between touches memory or the base.
func (c *code) partner(i int, kind func(bpf.Instruction) bool) (int, bool) {
	a := c.list[i]
	if !kind(a) || a.Ref != 0 {
		return 0, false
	}
	for j := i + 1; j < len(c.list); j++ {
		b := c.list[j]
		if kind(b) {
			return j, b.Ref == 0 && a.Dst == b.Dst && adjacent(a, b) && c.same(a.Dst, i, j) && c.merges(a, b)
		}
		if b.IsCall() || b.IsLoad() || b.IsStore() || b.IsAtomic() || b.IsPacketLoad() {
			return 0, false
		}
	}
	return 0, false
}

// merges tells whether two accesses side by side could be one: on the stack it
// has to be aligned.
func (c *code) merges(a, b bpf.Instruction) bool {
	low := int(min(a.Off, b.Off))
	return a.Dst != bpf.R10 || low&(2*a.Size()-1) == 0
}

// piecewiseStores: *(u8 *)(b + 0) = r; r >>= 8; *(u8 *)(b + 1) = r.
func piecewiseStores(c *code) (out []span) {
	for i, in := range c.list {
		if !isRegisterStore(in) || in.Ref != 0 {
			continue
		}
		for j := i + 1; j < len(c.list) && j < i+6; j++ {
			o := c.list[j]
			if !isRegisterStore(o) || o.Ref != 0 || o.Dst != in.Dst || !adjacent(in, o) || !c.same(in.Dst, i, j) || !c.calm(i, j) || !c.merges(in, o) {
				continue
			}
			if c.shifted(i, in.Src, j, o.Src, 8*in.Size()) || c.shifted(j, o.Src, i, in.Src, 8*in.Size()) {
				out = append(out, span{i, j})
			}
		}
	}
	return out
}

// shifted tells whether what y holds at j is what x holds at i, shifted right.
func (c *code) shifted(i int, x bpf.Register, j int, y bpf.Register, by int) bool {
	d := c.definition(j, y)
	if d < 0 {
		return false
	}
	in := c.list[d]
	if !in.IsALU() || in.Op.ALU() != bpf.OpRsh || in.Op&bpf.SourceX != 0 || int(in.Imm) != by {
		return false
	}
	if x == y {
		return d > i && c.same(x, i, d)
	}
	m := c.definition(d, y)
	return m >= 0 && c.list[m].IsALU() && c.list[m].Op.ALU() == bpf.OpMov && c.list[m].Op&bpf.SourceX != 0 &&
		c.list[m].Src == x && c.same(x, min(m, i), max(m, i))
}

// copyPairs: r = *(u8 *)(b + 0); *(u8 *)(d + 0) = r; and the same one further.
func copyPairs(c *code) (out []span) {
	copies := c.copies()
	for n, a := range copies {
		for _, b := range copies[n+1:] {
			x, y := c.list[a.from], c.list[b.from]
			s, t := c.list[a.to], c.list[b.to]
			if x.Src == y.Src && s.Dst == t.Dst && adjacent(x, y) && adjacent(s, t) && y.Off-x.Off == t.Off-s.Off &&
				c.same(x.Src, a.from, b.from) && c.same(s.Dst, min(a.to, b.to), max(a.to, b.to)) && c.merges(s, t) && b.from-a.from < 16 {
				out = append(out, span{a.from, max(a.to, b.to)})
				break
			}
		}
	}
	return out
}

// copies is each load whose value is stored as it is, with the store, and nowhere
// else used.
func (c *code) copies() (out []span) {
	for i, in := range c.list {
		if !plain(in) || in.Ref != 0 {
			continue
		}
		at, more := c.uses(i, in.Dst)
		if more || len(at) != 1 {
			continue
		}
		s := c.list[at[0]]
		if isRegisterStore(s) && s.Src == in.Dst && s.Dst != in.Dst && s.Size() == in.Size() && s.Ref == 0 {
			out = append(out, span{i, at[0]})
		}
	}
	return out
}

// reloads: two loads of one place, of which the first one's value is still in a
// register, and nothing that others could see or that may have changed it between.
func reloads(c *code) (out []span) {
	for _, r := range c.facts.Rereads(c.block) {
		switch {
		case r.Regs == 0:
		case r.Block == c.block && r.At < r.Index:
			out = append(out, span{r.At, r.Index})
		default:
			out = append(out, span{r.Index, r.Index})
		}
	}
	return append(out, c.refills()...)
}

// refills is loads from the own frame of what the register still has that was
// loaded from there before.
func (c *code) refills() (out []span) {
	for i, in := range c.list {
		if !plain(in) || in.Ref != 0 || in.Dst == in.Src || c.states[i].Regs[in.Src].Kind != flow.KindStack {
			continue
		}
		for j := i + 1; j < len(c.list) && c.same(in.Dst, i+1, j); j++ {
			o := c.list[j]
			if plain(o) && o.Ref == 0 && o.Src == in.Src && o.Off == in.Off && o.Op == in.Op && c.same(in.Src, i, j) {
				out = append(out, span{i, j})
				break
			}
			if o.IsCall() || o.IsStore() || o.IsAtomic() || o.IsPacketLoad() {
				break
			}
		}
	}
	return out
}

// restores: a store of what was loaded from the same place.
func restores(c *code) (out []span) {
	for i, in := range c.list {
		if !plain(in) || in.Ref != 0 || in.Dst == in.Src {
			continue
		}
		for j := i + 1; j < len(c.list); j++ {
			o := c.list[j]
			if isRegisterStore(o) && o.Dst == in.Src && o.Off == in.Off && o.Size() == in.Size() && o.Src == in.Dst &&
				c.same(in.Src, i, j) && c.same(in.Dst, i+1, j) {
				out = append(out, span{i, j})
			}
			if o.IsCall() || o.IsStore() || o.IsAtomic() || o.IsPacketLoad() {
				break
			}
		}
	}
	return out
}
