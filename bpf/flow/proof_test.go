package flow

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aclements/go-z3/z3"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/internal/symexec"
)

// use is an operation as instructions use it, on operands of some widths.
type use struct {
	op     string
	width  int
	second int // another width, or the highest bit that is cut out
	low    int // the lowest one
}

func (u use) String() string { return fmt.Sprintf("%s/%d/%d/%d", u.op, u.width, u.second, u.low) }

// value is a word's value.
func (p *proof) wordValue(w symexec.Value) z3.BV {
	return p.m.Term(symexec.Field(p.word, w, "Value").(symexec.Int))
}

// containsResults states that the abstract result of an operation stands for
// the concrete one.
func (p *proof) containsResults(u use, ids [2]uint64) error {
	k := func(v int) symexec.Value { return symexec.K(uint64(v), 64) }
	a := p.element("a", u.width, ids[0])
	abstract, concrete := []symexec.Value{a.n}, []symexec.Value{p.wordOf(a)}
	var between [][]z3.BV
	switch u.op {
	case "Extract":
		abstract, concrete = append(abstract, k(u.second), k(u.low)), append(concrete, k(u.second), k(u.low))
		if u.low > 0 {
			between = append(between, []z3.BV{a.x.URsh(p.k(uint64(u.low), 64))})
		}
	case "ZExt", "SExt":
		abstract, concrete = append(abstract, k(u.second)), append(concrete, k(u.second))
	default:
		second := u.width
		if u.op == "Concat" {
			second = u.second
		}
		b := p.element("b", second, ids[1])
		abstract, concrete = append(abstract, b.n), append(concrete, p.wordOf(b))
		switch u.op {
		case "Shl", "LShr", "AShr":
			p.assume = append(p.assume, b.x.ULT(p.k(uint64(u.width), 64)))
		case "UDiv", "URem", "SDiv", "SRem":
			p.assume = append(p.assume, b.x.NE(p.k(0, 64)))
		case "Ite":
			c := p.element("c", 1, 0)
			abstract = append([]symexec.Value{c.n}, abstract...)
			concrete = append([]symexec.Value{p.wordOf(c)}, concrete...)
		}
	}
	want, err := p.concrete(u.op, concrete...)
	if err != nil {
		return err
	}
	p.keeps("synced", p.exact, append(between, []z3.BV{p.wordValue(want)})...)
	got, err := p.call(u.op, abstract...)
	if err != nil {
		return err
	}
	width := symexec.Field(p.word, want, "Width").(symexec.Int)
	return p.resultHolds(got, int(width.K), p.wordValue(want))
}

// theorem is something to prove.
type theorem struct {
	name  string
	state func(p *proof) error
}

// narrowing is the theorems about methods that narrow a number of the width:
// they keep its members.
func narrowing(width int) []theorem {
	method := func(name string, before, more func(p *proof, e element) z3.Bool, contracts func(p *proof, x z3.BV)) theorem {
		return theorem{fmt.Sprintf("%s/%d", name, width), func(p *proof) error {
			x := p.unknown("x", width, false)
			n := symexec.WithField(p.number, symexec.Zero(p.number), "width", symexec.K(uint64(width), 64))
			n = p.fresh(n, x)
			p.assume = append(p.assume, before(p, element{n, width, x}))
			contracts(p, x)
			at := p.m.NewObject(n)
			fn, err := p.prog.Method("flow", "number", true, name)
			if err != nil {
				return err
			}
			ok, err := p.m.Call(fn, at)
			if err != nil {
				return err
			}
			if ok, isBool := ok.(symexec.Bool); isBool {
				p.want("ok", symexec.Truth(true), p.m.BoolTerm(ok))
			}
			e := element{p.m.At(at), width, x}
			for _, g := range p.fits(e) {
				p.want(g.name, symexec.Truth(true), g.Bool)
			}
			p.want("more", symexec.Truth(true), more(p, e))
			return nil
		}}
	}
	nothing := func(p *proof, _ element) z3.Bool { return p.ctx.FromBool(true) }
	none := func(*proof, z3.BV) {}
	return []theorem{
		method("boundsFromBits", (*proof).inWidth, (*proof).ranged, none),
		// Bounds have to be in the range of the width, as boundsFromBits leaves them.
		method("boundsFromBounds", (*proof).ranged, nothing, none),
		method("bitsFromBounds", nothing, nothing, none),
		method("sync", nothing, (*proof).exact, func(p *proof, x z3.BV) {
			p.keeps("boundsFromBits", p.ranged, []z3.BV{x})
			p.keeps("boundsFromBounds", func(element) z3.Bool { return p.ctx.FromBool(true) }, []z3.BV{x})
			p.needs("boundsFromBounds", p.ranged, x)
			p.keeps("bitsFromBounds", func(element) z3.Bool { return p.ctx.FromBool(true) }, []z3.BV{x})
		}),
	}
}

