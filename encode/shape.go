package encode

import (
	"context"
	"errors"
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
)

// SameShape checks that two functions run the same instructions in the same
// order on every path, whatever their blocks are called and however they are
// laid out: it walks both from the entry, over unconditional jumps, and wants
// the same instruction on both sides each time. Where one side jumps on the
// inverse condition, Z3 has to prove that it is the inverse for all operands.
// The new function may compute in registers before a branch what the old one
// computes behind it (see early), and have no branch where the facts of the old
// one leave no choice.
// It answers nil where the functions are the same, and else where they part.
func (c *Checker) SameShape(ctx context.Context, old, new *bpf.Function) error {
	s := &shapes{ctx: ctx, checker: c, sides: [2]side{newSide(old), newSide(new)}, seen: map[places]bool{}}
	s.push(places{})
	for len(s.work) > 0 {
		at := s.work[len(s.work)-1]
		s.work = s.work[:len(s.work)-1]
		if err := s.walk(at); err != nil {
			return err
		}
	}
	return nil
}

// place is an instruction of a function: block index, index in the block.
type place struct{ block, at int }

// side is a function with its labels resolved.
type side struct {
	fn     *bpf.Function
	labels map[bpf.Label]int
}

func newSide(fn *bpf.Function) side {
	s := side{fn: fn, labels: map[bpf.Label]int{}}
	for i, b := range fn.Blocks {
		s.labels[b.Label] = i
	}
	return s
}

// next finds the first instruction from p on that is no jump which leads one way
// only: unconditional ones, and those that go on at one place whether they are
// taken or not.
func (s side) next(p place) (place, bpf.Instruction, error) {
	for range len(s.fn.Blocks) + 1 {
		to, in, err := s.behindGotos(p)
		if err != nil || !in.IsCondJump() {
			return to, in, err
		}
		target, ok := s.labels[in.Target]
		if !ok {
			return to, in, fmt.Errorf("no block has label %d", in.Target)
		}
		taken, _, err := s.behindGotos(place{target, 0})
		if err != nil {
			return to, in, err
		}
		if p, _, err = s.behindGotos(place{to.block, to.at + 1}); err != nil || p != taken {
			return to, in, err
		}
	}
	return p, bpf.Instruction{}, errors.New("an endless chain of jumps")
}

// behindGotos finds the first instruction from p on that is no unconditional
// jump.
func (s side) behindGotos(p place) (place, bpf.Instruction, error) {
	for range 2 * (len(s.fn.Blocks) + 1) {
		if p.block >= len(s.fn.Blocks) {
			return p, bpf.Instruction{}, fmt.Errorf("control runs off the end of %s", s.fn.Name)
		}
		code := s.fn.Blocks[p.block].Code
		switch {
		case p.at >= len(code):
			p = place{p.block + 1, 0}
		case code[p.at].IsGoto():
			to, ok := s.labels[code[p.at].Target]
			if !ok {
				return p, bpf.Instruction{}, fmt.Errorf("no block has label %d", code[p.at].Target)
			}
			p = place{to, 0}
		default:
			return p, code[p.at], nil
		}
	}
	return p, bpf.Instruction{}, errors.New("an endless chain of jumps")
}

// shapes is a walk over pairs of places that have to do the same.
type shapes struct {
	ctx     context.Context
	checker *Checker
	sides   [2]side
	seen    map[places]bool
	work    []places
	facts   []*flow.Facts // of the old function, in either byte order; see analyze
	needs   []*flow.Needs // likewise
}

// places is where both sides are. What the new one has computed already and the
// old one has not is in early.
type places struct {
	old, new place
	early    early
}

func (s *shapes) push(at places) { s.work = append(s.work, at) }

