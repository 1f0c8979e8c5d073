package encode

import (
	"strconv"
	"strings"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// counterexample is the state that the values describe.
func (ob *obligation) counterexample(v *valuation) *Counterexample {
	cx := &Counterexample{Memory: map[uint64]byte{}, Symbols: map[int32]uint64{}, Fields: map[Field]uint64{}, Open: map[int]uint64{}}
	e := ob.entry
	for r := range cx.Regs {
		if x := e.regs[r]; x.kind != flow.KindNone {
			cx.Regs[r] = v.of(x.node)
		}
	}
	frame := v.of(e.regs[bpf.R10].node)
	for _, c := range e.mem.cells {
		for i := range c.size {
			cx.Memory[frame+uint64(c.off+i)] = byte(v.of(bytePart(e.g, c.v.node, c.size, i, e.mem.big)))
		}
	}
	for k, c := range e.calls {
		cx.Calls = append(cx.Calls, e.calledIn(v, frame, k+1, &c))
	}
	for _, b := range e.mem.initial {
		memory := cx.Memory
		if k := era(b.epoch); k > 0 {
			memory = cx.Calls[k-1].Memory
		}
		memory[v.of(e.g.term(b.addr))] = byte(v.of(b.byte))
	}
	for _, n := range e.g.vars {
		cx.name(n, v)
	}
	for i, s := range e.fn.Symbols {
		if start, ok := cx.Symbols[int32(s.Anchor)]; ok {
			cx.Symbols[int32(i+1)] = start + uint64(s.Offset)
		}
	}
	return cx
}

// calledIn is what the call that begins an era does, but for memory that others
// see.
func (e *entry) calledIn(v *valuation, frame uint64, era int, c *called) Called {
	out := Called{R0: v.of(c.result.node), Keeps: c.MayEnd && v.of(e.g.keeps(era)) != 0, Memory: map[uint64]byte{}}
	for off := -flow.StackSize; off < 0; off++ {
		if !c.Writes.Has(off) {
			continue
		}
		if wrote, b := e.mem.writtenByte(era, int64(off)); v.of(wrote) != 0 {
			out.Memory[frame+uint64(int64(off))] = byte(v.of(b))
		}
	}
	return out
}

// name files the value of a symbol's or context field's variable.
func (cx *Counterexample) name(n *node, v *valuation) {
	switch n.name[0] {
	case 's':
		if ref, err := strconv.Atoi(n.name[1:]); err == nil {
			cx.Symbols[int32(ref)] = v.of(n)
		}
	case 'u':
		number, _, _ := strings.Cut(n.name[1:], "_")
		if i, err := strconv.Atoi(number); err == nil {
			cx.Open[i] = v.of(n)
		}
	case 'c':
		var p [6]int
		for i, part := range strings.SplitN(n.name[1:], "_", len(p)) {
			p[i], _ = strconv.Atoi(part)
		}
		cx.Fields[Field{Pointer: p[0], Off: p[1], Size: p[2], Stores: p[3]}] = v.of(n)
	}
}
