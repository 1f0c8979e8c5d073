package encode

// op is the operation of a node, with the meaning of semantics.Domain's method
// of the same name.
type op uint8

const (
	opConst op = iota
	opVar
	opAdd
	opSub
	opMul
	opUDiv
	opURem
	opSDiv
	opSRem
	opAnd
	opOr
	opXor
	opShl
	opLShr
	opAShr
	opEq
	opULt
	opSLt
	opIte
	opExtract // of a, from bit k up
	opZExt
	opSExt
	opConcat // a above b
)

// node is a term of width 1 to 64 bits. Nodes of one graph are unique: equal
// pointers mean equal terms, and are how addresses are recognised.
type node struct {
	id      int
	op      op
	width   int
	a, b, c *node
	k       uint64 // the constant, an extract's lowest bit
	name    string // of a variable

	// assume holds for every value of a variable that the facts allow.
	assume []*node
	// align is a power of two of which a variable is known to be a multiple, or
	// zero.
	align uint8
	// narrow says that a variable stands for a load of four bytes, or for the
	// upper half of what it yields, which is zero unless that is a pointer.
	narrow bool
}

type nodeKey struct {
	op      op
	width   int
	a, b, c int
	k       uint64
	name    string
}

// graph makes nodes. It brings them into a form in which addresses from one base
// differ in a constant only, and what is cut, masked, shifted and put together
// again is what it was; everything else is left to Z3.
type graph struct {
	nodes map[nodeKey]*node
	vars  []*node
	lows  map[lowKey]*node // see low
}

func newGraph() *graph {
	return &graph{nodes: map[nodeKey]*node{}, lows: map[lowKey]*node{}}
}

func idOf(n *node) int {
	if n == nil {
		return -1
	}
	return n.id
}

func (g *graph) make(n node) *node {
	key := nodeKey{n.op, n.width, idOf(n.a), idOf(n.b), idOf(n.c), n.k, n.name}
	if old, ok := g.nodes[key]; ok {
		return old
	}
	n.id = len(g.nodes)
	g.nodes[key] = &n
	if n.op == opVar {
		g.vars = append(g.vars, &n)
	}
	return &n
}

// maskOf has the low width bits set.
func maskOf(width int) uint64 { return ^uint64(0) >> (64 - width) }

func (g *graph) constant(v uint64, width int) *node {
	return g.make(node{op: opConst, width: width, k: v & maskOf(width)})
}

func (g *graph) variable(name string, width int) *node {
	return g.make(node{op: opVar, width: width, name: name})
}

func (n *node) isConst() bool { return n.op == opConst }

// binary makes an operation on two operands of one width.
func (g *graph) binary(o op, a, b *node) *node {
	switch o {
	case opAdd, opMul:
		if n := g.narrowed(o, a, b); n != nil {
			return n
		}
	}
	switch o {
	case opAdd:
		return g.add(a, b)
	case opSub:
		return g.sub(a, b)
	case opAnd, opOr, opXor, opMul:
		if a.isConst() || !b.isConst() && a.id > b.id {
			a, b = b, a
		}
	}
	if v, ok := fold(o, a, b); ok {
		return g.constant(v, a.width)
	}
	if b.isConst() {
		if n := g.byConstant(o, a, b.k); n != nil {
			return n
		}
	}
	if n := g.bitwise(o, a, b); n != nil {
		return n
	}
	return g.make(node{op: o, width: a.width, a: a, b: b})
}

// fold computes operations on constants, but for those that may divide by zero.
func fold(o op, a, b *node) (uint64, bool) {
	if !a.isConst() || !b.isConst() {
		return 0, false
	}
	switch o {
	case opAnd:
		return a.k & b.k, true
	case opOr:
		return a.k | b.k, true
	case opXor:
		return a.k ^ b.k, true
	case opMul:
		return a.k * b.k, true
	case opShl:
		return a.k << b.k, true
	case opLShr:
		return a.k >> b.k, true
	}
	return 0, false
}

func (g *graph) sub(a, b *node) *node {
	ra, ca := split(a)
	rb, cb := split(b)
	switch {
	case ra == rb:
		return g.constant(ca-cb, a.width)
	case rb == nil:
		return g.binary(opAdd, a, g.constant(-cb, b.width))
	}
	return g.make(node{op: opSub, width: a.width, a: a, b: b})
}

// add keeps sums in the form (x + y) + constant, with x and y in a fixed order,
// so that addresses from one base differ in the constant only.
func (g *graph) add(a, b *node) *node {
	ra, ca := split(a)
	rb, cb := split(b)
	c := (ca + cb) & maskOf(a.width)
	var root *node
	switch {
	case ra == nil && rb == nil:
		return g.constant(c, a.width)
	case ra == nil:
		root = rb
	case rb == nil:
		root = ra
	default:
		if ra.id > rb.id {
			ra, rb = rb, ra
		}
		root = g.make(node{op: opAdd, width: a.width, a: ra, b: rb})
	}
	if c == 0 {
		return root
	}
	return g.make(node{op: opAdd, width: a.width, a: root, b: g.constant(c, a.width)})
}

