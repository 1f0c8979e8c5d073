package search

import (
	"context"
	"fmt"
	"math/bits"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/passes"
	"github.com/k2cc/k2cc/windows"
)

// EnumerateOptions bounds an enumeration. Zero fields mean the defaults.
type EnumerateOptions struct {
	MaxSlots int // longest code in slots to find something shorter for; default 5
	Budget   int // instructions tried at the end of some candidate, for one window; default 400,000
	Tries    int // candidates that the checker is asked about before one is proven; default 16
}

// Enumerate is a proposer that goes through all code shorter than the window's,
// or than a stretch of it, shortest first, as far as its budget leads. Of code
// that leaves the same registers and memory in all test states it keeps one
// representative. After a proof it goes on with what was proven.
func Enumerate(o EnumerateOptions) passes.Proposer {
	if o.MaxSlots == 0 {
		o.MaxSlots = 5
	}
	if o.Budget == 0 {
		o.Budget = 400_000
	}
	if o.Tries == 0 {
		o.Tries = 16
	}
	return enumerate{o}
}

type enumerate struct{ EnumerateOptions }

// Name is "enumerate".
func (enumerate) Name() string { return "enumerate" }

// Settings are all options.
func (o enumerate) Settings() string { return fmt.Sprintf("%+v", o.EnumerateOptions) }

// Propose enumerates candidates for w.
func (o enumerate) Propose(ctx context.Context, w *windows.Window, try passes.Try) int {
	now := *w
	budget := o.Budget
	for len(now.Code) > 0 && budget > 0 {
		p, ok := newProblem(&now, try, o.Tries)
		if !ok {
			break
		}
		for slots := 1; slots <= o.MaxSlots && p.tries > 0 && p.proven == nil; slots++ {
			budget = o.stretches(ctx, p, slots, budget)
		}
		if p.proven == nil {
			break
		}
		now.Code = p.proven
	}
	return o.Budget - budget
}

// stretches looks at all stretches of so many slots. It returns what is left of
// the budget.
func (o enumerate) stretches(ctx context.Context, p *problem, slots, budget int) int {
	code := p.w.Code
	for i := range code {
		j, n := i, 0
		for j < len(code) && n < slots {
			n += code[j].Slots()
			j++
		}
		if n != slots {
			continue
		}
		// No stretch takes all that others could do with.
		share := min(budget, max(o.Budget/8, 1))
		e := &enumerator{ctx: ctx, budget: share}
		for e.again(p, i, j) {
		}
		budget -= share - e.budget
		if p.proven != nil || p.tries <= 0 || budget <= 0 || ctx.Err() != nil {
			break
		}
	}
	return budget
}

// again goes through the candidates for a stretch; it tells whether a
// counterexample calls for doing so again.
func (e *enumerator) again(p *problem, i, j int) bool {
	sub, ok := p.stretch(i, j)
	if !ok {
		return false
	}
	e.problem = sub
	return e.run() == learnt
}

// node is code that behaves as none before it did.
type node struct {
	code  []bpf.Instruction
	slots int
}

// enumerator grows code, one node after the other.
type enumerator struct {
	*problem
	ctx    context.Context
	budget int
	max    int // slots of the longest candidate
	memory []span

	seen   map[uint64]struct{}
	levels [][]node // by slots
	result answer

	// The node that is being grown, as it is in each lane.
	at      node
	states  []state
	types   types
	hashes  [bpf.NumRegisters]uint64 // of registers
	memHash uint64
	diff    diff
	scratch []state
}

// run goes through all candidates; it stops with learnt where a counterexample
// has shown that the lanes tell too little apart.
func (e *enumerator) run() answer {
	e.max = e.cost.slots - 1
	if e.cost.accesses > 0 && e.cost.slots <= 3 {
		e.max++ // as long, but with fewer accesses
	}
	e.memory = e.spans()
	e.seen = map[uint64]struct{}{}
	e.levels = make([][]node, e.max+2)
	e.levels[0] = []node{{}}
	e.states, e.scratch = make([]state, len(e.lanes)), make([]state, len(e.lanes))
	e.result = goOn
	for slots := 0; slots <= e.max; slots++ {
		for _, n := range e.levels[slots] {
			if e.grow(n); e.done() {
				return e.result
			}
		}
		e.levels[slots] = nil
	}
	return goOn
}

func (e *enumerator) done() bool {
	return e.result != goOn || e.budget <= 0 || e.ctx.Err() != nil
}

// grow tries everything behind a node.
func (e *enumerator) grow(n node) {
	e.enter(n)
	if e.diff.none() && e.jump == nil {
		e.propose()
		if e.done() {
			return
		}
	}
	left := e.max - n.slots
	switch {
	case left < 1:
	case e.jump != nil && e.diff.none():
		e.jumps()
	case e.jump == nil:
		e.finish(left)
	}
	if left > 1 && !e.done() {
		e.instructions(func(in bpf.Instruction) { e.extend(in) })
	}
}

// enter runs a node's code in all lanes.
func (e *enumerator) enter(n node) {
	e.at = n
	e.types = e.rules.start
	first := e.lanes[0].start
	for i := range n.code {
		e.rules.step(&e.types, &first, &n.code[i])
		e.lanes[0].exec(&first, &n.code[i])
	}
	e.diff = diff{}
	for i, l := range e.lanes {
		e.states[i] = l.start
		l.run(&e.states[i], n.code)
		e.wrong(&e.diff, l, &e.states[i])
	}
	for _, r := range e.writable {
		e.hashes[r] = e.hashRegister(e.states, r, e.types.regs[r])
	}
	e.memHash = e.hashMemory(e.states)
}

