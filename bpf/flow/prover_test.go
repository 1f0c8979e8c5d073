package flow

import (
	"fmt"
	"go/types"

	"github.com/aclements/go-z3/z3"

	"github.com/k2cc/k2cc/internal/symexec"
)

const (
	flowPath      = "github.com/k2cc/k2cc/bpf/flow"
	semanticsPath = "github.com/k2cc/k2cc/bpf/semantics"
)

// prover proves things about the code of this package and of bpf/semantics, as
// it is or with changes.
type prover struct {
	prog                     *symexec.Program
	number, domain, steps    types.Type
	word, words, instruction types.Type
}

func newProver(overlay map[string][]byte) (*prover, error) {
	prog, err := symexec.Load(".", overlay, "github.com/k2cc/k2cc/bpf", semanticsPath, flowPath)
	if err != nil {
		return nil, err
	}
	p := &prover{prog: prog}
	for _, t := range []struct {
		to        *types.Type
		pkg, name string
	}{
		{&p.number, "flow", "number"}, {&p.domain, "flow", "domain"}, {&p.steps, "flow", "steps"},
		{&p.word, "semantics", "Word"}, {&p.words, "semantics", "Words"}, {&p.instruction, "bpf", "Instruction"},
	} {
		if *t.to, err = prog.Type(t.pkg, t.name); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// proof is one theorem: assumptions, and goals that follow from them.
type proof struct {
	*prover
	ctx    *z3.Context
	m      *symexec.Machine
	assume []z3.Bool
	goals  []goal
}

type goal struct {
	name string
	z3.Bool
}

// firstBase and the next one are the Bases that numbers of a proof may have.
const firstBase uint64 = 10

// bases are the ways in which two operands may have Bases.
var bases = [][2]uint64{{0, 0}, {firstBase, 0}, {0, firstBase}, {firstBase, firstBase}, {firstBase, firstBase + 1}}

func (p *prover) begin() *proof {
	ctx := z3.NewContext(nil)
	return &proof{prover: p, ctx: ctx, m: symexec.New(ctx, p.prog)}
}

func (p *proof) k(v uint64, width int) z3.BV { return p.m.Term(symexec.K(v, width)) }

// unknown is any number of the width, in an integer of 64 bits.
func (p *proof) unknown(name string, width int, signed bool) z3.BV {
	v := p.ctx.BVConst(name, width)
	switch {
	case width == 64:
		return v
	case signed:
		return v.SignExtend(64 - width)
	}
	return v.ZeroExtend(64 - width)
}

// element is an abstract number and a number that it stands for.
type element struct {
	n     symexec.Value
	width int
	x     z3.BV // of 64 bits
}

// element is any abstract number of the width, with any number that it stands
// for.
func (p *proof) element(name string, width int, id uint64) element {
	n := symexec.Zero(p.number)
	set := func(field string, v z3.BV) {
		n = symexec.WithField(p.number, n, field, symexec.Of(v))
	}
	for _, field := range []string{"Bits", "Mask", "UMin", "UMax"} {
		set(field, p.unknown(name+"."+field, width, false))
	}
	set("SMin", p.unknown(name+".SMin", width, true))
	set("SMax", p.unknown(name+".SMax", width, true))
	set("Kind", p.ctx.BVConst(name+".Kind", 8))
	set("Base", p.k(id, 32))
	set("Offset", p.ctx.BVConst(name+".Offset", 64))
	set("Align", p.ctx.BVConst(name+".Align", 8))
	n = symexec.WithField(p.number, n, "MaybeNull", symexec.TruthOf(p.ctx.BoolConst(name+".MaybeNull")))
	n = symexec.WithField(p.number, n, "width", symexec.K(uint64(width), 64))
	e := element{n, width, p.unknown(name, width, false)}
	p.assume = append(p.assume, p.formed(e)...)
	for _, g := range p.holds(e) {
		p.assume = append(p.assume, g.Bool)
	}
	return e
}

func (p *proof) field(n symexec.Value, name string) z3.BV {
	return p.m.Term(symexec.Field(p.number, n, name).(symexec.Int))
}

// formed is what is true of every number that the analysis makes.
func (p *proof) formed(e element) []z3.Bool {
	f := func(name string) z3.BV { return p.field(e.n, name) }
	kind, align := f("Kind"), f("Align")
	unknown := f("Mask").Eq(p.k(^uint64(0), 64)).And(f("UMin").Eq(p.k(0, 64)), f("UMax").Eq(p.k(^uint64(0), 64)),
		f("SMin").Eq(p.k(1<<63, 64)), f("SMax").Eq(p.k(1<<63-1, 64)))
	out := []z3.Bool{
		f("Bits").And(f("Mask")).Eq(p.k(0, 64)),
		kind.ULE(p.k(uint64(KindOther), 8)),
		kind.UGE(p.k(uint64(KindStack), 8)).Implies(unknown),
		align.And(align.Sub(p.k(1, 8))).Eq(p.k(0, 8)),
		align.ULE(p.k(maxAlign, 8)),
		p.exact(e),
	}
	if e.width < 64 {
		out = append(out, kind.Eq(p.k(uint64(KindScalar), 8)))
	}
	return out
}

// exact is that a number known to the last bit has no other range.
func (p *proof) exact(e element) z3.Bool {
	f := func(name string) z3.BV { return p.field(e.n, name) }
	b := f("Bits")
	signed := b.Lsh(p.k(uint64(64-e.width), 64)).SRsh(p.k(uint64(64-e.width), 64))
	return f("Mask").Eq(p.k(0, 64)).Implies(f("UMin").Eq(b).And(f("UMax").Eq(b), f("SMin").Eq(signed), f("SMax").Eq(signed)))
}

// tight is that bounds are no wider than the known bits.
func (p *proof) tight(e element) z3.Bool {
	f := func(name string) z3.BV { return p.field(e.n, name) }
	b := f("Bits")
	signed := b.Lsh(p.k(uint64(64-e.width), 64)).SRsh(p.k(uint64(64-e.width), 64))
	return f("Mask").Eq(p.k(0, 64)).Implies(f("UMin").UGE(b).And(f("UMax").ULE(b), f("SMin").SGE(signed), f("SMax").SLE(signed)))
}

// ranged is that bounds are numbers of the width, and tight.
func (p *proof) ranged(e element) z3.Bool {
	f := func(name string) z3.BV { return p.field(e.n, name) }
	low, high := p.k(^uint64(0)<<(e.width-1), 64), p.k(uint64(1)<<(e.width-1)-1, 64)
	top := p.k(^uint64(0)>>(64-e.width), 64)
	return p.tight(e).And(f("SMin").SGE(low), f("SMax").SLE(high), f("UMax").ULE(top))
}

// inWidth is that known and unknown bits are bits of the width, which holds of
// every number.
func (p *proof) inWidth(e element) z3.Bool {
	top := p.k(^uint64(0)>>(64-e.width), 64)
	return p.field(e.n, "Bits").ULE(top).And(p.field(e.n, "Mask").ULE(top))
}

// needs wants a method to be called only for numbers of which before is so.
func (p *proof) needs(method string, before func(element) z3.Bool, x z3.BV) {
	name := "(*" + flowPath + ".number)." + method
	kept := p.m.Instead[name]
	p.m.Instead[name] = func(c *symexec.Call) symexec.Value {
		p.want("what "+method+" needs", c.Cond, before(p.elementOf(c.At(c.Args[0]), x)))
		return kept(c)
	}
}

// holds is what has to be so for the abstract number to stand for the number.
func (p *proof) holds(e element) []goal {
	f := func(name string) z3.BV { return p.field(e.n, name) }
	is := func(k Kind) z3.Bool { return f("Kind").Eq(p.k(uint64(k), 8)) }
	null := p.m.BoolTerm(symexec.Field(p.number, e.n, "MaybeNull").(symexec.Bool))
	based, stands := f("Base").NE(p.k(0, 32)), p.stands(f("Base"))
	align := f("Align").ZeroExtend(56)
	aligned := based.And(stands.And(align.Sub(p.k(1, 64))).Eq(p.k(0, 64)))
	return append(p.fits(e),
		goal{"base", based.Implies(e.x.Eq(stands.Add(f("Offset"))))},
		goal{"align", align.NE(p.k(0, 64)).Implies(aligned)},
		goal{"null", is(KindStack).Or(is(KindContext), is(KindMapValue), is(KindMap)).And(null.Not()).Implies(e.x.NE(p.k(0, 64)))},
	)
}

// signed is the number sign-extended.
func (p *proof) signed(e element) z3.BV {
	if e.width == 64 {
		return e.x
	}
	return e.x.Extract(e.width-1, 0).SignExtend(64 - e.width)
}

// fits is what the known bits and ranges of an abstract number want.
func (p *proof) fits(e element) []goal {
	f := func(name string) z3.BV { return p.field(e.n, name) }
	signed := p.signed(e)
	return []goal{
		{"bits", e.x.And(f("Mask").Not()).Eq(f("Bits"))},
		{"umin", f("UMin").ULE(e.x)},
		{"umax", e.x.ULE(f("UMax"))},
		{"smin", f("SMin").SLE(signed)},
		{"smax", signed.SLE(f("SMax"))},
	}
}

// fresh is n with known bits and ranges of which only is known that they fit
// the members.
func (p *proof) fresh(n symexec.Value, members ...z3.BV) symexec.Value {
	for _, field := range []string{"Bits", "Mask", "UMin", "UMax", "SMin", "SMax"} {
		v := p.ctx.FreshConst(field, p.ctx.BVSort(64)).(z3.BV)
		n = symexec.WithField(p.number, n, field, symexec.Of(v))
	}
	for _, x := range members {
		for _, g := range p.fits(p.elementOf(n, x)) {
			p.assume = append(p.assume, g.Bool)
		}
	}
	return n
}

func (p *proof) elementOf(n symexec.Value, x z3.BV) element {
	return element{n, int(symexec.Field(p.number, n, "width").(symexec.Int).K), x}
}

// keeps takes a method that narrows a number for what it is proven to be: it
// keeps the members of the number, and says that there are some. They are the
// members that matter in one call after the other, the last ones in all that
// follow. More is what else holds afterwards.
func (p *proof) keeps(method string, more func(element) z3.Bool, members ...[]z3.BV) {
	next := func(c *symexec.Call, n symexec.Value) symexec.Value {
		of := members[0]
		if len(members) > 1 {
			members = members[1:]
		}
		for _, x := range of {
			for _, g := range p.fits(p.elementOf(n, x)) {
				p.want(g.name, c.Cond, g.Bool)
			}
		}
		r := p.fresh(n, of...)
		p.assume = append(p.assume, more(p.elementOf(r, of[0])))
		return r
	}
	if method == "synced" {
		p.m.Instead["("+flowPath+".number).synced"] = func(c *symexec.Call) symexec.Value { return next(c, c.Args[0]) }
		return
	}
	p.m.Instead["(*"+flowPath+".number)."+method] = func(c *symexec.Call) symexec.Value {
		c.Set(c.Args[0], next(c, c.At(c.Args[0])))
		return symexec.Truth(true)
	}
}

// stands is what a Base stands for: a Base that no operand has could stand for
// anything.
func (p *proof) stands(id z3.BV) z3.BV {
	out := p.ctx.BVConst("elsewhere", 64)
	for b := firstBase; b < firstBase+2; b++ {
		out = id.Eq(p.k(b, 32)).IfThenElse(p.ctx.BVConst(fmt.Sprintf("base%d", b), 64), out).(z3.BV)
	}
	return out
}

// call executes a method of the domain.
func (p *proof) call(name string, args ...symexec.Value) (symexec.Value, error) {
	fn, err := p.prog.Method("flow", "domain", true, name)
	if err != nil {
		return nil, err
	}
	d := p.m.NewObject(symexec.Zero(p.domain))
	return p.m.Call(fn, append([]symexec.Value{d}, args...)...)
}

// concrete executes the same operation on the numbers themselves.
func (p *proof) concrete(name string, args ...symexec.Value) (symexec.Value, error) {
	fn, err := p.prog.Method("semantics", "Words", false, name)
	if err != nil {
		return nil, err
	}
	return p.m.Call(fn, append([]symexec.Value{symexec.Zero(p.words)}, args...)...)
}

func (p *proof) wordOf(e element) symexec.Value {
	return symexec.Struct{symexec.Of(e.x), symexec.K(uint64(e.width), 64)}
}

// want adds a goal, for where cond holds.
func (p *proof) want(name string, cond symexec.Bool, b z3.Bool) {
	p.goals = append(p.goals, goal{name, p.m.BoolTerm(cond).Implies(b)})
}

// resultHolds wants an abstract result to stand for a concrete one.
func (p *proof) resultHolds(got symexec.Value, width int, want z3.BV) error {
	if w := symexec.Field(p.number, got, "width").(symexec.Int); w != symexec.K(uint64(width), 64) {
		return fmt.Errorf("width %v, want %v", w, width)
	}
	e := element{got, width, want}
	for _, g := range p.holds(e) {
		if g.name != "null" { // that sums of pointers are not null is the verifier's word
			p.want(g.name, symexec.Truth(true), g.Bool)
		}
	}
	for i, b := range p.formed(e) {
		p.want(fmt.Sprintf("form %d", i), symexec.Truth(true), b)
	}
	return nil
}

// refuted is a model in which a goal does not hold, empty if there is none.
func (p *proof) refuted() (string, error) {
	goals := p.goals
	if len(p.m.Faults) > 0 {
		goals = append(goals, goal{"no panic", p.m.Faults[0].Or(p.m.Faults[1:]...).Not()})
	}
	for _, g := range goals {
		s := z3.NewSolver(p.ctx)
		for _, a := range p.assume {
			s.Assert(a)
		}
		s.Assert(g.Not())
		sat, err := s.Check()
		switch {
		case err != nil:
			return "", fmt.Errorf("%s: %w", g.name, err)
		case sat:
			return g.name + " where\n" + s.Model().String(), nil
		}
	}
	return "", nil
}