// split takes a sum apart into its root, nil for a mere constant, and the
// constant added to it.
func split(n *node) (root *node, c uint64) {
	switch {
	case n.isConst():
		return nil, n.k
	case n.op == opAdd && n.b.isConst():
		return n.a, n.b.k
	}
	return n, 0
}

// compare makes a truth value. Sums are compared as x == y + constant, with x
// and y in a fixed order, so that of the many comparisons of addresses from two
// bases there are few.
func (g *graph) compare(o op, a, b *node) *node {
	if a == b {
		return g.constant(b2u(o == opEq), 1)
	}
	// What is zero in both, or not negative, need not be compared.
	if k := max(significant(a), significant(b)); k < a.width {
		if o == opSLt {
			o = opULt
		}
		a, b = g.low(a, max(k, 1)), g.low(b, max(k, 1))
	}
	if o != opEq {
		return g.make(node{op: o, width: 1, a: a, b: b})
	}
	ra, ca := split(a)
	rb, cb := split(b)
	switch {
	case ra == rb:
		return g.constant(b2u(ca == cb), 1)
	case ra == nil || rb != nil && ra.id > rb.id:
		ra, ca, rb, cb = rb, cb, ra, ca
	}
	right := g.constant(cb-ca, a.width)
	if rb != nil {
		right = g.add(rb, right)
	}
	return g.make(node{op: opEq, width: 1, a: ra, b: right})
}

func b2u(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func (g *graph) ite(c, a, b *node) *node {
	switch {
	case a == b:
		return a
	case c.isConst() && c.k == 1:
		return a
	case c.isConst():
		return b
	}
	return g.make(node{op: opIte, width: a.width, a: a, b: b, c: c})
}

func (g *graph) extract(n *node, hi, lo int) *node {
	width := hi - lo + 1
	switch {
	case width == n.width:
		return n
	case n.isConst():
		return g.constant(n.k>>lo, width)
	case n.op == opExtract:
		return g.extract(n.a, hi+int(n.k), lo+int(n.k))
	case n.op == opZExt && lo >= n.a.width:
		return g.constant(0, width)
	case n.op == opZExt && hi >= n.a.width:
		return g.zext(g.extract(n.a, n.a.width-1, lo), width)
	case n.op == opSExt && hi >= n.a.width && lo < n.a.width:
		return g.sext(g.extract(n.a, n.a.width-1, lo), width)
	case (n.op == opZExt || n.op == opSExt) && hi < n.a.width:
		return g.extract(n.a, hi, lo)
	case n.op == opConcat && hi < n.b.width:
		return g.extract(n.b, hi, lo)
	case n.op == opConcat && lo >= n.b.width:
		return g.extract(n.a, hi-n.b.width, lo-n.b.width)
	case n.op == opConcat:
		return g.concat(g.extract(n.a, hi-n.b.width, 0), g.extract(n.b, n.b.width-1, lo))
	}
	return g.make(node{op: opExtract, width: width, a: n, k: uint64(lo)})
}

func (g *graph) zext(n *node, width int) *node {
	switch {
	case width == n.width:
		return n
	case n.isConst():
		return g.constant(n.k, width)
	case n.op == opZExt:
		n = n.a
	}
	return g.make(node{op: opZExt, width: width, a: n})
}

func (g *graph) sext(n *node, width int) *node {
	switch {
	case width == n.width:
		return n
	case n.isConst():
		shift := 64 - n.width
		return g.constant(uint64(int64(n.k<<shift)>>shift), width)
	case n.op == opSExt:
		n = n.a
	case n.op == opZExt:
		return g.zext(n.a, width)
	}
	return g.make(node{op: opSExt, width: width, a: n})
}

// concat has zeros at the top as an extension, and what is joined to the right.
func (g *graph) concat(hi, lo *node) *node {
	width := hi.width + lo.width
	switch {
	case hi.isConst() && lo.isConst():
		return g.constant(hi.k<<lo.width|lo.k, width)
	case hi.isConst() && hi.k == 0:
		return g.zext(lo, width)
	case hi.op == opZExt:
		return g.zext(g.concat(hi.a, lo), width)
	case hi.op == opConcat:
		return g.concat(hi.a, g.concat(hi.b, lo))
	}
	if n := g.adjacent(hi, lo); n != nil {
		return n
	}
	if lo.op == opConcat {
		if n := g.adjacent(hi, lo.a); n != nil {
			return g.concat(n, lo.b)
		}
	}
	return g.make(node{op: opConcat, width: width, a: hi, b: lo})
}

// adjacent joins two parts of one term that lie side by side, or two constants.
func (g *graph) adjacent(hi, lo *node) *node {
	width := hi.width + lo.width
	switch {
	case hi.isConst() && lo.isConst():
		return g.constant(hi.k<<lo.width|lo.k, width)
	case hi.op == opExtract && lo.op == opExtract && hi.a == lo.a && hi.k == lo.k+uint64(lo.width):
		return g.extract(hi.a, int(lo.k)+width-1, int(lo.k))
	}
	return nil
}