// combining is the theorems about two numbers of the width: what both hold is
// in their meet, what one holds in their join, and what a number holds in what
// it is widened to.
func combining(width int) []theorem {
	run := func(name string, same bool, members func(a, b element) []z3.BV, args func(p *proof, b element) []symexec.Value) theorem {
		return theorem{fmt.Sprintf("%s/%d", name, width), func(p *proof) error {
			a, b := p.element("a", width, 0), p.element("b", width, 0)
			if same {
				p.assume = append(p.assume, a.x.Eq(b.x))
			}
			of := members(a, b)
			p.keeps("sync", p.exact, of)
			for _, step := range []string{"stepDown", "stepUp"} {
				p.steppedTo(step)
			}
			at := p.m.NewObject(a.n)
			fn, err := p.prog.Method("flow", "number", true, name)
			if err != nil {
				return err
			}
			ok, err := p.m.Call(fn, append([]symexec.Value{at}, args(p, b)...)...)
			if err != nil {
				return err
			}
			if ok, isBool := ok.(symexec.Bool); isBool {
				p.want("ok", symexec.Truth(true), p.m.BoolTerm(ok))
			}
			for _, x := range of {
				for _, g := range p.fits(element{p.m.At(at), width, x}) {
					p.want(g.name, symexec.Truth(true), g.Bool)
				}
			}
			return nil
		}}
	}
	first := func(a, _ element) []z3.BV { return []z3.BV{a.x} }
	both := func(a, b element) []z3.BV { return []z3.BV{a.x, b.x} }
	other := func(_ *proof, b element) []symexec.Value { return []symexec.Value{b.n} }
	return []theorem{
		run("meet", true, first, other),
		run("join", false, both, other),
		run("widen", false, first, func(p *proof, b element) []symexec.Value {
			return []symexec.Value{b.n, p.m.NewObject(symexec.Zero(p.steps))}
		}),
	}
}

// steppedTo takes stepDown for any number at or below its second argument, and
// stepUp for any at or above it (see TestSteps).
func (p *proof) steppedTo(name string) {
	for _, of := range []string{"uint64", "int64"} {
		p.m.Instead[fmt.Sprintf("%s.%s[%s]", flowPath, name, of)] = func(c *symexec.Call) symexec.Value {
			v, r := p.m.Term(c.Args[1].(symexec.Int)), p.ctx.FreshConst("step", p.ctx.BVSort(64)).(z3.BV)
			low, high := r, v
			if name == "stepUp" {
				low, high = v, r
			}
			below := low.ULE(high)
			if of == "int64" {
				below = low.SLE(high)
			}
			p.assume = append(p.assume, below)
			return symexec.Of(r)
		}
	}
}

// refines states that on an edge of a conditional jump the narrowed operands
// still hold every pair of numbers that takes it.
func refines(op bpf.Op, taken bool, width int) theorem {
	in := bpf.Instruction{Op: op | bpf.SourceX}
	return theorem{fmt.Sprintf("jump %#x taken=%v/%d", uint8(op), taken, width), func(p *proof) error {
		a, b := p.element("a", width, 0), p.element("b", width, 0)
		if err := p.takes(in, a, b, taken); err != nil {
			return err
		}
		left, right := p.m.NewObject(a.n), p.m.NewObject(b.n)
		p.syncs(map[symexec.Value]z3.BV{left: a.x, right: b.x})
		fn, err := p.prog.Func(flowPath + ".compare")
		if err != nil {
			return err
		}
		ok, err := p.m.Call(fn, symexec.K(uint64(op.Jump()), 8), symexec.Truth(taken), left, right)
		if err != nil {
			return err
		}
		p.want("the edge can be taken", symexec.Truth(true), p.m.BoolTerm(ok.(symexec.Bool)))
		for _, e := range []element{{p.m.At(left), width, a.x}, {p.m.At(right), width, b.x}} {
			for _, g := range p.fits(e) {
				p.want(g.name, symexec.Truth(true), g.Bool)
			}
		}
		return nil
	}}
}

