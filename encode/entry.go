package encode

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

// bitsOf is what is known of the bits of a number.
type bitsOf struct{ ones, mask uint64 }

// collect notes what the facts say of the bits of each variable itself, for all
// places that have it, so that known bits are in the form of its terms.
func (e *entry) collect(v flow.Value, name string) {
	if v.Kind != flow.KindScalar || v.Base != 0 && v.Offset != 0 {
		return
	}
	if v.Base != 0 {
		name = e.baseName(v.Base)
	}
	b, ok := e.bits[name]
	if !ok {
		b.mask = ^uint64(0)
	}
	b.ones |= v.Bits
	b.mask &= v.Mask & (1<<bits.Len64(v.UMax) - 1)
	e.bits[name] = b
}

// known is a variable with what is known of its bits put in their places.
func (e *entry) known(x *node, name string) *node {
	b, ok := e.bits[name]
	if !ok || b.mask == ^uint64(0) || b.ones&b.mask != 0 {
		return x
	}
	n := e.g.mask(x, b.mask)
	if n == nil {
		return x
	}
	return e.g.binary(opOr, n, e.g.constant(b.ones, 64))
}

// entry turns a window's facts into the values that both codes start with.
type entry struct {
	g      *graph
	fn     *bpf.Function
	regs   [bpf.NumRegisters]value
	mem    *memory
	inputs []*input
	byRoot map[*node]*input
	bits   map[string]bitsOf // by variable
	calls  []called
}

// called is a call of the old code: what it may do, and what it leaves in R0.
type called struct {
	in bpf.Instruction
	flow.Call
	result value
}

// input is a variable of the entry and what the facts say of it.
type input struct {
	root  *node
	kind  flow.Kind // of the first value that is made of it
	null  bool
	facts []fact
}

// fact says what is known of a variable plus an offset.
type fact struct {
	offset uint64
	value  flow.Value
}

// errContradiction says that no state fits the facts: whoever made them is
// wrong, and everything could be proven from them.
var errContradiction = errors.New("the facts contradict themselves")

func newEntry(g *graph, w *windows.Window) (*entry, error) {
	e := &entry{g: g, fn: w.Fn, byRoot: map[*node]*input{}, bits: map[string]bitsOf{}, mem: &memory{
		g:       g,
		escaped: w.Facts.Escaped,
		index:   map[initialKey]int{},
		ofVar:   map[*node]int{},
		big:     w.BigEndian,
		common:  commonKinds(w),
	}}
	for r, v := range w.Facts.Regs {
		e.collect(v, registerName(r))
	}
	for _, c := range w.Facts.Stack {
		e.collect(c.Value, cellName(c))
	}
	for r := range e.regs {
		v := w.Facts.Regs[r]
		if _, ok := witness(v); !ok {
			return nil, fmt.Errorf("r%d: %w", r, errContradiction)
		}
		e.regs[r] = e.value(v, registerName(r))
	}
	root, _ := split(e.regs[bpf.R10].node)
	e.mem.frame = root
	for _, c := range w.Facts.Stack {
		if _, ok := witness(c.Value); !ok {
			return nil, fmt.Errorf("stack at %d: %w", c.Off, errContradiction)
		}
		v := e.value(c.Value, cellName(c))
		e.mem.cells = append(e.mem.cells, cell{int(c.Off), int(c.Size), v})
	}
	return e, e.follow(w)
}

// follow finds what the calls of the old code do. The new code has to make the
// same ones.
func (e *entry) follow(w *windows.Window) error {
	var made []bpf.Instruction
	for _, in := range w.Code {
		if isCall(in) {
			made = append(made, in)
		}
	}
	if len(made) == 0 {
		return nil
	}
	calls, err := flow.Follow(w.Fn, w.BigEndian, w.Facts, w.Code)
	if err != nil {
		return fmt.Errorf("old code: %v: %w", err, errNotModelled)
	}
	for i, c := range calls {
		e.calls = append(e.calls, called{made[i], c, e.value(c.Result, fmt.Sprintf("k%d", i))})
	}
	return nil
}

