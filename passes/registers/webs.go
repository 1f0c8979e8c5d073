package registers

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

// A web is a live range: definitions of a register and the uses that they
// reach, closed under sharing, so that all of it can be given another register
// without a look at the rest. Webs are found by union of nodes: what a register
// holds at a block's start, and what an instruction leaves in one.

// node names a definition; webs.find gives its web.
type node int32

const none node = -1

// general is the number of registers that a web may be given: R10 is no such.
const general = int(bpf.R10)

// site is what an instruction does with webs.
type site struct {
	// dst and src are what the registers hold that Dst and Src name: for a Dst
	// that is written, behind the instruction.
	dst, src node
	result   node          // what an exit returns
	made     node          // what a call leaves in R0
	live     bpf.Registers // behind the instruction
}

// webs is the live ranges of a function.
type webs struct {
	fn    *bpf.Function
	graph *flow.Graph
	needs *flow.Needs
	args  [][]bpf.Registers // by block and instruction, what a call reads
	// copies tells, by block and instruction, which leave in one register what
	// another one holds.
	copies [][]bool
	// wide says that only those of all 64 bits count.
	wide bool

	liveIn []bpf.Registers // by block
	entry  [][general]node // by block, what registers hold at its start
	sites  [][]site        // by block and instruction

	parent []node
	color  []bpf.Register // by web
	fixed  []bool         // by web: it cannot have another register
	bound  []bool         // by web: fixed by something else than an exit
	forbid []bpf.Registers
	edges  [][2]node // pairs of nodes whose webs interfere

	// splitAt is the registers whose webs are split behind an instruction, or at
	// the start of a block, which is before its instruction 0; parts what they are
	// split into.
	splitAt map[place]bpf.Register
	parts   map[place]part
}

func (w *webs) newNode(r bpf.Register) node {
	n := node(len(w.parent))
	w.parent = append(w.parent, n)
	w.color = append(w.color, r)
	w.fixed = append(w.fixed, false)
	w.bound = append(w.bound, false)
	w.forbid = append(w.forbid, 0)
	return n
}

func (w *webs) find(n node) node {
	for w.parent[n] != n {
		w.parent[n] = w.parent[w.parent[n]]
		n = w.parent[n]
	}
	return n
}

// union makes one web of two that have the same register.
func (w *webs) union(a, b node) node {
	a, b = w.find(a), w.find(b)
	if a == b {
		return a
	}
	if a > b {
		a, b = b, a
	}
	w.parent[b] = a
	w.fixed[a] = w.fixed[a] || w.fixed[b]
	w.bound[a] = w.bound[a] || w.bound[b]
	w.forbid[a] |= w.forbid[b]
	return a
}

// fix holds a web to its register.
func (w *webs) fix(n node) {
	n = w.find(n)
	w.fixed[n], w.bound[n] = true, true
}

// newWebs finds the live ranges of a function.
func newWebs(fn *bpf.Function, facts *flow.Facts, needs *flow.Needs, t windows.Target) *webs {
	w := emptyWebs(fn, facts, needs)
	// Of what a copy of the low half is, the verifier may know less than the facts.
	w.wide = !t.Confirmed
	w.build(facts)
	return w
}

func emptyWebs(fn *bpf.Function, facts *flow.Facts, needs *flow.Needs) *webs {
	n := len(fn.Blocks)
	return &webs{
		fn: fn, graph: facts.Graph(), needs: needs, args: make([][]bpf.Registers, n),
		copies: make([][]bool, n), liveIn: make([]bpf.Registers, n), entry: make([][general]node, n),
		sites: make([][]site, n),
	}
}

func (w *webs) build(facts *flow.Facts) {
	fn, needs := w.fn, w.needs
	for b := range fn.Blocks {
		w.args[b] = arguments(fn, needs, b)
		w.copies[b] = copies(fn, facts, b, w.wide)
	}
	w.solveLiveness()
	for b := range fn.Blocks {
		for r := range general {
			w.entry[b][r] = none
			if w.liveIn[b].Has(bpf.Register(r)) {
				w.entry[b][r] = w.newNode(bpf.Register(r))
			}
		}
	}
	for _, b := range w.graph.Order() {
		w.walk(b)
	}
	w.enterFunction()
}