// takes assumes that two numbers take, or do not take, a jump.
func (p *proof) takes(in bpf.Instruction, a, b element, taken bool) error {
	fn, err := p.prog.Func(fmt.Sprintf("%s.Taken[%[1]s.Word]", semanticsPath))
	if err != nil {
		return err
	}
	// Sign-extending both keeps every order and equality, and every common bit.
	wide := func(e element) symexec.Value {
		return symexec.Struct{symexec.Of(p.signed(e)), symexec.K(64, 64)}
	}
	i := symexec.WithField(p.instruction, symexec.Zero(p.instruction), "Op", symexec.K(uint64(in.Op), 8))
	cond, err := p.m.Call(fn, symexec.Interface(p.words, symexec.Zero(p.words)), i, wide(a), wide(b))
	if err != nil {
		return err
	}
	var want uint64
	if taken {
		want = 1
	}
	p.assume = append(p.assume, p.wordValue(cond).Eq(p.k(want, 64)))
	return nil
}

// syncs takes number.sync for what it is proven to be, for numbers in these
// places.
func (p *proof) syncs(members map[symexec.Value]z3.BV) {
	p.m.Instead["(*"+flowPath+".number).sync"] = func(c *symexec.Call) symexec.Value {
		n, x := c.At(c.Args[0]), members[c.Args[0]]
		for _, g := range p.fits(p.elementOf(n, x)) {
			p.want(g.name, c.Cond, g.Bool)
		}
		r := p.fresh(n, x)
		p.assume = append(p.assume, p.exact(p.elementOf(r, x)))
		c.Set(c.Args[0], r)
		return symexec.Truth(true)
	}
}

// refinesLow states that a register still holds its number when it is narrowed
// by what is known of the number's lower half.
func refinesLow() theorem {
	return theorem{"meetLow", func(p *proof) error {
		a, low := p.element("a", 64, 0), p.element("low", 32, 0)
		p.assume = append(p.assume, a.x.Extract(31, 0).Eq(low.x.Extract(31, 0)))
		at := p.m.NewObject(a.n)
		p.syncs(map[symexec.Value]z3.BV{at: a.x})
		fn, err := p.prog.Method("flow", "number", true, "meetLow")
		if err != nil {
			return err
		}
		ok, err := p.m.Call(fn, at, low.n)
		if err != nil {
			return err
		}
		p.want("ok", symexec.Truth(true), p.m.BoolTerm(ok.(symexec.Bool)))
		for _, g := range p.fits(element{p.m.At(at), 64, a.x}) {
			p.want(g.name, symexec.Truth(true), g.Bool)
		}
		return nil
	}}
}

// fullWidth has everything proven at the widths that instructions use.
var fullWidth = flag.Bool("fullwidth", false, "prove at the full widths and for all ways of bases what is otherwise proven at 8 bits or fewer and for one of them")

// nonlinear operations are proven on numbers of few bits: on wide ones Z3 does
// not answer. Their code is the same for every width.
var nonlinear = map[string]bool{"Mul": true, "UDiv": true, "URem": true, "SDiv": true, "SRem": true}

// slow operations are proven on as few bits unless -fullwidth is set.
var slow = map[string]bool{"Eq": true, "ULt": true, "SLt": true}

const (
	nonlinearWidth = 4
	narrowWidth    = 8
)

// prove is what keeps a theorem from being one, or nil.
func (p *prover) prove(th theorem) error {
	proof := p.begin()
	if err := th.state(proof); err != nil {
		return err
	}
	what, err := proof.refuted()
	if err == nil && what != "" {
		err = errors.New(what)
	}
	return err
}

// proveAll proves theorems on all processors, and is what failed, by name.
func (p *prover) proveAll(theorems []theorem) map[string]error {
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		todo = make(chan theorem)
		out  = map[string]error{}
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for th := range todo {
				if err := p.prove(th); err != nil {
					mu.Lock()
					out[th.name] = err
					mu.Unlock()
				}
			}
		})
	}
	for _, th := range theorems {
		todo <- th
	}
	close(todo)
	wg.Wait()
	return out
}

