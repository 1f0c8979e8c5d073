package search

import (
	"math/bits"

	"github.com/k2cc/k2cc/bpf"
)

// finish looks for one instruction that makes the node's code right. It knows
// what that instruction has to leave, and solves for its immediate.
func (e *enumerator) finish(left int) {
	wrongMemory := e.diff.mem != mask{} || e.diff.ctx
	switch n := bits.OnesCount16(uint16(e.diff.regs)); {
	case n == 1 && !wrongMemory:
		e.finishRegister(bpf.Register(bits.TrailingZeros16(uint16(e.diff.regs))), left)
	case n == 0 && wrongMemory:
		e.finishMemory()
	case len(e.fixed) > 0:
		e.opaque(e.writable, e.tryLast)
	}
}

// tryLast proposes the node's code with in at its end if that is right.
func (e *enumerator) tryLast(in bpf.Instruction) {
	if e.done() {
		return
	}
	e.budget--
	var d diff
	for i, l := range e.lanes {
		s := &e.scratch[i]
		*s = e.states[i]
		if !l.exec(s, &in) {
			return
		}
		if e.wrong(&d, l, s); !d.none() {
			return
		}
	}
	e.propose(in)
}

func (e *enumerator) finishRegister(dst bpf.Register, left int) {
	try := func(in bpf.Instruction) { e.tryValue(&in) }
	e.arithmetic(dst, e.last, e.all, try)
	for _, class := range e.class {
		for _, op := range [...]bpf.Op{bpf.OpMov, bpf.OpAdd, bpf.OpXor, bpf.OpOr, bpf.OpAnd, bpf.OpMul} {
			for _, n := range e.solve(class, op, dst) {
				try(bpf.Instruction{Op: class | op, Dst: dst, Imm: n})
			}
		}
		for _, op := range [...]bpf.Op{bpf.OpLsh, bpf.OpRsh, bpf.OpArsh} {
			for n := int64(1); n < 64 && (n < 32 || class == bpf.ClassALU64); n++ {
				try(bpf.Instruction{Op: class | op, Dst: dst, Imm: n})
			}
		}
	}
	if e.swap {
		e.swaps(dst, try)
	}
	if left > 1 {
		try(bpf.Instruction{Op: bpf.LoadImm64, Dst: dst, Imm: int64(e.lanes[0].goal.regs[dst])})
	}
	to := []bpf.Register{dst}
	e.opaque(to, e.tryLast)
	for _, base := range e.pointers() {
		for _, s := range e.memory {
			if off, ok := reach(e.states[0].regs[base], s.addr); ok {
				e.loadsTo(to, base, off, s.size, e.tryLast)
			}
		}
	}
}

// tryValue is tryLast for an instruction that changes nothing but the one wrong
// register.
func (e *enumerator) tryValue(in *bpf.Instruction) {
	if e.budget <= 0 || e.result != goOn {
		return
	}
	e.budget--
	need := e.need[in.Dst]
	for i, l := range e.lanes {
		if (l.value(&e.states[i], in)^l.goal.regs[in.Dst])&need != 0 {
			return
		}
	}
	e.propose(*in)
}

// solve finds immediates with which an operation may turn what a register holds
// into what it has to hold. A guess from some lanes will do: all are tried.
func (e *enumerator) solve(class, op bpf.Op, dst bpf.Register) []int64 {
	need := e.need[dst]
	if class == bpf.ClassALU {
		need &= 0xffffffff
	}
	var out []int64
	add := func(n uint64) {
		if v, ok := fitImm(n, need); ok {
			out = append(out, v)
		}
	}
	var set, clear, all uint64 // bits that go on, that go off, that are ever on
	for i, l := range e.lanes {
		have, want := e.states[i].regs[dst], l.goal.regs[dst]
		set |= want &^ have & need
		clear |= have &^ want & need
		all |= want & need
	}
	have, want := e.states[0].regs[dst], e.lanes[0].goal.regs[dst]
	switch op {
	case bpf.OpMov:
		add(want)
	case bpf.OpAdd:
		// Carries run upwards: bits above the needed ones do not matter.
		if n := want - have; need>>32 == 0 {
			out = append(out, int64(int32(uint32(n))), int64(n&(1<<bits.Len64(need)-1)))
		} else {
			add(n)
		}
	case bpf.OpXor:
		add((have ^ want) & need)
	case bpf.OpOr:
		add(set)
	case bpf.OpAnd:
		add(all)
		add(^clear)
	case bpf.OpMul:
		out = append(out, e.factor(dst)...)
	}
	return fitting(out)
}

func fitting(ns []int64) []int64 {
	out := ns[:0]
	for _, n := range ns {
		if n == int64(int32(n)) {
			out = append(out, n)
		}
	}
	return out
}

// factor solves for a factor in a lane with an odd number.
func (e *enumerator) factor(dst bpf.Register) []int64 {
	for i, l := range e.lanes {
		have := e.states[i].regs[dst]
		if have&1 == 0 {
			continue
		}
		inverse := have
		for range 5 { // Newton: each round doubles the bits that are right
			inverse *= 2 - have*inverse
		}
		n := l.goal.regs[dst] * inverse
		return []int64{int64(n), int64(int32(uint32(n)))}
	}
	return nil
}

// finishMemory looks for the last store.
func (e *enumerator) finishMemory() {
	e.opaque(e.writable, e.tryLast)
	for _, base := range e.pointers() {
		for _, s := range e.memory {
			if off, ok := reach(e.states[0].regs[base], s.addr); ok {
				e.storesTo(base, off, s, e.tryLast)
			}
		}
	}
}

var jumpOps = [...]bpf.Op{bpf.OpJEq, bpf.OpJNE, bpf.OpJSet, bpf.OpJGT, bpf.OpJGE, bpf.OpJLT, bpf.OpJLE,
	bpf.OpJSGT, bpf.OpJSGE, bpf.OpJSLT, bpf.OpJSLE}

// jumps looks for a condition that is right.
func (e *enumerator) jumps() {
	if op := e.rules.jump; op != 0 {
		for _, dst := range e.readable {
			e.jumpsOn(bpf.Instruction{Op: op &^ bpf.SourceX, Dst: dst, Target: e.jump.Target})
		}
		return
	}
	for _, class := range [...]bpf.Op{bpf.ClassJMP, bpf.ClassJMP32} {
		for _, op := range jumpOps {
			for _, dst := range e.readable {
				in := bpf.Instruction{Op: class | op, Dst: dst, Target: e.jump.Target}
				if in.Level() <= e.w.Level {
					e.jumpsOn(in)
				}
			}
		}
	}
}

func (e *enumerator) jumpsOn(in bpf.Instruction) {
	for _, n := range e.all {
		in.Imm = n
		e.tryJump(&in)
	}
	in.Imm, in.Op = 0, in.Op|bpf.SourceX
	for _, src := range e.readable {
		in.Src = src
		e.tryJump(&in)
	}
}

func (e *enumerator) tryJump(in *bpf.Instruction) {
	if e.budget <= 0 || e.result != goOn {
		return
	}
	e.budget--
	if in.UsesSrc() && in.Dst == in.Src || !e.rules.compares(&e.types, in) {
		return
	}
	for i, l := range e.lanes {
		if !e.rightJump(l, &e.states[i], in) {
			return
		}
	}
	e.propose(*in)
}
