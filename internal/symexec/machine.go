package symexec

import (
	"fmt"
	"maps"

	"github.com/aclements/go-z3/z3"
	"golang.org/x/tools/go/ssa"
)

// maxVisits bounds how often a block of a function is entered in one call.
const maxVisits = 200

// Machine executes functions.
type Machine struct {
	ctx  *z3.Context
	prog *Program
	mem  memory
	// Faults are the conditions under which what was executed would panic.
	Faults []z3.Bool
	// Instead has what to do in place of executing functions, by their names
	// with their packages' paths.
	Instead map[string]func(c *Call) Value
}

// memory is what the objects hold. It is shared between ways and never changed
// in place.
type memory map[*object]Value

// New makes a machine with nothing in memory.
func New(ctx *z3.Context, prog *Program) *Machine {
	return &Machine{ctx: ctx, prog: prog, Instead: map[string]func(*Call) Value{}}
}

// Call is a call of a function that is not executed.
type Call struct {
	Cond Bool // the condition under which it happens
	Args []Value
	mem  memory
}

// At is what p leads to.
func (c *Call) At(p Value) Value { return c.mem.get(p.(Pointer)) }

// Set changes what p leads to.
func (c *Call) Set(p, v Value) { c.mem = c.mem.set(p.(Pointer), v, false) }

// NewObject puts v in memory.
func (m *Machine) NewObject(v Value) Pointer {
	obj := &object{"new"}
	m.mem = m.mem.set(Pointer{obj: obj}, v, true)
	return Pointer{obj: obj}
}

// At is what p leads to.
func (m *Machine) At(p Value) Value { return m.mem.get(p.(Pointer)) }

// Call executes a function. It fails for code that the package does not know
// how to execute.
func (m *Machine) Call(fn *ssa.Function, args ...Value) (result Value, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case unsupported:
			err = fmt.Errorf("execute %v: %s", fn, r.what)
		default:
			panic(r)
		}
	}()
	out := m.call(fn, args, nil, way{cond: Truth(true), mem: m.mem})
	m.mem = out.mem
	return out.result, nil
}

func (mem memory) get(p Pointer) Value {
	if p.obj == nil {
		fail("nil dereferenced")
	}
	v, ok := mem[p.obj]
	if !ok {
		fail("object %s read that was made on some ways only", p.obj.what)
	}
	return at(v, p.path)
}

func (mem memory) set(p Pointer, v Value, create bool) memory {
	if p.obj == nil {
		fail("nil dereferenced")
	}
	old, ok := mem[p.obj]
	if !ok && !create {
		fail("object %s written that was made on some ways only", p.obj.what)
	}
	out := maps.Clone(mem)
	if out == nil {
		out = memory{}
	}
	out[p.obj] = with(old, p.path, v)
	return out
}

// way is a state of execution: the condition under which it is reached, and
// what holds then.
type way struct {
	cond   Bool
	mem    memory
	regs   map[ssa.Value]Value
	result Value
}

// merge joins two ways. What only one of them has is lost: nothing that is
// reached by both reads it.
func (m *Machine) merge(a, b way) way {
	out := way{cond: m.or(a.cond, b.cond), mem: memory{}, regs: map[ssa.Value]Value{}}
	for obj, v := range a.mem {
		if w, ok := b.mem[obj]; ok {
			if x, ok := m.choose(a.cond, v, w); ok {
				out.mem[obj] = x
			}
		}
	}
	for reg, v := range a.regs {
		if w, ok := b.regs[reg]; ok {
			if x, ok := m.choose(a.cond, v, w); ok {
				out.regs[reg] = x
			}
		}
	}
	if a.result != nil || b.result != nil {
		x, ok := m.choose(a.cond, a.result, b.result)
		if !ok {
			fail("results that cannot be merged")
		}
		out.result = x
	}
	return out
}

// frame is one call.
type frame struct {
	*Machine
	fn      *ssa.Function
	free    []Value
	order   map[*ssa.BasicBlock]int
	pending map[*ssa.BasicBlock]way
	done    *way
}

func (m *Machine) call(fn *ssa.Function, args, free []Value, from way) way {
	if instead := m.Instead[fn.RelString(nil)]; instead != nil {
		c := &Call{from.cond, args, from.mem}
		result := instead(c)
		return way{cond: from.cond, mem: c.mem, result: result}
	}
	if v, ok := m.intrinsic(fn, args); ok {
		return way{cond: from.cond, mem: from.mem, result: v}
	}
	if len(fn.Blocks) == 0 {
		fail("%v has no code", fn)
	}
	f := &frame{Machine: m, fn: fn, free: free, order: orderOf(fn), pending: map[*ssa.BasicBlock]way{}}
	start := way{cond: from.cond, mem: from.mem, regs: map[ssa.Value]Value{}}
	for i, p := range fn.Params {
		start.regs[p] = args[i]
	}
	for i, v := range fn.FreeVars {
		start.regs[v] = free[i]
	}
	f.pending[fn.Blocks[0]] = start
	f.run()
	if f.done == nil {
		fail("%v never returns", fn)
	}
	return way{cond: f.done.cond, mem: f.done.mem, result: f.done.result}
}