// contained is the theorems about an operation, one for each way in which its
// operands can have Bases.
func contained(u use) []theorem {
	at := func(u use, ids [2]uint64) theorem {
		return theorem{fmt.Sprintf("%v bases %v", u, ids), func(p *proof) error { return p.containsResults(u, ids) }}
	}
	switch u.op {
	case "Extract", "ZExt", "SExt":
		if *fullWidth {
			return []theorem{at(u, bases[0]), at(u, bases[1])}
		}
		return []theorem{at(u, bases[1])} // the base is one more thing to keep
	}
	switch {
	case nonlinear[u.op], slow[u.op] && !*fullWidth:
		u.width = nonlinearWidth
	case !*fullWidth && u.op != "Concat":
		u.width = min(u.width, narrowWidth)
	}
	var out []theorem
	for i, ids := range bases {
		if *fullWidth || i == 0 || i == len(bases)-1 && (u.op == "Add" || u.op == "Sub") {
			out = append(out, at(u, ids))
		}
	}
	return out
}

// TestKnownBitsAndRangesHoldResults proves for each form of instruction, for
// all that may be known of its operands and all numbers that they may be then,
// that what is known of the result holds of the number computed. What is
// executed is the code of this package and of semantics.Words.
func TestKnownBitsAndRangesHoldResults(t *testing.T) {
	p, err := newProver(nil)
	if err != nil {
		t.Fatal(err)
	}
	forms := computing()
	byForm := make([]recorder, len(forms))
	var theorems []theorem
	of := map[string]use{} // theorems are part of what is known of a use
	for i, in := range forms {
		if byForm[i], err = usesOf(in); err != nil {
			t.Fatal(err)
		}
		for u := range byForm[i] {
			for _, th := range contained(u) {
				if _, ok := of[th.name]; !ok {
					of[th.name] = u
					theorems = append(theorems, th)
				}
			}
		}
	}
	for _, w := range []int{1, nonlinearWidth, narrowWidth, 16, 32, 64} {
		theorems = append(theorems, narrowing(w)...)
	}
	failed := p.proveAll(theorems)
	for i, in := range forms {
		for _, u := range slices.SortedFunc(maps.Keys(byForm[i]), func(a, b use) int { return strings.Compare(a.String(), b.String()) }) {
			for _, th := range contained(u) {
				if err := failed[th.name]; err != nil {
					t.Errorf("%v: %s: %v", in, th.name, err)
				}
			}
		}
	}
	for name, err := range failed {
		if _, ok := of[name]; !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Logf("%d forms, %d theorems", len(forms), len(theorems))
}

// TestRefinementHoldsWhatTakesTheEdge proves the same for what conditional
// jumps tell of their operands, and for what becomes of numbers where ways meet.
func TestRefinementHoldsWhatTakesTheEdge(t *testing.T) {
	p, err := newProver(nil)
	if err != nil {
		t.Fatal(err)
	}
	theorems := append(combining(64), combining(32)...)
	theorems = append(theorems, refinesLow())
	for _, in := range computing() {
		if in.IsCondJump() && in.Op&bpf.SourceX != 0 {
			width := 64
			if in.Op.Class() == bpf.ClassJMP32 {
				width = 32
			}
			if !*fullWidth {
				width = narrowWidth
			}
			theorems = append(theorems, refines(in.Op, true, width), refines(in.Op, false, width))
		}
	}
	failed := p.proveAll(theorems)
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		t.Errorf("%s: %v", name, failed[name])
	}
	t.Logf("%d theorems", len(theorems))
}

