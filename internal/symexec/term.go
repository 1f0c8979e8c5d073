package symexec

import (
	"go/token"
	"go/types"
	"math/bits"
	"reflect"

	"github.com/aclements/go-z3/z3"
	"golang.org/x/tools/go/ssa"
)

// Term is an integer as a Z3 term.
func (m *Machine) Term(i Int) z3.BV {
	if i.Term != nil {
		return *i.Term
	}
	return m.ctx.FromInt(int64(i.K), m.ctx.BVSort(i.Width)).(z3.BV)
}

// BoolTerm is a truth value as a Z3 term.
func (m *Machine) BoolTerm(b Bool) z3.Bool {
	if b.Term != nil {
		return *b.Term
	}
	return m.ctx.FromBool(b.K)
}

// Of is an integer of what a term stands for.
func Of(t z3.BV) Int { return Int{Width: t.Sort().BVSize(), Term: &t} }

// TruthOf is a truth value of what a term stands for.
func TruthOf(t z3.Bool) Bool { return Bool{Term: &t} }

// fold makes a constant of a truth value that simplifies to one.
func (m *Machine) fold(b Bool) Bool {
	if b.Term == nil {
		return b
	}
	t := m.ctx.Simplify(*b.Term, nil).(z3.Bool)
	if v, ok := t.AsBool(); ok {
		return Truth(v)
	}
	return TruthOf(t)
}

func (m *Machine) not(a Bool) Bool {
	if a.Term == nil {
		return Truth(!a.K)
	}
	return TruthOf(a.Term.Not())
}

func (m *Machine) and(a, b Bool) Bool {
	switch {
	case a.Term == nil && a.K, b.Term == nil && !b.K:
		return b
	case a.Term == nil, b.Term == nil:
		return a
	}
	return TruthOf(a.Term.And(*b.Term))
}

func (m *Machine) or(a, b Bool) Bool { return m.not(m.and(m.not(a), m.not(b))) }

// choose is a where cond holds, else b. It is not ok for what cannot be put
// into one value.
func (m *Machine) choose(cond Bool, a, b Value) (Value, bool) {
	if cond.Term == nil {
		if cond.K {
			return a, true
		}
		return b, true
	}
	switch x := a.(type) {
	case Int:
		y, ok := b.(Int)
		if !ok || x.Width != y.Width {
			return nil, false
		}
		if x == y {
			return x, true
		}
		return Of(cond.Term.IfThenElse(m.Term(x), m.Term(y)).(z3.BV)), true
	case Bool:
		y := b.(Bool)
		if x == y {
			return x, true
		}
		return TruthOf(cond.Term.IfThenElse(m.BoolTerm(x), m.BoolTerm(y)).(z3.Bool)), true
	case Struct:
		y, ok := b.(Struct)
		if !ok || len(x) != len(y) {
			return nil, false
		}
		out := make(Struct, len(x))
		for i := range x {
			if out[i], ok = m.choose(cond, x[i], y[i]); !ok {
				return nil, false
			}
		}
		return out, true
	}
	return a, reflect.DeepEqual(a, b)
}

// equal compares what is no integer.
func (m *Machine) equal(a, b Value) Bool {
	switch x := a.(type) {
	case Int:
		return m.same(x, b.(Int))
	case Bool:
		y := b.(Bool)
		if x.Term == nil && y.Term == nil {
			return Truth(x.K == y.K)
		}
		return TruthOf(m.BoolTerm(x).Eq(m.BoolTerm(y)))
	case Struct:
		out := Truth(true)
		for i, y := range b.(Struct) {
			out = m.and(out, m.equal(x[i], y))
		}
		return out
	case Pointer:
		return Truth(x == b.(Pointer))
	case empty:
		_, same := b.(empty)
		return Truth(same)
	}
	if _, null := b.(empty); !null {
		fail("comparison of %T and %T", a, b)
	}
	return Truth(false)
}

func (m *Machine) same(a, b Int) Bool {
	if a.Term == nil && b.Term == nil {
		return Truth(a.K == b.K)
	}
	return TruthOf(m.Term(a).Eq(m.Term(b)))
}

func (m *Machine) less(a, b Int, signed bool) Bool {
	switch {
	case a.Term == nil && b.Term == nil && signed:
		return Truth(a.signed() < b.signed())
	case a.Term == nil && b.Term == nil:
		return Truth(a.K < b.K)
	case signed:
		return TruthOf(m.Term(a).SLT(m.Term(b)))
	}
	return TruthOf(m.Term(a).ULT(m.Term(b)))
}

func (m *Machine) arith(op token.Token, a, b Int, signed bool) Int {
	if a.Term == nil && b.Term == nil {
		if v, ok := constantArith(op, a, b, signed); ok {
			return K(v, a.Width)
		}
	}
	x, y := m.Term(a), m.Term(b)
	switch op {
	case token.ADD:
		return Of(x.Add(y))
	case token.SUB:
		return Of(x.Sub(y))
	case token.MUL:
		return Of(x.Mul(y))
	case token.AND:
		return Of(x.And(y))
	case token.OR:
		return Of(x.Or(y))
	case token.XOR:
		return Of(x.Xor(y))
	case token.AND_NOT:
		return Of(x.And(y.Not()))
	}
	switch {
	case op == token.QUO && signed:
		return Of(x.SDiv(y))
	case op == token.QUO:
		return Of(x.UDiv(y))
	case op == token.REM && signed:
		return Of(x.SRem(y))
	case op == token.REM:
		return Of(x.URem(y))
	}
	fail("operator %v", op)
	return Int{}
}

