package encode

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/aclements/go-z3/z3"

	"github.com/k2cc/k2cc/bpf/semantics"
)

// binaries is the operations on two operands.
var binaries = []op{opAdd, opSub, opMul, opUDiv, opURem, opSDiv, opSRem, opAnd, opOr, opXor, opShl, opLShr, opAShr,
	opEq, opULt, opSLt}

var opNames = map[op]string{opAdd: "add", opSub: "sub", opMul: "mul", opUDiv: "udiv", opURem: "urem", opSDiv: "sdiv",
	opSRem: "srem", opAnd: "and", opOr: "or", opXor: "xor", opShl: "shl", opLShr: "lshr", opAShr: "ashr", opEq: "eq",
	opULt: "ult", opSLt: "slt", opIte: "ite", opExtract: "extract", opZExt: "zext", opSExt: "sext", opConcat: "concat"}

// operands are corners and random numbers of a width.
func operands(rng *rand.Rand, width int) []uint64 {
	m := maskOf(width)
	out := []uint64{0, 1, 2, uint64(width) - 1, uint64(width), m, m >> 1, m>>1 + 1, m - 1}
	for range 6 {
		out = append(out, rng.Uint64()>>rng.IntN(64))
	}
	for i := range out {
		out[i] &= m
	}
	return out
}

// plain makes a node with nothing simplified.
func plain(g *graph, n node) *node { return g.make(n) }

// TestReadingsAgree wants Z3's reading of every operation, and the one that
// refutes without Z3, to be the interpreter's, on corners and random operands.
func TestReadingsAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	s := newSolver(1_000_000)
	for _, width := range []int{1, 7, 8, 16, 32, 33, 64} {
		for _, o := range binaries {
			t.Run(fmt.Sprintf("%s/%d", opNames[o], width), func(t *testing.T) {
				s.begin()
				defer s.end()
				for _, a := range operands(rng, width) {
					for _, b := range operands(rng, width) {
						want := wordOps[o](semantics.Words{}, semantics.Word{Value: a, Width: width}, semantics.Word{Value: b, Width: width})
						agree(t, s, node{op: o, width: want.Width}, want.Value, a, b, width)
					}
				}
			})
		}
	}
}

// agree wants the value of an operation on two constants.
func agree(t *testing.T, s *solver, n node, want, a, b uint64, width int) {
	t.Helper()
	g := newGraph()
	s.begin()
	defer s.end()
	n.a, n.b = plain(g, node{op: opConst, width: width, k: a}), plain(g, node{op: opConst, width: width, k: b})
	term := plain(g, n)
	if got := newValuation(g, nil).of(term); got != want {
		t.Fatalf("%s of %#x and %#x: computed %#x, want %#x", opNames[n.op], a, b, got, want)
	}
	if got, literal, _ := s.ctx.Simplify(s.bv(term), nil).(z3.BV).AsUint64(); !literal || got != want {
		t.Fatalf("%s of %#x and %#x: Z3 has %#x, want %#x", opNames[n.op], a, b, got, want)
	}
}

// TestCutsAgree is the same for operations that cut, widen and join.
func TestCutsAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	s := newSolver(1_000_000)
	s.begin()
	defer s.end()
	var d semantics.Words
	for range 2000 {
		wa, wb := 1+rng.IntN(32), 1+rng.IntN(32)
		a := semantics.Word{Value: rng.Uint64() & maskOf(wa), Width: wa}
		b := semantics.Word{Value: rng.Uint64() & maskOf(wb), Width: wb}
		lo := rng.IntN(wa)
		hi := lo + rng.IntN(wa-lo)
		to := wa + rng.IntN(65-wa)
		g := newGraph()
		x, y := plain(g, node{op: opConst, width: wa, k: a.Value}), plain(g, node{op: opConst, width: wb, k: b.Value})
		for _, tt := range []struct {
			n    node
			want semantics.Word
		}{
			{node{op: opExtract, width: hi - lo + 1, a: x, k: uint64(lo)}, d.Extract(a, hi, lo)},
			{node{op: opZExt, width: to, a: x}, d.ZExt(a, to)},
			{node{op: opSExt, width: to, a: x}, d.SExt(a, to)},
			{node{op: opConcat, width: wa + wb, a: x, b: y}, d.Concat(a, b)},
			{node{op: opIte, width: wa, a: x, b: x, c: plain(g, node{op: opConst, width: 1, k: 1})}, a},
		} {
			term := plain(g, tt.n)
			if got := newValuation(g, nil).of(term); got != tt.want.Value {
				t.Fatalf("%s: computed %#x, want %#x", opNames[tt.n.op], got, tt.want.Value)
			}
			if got, literal, _ := s.ctx.Simplify(s.bv(term), nil).(z3.BV).AsUint64(); !literal || got != tt.want.Value {
				t.Fatalf("%s: Z3 has %#x, want %#x", opNames[tt.n.op], got, tt.want.Value)
			}
		}
	}
}