// walk follows both sides until they jump, exit or come to a known pair.
func (s *shapes) walk(at places) error {
	for {
		var x, y bpf.Instruction
		var err error
		if at.old, x, err = s.sides[0].next(at.old); err != nil {
			return err
		}
		if at.new, y, err = s.sides[1].next(at.new); err != nil {
			return err
		}
		if s.seen[at] {
			return nil
		}
		s.seen[at] = true
		if rest, ok := at.early.without(x); ok {
			at.early, at.old.at = rest, at.old.at+1
			continue
		}
		if x.IsCondJump() && at.early == (early{}) && !alike(x, y) {
			if way, ok := s.only(at.old, x); ok && s.checker.inverse(s.ctx, x, y) != nil {
				at.old = way
				continue
			}
		}
		if x.IsCondJump() && !y.IsJump() {
			if now, ok := s.ahead(at, x); ok {
				at = now
				continue
			}
			return s.join(at, x)
		}
		if at.early != (early{}) && !(x.IsCondJump() && y.IsCondJump()) {
			if err := s.forget(&at); err != nil {
				return err
			}
		}
		if x.IsJump() || y.IsJump() {
			return s.fork(at, x, y)
		}
		if !bpf.SameCode(x, y) {
			return fmt.Errorf("%v became %v", x, y)
		}
		if x.IsExit() {
			return nil
		}
		at.old.at, at.new.at = at.old.at+1, at.new.at+1
	}
}

// alike tells whether two jumps have the same condition.
func alike(x, y bpf.Instruction) bool {
	x.Target, y.Target = 0, 0
	return bpf.SameCode(x, y)
}

// join has both ways of an old branch do what the new code does without one.
// That the old code could go round a loop of such branches for ever does not
// matter: it would not have been accepted.
func (s *shapes) join(at places, x bpf.Instruction) error {
	taken, ok := s.sides[0].labels[x.Target]
	if !ok {
		return fmt.Errorf("%v leads nowhere", x)
	}
	if at.early != (early{}) {
		return fmt.Errorf("%v went where something is computed early", x)
	}
	s.push(places{old: place{taken, 0}, new: at.new})
	s.push(places{old: place{at.old.block, at.old.at + 1}, new: at.new})
	return nil
}

// fork goes both ways from a pair of conditional jumps.
func (s *shapes) fork(at places, x, y bpf.Instruction) error {
	ta, oka := s.sides[0].labels[x.Target]
	tb, okb := s.sides[1].labels[y.Target]
	if !oka || !okb {
		return fmt.Errorf("%v or %v leads nowhere", x, y)
	}
	if at.early.touches(x) {
		return fmt.Errorf("%v reads what is computed early", x)
	}
	takenA, elseA := place{ta, 0}, place{at.old.block, at.old.at + 1}
	takenB, elseB := place{tb, 0}, place{at.new.block, at.new.at + 1}
	if !alike(x, y) {
		if err := s.checker.inverse(s.ctx, x, y); err != nil {
			return err
		}
		takenB, elseB = elseB, takenB
	}
	s.push(places{takenA, takenB, at.early})
	s.push(places{elseA, elseB, at.early})
	return nil
}

// inverse proves that of two conditional jumps exactly one is taken, whatever
// their operands are.
func (c *Checker) inverse(ctx context.Context, x, y bpf.Instruction) (err error) {
	defer func() {
		if r := recover(); r != nil {
			c.solver = nil
			err = fmt.Errorf("%v became %v: internal error: %v", x, y, r)
		}
	}()
	if !x.IsCondJump() || !y.IsCondJump() || x.Ref != y.Ref || x.Dst != y.Dst || x.UsesSrc() != y.UsesSrc() || x.UsesSrc() && x.Src != y.Src {
		return fmt.Errorf("%v became %v", x, y)
	}
	g := newGraph()
	d := terms{g}
	dst := value{node: g.variable("dst", 64), kind: flow.KindAny}
	operand := func(in bpf.Instruction) value {
		if in.UsesSrc() && in.Src == in.Dst {
			return dst
		}
		if in.UsesSrc() || in.Ref != 0 {
			return value{node: g.variable("src", 64), kind: flow.KindAny}
		}
		return d.Const(uint64(in.Imm), 64)
	}
	a := semantics.Taken[value](d, x, dst, operand(x))
	b := semantics.Taken[value](d, y, dst, operand(y))
	s := c.lent() // two numbers are compared in two ways, which no solver finds hard
	s.begin()
	defer func() {
		s.end()
		c.pool.giveBack(s)
	}()
	s.assert(s.bv(a.node).Eq(s.bv(b.node)))
	sat, err := s.check(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("%v became %v: %w", x, y, err)
	case sat:
		return fmt.Errorf("%v became %v, which is not its inverse", x, y)
	}
	return nil
}