// arguments is which of R1 to R5 each call of a block reads: those that are
// needed before it, since nothing of them is behind it.
func arguments(fn *bpf.Function, needs *flow.Needs, block int) []bpf.Registers {
	code := fn.Blocks[block].Code
	out := make([]bpf.Registers, len(code))
	lives := needs.Block(block)
	for i, in := range code {
		if !in.IsCall() {
			continue
		}
		before := needs.In(block)
		if i > 0 {
			before = lives[i-1]
		}
		for r := bpf.R1; r <= bpf.R5; r++ {
			if before.Regs[r] != 0 {
				out[i] |= bpf.Set(r)
			}
		}
	}
	return out
}

// reads is the registers that an instruction reads, the frame pointer excepted.
func (w *webs) reads(block, i int) bpf.Registers {
	in := w.fn.Blocks[block].Code[i]
	s := in.Reads() &^ bpf.Set(bpf.R10)
	if in.IsCall() {
		s = w.args[block][i]
		if in.Op&bpf.SourceX != 0 {
			s |= bpf.Set(in.Dst)
		}
	}
	return s
}

// solveLiveness finds which registers are live at each block's start.
func (w *webs) solveLiveness() {
	order := w.graph.Order()
	for changed := true; changed; {
		changed = false
		for k := len(order) - 1; k >= 0; k-- {
			b := order[k]
			live := w.liveOut(b)
			for i := len(w.fn.Blocks[b].Code) - 1; i >= 0; i-- {
				live = live&^w.fn.Blocks[b].Code[i].Writes() | w.reads(b, i)
			}
			changed = changed || live != w.liveIn[b]
			w.liveIn[b] = live
		}
	}
}

func (w *webs) liveOut(block int) bpf.Registers {
	var live bpf.Registers
	for _, s := range w.graph.Succs(block) {
		live |= w.liveIn[s]
	}
	return live
}

// walk finds what the instructions of a block do, and joins what registers hold
// at its end with what the blocks behind it find there.
func (w *webs) walk(block int) {
	code := w.fn.Blocks[block].Code
	w.sites[block] = make([]site, len(code))
	live := w.liveOut(block)
	for i := len(code) - 1; i >= 0; i-- {
		w.sites[block][i].live = live
		live = live&^code[i].Writes() | w.reads(block, i)
	}
	held := w.entry[block]
	w.part(place{block, -1}, &held, w.liveIn[block])
	for i := range code {
		w.step(block, i, &held)
		w.part(place{block, i}, &held, w.sites[block][i].live)
	}
	for _, s := range w.graph.Succs(block) {
		for r := range general {
			if w.liveIn[s].Has(bpf.Register(r)) && held[r] != none {
				w.union(w.entry[s][r], held[r])
			}
		}
	}
}

// step notes one instruction's webs and what they interfere with.
func (w *webs) step(block, i int, held *[general]node) {
	in, s := w.fn.Blocks[block].Code[i], &w.sites[block][i]
	s.dst, s.src, s.result, s.made = none, none, none, none
	w.pin(in, w.reads(block, i), held)
	if namesDestination(in) && in.Dst < bpf.R10 {
		s.dst = held[in.Dst]
	}
	if namesSource(in) && in.Src < bpf.R10 {
		s.src = held[in.Src]
	}
	if in.IsExit() {
		s.result = held[bpf.R0]
	}
	switch {
	case in.IsCall(), in.IsPacketLoad():
		w.call(s, held)
	default:
		w.define(in, w.copies[block][i], s, held)
	}
}

// namesDestination tells whether Dst is a register, read or written.
func namesDestination(in bpf.Instruction) bool {
	switch {
	case in.IsCall():
		return in.Op&bpf.SourceX != 0
	case in.IsExit(), in.IsPacketLoad(), in.IsJump() && !in.IsCondJump():
		return false
	}
	return true
}

// namesSource tells whether Src is a register.
func namesSource(in bpf.Instruction) bool {
	switch {
	case in.UsesSrc(), in.IsLoad(), in.IsAtomic():
		return true
	case in.IsStore():
		return in.Op.Class() == bpf.ClassSTX
	case in.IsPacketLoad():
		return in.Op.Mode() == bpf.ModeInd
	}
	return false
}

