package rules

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"

	"github.com/k2cc/k2cc/bpf"
)

// expr is an immediate that is computed from those that a rule leaves open.
type expr struct {
	ast.Expr
	text string
}

var errExpr = errors.New("no expression of holes and numbers")

// binaries is how BPF computes what Go's operators say.
var binaries = map[token.Token]bpf.Op{
	token.ADD: bpf.OpAdd, token.SUB: bpf.OpSub, token.MUL: bpf.OpMul, token.AND: bpf.OpAnd,
	token.OR: bpf.OpOr, token.XOR: bpf.OpXor, token.SHL: bpf.OpLsh, token.SHR: bpf.OpRsh,
}

func parseExpr(text string) (*expr, error) {
	x, err := parser.ParseExpr(text)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", text, errExpr)
	}
	e := &expr{x, text}
	if _, err := e.eval(func(string) (int64, bool) { return 1, true }); err != nil {
		return nil, err
	}
	return e, nil
}

// hole is the name of the hole that the expression is, if it is one.
func (e *expr) hole() (string, bool) {
	id, ok := e.Expr.(*ast.Ident)
	if !ok {
		return "", false
	}
	return id.Name, true
}

// holes are the names in the expression.
func (e *expr) holes() []string {
	var names []string
	ast.Inspect(e.Expr, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			names = append(names, id.Name)
		}
		return true
	})
	return names
}

// String is the expression as a rule has it behind its dollar sign.
func (e *expr) String() string {
	if name, ok := e.hole(); ok {
		return name
	}
	return "(" + e.text + ")"
}

// eval computes the expression in 64 bits.
func (e *expr) eval(hole func(string) (int64, bool)) (int64, error) {
	switch x := e.Expr.(type) {
	case *ast.ParenExpr:
		return e.with(x.X).eval(hole)
	case *ast.Ident:
		if v, ok := hole(x.Name); ok {
			return v, nil
		}
		return 0, fmt.Errorf("%s is not known: %w", x.Name, errExpr)
	case *ast.BasicLit:
		return number(x)
	case *ast.UnaryExpr:
		v, err := e.with(x.X).eval(hole)
		switch x.Op {
		case token.SUB:
			return -v, err
		case token.XOR:
			return ^v, err
		}
	case *ast.BinaryExpr:
		a, err := e.with(x.X).eval(hole)
		if err != nil {
			return 0, err
		}
		b, err := e.with(x.Y).eval(hole)
		if err != nil {
			return 0, err
		}
		if op, ok := binaries[x.Op]; ok {
			return compute(op, a, b), nil
		}
	}
	return 0, fmt.Errorf("%q: %w", e.text, errExpr)
}

func (e *expr) with(x ast.Expr) *expr { return &expr{x, e.text} }

func number(x *ast.BasicLit) (int64, error) {
	if v, err := strconv.ParseInt(x.Value, 0, 64); err == nil {
		return v, nil
	}
	v, err := strconv.ParseUint(x.Value, 0, 64)
	if err != nil {
		return 0, fmt.Errorf("%q: %w", x.Value, errExpr)
	}
	return int64(v), nil
}

func compute(op bpf.Op, a, b int64) int64 {
	switch op {
	case bpf.OpAdd:
		return a + b
	case bpf.OpSub:
		return a - b
	case bpf.OpMul:
		return a * b
	case bpf.OpAnd:
		return a & b
	case bpf.OpOr:
		return a | b
	case bpf.OpXor:
		return a ^ b
	case bpf.OpLsh:
		return a << (uint64(b) & 63)
	}
	return int64(uint64(a) >> (uint64(b) & 63))
}

// emit computes the expression with instructions, into the first of the free
// registers.
func (e *expr) emit(hole map[string]bpf.Register, free []bpf.Register) ([]bpf.Instruction, error) {
	if len(free) == 0 {
		return nil, fmt.Errorf("%q: no register left to prove it with", e.text)
	}
	to := free[0]
	alu := func(op bpf.Op, src bpf.Register) bpf.Instruction {
		return bpf.Instruction{Op: bpf.ClassALU64 | bpf.SourceX | op, Dst: to, Src: src}
	}
	switch x := e.Expr.(type) {
	case *ast.ParenExpr:
		return e.with(x.X).emit(hole, free)
	case *ast.Ident:
		return []bpf.Instruction{alu(bpf.OpMov, hole[x.Name])}, nil
	case *ast.BasicLit:
		v, err := number(x)
		return []bpf.Instruction{{Op: bpf.LoadImm64, Dst: to, Imm: v}}, err
	case *ast.UnaryExpr:
		code, err := e.with(x.X).emit(hole, free)
		if x.Op == token.SUB {
			return append(code, bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpNeg, Dst: to}), err
		}
		return append(code, bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpXor, Dst: to, Imm: -1}), err
	case *ast.BinaryExpr:
		code, err := e.with(x.X).emit(hole, free)
		if err != nil {
			return nil, err
		}
		more, err := e.with(x.Y).emit(hole, free[1:])
		if err != nil {
			return nil, err
		}
		return append(append(code, more...), alu(binaries[x.Op], free[1])), nil
	}
	return nil, fmt.Errorf("%q: %w", e.text, errExpr)
}