// value is a term for a value of which only v is known. Values with one Base
// are one variable plus their offsets.
func (e *entry) value(v flow.Value, name string) value {
	out := value{kind: v.Kind, null: v.MaybeNull}
	if v.Kind == flow.KindScalar && v.Mask == 0 {
		out.node = e.g.constant(v.Bits, 64)
		return out
	}
	if v.Base != 0 {
		name = e.baseName(v.Base)
	}
	x := e.g.variable(name, 64)
	out.node = e.known(x, name)
	if v.Base != 0 {
		out.node = e.g.binary(opAdd, out.node, e.g.constant(uint64(v.Offset), 64))
	}
	e.note(x, v)
	if v.Base != 0 {
		e.g.align(x, v.Align)
	}
	x.assume = append(x.assume, e.assumptions(out.node, v)...)
	return out
}

func registerName(r int) string { return fmt.Sprintf("r%d", r) }

func cellName(c flow.Cell) string { return fmt.Sprintf("f%d_%d", -c.Off, c.Size) }

// baseName is the name of the variable that a Base stands for: for a symbol's,
// that of the symbol.
func (e *entry) baseName(b flow.Base) string {
	if ref, ok := flow.SymbolOf(e.fn, b); ok {
		return symbolName(ref)
	}
	return fmt.Sprintf("b%d", b)
}

func symbolName(r bpf.Ref) string { return fmt.Sprintf("s%d", r) }

// note files what is known of a variable, for who wants to give it a value.
func (e *entry) note(x *node, v flow.Value) {
	in := e.byRoot[x]
	if in == nil {
		in = &input{root: x, kind: v.Kind}
		e.byRoot[x] = in
		e.inputs = append(e.inputs, in)
	}
	f := fact{value: v}
	if v.Base != 0 {
		f.offset = uint64(v.Offset)
	}
	in.null = in.null || v.MaybeNull
	if v.Kind.IsPointer() {
		in.kind = v.Kind
	}
	// What may be a pointer is made one, but where its bits say otherwise.
	if v.Kind == flow.KindScalar || bounded(v) {
		in.facts = append(in.facts, f)
	}
}

// assumptions are the known bits and ranges of what is or may be a scalar, or
// that a pointer is not null, as truth values.
func (e *entry) assumptions(n *node, v flow.Value) []*node {
	g := e.g
	not := func(x *node) *node { return g.binary(opXor, x, g.constant(1, 1)) }
	switch {
	case v.Kind.IsPointer() && !v.MaybeNull:
		return []*node{not(g.compare(opEq, n, g.constant(0, 64)))}
	case !numeric(v):
		return nil
	}
	var out []*node
	if v.Mask != ^uint64(0) {
		known := g.binary(opAnd, n, g.constant(^v.Mask, 64))
		out = append(out, g.compare(opEq, known, g.constant(v.Bits, 64)))
	}
	if v.UMin != 0 {
		out = append(out, not(g.compare(opULt, n, g.constant(v.UMin, 64))))
	}
	if v.UMax != ^uint64(0) {
		out = append(out, not(g.compare(opULt, g.constant(v.UMax, 64), n)))
	}
	if v.SMin != -1<<63 {
		out = append(out, not(g.compare(opSLt, n, g.constant(uint64(v.SMin), 64))))
	}
	if v.SMax != 1<<63-1 {
		out = append(out, not(g.compare(opSLt, g.constant(uint64(v.SMax), 64), n)))
	}
	return out
}

// machine is a machine at the window's entry that follows a plan, if there is
// one.
func (e *entry) machine(w *windows.Window, old *machine, p *plan) *machine {
	mc := &machine{
		terms:   terms{e.g},
		m:       e.mem,
		fn:      w.Fn,
		context: e.g.variable(e.baseName(flow.ContextBase), 64),
		big:     w.BigEndian,
		regs:    e.regs,
		log:     log{m: e.mem},
		calling: e.calls,
		copies:  newCopies(),
		old:     old,
		numbers: map[*node]bool{},
		results: map[*node]bool{},
	}
	if p != nil {
		mc.careful, mc.fields, mc.epochs = true, p.fields, p.old
		if old != nil {
			mc.epochs = p.new
		}
	}
	return mc
}
