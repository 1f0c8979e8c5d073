package flow

import "slices"

// fields is the number of context fields that are remembered between loads:
// data, data_meta and data_end.
const fields = 3

// state is a State and what the analysis alone wants to know.
type state struct {
	State
	// fields are the packet pointers that the context holds, KindNone where
	// they have not been loaded since they last may have moved.
	fields [fields]Value
	// readings are the places that were read, and not read or written since by
	// what others could tell.
	readings []reading
}

func (s *state) equal(o *state) bool {
	return s.sameState(o) && slices.Equal(s.readings, o.readings)
}

// sameState is equal but for readings, which come to rest when all else does.
func (s *state) sameState(o *state) bool {
	return s.Regs == o.Regs && s.fields == o.fields && s.Written == o.Written &&
		s.Escaped == o.Escaped && slices.Equal(s.Stack, o.Stack)
}

// effort says how much a join gives up so that a loop comes to rest.
type effort uint8

const (
	precise  effort = iota
	stepwise        // ranges that grew go to the next step
	widened         // ranges that grew are given up
	unknowns        // values that grew are given up
	alone           // so are equalities and cells
)

// effortAfter is the effort for a loop head that changed so often.
func effortAfter(changes int) effort {
	switch {
	case changes <= 2:
		return precise
	case changes <= 6:
		return stepwise
	case changes <= 8:
		return widened
	case changes <= 12:
		return unknowns
	}
	return alone
}

// joiner joins what arrives at a block. Two places get one Base where they had
// one Base on each of the two ways, and are equally far from each other on
// both: then whatever way was taken, they differ by that much.
type joiner struct {
	*naming
	block  int
	effort effort
	groups map[pair]group
	leaked bool
}

// pair is what two places need to have in common to get one Base.
type pair struct {
	a, b Base
	diff int64
}

type group struct {
	base   Base
	offset int64 // of the group's first place on way a
}

// constBase stands in for the Base of constants, of which all differ by known
// amounts.
const constBase Base = -1

// join is what is known where the ways of a and b come together at a block.
func (n *naming) join(block int, e effort, a, b *state) *state {
	j := &joiner{naming: n, block: block, effort: e, groups: map[pair]group{}}
	out := &state{}
	for r := range a.Regs {
		out.Regs[r] = j.value(r, a.Regs[r], b.Regs[r])
	}
	out.Written = a.Written
	out.Written.Keep(b.Written)
	out.Stack = j.cells(a.Stack, b.Stack)
	if slices.Equal(out.Stack, a.Stack) {
		out.Stack = a.Stack
	}
	for f := range a.fields {
		out.fields[f] = j.value(placeField+f, a.fields[f], b.fields[f])
	}
	out.readings = j.readings(a.readings, b.readings)
	out.Escaped = a.Escaped || b.Escaped || j.leaked
	return out
}

// enter renames what the block itself defined before it was entered again.
func (n *naming) enter(block int, s *state) *state { return n.join(block, precise, s, s) }

func (j *joiner) cells(a, b []Cell) []Cell {
	var out []Cell
	for len(a) > 0 && len(b) > 0 {
		switch x, y := &a[0], &b[0]; {
		case x.Off == y.Off && x.Size == y.Size:
			v := j.value(placeCell+int(x.Off)+StackSize, x.Value, y.Value)
			if j.effort < alone || v == x.Value {
				out = append(out, Cell{x.Off, x.Size, v})
			} else {
				j.lose(*x)
				j.lose(*y)
			}
			a, b = a[1:], b[1:]
		case x.Off < y.Off || x.Off == y.Off && x.Size < y.Size:
			j.lose(*x)
			a = a[1:]
		default:
			j.lose(*y)
			b = b[1:]
		}
	}
	for _, c := range append(slices.Clone(a), b...) {
		j.lose(c)
	}
	return out
}

// lose notes that a cell is no longer followed.
func (j *joiner) lose(c Cell) {
	j.leaked = j.leaked || c.Value.Kind == KindStack
}

// value is what is known of a place that holds a on one way and b on the other.
func (j *joiner) value(place int, a, b Value) Value {
	kind, null := j.kind(a, b)
	if kind == KindNone {
		return Unknown(KindNone)
	}
	n := number{a, 64}
	n.join(number{b, 64})
	n.Kind, n.MaybeNull, n.Base, n.Offset, n.Align = kind, null, 0, 0, 0
	n = asKind(n)
	grew := !sameNumbers(n.Value, a)
	switch {
	case grew && j.effort >= unknowns:
		n.Value = Unknown(kind)
		n.MaybeNull = null
	case grew && j.effort == widened:
		n.widen(number{a, 64}, &steps{})
	case grew && j.effort == stepwise:
		n.widen(number{a, 64}, j.steps)
	}
	if n.IsConst() {
		return n.Value
	}
	n.Base, n.Offset, n.Align = j.name(place, a, b)
	if j.effort == alone && n.Value != a {
		n.Base, n.Offset, n.Align = j.phi(j.block, place), 0, 0
	}
	return n.Value
}

func sameNumbers(a, b Value) bool {
	return a.Bits == b.Bits && a.Mask == b.Mask && a.UMin == b.UMin && a.UMax == b.UMax && a.SMin == b.SMin && a.SMax == b.SMax
}

// kind is the kind of a value that has a's on one way and b's on the other.
func (j *joiner) kind(a, b Value) (kind Kind, maybeNull bool) {
	switch {
	case a.Kind == KindNone || b.Kind == KindNone:
		return KindNone, false
	case a.Kind == b.Kind:
		return a.Kind, a.MaybeNull || b.MaybeNull
	case isNull(a) && nullable(b.Kind):
		return b.Kind, true
	case isNull(b) && nullable(a.Kind):
		return a.Kind, true
	}
	j.leaked = j.leaked || a.Kind == KindStack || b.Kind == KindStack
	return KindAny, false
}

func isNull(v Value) bool { return v.IsConst() && v.Bits == 0 }

// nullable tells whether values of the kind may be marked MaybeNull.
func nullable(k Kind) bool { return k == KindMapValue || k == KindOther }

// name finds the Base, Offset and Align of a place.
func (j *joiner) name(place int, a, b Value) (Base, int64, uint8) {
	x, xoff := identity(a)
	y, yoff := identity(b)
	switch {
	case x == 0 || y == 0:
		return j.phi(j.block, place), 0, 0
	case x == y && xoff == yoff && x != constBase && !j.owns(j.block, x):
		return x, xoff, min(a.Align, b.Align)
	}
	p := pair{x, y, xoff - yoff}
	g, ok := j.groups[p]
	if !ok {
		g = group{j.phi(j.block, place), xoff}
		j.groups[p] = g
	}
	// The new Base stands for what is g.offset from a's, and from b's for what
	// is as far from it there.
	align := min(alignAt(a, g.offset), alignAt(b, yoff-(xoff-g.offset)))
	return g.base, xoff - g.offset, align
}

// maxAlign is the most that an Align tells.
const maxAlign = 8

// alignAt is the Align of what is off from v's Base, or the number off where v
// is a constant.
func alignAt(v Value, off int64) uint8 {
	align := v.Align
	if v.IsConst() {
		align = maxAlign
	}
	for align > 0 && off%int64(align) != 0 {
		align /= 2
	}
	if align < 2 {
		return 0
	}
	return align
}

func identity(v Value) (Base, int64) {
	if v.IsConst() {
		return constBase, int64(v.Bits)
	}
	return v.Base, v.Offset
}
