package search

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes"
	"github.com/k2cc/k2cc/windows"
)

const (
	numLanes = 8  // lanes that tell behaviours apart
	numExtra = 48 // lanes that a candidate has to pass besides

	maxLost    = 2 // attempts without an answer before the search gives up
	maxRefused = 3 // attempts with nothing learnt before a stretch is given up
)

// price is what a candidate is compared by: slots first, then accesses to memory.
type price struct{ slots, accesses int }

func (c price) less(d price) bool {
	return c.slots < d.slots || c.slots == d.slots && c.accesses < d.accesses
}

func priceOf(code []bpf.Instruction) price {
	c := price{slots: bpf.Slots(code)}
	for i := range code {
		if isAccess(&code[i]) {
			c.accesses++
		}
	}
	return c
}

func isAccess(in *bpf.Instruction) bool {
	return in.IsLoad() || in.IsStore() || in.IsAtomic()
}

// problem is a window as the search sees it.
type problem struct {
	w    *windows.Window
	body []bpf.Instruction // without the jump at the end
	jump *bpf.Instruction
	cost price

	need     [bpf.NumRegisters]uint64
	readable []bpf.Register
	writable []bpf.Register
	vocabulary

	lanes   []*lane
	extra   []*lane
	rules   *rules
	touched mask // bytes that candidates may access

	// For a stretch of a window: the whole, and the code about the stretch.
	whole          *problem
	prefix, suffix []bpf.Instruction

	make  *builder
	try   passes.Try
	tries int             // attempts left
	lost  int             // attempts that the checker came to no answer on
	tried map[uint64]bool // candidates that were asked about, by key

	proven []bpf.Instruction // what the checker has proven
}

// newProblem looks at a window. It reports false for one that the search can't
// handle or that leaves nothing to search for.
func newProblem(w *windows.Window, try passes.Try, tries int) (*problem, bool) {
	p := &problem{w: w, cost: priceOf(w.Code), need: w.Needs.Regs, try: try, tries: tries, tried: map[uint64]bool{}}
	p.body, p.jump = split(w.Code)
	p.need[bpf.R10] = 0
	if p.cost.slots < 2 && p.cost.accesses == 0 && p.jump != nil || len(w.Code) == 0 {
		return nil, false
	}
	for i := range p.body {
		if !straight(&p.body[i]) {
			return nil, false
		}
	}
	p.vocabulary = newVocabulary(w, w.Code)
	if !p.makeLanes() || !p.learn() {
		return nil, false
	}
	p.touched = mask{^uint64(0), ^uint64(0)}
	p.registers(w.Code)
	return p, true
}

// straight tells whether the search understands an instruction. Offsets that a
// loader patches it does not.
func straight(in *bpf.Instruction) bool {
	switch {
	case in.IsALU(), in.Op == bpf.LoadImm64:
		return true
	}
	return isAccess(in) && in.Ref == 0
}

// registers finds the registers that candidates may read, and those that they
// may write: what the code writes, and what it reads and nothing reads later.
// They may also read what it does not, where that holds something that the code
// computes or loads.
func (p *problem) registers(code []bpf.Instruction) {
	var reads, writes bpf.Registers
	for i := range code {
		reads |= code[i].Reads()
		writes |= code[i].Writes()
	}
	also := writes | p.holders()
	var others []bpf.Register
	for r := range bpf.Register(bpf.NumRegisters) {
		// What the code itself reads comes first, as the plainest choice.
		switch {
		case reads.Has(r):
			p.readable = append(p.readable, r)
		case also.Has(r):
			others = append(others, r)
		}
		if writes.Has(r) || reads.Has(r) && r != bpf.R10 && p.need[r] == 0 {
			p.writable = append(p.writable, r)
		}
	}
	p.readable = append(p.readable, others...)
}

