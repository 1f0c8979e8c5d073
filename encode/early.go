package encode

import (
	"errors"
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// early is what one side of a walk has computed in registers, in order, and the
// other one has yet to compute. Until it has, both may only branch, on conditions
// that read nothing of it, so that everything else is the same for both; or
// nobody reads it any more.
type early [4]bpf.Instruction

// noOp is the opcode that stands for no more in early: there is no
// instruction with it.
const noOp bpf.Op = 0

func (e early) len() int {
	n := 0
	for n < len(e) && e[n].Op != noOp {
		n++
	}
	return n
}

// without is what is left when the other side computes in as well.
func (e early) without(in bpf.Instruction) (early, bool) {
	if e.len() == 0 || !bpf.SameCode(e[0], in) {
		return e, false
	}
	return e.behind(1), true
}

// behind is all but the first n.
func (e early) behind(n int) (out early) {
	copy(out[:], e[n:])
	return out
}

// touches tells whether an instruction reads something of it.
func (e early) touches(in bpf.Instruction) bool {
	for _, x := range e[:e.len()] {
		if in.Reads().Has(x.Dst) {
			return true
		}
	}
	return false
}

// ahead follows the new side to a branch like the old side's next instruction x,
// if there is nothing but computing in registers before it, none of which the
// branch reads.
func (s *shapes) ahead(at places, x bpf.Instruction) (places, bool) {
	for n := at.early.len(); n < len(at.early); n++ {
		p, y, err := s.sides[1].next(at.new)
		if err != nil || !y.IsALU() || y.Ref != 0 {
			return at, false
		}
		y.Pos = 0
		at.early[n] = y
		at.new = place{p.block, p.at + 1}
		_, next, err := s.sides[1].next(at.new)
		if err != nil || !next.IsCondJump() {
			continue
		}
		next.Target, x.Target = 0, 0
		like := bpf.SameCode(x, next) || s.checker.inverse(s.ctx, x, next) == nil
		return at, like && !at.early.touches(x)
	}
	return at, false
}

// forget drops all of early, if nobody reads it from the old side's place on.
func (s *shapes) forget(at *places) error {
	for _, x := range at.early[:at.early.len()] {
		dead, err := s.dead(at.old, x.Dst)
		if err != nil {
			return err
		}
		if !dead {
			return fmt.Errorf("%v is computed early, and somebody reads it", x)
		}
	}
	at.early = early{}
	return nil
}

// dead tells whether nobody reads a register of the old side from a place on, in
// either byte order.
func (s *shapes) dead(p place, r bpf.Register) (bool, error) {
	if err := s.analyze(); err != nil {
		return false, err
	}
	if r >= bpf.R10 {
		return false, errors.New("the frame pointer is computed")
	}
	for _, needs := range s.needs {
		live := needs.In(p.block)
		if p.at > 0 {
			live = needs.After(p.block, p.at-1)
		}
		if live.Regs[r] != 0 {
			return false, nil
		}
	}
	return true, nil
}

// analyze makes facts and needs of the old side, in either byte order.
func (s *shapes) analyze() error {
	if s.needs != nil {
		return nil
	}
	fn := s.sides[0].fn
	for _, big := range []bool{false, true} {
		facts, needs, err := flow.Both(s.ctx, fn, flow.Options{BigEndian: big})
		if err != nil {
			return err
		}
		s.facts, s.needs = append(s.facts, facts), append(s.needs, needs)
	}
	return nil
}

// only is where the old side's branch always leads, if the facts know that in
// either byte order.
func (s *shapes) only(at place, x bpf.Instruction) (place, bool) {
	if x.IsMayGoto() || s.analyze() != nil {
		return at, false
	}
	taken, next := false, false
	for _, facts := range s.facts {
		t, n := facts.Taken(at.block)
		taken, next = taken || t, next || n
	}
	label, ok := s.sides[0].labels[x.Target]
	switch {
	case !ok || taken == next:
		return at, false
	case taken:
		return place{label, 0}, true
	}
	return place{at.block, at.at + 1}, true
}