// run takes the pending block that comes first in the order until none is left,
// so that all ways to a block meet before it is executed.
func (f *frame) run() {
	visits := map[*ssa.BasicBlock]int{}
	for len(f.pending) > 0 {
		var next *ssa.BasicBlock
		for b := range f.pending {
			if next == nil || f.order[b] < f.order[next] {
				next = b
			}
		}
		w := f.pending[next]
		delete(f.pending, next)
		if visits[next]++; visits[next] > maxVisits {
			fail("%v: a loop of more than %d rounds", f.fn, maxVisits)
		}
		f.block(next, w)
	}
}

// orderOf numbers blocks so that those of a loop come before what follows it.
func orderOf(fn *ssa.Function) map[*ssa.BasicBlock]int {
	order, seen := map[*ssa.BasicBlock]int{}, map[*ssa.BasicBlock]bool{}
	next := len(fn.Blocks)
	var visit func(b *ssa.BasicBlock)
	visit = func(b *ssa.BasicBlock) {
		seen[b] = true
		for i := range b.Succs {
			// The way out of a loop is the second successor of its head.
			if s := b.Succs[len(b.Succs)-1-i]; !seen[s] {
				visit(s)
			}
		}
		next--
		order[b] = next
	}
	visit(fn.Blocks[0])
	return order
}

// block executes a block and leaves the ways out of it pending.
func (f *frame) block(b *ssa.BasicBlock, w way) {
	w.regs = maps.Clone(w.regs)
	for _, in := range b.Instrs {
		switch in := in.(type) {
		case *ssa.If:
			cond := f.fold(f.value(w, in.Cond).(Bool))
			f.leave(b, b.Succs[0], w, cond)
			f.leave(b, b.Succs[1], w, f.not(cond))
		case *ssa.Jump:
			f.leave(b, b.Succs[0], w, Truth(true))
		case *ssa.Panic:
			f.fault(w.cond)
		case *ssa.Return:
			f.finish(w, in)
		case *ssa.Store:
			w.mem = w.mem.set(f.value(w, in.Addr).(Pointer), f.value(w, in.Val), false)
		case *ssa.Phi, *ssa.DebugRef, *ssa.RunDefers:
		case *ssa.Call:
			faults := len(f.Faults)
			out := f.invoke(w, in.Common())
			w.mem, w.regs[in] = out.mem, out.result
			if len(f.Faults) > faults {
				w.cond = out.cond // else it comes back on all ways
			}
		case *ssa.Alloc:
			obj := &object{in.Comment}
			w.mem = w.mem.set(Pointer{obj: obj}, zero(elem(in.Type())), true)
			w.regs[in] = Pointer{obj: obj}
		case ssa.Value:
			w.regs[in] = f.compute(w, in)
		default:
			fail("%v: %v is not known", f.fn, in)
		}
	}
}

// leave takes the edge between two blocks, where the condition holds.
func (f *frame) leave(from, to *ssa.BasicBlock, w way, cond Bool) {
	cond = f.and(w.cond, cond)
	if cond.Term == nil && !cond.K {
		return
	}
	out := way{cond: cond, mem: w.mem, regs: maps.Clone(w.regs)}
	edge := 0
	for i, p := range to.Preds {
		if p == from {
			edge = i
		}
	}
	for _, in := range to.Instrs {
		phi, ok := in.(*ssa.Phi)
		if !ok {
			break
		}
		out.regs[phi] = f.value(w, phi.Edges[edge])
	}
	if other, ok := f.pending[to]; ok {
		out = f.merge(out, other)
	}
	f.pending[to] = out
}

func (f *frame) finish(w way, in *ssa.Return) {
	var result Value = empty{}
	switch len(in.Results) {
	case 0:
	case 1:
		result = f.value(w, in.Results[0])
	default:
		s := make(Struct, len(in.Results))
		for i, r := range in.Results {
			s[i] = f.value(w, r)
		}
		result = s
	}
	out := way{cond: w.cond, mem: w.mem, result: result}
	if f.done != nil {
		out = f.merge(out, *f.done)
	}
	f.done = &out
}

// fault notes that under the condition the code panics.
func (m *Machine) fault(cond Bool) {
	if cond.Term != nil || cond.K {
		m.Faults = append(m.Faults, m.BoolTerm(cond))
	}
}
