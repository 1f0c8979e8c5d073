package rules

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/windows"
)

// maxLearned bounds how many instructions a learned rule looks for.
const maxLearned = 8

// Lesson is a window and code that was proven to do the same at less cost.
type Lesson struct {
	From   string // where the window stands
	Window *windows.Window
	Code   []bpf.Instruction
}

// Learn makes rules of lessons: it generalises registers, immediates and offsets
// as far as proofs go, and leaves out what the rules that are known already, or
// learned from others, would have found. The shortest lessons come first, and
// the order in which all came says nothing.
func Learn(ctx context.Context, c *encode.Checker, lessons []Lesson, known []*Rule) []*Rule {
	lessons = slices.Clone(lessons)
	for i, l := range lessons {
		if w, code, ok := l.Window.Trim(l.Code); ok {
			lessons[i].Window, lessons[i].Code = w, code
		}
	}
	slices.SortFunc(lessons, func(a, b Lesson) int {
		return cmp.Or(cmp.Compare(len(a.Window.Code), len(b.Window.Code)), cmp.Compare(len(a.Code), len(b.Code)),
			cmp.Compare(a.From, b.From), cmp.Compare(bpf.Format(a.Window.Code), bpf.Format(b.Window.Code)),
			cmp.Compare(bpf.Format(a.Code), bpf.Format(b.Code)))
	})
	var out []*Rule
	for _, l := range lessons {
		if ctx.Err() != nil {
			break
		}
		if subsumed(l, slices.Concat(known, out)) {
			continue
		}
		if r, ok := generalise(ctx, c, l); ok && saves(r) {
			out = append(out, r)
		}
	}
	return out
}

// saves tells whether the rule's new code takes fewer slots.
func saves(r *Rule) bool {
	slots := func(code []Pattern) (n int) {
		for _, p := range code {
			n += p.Slots()
		}
		return n
	}
	return slots(r.New) < slots(r.Old)
}

// subsumed tells whether a rule does as well on the lesson.
func subsumed(l Lesson, rules []*Rule) bool {
	for _, r := range rules {
		for i := range l.Window.Code {
			if m, ok := r.find(l.Window, i); ok && l.Window.Costs.Compare(cost.Of(m.code), cost.Of(l.Code)) <= 0 {
				return true
			}
		}
	}
	return false
}

// generalise makes a rule of a lesson, if the lesson is one that a rule can state
// and a proof of it is found.
func generalise(ctx context.Context, c *encode.Checker, l Lesson) (*Rule, bool) {
	s := &student{ctx: ctx, c: c, target: l.Window.Target}
	s.target.Level, s.target.Confirmed = bpf.V4, true
	r, ok := s.concrete(l)
	if !ok {
		return nil, false
	}
	r, ok = s.weakest(r, l)
	if !ok {
		return nil, false
	}
	r = s.open(r)
	if other := *r; r.Order != Both {
		if other.Order = Both; s.proven(&other) {
			r = &other
		}
	}
	return r, true
}

// student has rules proven.
type student struct {
	ctx    context.Context
	c      *encode.Checker
	target windows.Target
}

// proven tells whether the rule holds in each byte order that it is for.
func (s *student) proven(r *Rule) bool {
	for _, big := range []bool{false, true} {
		if !r.Order.fits(big) {
			continue
		}
		t := s.target
		t.BigEndian = big
		w, code, err := r.Window(t)
		if err != nil || s.c.Check(s.ctx, w, code).Outcome != encode.Proven {
			return false
		}
	}
	return true
}

// concrete is the lesson as a rule about the very same immediates, with the
// registers renamed in the order in which they come and offsets that start at
// zero.
func (s *student) concrete(l Lesson) (*Rule, bool) {
	old, neu := l.Window.Code, l.Code
	if len(old) == 0 || len(old) > maxLearned {
		return nil, false
	}
	names := map[bpf.Register]bpf.Register{}
	r := &Rule{Name: "from " + l.From, At: l.From, Order: Little}
	if l.Window.BigEndian {
		r.Order = Big
	}
	r.Old = rename(old, names)
	count := len(names)
	r.New = rename(neu, names)
	if len(names) != count || count > 9 {
		return nil, false
	}
	for from := range names {
		if from == bpf.R10 && !onlyBase(slices.Concat(old, neu)) {
			return nil, false
		}
	}
	r.index()
	rebase(r)
	r.Facts, r.Holes = map[bpf.Register]flow.Value{}, map[string]flow.Value{}
	for from, to := range names {
		v := l.Window.Facts.Regs[from]
		if v.Kind == flow.KindScalar {
			v.Base, v.Offset, v.Align = 0, 0, 0
			r.Facts[to] = v
		}
		r.Needs.Regs[to] = l.Window.Needs.Regs[from]
	}
	return r, r.check() == nil
}

// onlyBase tells whether the frame pointer is nothing but the base of accesses.
func onlyBase(code []bpf.Instruction) bool {
	for _, in := range code {
		b, ok := base(in)
		if in.Reads().Has(bpf.R10) && (!ok || b != bpf.R10 || in.Op.Class() == bpf.ClassSTX && in.Src == bpf.R10) {
			return false
		}
	}
	return true
}