// twin builds a term twice: as the checker does, with everything simplified,
// and with nothing simplified. Both graphs have the same variables.
type twin struct {
	g     *graph
	plain *graph
	rng   *rand.Rand
	pool  [][2]*node
}

// step adds a random operation on random terms of the pool.
func (tw *twin) step() {
	pick := func() [2]*node { return tw.pool[tw.rng.IntN(len(tw.pool))] }
	a := pick()
	w := a[0].width
	add := func(simple *node, n node) { tw.pool = append(tw.pool, [2]*node{simple, plain(tw.plain, n)}) }
	switch tw.rng.IntN(9) {
	case 0:
		lo := tw.rng.IntN(w)
		if w >= 8 {
			lo &^= 7
		}
		hi := lo + tw.rng.IntN(w-lo)
		if lo == 0 && tw.rng.IntN(2) == 0 {
			add(tw.g.low(a[0], hi+1), node{op: opExtract, width: hi + 1, a: a[1]})
			return
		}
		if tw.rng.IntN(2) == 0 {
			add(tw.g.part(a[0], hi, lo), node{op: opExtract, width: hi - lo + 1, a: a[1], k: uint64(lo)})
			return
		}
		add(tw.g.extract(a[0], hi, lo), node{op: opExtract, width: hi - lo + 1, a: a[1], k: uint64(lo)})
	case 1:
		to := w + tw.rng.IntN(65-w)
		add(tw.g.zext(a[0], to), node{op: opZExt, width: to, a: a[1]})
	case 2:
		to := w + tw.rng.IntN(65-w)
		add(tw.g.sext(a[0], to), node{op: opSExt, width: to, a: a[1]})
	case 3, 4:
		if b := pick(); w+b[0].width <= 64 {
			add(tw.g.concat(a[0], b[0]), node{op: opConcat, width: w + b[0].width, a: a[1], b: b[1]})
		}
	case 5:
		k := operands(tw.rng, w)
		c := k[tw.rng.IntN(len(k))]
		tw.pool = append(tw.pool, [2]*node{tw.g.constant(c, w), plain(tw.plain, node{op: opConst, width: w, k: c})})
	default:
		tw.binary(a)
	}
}

func (tw *twin) binary(a [2]*node) {
	var same [][2]*node
	for _, b := range tw.pool {
		if b[0].width == a[0].width {
			same = append(same, b)
		}
	}
	b := same[tw.rng.IntN(len(same))]
	if tw.rng.IntN(8) == 0 {
		c := same[tw.rng.IntN(len(same))]
		cond := [2]*node{tw.g.compare(opEq, a[0], c[0]), plain(tw.plain, node{op: opEq, width: 1, a: a[1], b: c[1]})}
		tw.pool = append(tw.pool, [2]*node{tw.g.ite(cond[0], a[0], b[0]),
			plain(tw.plain, node{op: opIte, width: a[0].width, a: a[1], b: b[1], c: cond[1]})})
		return
	}
	o := binaries[tw.rng.IntN(len(binaries))]
	if b[1].op != opConst && (o == opUDiv || o == opURem || o == opSDiv || o == opSRem) {
		o = []op{opAnd, opOr, opOr, opXor, opShl}[tw.rng.IntN(5)] // two divisions would be hard to solve
	}
	simple, width := (*node)(nil), a[0].width
	switch o {
	case opEq, opULt, opSLt:
		simple, width = tw.g.compare(o, a[0], b[0]), 1
	default:
		simple = tw.g.binary(o, a[0], b[0])
	}
	tw.pool = append(tw.pool, [2]*node{simple, plain(tw.plain, node{op: o, width: width, a: a[1], b: b[1]})})
}

// TestSimplified has Z3 prove, for random terms, that what the graph makes of
// them is what they were, for all values of the variables.
func TestSimplified(t *testing.T) {
	s := newSolver(2_000_000)
	changed, unsolved := 0, 0
	for seed := range uint64(600) {
		tw := &twin{g: newGraph(), plain: newGraph(), rng: rand.New(rand.NewPCG(seed, 3))}
		for i, w := range []int{8, 8, 16, 32, 64, 64} {
			name := fmt.Sprintf("x%d", i)
			tw.pool = append(tw.pool, [2]*node{tw.g.variable(name, w), tw.plain.variable(name, w)})
		}
		for range 14 {
			tw.step()
		}
		s.begin()
		differs := s.ctx.FromBool(false)
		for _, p := range tw.pool {
			if p[0].width != p[1].width {
				t.Fatalf("seed %d: width %d became %d", seed, p[1].width, p[0].width)
			}
			if p[0].op != p[1].op {
				changed++
			}
			differs = differs.Or(s.bv(p[0]).NE(s.bv(p[1])))
		}
		s.assert(differs)
		sat, err := s.check(context.Background())
		if err != nil {
			unsolved++
		}
		if err == nil && sat {
			t.Errorf("seed %d: a term was made another one", seed)
		}
		s.end()
	}
	if changed < 200 || unsolved > 20 {
		t.Errorf("only %d terms were simplified, %d of 600 not solved", changed, unsolved)
	}
}
