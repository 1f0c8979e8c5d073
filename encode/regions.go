package encode

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
	"github.com/k2cc/k2cc/windows"
)

// Regions is two functions that are the same but for some regions, in which both
// compute in registers alone, each in its own way.
type Regions struct {
	Old, New *bpf.Function
	Facts    *flow.Facts // of Old
	After    *flow.Needs // of New
	// Entries has the labels of the blocks with which regions begin, in both
	// functions. A region goes as far as there are blocks whose labels the other
	// function does not have.
	Entries   []bpf.Label
	BigEndian bool
}

// Bounds on what is executed for one region: pairs of an old and a new path, and
// instructions on all of them.
const (
	maxPaths = 256
	maxSteps = 1 << 14
)

// SameRegions proves that the two functions do the same. Blocks whose labels both
// have are where they come together; such a block is either the same on both
// sides, and leads to such blocks, or a region begins with it. Then whatever path
// the old function takes from there to where they come together again, the new
// one gets to the same block, with the same in all that it still reads. It answers
// why not, by entry, for the regions of which that is not so.
//
// By induction over the blocks of both that a run passes through: where memory is
// the same as far as the new function still reads it, and registers are, so are
// they at the next such block, and all that others see happens in between is the
// same.
func (c *Checker) SameRegions(ctx context.Context, s *Regions) (unproven map[bpf.Label]error, err error) {
	// go-z3 panics on solver errors.
	defer func() {
		if r := recover(); r != nil {
			c.solver = nil
			err = fmt.Errorf("internal error: %v", r)
		}
	}()
	old, new := newSide(s.Old), newSide(s.New)
	if err := meet(s, old, new); err != nil {
		return nil, err
	}
	unproven = map[bpf.Label]error{}
	for _, label := range s.Entries {
		if err := c.region(ctx, s, label, old, new); err != nil {
			unproven[label] = err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return unproven, nil
}

// meet wants both functions to begin with one block, and blocks of both that begin
// no region to be the same.
func meet(s *Regions, old, new side) error {
	if len(old.labels) != len(s.Old.Blocks) || len(new.labels) != len(s.New.Blocks) {
		return errors.New("two blocks of one label")
	}
	for _, label := range append([]bpf.Label{s.Old.Blocks[0].Label}, s.Entries...) {
		_, inOld := old.labels[label]
		_, inNew := new.labels[label]
		if !inOld || !inNew {
			return fmt.Errorf("no block L%d in both", label)
		}
	}
	if s.Old.Blocks[0].Label != s.New.Blocks[0].Label {
		return errors.New("another first block")
	}
	entries := map[bpf.Label]bool{}
	for _, label := range s.Entries {
		entries[label] = true
	}
	for i, b := range s.Old.Blocks {
		j, both := new.labels[b.Label]
		if !both || entries[b.Label] {
			continue
		}
		if !slices.EqualFunc(b.Code, s.New.Blocks[j].Code, bpf.SameCode) {
			return fmt.Errorf("block L%d: other code", b.Label)
		}
		ways, err := old.ways(i)
		if err != nil {
			return err
		}
		if to, err := new.ways(j); err != nil || !slices.Equal(ways, to) {
			return fmt.Errorf("block L%d leads somewhere else", b.Label)
		}
		for _, to := range ways {
			if _, both := new.labels[to]; !both {
				return fmt.Errorf("block L%d leads into the middle of a region", b.Label)
			}
		}
	}
	return nil
}

// ways is the labels of the blocks behind a block.
func (s side) ways(block int) (out []bpf.Label, err error) {
	code := s.fn.Blocks[block].Code
	falls := true
	if n := len(code) - 1; n >= 0 {
		falls = code[n].FallsThrough()
		if code[n].IsJump() {
			if _, ok := s.labels[code[n].Target]; !ok {
				return nil, fmt.Errorf("%v leads nowhere", code[n])
			}
			out = append(out, code[n].Target)
		}
	}
	if !falls {
		return out, nil
	}
	if block+1 == len(s.fn.Blocks) {
		return nil, fmt.Errorf("control runs off the end of %s", s.fn.Name)
	}
	return append(out, s.fn.Blocks[block+1].Label), nil
}

// region proves one region.
func (c *Checker) region(ctx context.Context, s *Regions, label bpf.Label, old, new side) error {
	block := old.labels[label]
	if !s.Facts.Reachable(block) {
		return errors.New("no run gets there")
	}
	w := &windows.Window{Fn: s.Old, Block: block, Facts: s.Facts.Before(block, 0)}
	w.BigEndian = s.BigEndian
	e, err := newEntry(newGraph(), w)
	if err != nil {
		return err
	}
	r := &crossing{Regions: s, sides: [2]side{old, new}, entry: label, regs: e.regs}
	first := path{crossing: r, terms: terms{e.g}, regs: e.regs}
	if err := r.walk(ctx, first, block); err != nil {
		return err
	}
	return c.hold(ctx, &tape{entry: e, equations: r.equations})
}

// crossing is what has to be so for one region to be proven.
type crossing struct {
	*Regions
	sides     [2]side
	entry     bpf.Label
	regs      [bpf.NumRegisters]value // at the entry
	equations []equation
	paths     int // so far
	steps     int // likewise
}

// path is a path through a region on one side.
type path struct {
	terms
	crossing *crossing
	new      bool
	regs     [bpf.NumRegisters]value
	conds    []condition // that hold on it
	done     []operation // by the old code
	left     int         // blocks that there may be before it goes round a loop
	// old is where the old code's path came out, while the new one's is followed.
	old *path
	end bpf.Label
}

// condition is a truth value as a branch found it.
type condition struct {
	what  *node
	holds bool
}

// operation is what an instruction computed, and how, wherever its operand was.
type operation struct {
	op     bpf.Op
	result *node
}

var _ semantics.Machine[value] = (*path)(nil)

// BigEndian tells the target's byte order.
func (p *path) BigEndian() bool { return p.crossing.Regions.BigEndian }

// Reg is r's value.
func (p *path) Reg(r bpf.Register) value { return p.regs[r] }

// SetReg gives r a value.
func (p *path) SetReg(r bpf.Register, v value) { p.regs[r] = v }

// Imm is the immediate.
func (p *path) Imm(in bpf.Instruction) value { return immediate(p.terms, p.crossing.Old, in) }

// Load is not for regions.
func (p *path) Load(bpf.Instruction, bpf.Register) (value, error) { return value{}, errNotModelled }

// Store is not for regions.
func (p *path) Store(bpf.Instruction, bpf.Register, value) error { return errNotModelled }

// walk follows the old code from the entry on all paths, and on each the new code.
func (r *crossing) walk(ctx context.Context, first path, block int) error {
	first.left = len(r.Old.Blocks) + 1
	open := []visit{{first, block}}
	for len(open) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		v := open[len(open)-1]
		open = open[:len(open)-1]
		next, err := r.through(v.path, v.block)
		if err != nil {
			return err
		}
		open = append(open, next...)
	}
	return nil
}

// visit is a path that has come to a block.
type visit struct {
	path  path
	block int
}

// side is the function whose path it is.
func (p *path) side() side {
	if p.new {
		return p.crossing.sides[1]
	}
	return p.crossing.sides[0]
}

// through runs a block, and finds how the path may go on.
func (r *crossing) through(p path, block int) ([]visit, error) {
	side := p.side()
	ways, err := side.ways(block)
	if err != nil {
		return nil, err
	}
	code := side.fn.Blocks[block].Code
	for _, in := range code {
		if r.steps++; r.steps > maxSteps {
			return nil, errTooLong
		}
		if err := p.run(in); err != nil {
			return nil, fmt.Errorf("%v: %w", in, err)
		}
	}
	if p.left--; p.left == 0 {
		return nil, errors.New("a loop")
	}
	n := len(code)
	if n == 0 || !code[n-1].IsCondJump() {
		return r.arrive(nil, p, ways[0])
	}
	taken, err := p.taken(code[n-1])
	if err != nil {
		return nil, err
	}
	var out []visit
	for i, to := range ways {
		if q, ok := p.assume(taken, i == 0); ok {
			if out, err = r.arrive(out, q, to); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

var errTooLong = errors.New("too many paths")

// run executes what is no branch. Of what may be a pointer, the new code computes
// only what the old one computes on the path, in the same way.
func (p *path) run(in bpf.Instruction) error {
	switch {
	case in.Ref != 0:
		return errNotModelled
	case in.IsJump() && !in.IsMayGoto():
		return nil
	case !in.IsALU() && (in.Op != bpf.LoadImm64 || in.Src != bpf.PseudoImm):
		return errNotModelled
	}
	numbers := p.numbers(in)
	if err := semantics.Step[value](p, in); err != nil {
		return err
	}
	now := operation{in.Op &^ bpf.SourceX, p.regs[in.Dst].node}
	if in.Op.ALU() == bpf.OpEnd {
		now.op = in.Op // it says more there than where the operand is
	}
	switch {
	case !p.new:
		p.done = append(p.done, now)
	case !numbers && !slices.Contains(p.old.done, now):
		return unsafef("computes what the old code does not")
	}
	return nil
}

// numbers tells whether an instruction reads nothing that may be a pointer.
func (p *path) numbers(in bpf.Instruction) bool {
	for r := range bpf.Register(bpf.NumRegisters) {
		if in.Reads().Has(r) && p.regs[r].kind != flow.KindScalar {
			return false
		}
	}
	return true
}

// taken is whether a jump is taken: a condition that the new code may only compare
// for what may be a pointer if the old code does.
func (p *path) taken(in bpf.Instruction) (condition, error) {
	n := semantics.Taken[value](p, in, p.regs[in.Dst], semantics.Operand[value](p, in)).node
	c := condition{n, true}
	for c.what.op == opXor && c.what.b.isConst() && c.what.b.k == 1 {
		c = condition{c.what.a, !c.holds}
	}
	known := c.what.isConst() || p.knows(c.what)
	if p.new && !known && !p.numbers(in) {
		return c, unsafef("compares what the old code does not")
	}
	return c, nil
}

func (p *path) knows(n *node) bool {
	return slices.ContainsFunc(p.conds, func(c condition) bool { return c.what == n })
}

// assume is the path on which a branch with the condition is taken, or is not, if
// there is one.
func (p *path) assume(c condition, taken bool) (path, bool) {
	c.holds = c.holds == taken
	switch {
	case c.what.isConst():
		return *p, (c.what.k == 1) == c.holds
	case p.knows(c.what):
		return *p, slices.Contains(p.conds, c)
	}
	q := *p
	q.conds, q.done = append(slices.Clip(p.conds), c), slices.Clip(p.done)
	return q, true
}

// arrive goes on with a path at a block: inside of the region, behind it with the
// new code from the entry, or where both are behind it with nothing more.
func (r *crossing) arrive(out []visit, p path, to bpf.Label) ([]visit, error) {
	_, inOld := r.sides[0].labels[to]
	_, inNew := r.sides[1].labels[to]
	switch {
	case !inOld || !inNew:
		return append(out, visit{p, p.side().labels[to]}), nil
	case p.new:
		p.end = to
		if r.paths++; r.paths > maxPaths {
			return nil, errTooLong
		}
		return out, r.compare(p.old, &p)
	}
	p.end = to
	neu := p
	neu.old, neu.new, neu.regs, neu.left = &p, true, r.regs, len(r.New.Blocks)+1
	return append(out, visit{neu, r.sides[1].labels[r.entry]}), nil
}

// compare wants both sides to have come out at one block on a path, with the same
// in all that the new one still reads.
func (r *crossing) compare(old, neu *path) error {
	g := neu.g
	on := g.constant(1, 1)
	for _, c := range neu.conds {
		n := c.what
		if !c.holds {
			n = g.binary(opXor, n, g.constant(1, 1))
		}
		on = g.binary(opAnd, on, n)
	}
	if old.end != neu.end {
		r.equations = append(r.equations, equation{"the way", on, g.constant(0, 1)})
		return nil
	}
	live := r.After.In(r.sides[1].labels[neu.end])
	for reg, bits := range live.Regs {
		a, b := old.regs[reg], neu.regs[reg]
		if bits != ^uint64(0) {
			m := g.constant(bits, 64)
			a, b = scalar(g.binary(opAnd, a.node, m)), scalar(g.binary(opAnd, b.node, m))
		}
		switch {
		case bits == 0 || a.node == b.node && a.kind == b.kind:
		case a.kind != flow.KindScalar || b.kind != flow.KindScalar:
			return fmt.Errorf("r%d: another value, which may be a pointer", reg)
		default:
			zero := g.constant(0, 64)
			r.equations = append(r.equations, equation{fmt.Sprintf("r%d", reg), g.ite(on, a.node, zero), g.ite(on, b.node, zero)})
		}
	}
	return nil
}
