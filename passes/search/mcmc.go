package search

import (
	"context"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/passes"
	"github.com/k2cc/k2cc/windows"
)

// MCMCOptions bounds a search with Markov chains. Zero fields mean the
// defaults.
type MCMCOptions struct {
	MaxSlots int // longest window in slots; default 32
	// MinLength is the shortest window in instructions; default 0.
	MinLength int
	Chains    int     // chains from different seeds; default 3
	Steps     int     // moves tried by all chains together; default 30,000
	Tries     int     // candidates that the checker is asked about; default 16
	Beta      float64 // how strongly the coldest chain prefers what costs less; default 2
}

// MCMC is a proposer after K2 (Xu et al., SIGCOMM'21, section 3): Markov chains
// that start at the window's own code, change it by one of six moves at a time,
// and accept changes by Metropolis' rule for a cost of errors, slots and safety.
func MCMC(o MCMCOptions) passes.Proposer {
	if o.MaxSlots == 0 {
		o.MaxSlots = 32
	}
	if o.Chains == 0 {
		o.Chains = 3
	}
	if o.Steps == 0 {
		o.Steps = 30_000
	}
	if o.Tries == 0 {
		o.Tries = 16
	}
	if o.Beta == 0 {
		o.Beta = 2
	}
	return mcmc{o}
}

type mcmc struct{ MCMCOptions }

// Name is "mcmc".
func (mcmc) Name() string { return "mcmc" }

// Settings are all options.
func (o mcmc) Settings() string { return fmt.Sprintf("%+v", o.MCMCOptions) }

// workOfStep is how many candidates enumerate tries while a chain takes a step.
const workOfStep = 6

const (
	rounds   = 12 // how often the chains stop to look at what they have found
	patience = 3  // rounds without anything better before the best is checked
)

// Propose runs the chains for w, and after a proof again from what was proven.
func (o mcmc) Propose(ctx context.Context, w *windows.Window, try passes.Try) int {
	now := *w
	steps := o.Steps
	for steps > 0 && ctx.Err() == nil {
		if bpf.Slots(now.Code) > o.MaxSlots || len(now.Code) < o.MinLength {
			break
		}
		p, ok := newProblem(&now, try, o.Tries)
		if !ok {
			break
		}
		steps -= o.search(ctx, p, steps)
		if p.proven == nil {
			break
		}
		now.Code = p.proven
	}
	return (o.Steps - steps) * workOfStep
}

// search runs chains until something is proven or the steps are used up; it
// returns how many were.
func (o mcmc) search(ctx context.Context, p *problem, steps int) int {
	m := newMover(p)
	chains := make([]*chain, o.Chains)
	for i := range chains {
		// Cold chains hold on to what is right, hot ones get away from it.
		chains[i] = newChain(m, uint64(i), o.Beta/float64(int(1)<<(i%3)))
	}
	pool := &pool{problem: p, seen: map[uint64]bool{}}
	share := max(o.Steps/(rounds*o.Chains), 1)
	waited, used := 0, 0
	for used < steps && p.proven == nil && p.tries > 0 {
		best := pool.best()
		for _, c := range chains {
			if !c.run(ctx, share, pool) {
				return used
			}
		}
		used += share * o.Chains
		if waited++; pool.best().less(best) {
			waited = 0
		}
		if waited < patience && used < steps && !pool.least() {
			continue // there may be better still
		}
		if pool.ask() == learnt {
			pool.spare = 0
			for _, c := range chains {
				c.reset()
			}
		}
	}
	return used
}

// pool holds the cheapest candidates that pass all tests.
type pool struct {
	*problem
	found []found
	seen  map[uint64]bool // what was offered, by key
	spare int             // how many were no better than the best
}

type found struct {
	code []bpf.Instruction
	cost price
}

const (
	poolSize = 8
	maxSpare = 256 // candidates looked at that are no better than the best
)

// best is the cost of the best candidate, or of the window's code.
func (p *pool) best() price {
	if len(p.found) == 0 {
		return p.cost
	}
	return p.found[0].cost
}

// least tells whether nothing can be better than the best.
func (p *pool) least() bool {
	least := 0
	if p.jump != nil {
		least = 1
	}
	return p.best() == price{slots: least}
}

// offer takes a candidate that passes the lanes, if it is among the cheapest.
func (p *pool) offer(code []bpf.Instruction) {
	code = compact(code)
	c := priceOf(code)
	if !c.less(p.cost) {
		return
	}
	if !c.less(p.best()) {
		if p.spare++; p.spare > maxSpare {
			return
		}
	}
	k := key(code)
	if p.seen[k] {
		return
	}
	p.seen[k] = true
	if !p.right(code) {
		return
	}
	code = p.shrink(code)
	if !p.affordable(code) {
		return
	}
	c = priceOf(code)
	same := func(f found) bool { return slices.Equal(f.code, code) }
	if slices.ContainsFunc(p.found, same) || p.tried[key(code)] {
		return
	}
	at, _ := slices.BinarySearchFunc(p.found, c, func(f found, c price) int {
		if c.less(f.cost) {
			return 1
		}
		return -1
	})
	p.found = slices.Insert(p.found, at, found{code, c})
	p.found = p.found[:min(len(p.found), poolSize)]
}

// shrink leaves out what a candidate does not need.
func (p *problem) shrink(code []bpf.Instruction) []bpf.Instruction {
	for i := 0; i < len(code); {
		shorter := slices.Concat(code[:i], code[i+1:])
		if code[i].IsCondJump() || !p.right(shorter) {
			i++
			continue
		}
		code = shorter
		i = 0
	}
	return code
}

