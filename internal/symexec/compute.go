package symexec

import (
	"go/constant"
	"go/token"
	"go/types"

	"golang.org/x/tools/go/ssa"
)

func elem(t types.Type) types.Type { return t.Underlying().(*types.Pointer).Elem() }

// value is an operand.
func (f *frame) value(w way, v ssa.Value) Value {
	switch v := v.(type) {
	case *ssa.Const:
		return constantOf(v)
	case *ssa.Function:
		return closure{fn: v}
	case *ssa.Global:
		fail("global %v", v)
	}
	x, ok := w.regs[v]
	if !ok {
		fail("%v: %s = %v has no value on all ways", f.fn, v.Name(), v)
	}
	return x
}

func constantOf(c *ssa.Const) Value {
	if c.Value == nil {
		return zero(c.Type())
	}
	switch c.Value.Kind() {
	case constant.Bool:
		return Truth(constant.BoolVal(c.Value))
	case constant.Int:
		if v, ok := constant.Int64Val(c.Value); ok {
			return K(uint64(v), widthOf(c.Type()))
		}
		v, _ := constant.Uint64Val(c.Value)
		return K(v, widthOf(c.Type()))
	}
	return empty{}
}

// compute is the value of an instruction that changes nothing.
func (f *frame) compute(w way, in ssa.Value) Value {
	switch in := in.(type) {
	case *ssa.BinOp:
		return f.binary(w.cond, in, f.value(w, in.X), f.value(w, in.Y))
	case *ssa.UnOp:
		return f.unary(w, in)
	case *ssa.Convert:
		return f.convert(f.value(w, in.X).(Int), in.X.Type(), in.Type())
	case *ssa.ChangeType:
		return f.value(w, in.X)
	case *ssa.ChangeInterface:
		return f.value(w, in.X)
	case *ssa.MakeInterface:
		return iface{in.X.Type(), f.value(w, in.X)}
	case *ssa.TypeAssert:
		return f.assert(w, in)
	case *ssa.MakeClosure:
		c := closure{fn: in.Fn.(*ssa.Function)}
		for _, b := range in.Bindings {
			c.free = append(c.free, f.value(w, b))
		}
		return c
	case *ssa.Extract:
		return f.value(w, in.Tuple).(Struct)[in.Index]
	case *ssa.Field:
		return f.value(w, in.X).(Struct)[in.Field]
	case *ssa.FieldAddr:
		p := f.value(w, in.X).(Pointer)
		return Pointer{p.obj, p.path + string([]byte{byte(in.Field)})}
	case *ssa.Index:
		return f.value(w, in.X).(Struct)[f.index(w, in.Index)]
	case *ssa.IndexAddr:
		p, ok := f.value(w, in.X).(Pointer)
		if !ok {
			fail("%v: index into a slice", f.fn)
		}
		return Pointer{p.obj, p.path + string([]byte{byte(f.index(w, in.Index))})}
	}
	fail("%v: %v is not known", f.fn, in)
	return nil
}

func (f *frame) index(w way, v ssa.Value) uint64 {
	i := f.value(w, v).(Int)
	if i.Term != nil {
		fail("%v: index that is no constant", f.fn)
	}
	return i.K
}

func (f *frame) unary(w way, in *ssa.UnOp) Value {
	x := f.value(w, in.X)
	switch in.Op {
	case token.MUL:
		return w.mem.get(x.(Pointer))
	case token.NOT:
		return f.not(x.(Bool))
	case token.SUB:
		i := x.(Int)
		return f.arith(token.SUB, K(0, i.Width), i, false)
	case token.XOR:
		i := x.(Int)
		return f.arith(token.XOR, i, K(^uint64(0), i.Width), false)
	}
	fail("%v: %v is not known", f.fn, in)
	return nil
}

func (f *frame) binary(cond Bool, in *ssa.BinOp, x, y Value) Value {
	a, ok := x.(Int)
	if !ok {
		switch in.Op {
		case token.EQL:
			return f.equal(x, y)
		case token.NEQ:
			return f.not(f.equal(x, y))
		}
		fail("%v: %v is not known", f.fn, in)
	}
	b := y.(Int)
	signed := isSigned(in.X.Type())
	switch in.Op {
	case token.SHL, token.SHR:
		if isSigned(in.Y.Type()) {
			f.fault(f.and(cond, f.less(b, K(0, b.Width), true)))
		}
		return f.shift(in.Op, a, b, signed)
	case token.QUO, token.REM:
		f.fault(f.and(cond, f.same(b, K(0, b.Width))))
		return f.arith(in.Op, a, b, signed)
	case token.EQL:
		return f.same(a, b)
	case token.NEQ:
		return f.not(f.same(a, b))
	case token.LSS:
		return f.less(a, b, signed)
	case token.GTR:
		return f.less(b, a, signed)
	case token.LEQ:
		return f.not(f.less(b, a, signed))
	case token.GEQ:
		return f.not(f.less(a, b, signed))
	}
	return f.arith(in.Op, a, b, signed)
}

func (f *frame) assert(w way, in *ssa.TypeAssert) Value {
	v, ok := f.value(w, in.X).(iface)
	if !ok {
		fail("%v: %v of nil", f.fn, in)
	}
	var result Value = v.v
	if i, isInterface := in.AssertedType.Underlying().(*types.Interface); isInterface {
		ok, result = types.Implements(v.typ, i), v
	} else {
		ok = types.Identical(v.typ, in.AssertedType)
	}
	switch {
	case in.CommaOk && ok:
		return Struct{result, Truth(true)}
	case in.CommaOk:
		return Struct{zero(in.AssertedType), Truth(false)}
	case !ok:
		fail("%v: %v never holds", f.fn, in)
	}
	return result
}

// invoke executes a call.
func (f *frame) invoke(w way, c *ssa.CallCommon) way {
	var args []Value
	for _, a := range c.Args {
		args = append(args, f.value(w, a))
	}
	if b, ok := c.Value.(*ssa.Builtin); ok {
		return way{cond: w.cond, mem: w.mem, result: f.builtin(b.Name(), c.Args[0].Type(), args)}
	}
	v := f.value(w, c.Value)
	if c.IsInvoke() {
		recv, ok := v.(iface)
		if !ok {
			fail("%v: %v of nil", f.fn, c)
		}
		fn := f.prog.prog.LookupMethod(recv.typ, c.Method.Pkg(), c.Method.Name())
		return f.call(fn, append([]Value{recv.v}, args...), nil, w)
	}
	fn, ok := v.(closure)
	if !ok {
		fail("%v: %v calls what is not known", f.fn, c)
	}
	return f.call(fn.fn, args, fn.free, w)
}

func (f *frame) builtin(name string, t types.Type, args []Value) Value {
	switch name {
	case "len":
		if s, ok := args[0].(Struct); ok {
			return K(uint64(len(s)), 64)
		}
		if _, ok := args[0].(empty); ok {
			return K(0, 64)
		}
	case "min", "max":
		out := args[0].(Int)
		for _, a := range args[1:] {
			below := f.less(a.(Int), out, isSigned(t))
			if name == "max" {
				below = f.less(out, a.(Int), isSigned(t))
			}
			x, _ := f.choose(below, a, out)
			out = x.(Int)
		}
		return out
	}
	fail("%v: builtin %s", f.fn, name)
	return nil
}
