package flow

import "github.com/k2cc/k2cc/bpf"

// ContextBase is the Base of the context as a function finds it in R1.
const ContextBase Base = 2

// naming gives out Bases. A Base of the frame, the context, an argument or a
// symbol stands for one number all the time that a function runs. Any other
// names a number defined by an instruction or, at the start of a block, what
// comes together there from several paths; it stands for what was defined there
// last. Whoever enters a block has to rename what that block defined before:
// see owns.
type naming struct {
	sites  Base // first Base of an instruction
	phis   Base // first Base of a block
	steps  *steps
	starts []Base // by block, the first Base of its instructions, and the end
	heads  []bool // by block, whether it is a loop's head; nil where no ways join
}

// sitesPerInstruction is the number of numbers that one instruction can define:
// what it loads, what it stores, what it leaves in a register.
const sitesPerInstruction = 3

const (
	siteLoad = iota
	siteStore
	siteRegister
)

// Places are numbered: registers, then cells by their first byte, then fields
// of the context.
const (
	placeCell  = bpf.NumRegisters
	placeField = placeCell + StackSize
	places     = placeField + fields
)

const firstSymbol = ContextBase + 6 // arguments are R1 to R5

func newNaming(fn *bpf.Function, g *Graph) *naming {
	n := &naming{heads: g.head, sites: firstSymbol + 2*Base(len(fn.Symbols)), steps: stepsOf(fn)}
	next := n.sites
	for _, b := range fn.Blocks {
		n.starts = append(n.starts, next)
		next += Base(len(b.Code) * sitesPerInstruction)
	}
	n.starts = append(n.starts, next)
	n.phis = next
	return n
}

func argument(r bpf.Register) Base { return ContextBase + Base(r) }

// narrowSymbol is the Base of a symbol where it is a 32-bit immediate.
func narrowSymbol(r bpf.Ref) Base { return SymbolBase(r) + 1 }

// SymbolOf is the symbol of fn that b is the Base of: what a 64-bit immediate
// load of it leaves in a register.
func SymbolOf(fn *bpf.Function, b Base) (bpf.Ref, bool) {
	n := (b - firstSymbol) / 2
	if b < firstSymbol || int(n) >= len(fn.Symbols) || (b-firstSymbol)%2 != 0 {
		return 0, false
	}
	return bpf.Ref(n + 1), true
}

// IsSymbol tells whether b is the Base of a symbol of fn, in either width.
func IsSymbol(fn *bpf.Function, b Base) bool {
	return b >= firstSymbol && int(b-firstSymbol)/2 < len(fn.Symbols)
}

// SymbolOfEither is the symbol that b, of which IsSymbol is true, is the Base of,
// and whether it is that of the symbol as a 32-bit immediate.
func SymbolOfEither(b Base) (r bpf.Ref, narrow bool) {
	n := b - firstSymbol
	return bpf.Ref(n/2 + 1), n%2 != 0
}

// SymbolBase is the Base of what a symbol's immediate load leaves in a register.
func SymbolBase(r bpf.Ref) Base { return firstSymbol + 2*Base(r-1) }

func (n *naming) site(block, i, which int) Base {
	return n.starts[block] + Base(i*sitesPerInstruction+which)
}

func (n *naming) phi(block, place int) Base {
	return n.phis + Base(block*places+place)
}

// owns tells whether the block itself defines b, so that a b from outside is
// not the b inside.
func (n *naming) owns(block int, b Base) bool {
	return b >= n.starts[block] && b < n.starts[block+1] || b >= n.phi(block, 0) && b < n.phi(block+1, 0)
}
