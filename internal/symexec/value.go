package symexec

import (
	"fmt"
	"go/types"
	"slices"

	"github.com/aclements/go-z3/z3"
	"golang.org/x/tools/go/ssa"
)

// Value is a Go value: Int, Bool, Struct (also for arrays and tuples), Pointer,
// or one of the others of this file.
type Value any

// Int is an integer of Width bits: the constant K or, where Term is set, a
// term.
type Int struct {
	Width int
	K     uint64 // bits from Width on are zero
	Term  *z3.BV
}

// Bool is a truth value: the constant K or, where Term is set, a term.
type Bool struct {
	K    bool
	Term *z3.Bool
}

// Struct holds the fields of a struct, the elements of an array or the results
// of a function. It is never changed in place.
type Struct []Value

// Pointer leads to a part of an object: fields and elements on the way to it.
// The zero Pointer is nil.
type Pointer struct {
	obj  *object
	path string // indices, one byte each
}

type object struct{ what string }

// closure is a function value.
type closure struct {
	fn   *ssa.Function
	free []Value
}

// iface is an interface value that is not nil.
type iface struct {
	typ types.Type
	v   Value
}

// Interface is an interface value that holds v, of type t.
func Interface(t types.Type, v Value) Value { return iface{t, v} }

// empty is a nil slice, map, function or interface, or a string or floating
// point constant: what is only ever passed on.
type empty struct{}

// K is the constant v of the width.
func K(v uint64, width int) Int { return Int{Width: width, K: v & (^uint64(0) >> (64 - width))} }

// Truth is a constant truth value.
func Truth(b bool) Bool { return Bool{K: b} }

func (i Int) signed() int64 { return int64(i.K<<(64-i.Width)) >> (64 - i.Width) }

// unsupported is what the package does not know of Go.
type unsupported struct{ what string }

func fail(format string, args ...any) { panic(unsupported{fmt.Sprintf(format, args...)}) }

// zero is the zero value of a type.
func zero(t types.Type) Value {
	switch u := t.Underlying().(type) {
	case *types.Basic:
		switch {
		case u.Info()&types.IsBoolean != 0:
			return Truth(false)
		case u.Info()&types.IsInteger != 0:
			return K(0, widthOf(t))
		}
		return empty{}
	case *types.Struct:
		s := make(Struct, u.NumFields())
		for i := range s {
			s[i] = zero(u.Field(i).Type())
		}
		return s
	case *types.Array:
		s := make(Struct, u.Len())
		for i := range s {
			s[i] = zero(u.Elem())
		}
		return s
	case *types.Pointer:
		return Pointer{}
	}
	return empty{}
}

// widthOf is the width of an integer type in bits, on 64-bit machines.
func widthOf(t types.Type) int {
	b, ok := t.Underlying().(*types.Basic)
	if !ok || b.Info()&types.IsInteger == 0 {
		fail("%v is no integer", t)
	}
	switch b.Kind() {
	case types.Int8, types.Uint8:
		return 8
	case types.Int16, types.Uint16:
		return 16
	case types.Int32, types.Uint32, types.UntypedRune:
		return 32
	}
	return 64
}

func isSigned(t types.Type) bool {
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&types.IsUnsigned == 0
}

// at is the part of v that a path leads to.
func at(v Value, path string) Value {
	for i := range len(path) {
		v = v.(Struct)[path[i]]
	}
	return v
}

// with is v with the part that a path leads to replaced.
func with(v Value, path string, part Value) Value {
	if path == "" {
		return part
	}
	s := slices.Clone(v.(Struct))
	s[path[0]] = with(s[path[0]], path[1:], part)
	return s
}

// Zero is the zero value of a type.
func Zero(t types.Type) Value { return zero(t) }

// path is the way to a field of a struct, to a promoted one by way of the
// fields that it is in.
func path(t types.Type, name string) string {
	obj, index, _ := types.LookupFieldOrMethod(t, true, nil, name)
	if obj == nil {
		if n, ok := t.(*types.Named); ok {
			obj, index, _ = types.LookupFieldOrMethod(t, true, n.Obj().Pkg(), name)
		}
	}
	if _, ok := obj.(*types.Var); !ok {
		fail("no field %s in %v", name, t)
	}
	out := make([]byte, len(index))
	for i, x := range index {
		out[i] = byte(x)
	}
	return string(out)
}

// Field is a field of a value of type t, perhaps a promoted one.
func Field(t types.Type, v Value, name string) Value { return at(v, path(t, name)) }

// WithField is v with the field replaced.
func WithField(t types.Type, v Value, name string, field Value) Value {
	return with(v, path(t, name), field)
}