func (e *enumerator) hashRegister(states []state, r bpf.Register, t typ) uint64 {
	h := uint64(r)<<8 | uint64(t.kind)
	for i := range states {
		h = bits.RotateLeft64(h^states[i].regs[r], 27) * 0x9e3779b97f4a7c15
	}
	return mix(h)
}

func (e *enumerator) hashMemory(states []state) uint64 {
	var h uint64
	for i, l := range e.lanes {
		s := &states[i]
		h = mix(h ^ s.ctxHash)
		for j := 0; j < l.bytes; j += 8 {
			h = bits.RotateLeft64(h^getBytes(s.mem[j:j+8], false), 27) * 0x9e3779b97f4a7c15
		}
		h ^= s.written[0] ^ mix(s.written[1])
	}
	return mix(h)
}

func (e *enumerator) hash(mem uint64) uint64 {
	h := mem
	for _, r := range e.writable {
		h ^= e.hashes[r]
	}
	return h
}

// extend puts in behind the node, if what comes of it is new and can still
// become a candidate.
func (e *enumerator) extend(in bpf.Instruction) {
	slots := e.at.slots + in.Slots()
	if slots >= e.max || e.budget <= 0 {
		return
	}
	e.budget--
	var d diff
	var hash uint64
	var ok bool
	if isAccess(&in) {
		d, hash, ok = e.afterAccess(&in)
	} else {
		d, hash, ok = e.afterALU(&in)
	}
	if !ok || e.missing(&d) > e.max-slots {
		return
	}
	if _, ok := e.seen[hash]; ok {
		return
	}
	e.seen[hash] = struct{}{}
	code := append(slices.Clip(e.at.code), in)
	e.levels[slots] = append(e.levels[slots], node{code, slots})
}

// missing is the least number of slots that put right what is wrong, with the
// jump at the end.
func (e *enumerator) missing(d *diff) int {
	n := bits.OnesCount16(uint16(d.regs))
	wrong := 0
	for _, m := range d.mem {
		wrong += bits.OnesCount64(m)
	}
	n += (wrong + 7) / 8
	if d.ctx {
		n++
	}
	if e.jump != nil {
		n++
	}
	return n
}

// afterALU is what is wrong behind an instruction that changes one register,
// and what the state hashes to.
func (e *enumerator) afterALU(in *bpf.Instruction) (diff, uint64, bool) {
	r, ok := in.Dst, true
	var t typ
	if in.IsALU() {
		t, ok = e.rules.alu(&e.types, &e.states[0], in)
	} else {
		t = e.rules.immediate(in)
	}
	if !ok || t == e.types.regs[r] && e.idle(in) {
		return diff{}, 0, false
	}
	d := e.diff
	d.regs &^= bpf.Set(r)
	h := uint64(r)<<8 | uint64(t.kind)
	for i, l := range e.lanes {
		s := &e.states[i]
		v := l.value(s, in)
		h = bits.RotateLeft64(h^v, 27) * 0x9e3779b97f4a7c15
		if (v^l.goal.regs[r])&e.need[r] != 0 {
			d.regs |= bpf.Set(r)
		}
	}
	return d, e.hash(e.memHash) ^ e.hashes[r] ^ mix(h), true
}

// idle tells whether an instruction changes nothing.
func (e *enumerator) idle(in *bpf.Instruction) bool {
	for i, l := range e.lanes {
		if l.value(&e.states[i], in) != e.states[i].regs[in.Dst] {
			return false
		}
	}
	return true
}

// value is what an arithmetic or immediate load instruction leaves.
func (l *lane) value(s *state, in *bpf.Instruction) uint64 {
	if in.Op == bpf.LoadImm64 {
		return l.imm(in)
	}
	return alu(in, s.regs[in.Dst], l.operand(&s.cpu, in), l.big)
}

// afterAccess is afterALU for accesses to memory.
func (e *enumerator) afterAccess(in *bpf.Instruction) (diff, uint64, bool) {
	t := e.types
	if !e.rules.step(&t, &e.states[0], in) {
		return diff{}, 0, false
	}
	var d diff
	for i, l := range e.lanes {
		s := &e.scratch[i]
		*s = e.states[i]
		if !l.exec(s, in) || in.IsStore() && !e.final(l, s, &e.states[i]) {
			return diff{}, 0, false
		}
		e.wrong(&d, l, s)
	}
	h := e.memHash
	if !in.IsLoad() {
		h = e.hashMemory(e.scratch)
	}
	h = e.hash(h)
	for _, r := range e.writable {
		if in.Writes().Has(r) {
			h ^= e.hashes[r] ^ e.hashRegister(e.scratch, r, t.regs[r])
		}
	}
	return d, h, true
}

// final tells whether a store left the bytes that it wrote as they have to be
// in the end. Others are not worth a look, unless atomics work on them.
func (e *enumerator) final(l *lane, now, before *state) bool {
	if len(e.fixed) > 0 || now.ctxStores != before.ctxStores {
		return true
	}
	for i := range l.bytes {
		if now.mem[i] != before.mem[i] && now.mem[i] != l.goal.mem[i] && l.needed.has(i) {
			return false
		}
	}
	return true
}

// propose asks about the node's code with these instructions behind it.
func (e *enumerator) propose(last ...bpf.Instruction) {
	e.result = e.submit(append(slices.Clip(e.at.code), last...))
}