func constantArith(op token.Token, a, b Int, signed bool) (uint64, bool) {
	switch op {
	case token.ADD:
		return a.K + b.K, true
	case token.SUB:
		return a.K - b.K, true
	case token.MUL:
		return a.K * b.K, true
	case token.AND:
		return a.K & b.K, true
	case token.OR:
		return a.K | b.K, true
	case token.XOR:
		return a.K ^ b.K, true
	case token.AND_NOT:
		return a.K &^ b.K, true
	}
	switch {
	case b.K == 0:
		return 0, false
	case op == token.QUO && !signed:
		return a.K / b.K, true
	case op == token.REM && !signed:
		return a.K % b.K, true
	}
	return 0, false
}

// shift shifts as Go does: by the width and more is out of sight.
func (m *Machine) shift(op token.Token, a, b Int, signed bool) Int {
	if a.Term == nil && b.Term == nil {
		by := min(b.K, 64)
		switch {
		case op == token.SHL:
			return K(a.K<<by, a.Width)
		case signed:
			return K(uint64(a.signed()>>by), a.Width)
		}
		return K(a.K>>by, a.Width)
	}
	by := b
	switch {
	case b.Width < a.Width:
		by = m.resize(b, a.Width, false)
	case b.Width > a.Width:
		most := K(uint64(a.Width), b.Width)
		x, _ := m.choose(m.less(b, most, false), b, most)
		by = m.resize(x.(Int), a.Width, false)
	}
	x, y := m.Term(a), m.Term(by)
	switch {
	case op == token.SHL:
		return Of(x.Lsh(y))
	case signed:
		return Of(x.SRsh(y))
	}
	return Of(x.URsh(y))
}

func (m *Machine) convert(i Int, from, to types.Type) Int {
	return m.resize(i, widthOf(to), isSigned(from))
}

func (m *Machine) resize(i Int, width int, signed bool) Int {
	switch {
	case i.Term == nil && signed:
		return K(uint64(i.signed()), width)
	case i.Term == nil:
		return K(i.K, width)
	case width == i.Width:
		return i
	case width < i.Width:
		return Of(i.Term.Extract(width-1, 0))
	case signed:
		return Of(i.Term.SignExtend(width - i.Width))
	}
	return Of(i.Term.ZeroExtend(width - i.Width))
}

// intrinsic executes functions of math/bits.
func (m *Machine) intrinsic(fn *ssa.Function, args []Value) (Value, bool) {
	switch fn.RelString(nil) {
	case "math/bits.Add64":
		x, y, carry := m.wide(args[0]), m.wide(args[1]), m.wide(args[2])
		return m.halves(x.Add(y).Add(carry), false), true
	case "math/bits.Mul64":
		return m.halves(m.wide(args[0]).Mul(m.wide(args[1])), true), true
	case "math/bits.Len64":
		return m.length(args[0].(Int)), true
	case "math/bits.TrailingZeros64":
		i := args[0].(Int)
		lowest := m.arith(token.AND, i, m.arith(token.SUB, K(0, 64), i, false), false)
		n := m.length(lowest)
		x, _ := m.choose(m.same(i, K(0, 64)), K(64, 64), m.arith(token.SUB, n, K(1, 64), false))
		return x, true
	case "math/bits.ReverseBytes64":
		if i := args[0].(Int); i.Term == nil {
			return K(bits.ReverseBytes64(i.K), 64), true
		}
	}
	return nil, false
}

// wide is an integer of 64 bits in 128.
func (m *Machine) wide(v Value) z3.BV { return m.Term(v.(Int)).ZeroExtend(64) }

// halves is the low and the high 64 bits, or the other way round.
func (m *Machine) halves(t z3.BV, highFirst bool) Value {
	low, high := Of(t.Extract(63, 0)), Of(t.Extract(127, 64))
	if highFirst {
		return Struct{high, low}
	}
	return Struct{low, high}
}

// length is the number of bits up to the highest that is set, found by halving.
func (m *Machine) length(i Int) Int {
	if i.Term == nil {
		return K(uint64(bits.Len64(i.K)), 64)
	}
	x, n := m.Term(i), m.Term(K(0, 64))
	zero := m.Term(K(0, 64))
	for step := 32; step >= 1; step /= 2 {
		high := x.URsh(m.Term(K(uint64(step), 64)))
		set := high.NE(zero)
		x = set.IfThenElse(high, x).(z3.BV)
		n = set.IfThenElse(n.Add(m.Term(K(uint64(step), 64))), n).(z3.BV)
	}
	return Of(n.Add(x))
}
