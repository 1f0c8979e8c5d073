package encode

import (
	"context"
	"strconv"
	"strings"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

// refute reads a counterexample from the satisfiable query on the solver. It
// first tries for one in which memory of different kinds lies apart, as it does
// in a kernel: only such a one can be replayed on one flat memory.
func (c *Checker) refute(ctx context.Context, w *windows.Window, ob *obligation) Verdict {
	s := c.solver
	v := Verdict{Outcome: Refuted}
	s.solver.Push()
	c.spread(ob)
	sat, err := s.check(ctx)
	if err != nil || !sat {
		s.solver.Pop()
		if sat, err = s.check(ctx); err != nil || !sat {
			return Verdict{Outcome: Undecided, Reason: "the counterexample was not found again"}
		}
		v.Counterexample = c.read(w, ob, &v)
		return v
	}
	v.Counterexample = c.read(w, ob, &v)
	s.solver.Pop()
	return v
}

// apart is how far from each other spread puts pointers, in bytes.
const apart = 1 << 32

// spread asserts that the entry's pointers lie far from each other.
func (c *Checker) spread(ob *obligation) {
	s, done := c.solver, map[*node]bool{}
	pin := func(v value) {
		root, _ := split(v.node)
		if !v.kind.IsPointer() || root == nil || root.op != opVar || done[root] {
			return
		}
		done[root] = true
		at := uint64(len(done)+1) * apart
		s.assert(s.bv(root).Eq(s.constant(at, 64)))
	}
	for _, v := range ob.entry.regs {
		pin(v)
	}
	for _, cell := range ob.entry.mem.cells {
		pin(cell.v)
	}
	// What the query does not mention has to fit the facts as well.
	for _, v := range ob.entry.regs {
		s.bv(v.node)
	}
	for _, cell := range ob.entry.mem.cells {
		s.bv(cell.v.node)
	}
	s.assert(s.ctx.FromBool(true))
}

// read takes the state apart that the model describes.
func (c *Checker) read(w *windows.Window, ob *obligation, v *Verdict) *Counterexample {
	s := c.solver
	m := s.solver.Model()
	get := func(n *node) uint64 {
		u, err := s.eval(m, n)
		if err != nil {
			return 0
		}
		return u
	}
	cx := &Counterexample{Memory: map[uint64]byte{}, Symbols: map[int32]uint64{}, Fields: map[Field]uint64{}}
	for _, eq := range ob.equations {
		if get(eq.old) != get(eq.new) {
			v.Reason = eq.what + " differs"
			break
		}
	}
	for r := range cx.Regs {
		if x := ob.entry.regs[r]; x.kind != flow.KindNone {
			cx.Regs[r] = get(x.node)
		}
	}
	for _, cell := range ob.entry.mem.cells {
		for i := range cell.size {
			at := get(ob.entry.regs[bpf.R10].node) + uint64(cell.off+i)
			cx.Memory[at] = byte(get(bytePart(ob.entry.g, cell.v.node, cell.size, i, w.BigEndian)))
		}
	}
	for _, b := range ob.entry.mem.initial {
		cx.Memory[get(ob.entry.g.term(b.addr))] = byte(get(b.byte))
	}
	for _, n := range ob.entry.g.nodes {
		if n.op == opVar {
			cx.name(n, get)
		}
	}
	return cx
}

// name files the value of a symbol's or context field's variable.
func (cx *Counterexample) name(n *node, get func(*node) uint64) {
	switch n.name[0] {
	case 's':
		if ref, err := strconv.Atoi(n.name[1:]); err == nil {
			cx.Symbols[int32(ref)] = get(n)
		}
	case 'c':
		var p [4]int
		for i, part := range strings.SplitN(n.name[1:], "_", len(p)) {
			p[i], _ = strconv.Atoi(part)
		}
		cx.Fields[Field{Off: p[1], Size: p[2], Stores: p[3]}] = get(n)
	}
}