// rename gives registers the names r1, r2 and so on.
func rename(code []bpf.Instruction, names map[bpf.Register]bpf.Register) []Pattern {
	name := func(r bpf.Register) bpf.Register {
		if _, ok := names[r]; !ok {
			names[r] = bpf.Register(len(names) + 1)
		}
		return names[r]
	}
	var out []Pattern
	for _, in := range code {
		in.Pos = 0
		if hasSrc(in) {
			in.Src = name(in.Src)
		}
		in.Dst = name(in.Dst)
		if in.IsJump() {
			in.Target = 1
		}
		out = append(out, Pattern{Instruction: in})
	}
	return out
}

// rebase has the offsets from each base start at zero.
func rebase(r *Rule) {
	lowest := map[bpf.Register]int16{}
	all := []*[]Pattern{&r.Old, &r.New}
	for _, code := range all {
		for _, p := range *code {
			if b, ok := base(p.Instruction); ok {
				if low, ok := lowest[b]; !ok || p.Off < low {
					lowest[b] = p.Off
				}
			}
		}
	}
	for _, code := range all {
		for i := range *code {
			if b, ok := base((*code)[i].Instruction); ok {
				(*code)[i].Off -= lowest[b]
			}
		}
	}
}

// weakest looks for a rule that asks for little before and keeps much behind.
func (s *student) weakest(r *Rule, l Lesson) (*Rule, bool) {
	wide := *r
	for i, n := range wide.Needs.Regs {
		if n != 0 {
			wide.Needs.Regs[i] = ^uint64(0)
		}
	}
	for _, needs := range []*Rule{&wide, r} {
		for _, facts := range []map[bpf.Register]flow.Value{{}, r.Facts} {
			try := *needs
			try.Facts = facts
			if !s.proven(&try) {
				continue
			}
			return s.dropFacts(&try), true
		}
	}
	return nil, false
}

// dropFacts takes out each fact that the proof can do without.
func (s *student) dropFacts(r *Rule) *Rule {
	for _, reg := range slices.Sorted(maps.Keys(r.Facts)) {
		try := *r
		try.Facts = maps.Clone(r.Facts)
		delete(try.Facts, reg)
		if s.proven(&try) {
			r = &try
		}
	}
	return r
}

// open leaves as many immediates open as the proof can do without.
func (s *student) open(r *Rule) *Rule {
	var values []int64
	for _, p := range r.Old {
		if p.open() && !slices.Contains(values, p.Imm) {
			values = append(values, p.Imm)
		}
	}
	for _, chosen := range choices(len(values)) {
		holes := map[string]int64{}
		for _, i := range chosen {
			holes[string(rune('a'+i))] = values[i]
		}
		if out, ok := s.opened(r, holes); ok {
			return out
		}
	}
	return r
}

// choices is what to try to leave open: all, all but one, one.
func choices(n int) (out [][]int) {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	if n == 0 || n > 4 {
		return nil
	}
	out = append(out, all)
	for i := range all {
		if n > 2 {
			out = append(out, slices.Delete(slices.Clone(all), i, i+1))
		}
	}
	for i := range all {
		if n > 1 {
			out = append(out, []int{i})
		}
	}
	return out
}

// maxVariants bounds how many ways of computing the new immediates are tried.
const maxVariants = 24

// opened is the rule with holes in place of their values, if there is a way to
// compute the new code's immediates from them.
func (s *student) opened(r *Rule, holes map[string]int64) (*Rule, bool) {
	try := *r
	try.Old = slices.Clone(r.Old)
	try.Holes = map[string]flow.Value{}
	for i, p := range try.Old {
		for name, v := range holes {
			if p.open() && p.Imm == v {
				try.Old[i] = hole(p, name)
			}
		}
	}
	variants := [][]Pattern{nil}
	for _, p := range r.New {
		var longer [][]Pattern
		for _, v := range variants {
			for _, q := range ways(p, holes) {
				longer = append(longer, append(slices.Clone(v), q))
			}
		}
		variants = longer[:min(len(longer), maxVariants)]
	}
	for _, v := range variants {
		now := try
		now.New, now.Holes = v, map[string]flow.Value{}
		if now.check() == nil && s.proven(&now) {
			return &now, true
		}
	}
	return nil, false
}

func hole(p Pattern, text string) Pattern {
	e, err := parseExpr(text)
	if err != nil {
		return p
	}
	p.imm = e
	p.Imm = standInValue
	return p
}

// ways is the instruction with its immediate computed in each way that gives the
// same number, the number itself last.
func ways(p Pattern, holes map[string]int64) []Pattern {
	if !p.open() {
		return []Pattern{p}
	}
	var texts []string
	names := slices.Sorted(maps.Keys(holes))
	texts = append(texts, names...)
	for _, a := range names {
		for _, b := range names {
			for _, op := range []string{"+", "-", "&", "|", "^", "<<", ">>"} {
				if a != b || op == "+" {
					texts = append(texts, fmt.Sprintf("%s %s %s", a, op, b))
				}
			}
		}
	}
	for _, a := range names {
		texts = append(texts, "-"+a, "^"+a, "1 << "+a, "(1 << "+a+") - 1", "64 - "+a, "32 - "+a, a+" + 1", a+" - 1")
	}
	var out []Pattern
	for _, text := range texts {
		e, err := parseExpr(text)
		if err != nil {
			continue
		}
		v, err := e.eval(func(name string) (int64, bool) { v, ok := holes[name]; return v, ok })
		if err == nil && v == p.Imm {
			out = append(out, hole(p, text))
		}
	}
	return append(out, p)
}