// pin holds to their registers the webs that an instruction reads without naming
// them.
func (w *webs) pin(in bpf.Instruction, reads bpf.Registers, held *[general]node) {
	var implied bpf.Registers
	switch {
	case in.IsCall():
		implied = reads & bpf.Set(bpf.R1, bpf.R2, bpf.R3, bpf.R4, bpf.R5)
	case in.IsExit():
		implied = bpf.Set(bpf.R0)
	case in.IsPacketLoad():
		implied = bpf.Set(bpf.R6)
	case in.IsAtomic() && in.Imm == bpf.AtomicCmpXchg:
		implied = bpf.Set(bpf.R0)
	}
	for r := range general {
		if implied.Has(bpf.Register(r)) && held[r] != none {
			w.fixed[w.find(held[r])] = true
			w.bound[w.find(held[r])] = w.bound[w.find(held[r])] || !in.IsExit()
		}
	}
}

// call gives R0 a new web and takes R0 to R5 from what is live across it.
func (w *webs) call(s *site, held *[general]node) {
	const lost = bpf.Registers(1<<(bpf.R5+1) - 1)
	for r := range general {
		switch reg := bpf.Register(r); {
		case lost.Has(reg):
			held[r] = none
		case s.live.Has(reg) && held[r] != none:
			w.forbid[w.find(held[r])] |= lost
		}
	}
	s.made = w.newNode(bpf.R0)
	held[bpf.R0] = s.made
	w.fix(s.made)
}

// define gives the register that an instruction writes a new web, or the old one
// where the instruction reads it as well.
func (w *webs) define(in bpf.Instruction, copied bool, s *site, held *[general]node) {
	for r := range bpf.R10 {
		if !in.Writes().Has(r) {
			continue
		}
		def := w.newNode(r)
		if held[r] != none && updates(in) {
			w.union(def, held[r])
		}
		if in.IsAtomic() && in.Imm == bpf.AtomicCmpXchg {
			w.fix(def)
		}
		held[r] = def
		if in.Dst == r && !in.IsAtomic() || in.IsAtomic() && in.Imm == bpf.AtomicLoadAcq {
			s.dst = def
		}
		for q := range general {
			other := held[q]
			if bpf.Register(q) == r || other == none || !s.live.Has(bpf.Register(q)) || copied && in.Src == bpf.Register(q) {
				continue
			}
			w.edges = append(w.edges, [2]node{def, other})
		}
	}
}

// updates tells whether what an instruction writes has to be in the register
// of an operand.
func updates(in bpf.Instruction) bool {
	switch {
	case in.IsAtomic():
		return in.Imm != bpf.AtomicLoadAcq
	case in.IsALU():
		return in.Op.ALU() != bpf.OpMov
	}
	return false
}

// copies is which instructions of a block are copies. One of the low half is,
// where the upper one is known to be zero, or is of a result that nobody takes it
// of. That nobody reads the upper one is no reason by itself: it may be because of
// a copy behind this one, which is taken for one because of this.
func copies(fn *bpf.Function, facts *flow.Facts, block int, wide bool) []bool {
	code := fn.Blocks[block].Code
	out := make([]bool, len(code))
	var states []flow.State
	for i, in := range code {
		if !in.IsALU() || in.Op.ALU() != bpf.OpMov || !in.UsesSrc() || in.Off != 0 || in.Src == bpf.R10 {
			continue
		}
		if in.Op.Class() == bpf.ClassALU64 {
			out[i] = true
			continue
		}
		if wide {
			continue
		}
		if states == nil {
			states = facts.Block(block)
		}
		v := states[i].Regs[in.Src]
		out[i] = v.Kind == flow.KindScalar && (v.UMax>>32 == 0 || halfReturned(fn, block, i))
	}
	return out
}

// returns tells whether code does nothing with R0 but return it.
func returns(code []bpf.Instruction) bool {
	for _, in := range code {
		switch {
		case in.IsExit():
			return true
		case in.IsCall(), (in.Reads() | in.Writes()).Has(bpf.R0):
			return false
		}
	}
	return false
}

// enterFunction holds what the function is called with to its registers, which
// interfere with each other.
func (w *webs) enterFunction() {
	for r := range general {
		n := w.entry[0][r]
		if n == none {
			continue
		}
		w.fix(n)
		for q := range r {
			if m := w.entry[0][q]; m != none {
				w.edges = append(w.edges, [2]node{n, m})
			}
		}
	}
}