// TestPlantedBugs wants the proofs to fail of code that is wrong.
func TestPlantedBugs(t *testing.T) {
	narrow := func(op string) theorem { return contained(use{op: op, width: narrowWidth})[0] }
	unary := func(op string, width, second, low int) theorem {
		return contained(use{op: op, width: width, second: second, low: low})[0]
	}
	plants := []struct {
		file, old, bad string
		fails          theorem
	}{
		{"domain.go", "n.UMin, n.UMax = low&ones(n.width), high&ones(n.width)", "n.UMin, n.UMax = low&ones(n.width)+1, high&ones(n.width)", narrow("Add")},
		{"domain.go", "n.UMin, n.UMax = a.UMin-b.UMax, a.UMax-b.UMin", "n.UMin, n.UMax = a.UMin-b.UMin, a.UMax-b.UMax", narrow("Sub")},
		{"domain.go", "n.UMin, n.UMax = a.UMin*b.UMin, high", "n.UMin, n.UMax = a.UMin*b.UMin, high-1", contained(use{op: "Mul", width: 64})[0]},
		{"domain.go", "return within(0, min(a.UMax, b.UMax-1), a.width)", "return within(0, min(a.UMax, b.UMin-1), a.width)", contained(use{op: "URem", width: 64})[0]},
		{"domain.go", "n.UMax = min(n.UMax, a.UMax, b.UMax)", "n.UMax = min(n.UMax, a.UMax, b.UMin)", narrow("And")},
		{"domain.go", "ones := a.Bits | b.Bits", "ones := a.Bits ^ b.Bits", narrow("Or")},
		{"shift.go", "n.Bits, n.Mask = a.Bits<<low&ones(n.width), a.Mask<<low&ones(n.width)", "n.Bits, n.Mask = a.Bits<<low, a.Mask<<low", narrow("Shl")},
		{"shift.go", "n.UMin, n.UMax = a.UMin>>high, a.UMax>>low", "n.UMin, n.UMax = a.UMin>>low, a.UMax>>low", narrow("LShr")},
		{"shift.go", "n.SMax = max(a.SMax>>low, a.SMax>>high)", "n.SMax = a.SMax >> high", narrow("AShr")},
		{"shift.go", "n.SMin, n.SMax = v.SMin, v.SMax", "n.SMin, n.SMax = 0, v.SMax", unary("SExt", 8, 64, 0)},
		{"shift.go", "case a.SMax < b.SMin:", "case a.SMax <= b.SMin:", narrow("SLt")},
		{"range.go", "n.SMax = min(n.SMax, signed(n.Bits|n.Mask&^sign, n.width))", "n.SMax = min(n.SMax, signed(n.Bits|n.Mask, n.width))", narrowing(narrowWidth)[0]},
		{"range.go", "if n.SMin >= 0 || n.SMax < 0 {", "if n.SMin >= 0 || n.SMax <= 0 {", narrowing(narrowWidth)[1]},
		{"refine.go", "a.UMax, b.UMin = min(a.UMax, b.UMax-1), max(b.UMin, a.UMin+1)", "a.UMax, b.UMin = min(a.UMax, b.UMax-1), max(b.UMin, a.UMin+2)", refines(bpf.ClassJMP|bpf.OpJLT, true, narrowWidth)},
		{"refine.go", "if b.IsConst() && b.Bits&(b.Bits-1) == 0 &&", "if b.IsConst() &&", refines(bpf.ClassJMP|bpf.OpJSet, true, narrowWidth)},
		{"refine.go", "n.UMin, n.UMax = max(n.UMin, top|low.UMin), min(n.UMax, top|low.UMax)", "n.UMin, n.UMax = max(n.UMin, top|low.UMin), min(n.UMax, low.UMax)", refinesLow()},
	}
	overlay := map[string][]byte{}
	for _, plant := range plants {
		file, err := filepath.Abs(plant.file)
		if err != nil {
			t.Fatal(err)
		}
		text, ok := overlay[file]
		if !ok {
			if text, err = os.ReadFile(file); err != nil {
				t.Fatal(err)
			}
		}
		if bytes.Count(text, []byte(plant.old)) != 1 {
			t.Fatalf("%s has %q %d times", plant.file, plant.old, bytes.Count(text, []byte(plant.old)))
		}
		overlay[file] = bytes.Replace(text, []byte(plant.old), []byte(plant.bad), 1)
	}
	p, err := newProver(overlay)
	if err != nil {
		t.Fatal(err)
	}
	for _, plant := range plants {
		err := p.prove(plant.fails)
		if err == nil || !strings.Contains(err.Error(), " where") {
			t.Errorf("%s: %q is taken for right: %v", plant.fails.name, plant.bad, err)
		}
	}
}
