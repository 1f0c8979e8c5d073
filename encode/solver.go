package encode

import (
	"context"
	"errors"
	"fmt"

	"github.com/aclements/go-z3/z3"

	"github.com/k2cc/k2cc/encode/libz3"
)

// Available says why nothing can be proven here: Z3's library is missing. Where
// it is there, it is loaded.
func Available() error {
	if err := libz3.Load(); err != nil {
		return fmt.Errorf("load Z3: %w", err)
	}
	return nil
}

// solver is one Z3 context with the terms of the current check translated.
type solver struct {
	ctx    *z3.Context
	solver *z3.Solver
	terms  map[*node]z3.BV
	truths map[*node]z3.Bool
	vars   []*node // variables translated, whose assumptions are due
	// held keeps all terms until the context goes: Z3 would give the numbers of
	// those that Go's collector has freed to new ones, and where the solver gives
	// up would depend on when that was.
	held []any

	asked       int  // questions
	interrupted bool // in one of them
}

// hold has what Z3 made live as long as the solver.
func hold[T any](s *solver, x T) T {
	s.held = append(s.held, x)
	return x
}

// newSolver makes a solver that gives up a query after rlimit resource units of
// Z3's own count, which do not depend on the machine's speed. It panics where
// there is no Z3, as go-z3 does with errors.
func newSolver(rlimit uint) *solver {
	if err := Available(); err != nil {
		panic(err)
	}
	cfg := z3.NewContextConfig()
	cfg.SetUint("rlimit", rlimit)
	ctx := z3.NewContext(cfg)
	return &solver{ctx: ctx, solver: z3.NewSolver(ctx)}
}

// begin forgets the last check's terms, which belong to another graph.
func (s *solver) begin() {
	s.terms, s.truths, s.vars = map[*node]z3.BV{}, map[*node]z3.Bool{}, nil
	s.solver.Push()
}

func (s *solver) end() { s.solver.Pop() }

// errUndecided says that Z3 found no answer within its limits.
var errUndecided = errors.New("the solver found no answer within its limits")

// check asks Z3 whether the assertions can hold. The context's end interrupts
// it.
func (s *solver) check(ctx context.Context) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	stop := context.AfterFunc(ctx, s.ctx.Interrupt)
	defer stop()
	s.asked++
	sat, err := s.solver.Check()
	s.interrupted = s.interrupted || ctx.Err() != nil
	if err != nil {
		return false, fmt.Errorf("%w: %s", errUndecided, err)
	}
	return sat, nil
}

// assert adds a truth value, and what the facts say of its variables.
func (s *solver) assert(b z3.Bool) {
	s.solver.Assert(hold(s, b))
	for len(s.vars) > 0 {
		v := s.vars[0]
		s.vars = s.vars[1:]
		for _, a := range v.assume {
			s.solver.Assert(s.truth(a))
		}
	}
}

// bv translates a term.
func (s *solver) bv(n *node) z3.BV {
	if t, ok := s.terms[n]; ok {
		return t
	}
	t := hold(s, s.translate(n))
	s.terms[n] = t
	return t
}

func (s *solver) translate(n *node) z3.BV {
	switch n.op {
	case opConst:
		return s.constant(n.k, n.width)
	case opVar:
		s.vars = append(s.vars, n)
		return s.ctx.BVConst(n.name, n.width)
	case opEq, opULt, opSLt:
		return s.truth(n).IfThenElse(s.constant(1, 1), s.constant(0, 1)).(z3.BV)
	case opIte:
		return s.truth(n.c).IfThenElse(s.bv(n.a), s.bv(n.b)).(z3.BV)
	case opExtract:
		return s.bv(n.a).Extract(int(n.k)+n.width-1, int(n.k))
	case opZExt:
		return s.bv(n.a).ZeroExtend(n.width - n.a.width)
	case opSExt:
		return s.bv(n.a).SignExtend(n.width - n.a.width)
	case opConcat:
		return s.bv(n.a).Concat(s.bv(n.b))
	}
	return binaryOps[n.op](s.bv(n.a), s.bv(n.b))
}

// binaryOps has SMT-LIB's name for each operation on two terms in its comment.
var binaryOps = map[op]func(a, b z3.BV) z3.BV{
	opAdd:  z3.BV.Add,  // bvadd
	opSub:  z3.BV.Sub,  // bvsub
	opMul:  z3.BV.Mul,  // bvmul
	opUDiv: z3.BV.UDiv, // bvudiv
	opURem: z3.BV.URem, // bvurem
	opSDiv: z3.BV.SDiv, // bvsdiv
	opSRem: z3.BV.SRem, // bvsrem
	opAnd:  z3.BV.And,  // bvand
	opOr:   z3.BV.Or,   // bvor
	opXor:  z3.BV.Xor,  // bvxor
	opShl:  z3.BV.Lsh,  // bvshl
	opLShr: z3.BV.URsh, // bvlshr
	opAShr: z3.BV.SRsh, // bvashr
}

func (s *solver) constant(v uint64, width int) z3.BV {
	return hold(s, s.ctx.FromInt(int64(v), hold(s, s.ctx.BVSort(width))).(z3.BV))
}

// truth translates a term of width 1 as a truth value.
func (s *solver) truth(n *node) z3.Bool {
	if b, ok := s.truths[n]; ok {
		return b
	}
	var b z3.Bool
	switch {
	case n.op == opEq:
		b = s.bv(n.a).Eq(s.bv(n.b))
	case n.op == opULt:
		b = s.bv(n.a).ULT(s.bv(n.b))
	case n.op == opSLt:
		b = s.bv(n.a).SLT(s.bv(n.b))
	case n.op == opXor && n.b.isConst() && n.b.k == 1:
		b = s.truth(n.a).Not()
	default:
		b = s.bv(n).Eq(s.constant(1, 1))
	}
	s.truths[n] = hold(s, b)
	return b
}

// eval is a term's value in the model of the last satisfiable check.
func (s *solver) eval(m *z3.Model, n *node) (uint64, error) {
	v, ok := hold(s, m.Eval(s.bv(n), true)).(z3.BV)
	if !ok {
		return 0, errors.New("the model does not determine a value")
	}
	u, literal, fits := v.AsUint64()
	if !literal || !fits {
		return 0, errors.New("the model does not determine a value")
	}
	return u, nil
}