// ask has the candidates checked, the cheapest first, and forgets those that
// are refuted.
func (p *pool) ask() answer {
	result := goOn
	for len(p.found) > 0 && result != stopped {
		f := p.found[0]
		p.found = p.found[1:]
		if a := p.submit(f.code); a == learnt || a == stopped {
			result = a
		}
	}
	return result
}

// compact is code without the gaps that chains leave.
func compact(code []bpf.Instruction) []bpf.Instruction {
	out := make([]bpf.Instruction, 0, len(code))
	for _, in := range code {
		if in.Op != gap {
			out = append(out, in)
		}
	}
	return out
}

// gap is the opcode, of no instruction, that marks gaps in a chain's code.
const gap = bpf.ClassLD | bpf.ModeImm | bpf.SizeW

// nop fills a gap.
var nop = bpf.Instruction{Op: gap}

// Weights of the cost. Slots weigh as much as some bits that are wrong, so that
// chains cross code that is wrong on the way to code that is short.
const (
	weightSlot    = 2.0
	weightAccess  = 0.4
	weightFailure = 0.5 // a lane with anything wrong
	weightJump    = 8   // bits that a wrong jump counts as
	weightContext = 16  // bits that a wrong store to the context counts as
)

// chain is one Markov chain.
type chain struct {
	*mover
	rng  *rand.Rand
	beta float64
	code []bpf.Instruction
	cost float64

	next  []bpf.Instruction
	state state
}

func newChain(m *mover, n uint64, beta float64) *chain {
	c := &chain{mover: m, rng: rand.New(rand.NewPCG(seed(m.w), 100+n)), beta: beta}
	c.code = slices.Clone(m.w.Code)
	for i := range c.code {
		c.code[i].Pos = 0
	}
	c.next = slices.Clone(c.code)
	c.reset()
	return c
}

// reset judges the chain's code anew.
func (c *chain) reset() {
	_, c.cost = c.judge(c.code, math.Inf(1))
}

// run takes steps; it reports false where ctx has ended.
func (c *chain) run(ctx context.Context, steps int, out *pool) bool {
	for i := range steps {
		if i%256 == 0 && ctx.Err() != nil {
			return false
		}
		copy(c.next, c.code)
		if !c.move(c.rng, c.next) {
			continue
		}
		// Metropolis' rule, with the draw before the cost is known: accept with
		// probability exp(-beta * increase), at most one.
		limit := c.cost - math.Log(1-c.rng.Float64())/c.beta
		wrong, cost := c.judge(c.next, limit)
		if cost > limit {
			continue
		}
		c.code, c.next, c.cost = c.next, c.code, cost
		if wrong == 0 {
			out.offer(c.code)
		}
	}
	return true
}

// judge weighs code: how much of it is wrong, and what it costs in all. Code
// that is not safe is infinitely wrong. It stops counting beyond limit.
func (c *chain) judge(code []bpf.Instruction, limit float64) (wrong, cost float64) {
	if cost = weight(code); cost > limit || !c.safe(code) {
		return math.Inf(1), math.Inf(1)
	}
	for _, l := range c.lanes {
		n, ok := c.misses(l, code)
		if !ok {
			return math.Inf(1), math.Inf(1)
		}
		if n > 0 {
			more := float64(n)/float64(len(c.lanes)) + weightFailure
			wrong += more
			if cost += more; cost > limit {
				break
			}
		}
	}
	return wrong, cost
}

// weight is the part of the cost that right code has.
func weight(code []bpf.Instruction) float64 {
	n := 0.0
	for i := range code {
		in := &code[i]
		if in.Op == gap {
			continue
		}
		n += weightSlot * float64(in.Slots())
		if isAccess(in) {
			n += weightAccess
		}
	}
	return n
}

// straight is code without the jump at the end.
func (c *chain) straight(code []bpf.Instruction) []bpf.Instruction {
	if c.jump != nil {
		return code[:len(code)-1]
	}
	return code
}

// safe tells whether the verifier would let code pass, for all that the rules
// know.
func (c *chain) safe(code []bpf.Instruction) bool {
	l := c.rules.lane
	t := c.rules.start
	s := &c.state
	*s = l.start
	body := c.straight(code)
	for i := range body {
		if in := &body[i]; in.Op != gap && (!c.rules.step(&t, s, in) || !l.exec(s, in)) {
			return false
		}
	}
	return c.jump == nil || c.rules.compares(&t, &code[len(code)-1])
}

// misses counts the bits that code leaves wrong in a lane.
func (c *chain) misses(l *lane, code []bpf.Instruction) (int, bool) {
	s := &c.state
	*s = l.start
	body := c.straight(code)
	for i := range body {
		if in := &body[i]; in.Op != gap && !l.exec(s, in) {
			return 0, false
		}
	}
	n := 0
	if c.jump != nil && !c.rightJump(l, s, &code[len(code)-1]) {
		n += weightJump
	}
	for _, r := range c.writable {
		n += bits.OnesCount64((s.regs[r] ^ l.goal.regs[r]) & c.need[r])
	}
	for i := range l.bytes {
		if l.needed.has(i) {
			n += bits.OnesCount8(s.mem[i] ^ l.goal.mem[i])
		}
	}
	if s.ctxHash != l.goal.ctxHash {
		n += weightContext
	}
	return n, true
}