// holders is the registers that hold before the code, in all lanes, what one of
// its instructions leaves in a register.
func (p *problem) holders() bpf.Registers {
	var found bpf.Registers
	states := make([]state, len(p.lanes))
	for i, l := range p.lanes {
		states[i] = l.start
	}
	for i := range p.body {
		in := &p.body[i]
		same := ^bpf.Registers(0)
		for j, l := range p.lanes {
			l.exec(&states[j], in)
			for r := range bpf.Register(bpf.NumRegisters) {
				if l.start.regs[r] != states[j].regs[in.Dst] {
					same &^= bpf.Set(r)
				}
			}
		}
		if in.Writes() != 0 {
			found |= same & bpf.Set(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
		}
	}
	return found
}

func (p *problem) makeLanes() bool {
	p.make = &builder{w: p.w, rng: rand.New(rand.NewPCG(seed(p.w), 1)), pool: p.pool(), n: 1}
	for i := range p.w.Code {
		p.make.syms = max(p.make.syms, int(p.w.Code[i].Ref))
	}
	outcomes := [2]int{}
	for range numLanes + numExtra {
		l, ok := p.make.lane()
		if !ok {
			continue
		}
		n := &outcomes[0]
		if l.taken {
			n = &outcomes[1]
		}
		if len(p.lanes) < numLanes && (p.jump == nil || *n < numLanes/2) {
			p.lanes = append(p.lanes, l)
			*n++
		} else {
			p.extra = append(p.extra, l)
		}
	}
	for len(p.lanes) < numLanes && len(p.extra) > 0 {
		p.lanes = append(p.lanes, p.extra[0])
		p.extra = p.extra[1:]
	}
	return len(p.lanes) >= 2
}

// bothWays tells whether the window's jump is taken in some lanes and not in
// others.
func (p *problem) bothWays() bool {
	first := p.lanes[0].taken
	other := func(l *lane) bool { return l.taken != first }
	return slices.ContainsFunc(p.lanes, other)
}

// pool is the numbers that matter to the window's code.
func (p *problem) pool() []uint64 {
	var out []uint64
	for i := range p.w.Code {
		in := &p.w.Code[i]
		if (in.IsALU() || in.IsCondJump()) && !in.UsesSrc() || in.Op == bpf.LoadImm64 {
			out = append(out, uint64(in.Imm))
		}
	}
	return out
}

// seed is a number that depends on the window's code, facts, needs and target,
// and on nothing else.
func seed(w *windows.Window) uint64 {
	h := fnv.New64a()
	for _, in := range w.Code {
		in.Pos, in.Target = 0, 0
		fmt.Fprint(h, in.Op, in.Dst, in.Src, in.Off, in.Imm, in.Ref, ";")
	}
	fmt.Fprint(h, w.Facts, w.Needs, w.Level, w.BigEndian)
	return h.Sum64()
}

// diff is what is wrong in a state at the end.
type diff struct {
	regs bpf.Registers
	mem  mask
	ctx  bool
}

func (d *diff) none() bool { return d.regs == 0 && d.mem == mask{} && !d.ctx }

// wrong adds to d what is wrong with s at the end of a lane.
func (p *problem) wrong(d *diff, l *lane, s *state) {
	for _, r := range p.writable {
		if (s.regs[r]^l.goal.regs[r])&p.need[r] != 0 {
			d.regs |= bpf.Set(r)
		}
	}
	for i := range l.bytes {
		if s.mem[i] != l.goal.mem[i] && l.needed.has(i) {
			d.mem.add(i, 1)
		}
	}
	d.ctx = d.ctx || s.ctxHash != l.goal.ctxHash
}

// right tells whether a candidate behaves as it has to in every lane and keeps
// to the rules.
func (p *problem) right(code []bpf.Instruction) bool {
	for _, lanes := range [...][]*lane{p.lanes, p.extra} {
		for _, l := range lanes {
			if !p.rightIn(l, code) {
				return false
			}
		}
	}
	return p.lawful(code)
}

func (p *problem) rightIn(l *lane, code []bpf.Instruction) bool {
	body, jump := split(code)
	s := l.start
	var d diff
	if !l.run(&s, body) {
		return false
	}
	p.wrong(&d, l, &s)
	return d.none() && (jump == nil || p.rightJump(l, &s, jump))
}

// rightJump tells whether a jump does in s what the window's jump does. A
// comparison of pointers has to stay the same: it may tell the verifier how
// much of a packet there is.
func (p *problem) rightJump(l *lane, s *state, jump *bpf.Instruction) bool {
	if p.rules.jump != 0 {
		return jump.Op == p.rules.jump && l.operands(s, jump) == l.compared
	}
	return l.jumps(s, jump) == l.taken
}

// lawful tells whether the verifier would let a candidate pass, for all that
// the rules know, and whether the accesses to shared memory are the window's.
func (p *problem) lawful(code []bpf.Instruction) bool {
	body, jump := split(code)
	l := p.rules.lane
	t, s := p.rules.start, l.start
	for i := range body {
		if body[i].Level() > p.w.Level || !p.rules.step(&t, &s, &body[i]) || !l.exec(&s, &body[i]) {
			return false
		}
	}
	if (jump == nil) != (p.jump == nil) {
		return false
	}
	if jump != nil && (jump.Level() > p.w.Level || !p.rules.compares(&t, jump)) {
		return false
	}
	return p.rules.agree(p, &t) && (p.whole != nil || p.ordered(body))
}

// key is a hash of code.
func key(code []bpf.Instruction) uint64 {
	var h uint64
	for _, in := range code {
		h = mix(h ^ uint64(in.Op)<<40 ^ uint64(in.Dst)<<32 ^ uint64(in.Src)<<24 ^ uint64(uint16(in.Off)))
		h = mix(h ^ uint64(in.Imm) ^ uint64(in.Ref)<<32)
	}
	return h
}

// answer is what came of asking the checker.
type answer uint8

const (
	goOn    answer = iota // nothing asked
	refused               // no proof, and nothing learnt
	learnt                // a counterexample: behaviours have to be told apart anew
	stopped               // proven, or no attempts left
)

// submit asks the checker about a candidate that passes all tests.
func (p *problem) submit(code []bpf.Instruction) answer {
	if !priceOf(code).less(p.cost) || !p.right(code) {
		return goOn
	}
	code = p.shrink(code)
	if !p.affordable(code) {
		return goOn
	}
	if p.whole != nil {
		return p.patient(p.whole.submit(slices.Concat(p.prefix, code, p.suffix)))
	}
	k := key(code)
	if p.tried[k] {
		return goOn
	}
	p.tried[k] = true
	p.tries--
	verdict := p.try(append([]bpf.Instruction(nil), code...))
	switch {
	case verdict.Outcome == encode.Proven:
		p.proven = code
		return stopped
	case p.tries <= 0:
		return stopped
	case verdict.Outcome == encode.Undecided:
		// What is hard to decide once is hard again, and takes long.
		if p.lost++; p.lost >= maxLost {
			return stopped
		}
		return refused
	case verdict.Counterexample == nil:
		return refused
	}
	// The first lane stays: types are followed in it.
	if l, ok := p.make.replay(verdict.Counterexample); ok && !p.rightIn(l, code) {
		p.lanes = append(p.lanes, l)
		return learnt
	}
	return refused
}

// affordable tells whether code costs no more than it may in a window's place.
// Of a stretch that is not known before it is part of the whole.
func (p *problem) affordable(code []bpf.Instruction) bool {
	return p.whole != nil || cost.Of(code).Within(p.w.Bounds())
}

// patient gives a stretch up for which the checker refuses one candidate after
// the other: what it minds of one it will mind of others.
func (p *problem) patient(a answer) answer {
	if a == refused {
		if p.lost++; p.lost >= maxRefused {
			return stopped
		}
		return goOn
	}
	return a
}
