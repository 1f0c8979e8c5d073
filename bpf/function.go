package bpf

// Program is the code of one object: every function that was understood.
type Program struct {
	Functions []*Function
	BigEndian bool
	Level     Level // the highest level that any instruction of the input needs
}

// Context is the kind of R1 at the entry of a function that the kernel calls.
type Context uint8

// Context kinds. They tell which fields of the context hold packet pointers.
const (
	ContextNone  Context = iota // a subprogram: R1 to R5 are its caller's
	ContextOther                // R1 points to a context of some other kind
	ContextXDP                  // struct xdp_md
	ContextSKB                  // struct __sk_buff
	ContextPlain                // a context of which four bytes are never a pointer
)

// Function is a stretch of code with one entry, its first block.
type Function struct {
	Name    string
	Section string
	Context Context
	// HalfResult says that who calls the function takes no more than the low half
	// of what it returns, whatever is in the upper one.
	HalfResult bool
	// Global says that the function is no static one: it may be replaced when
	// it is loaded (BPF_PROG_TYPE_EXT), and the verifier holds its callers to
	// its prototype, so that its code does not say what a call needs.
	Global  bool
	Blocks  []*Block // in layout order: a block falls through to the next
	Symbols []Symbol // Ref r names Symbols[r-1]
}

// Block is a labelled run of instructions of which only the last may jump or
// exit. A block whose last instruction falls through goes on in the next block
// of its function's layout.
type Block struct {
	Label Label
	Code  []Instruction
}

// SymbolKind tells what a symbol stands for.
type SymbolKind uint8

// Kinds of symbols.
const (
	SymbolMap    SymbolKind = 1 + iota // the address of a map
	SymbolData                         // an address inside a data section
	SymbolFunc                         // a function of the same object: call or address
	SymbolExtern                       // a kfunc, kernel symbol or kconfig value
	SymbolCore                         // a CO-RE relocated field: unknown until load time
)

// Symbol is what a loader puts into an instruction. No two symbols of a
// function are the same in all but Index, so that equal Refs and only they
// mean equal values.
type Symbol struct {
	Kind  SymbolKind
	Name  string
	Index int // the record that the object's writer emits for it
	Map   *Map
	Func  *Function // the callee, for SymbolFunc where it was understood

	// Anchor is, for data of which a loader cannot put one piece elsewhere than
	// the next, the symbol of the section's start, from which this one is Offset
	// bytes away; 0 where nothing is known of distances.
	Anchor Ref
	Offset int64
	// Align is a power of two of which the address of a section's start is known
	// to be a multiple, for an Anchor.
	Align uint8
	// Frozen says that nobody writes to the data any more once the program is
	// loaded.
	Frozen bool
}

// Map is what an object says of a map. Sizes are in bytes; zero is unknown.
type Map struct {
	Type      uint32 // enum bpf_map_type
	KeySize   int
	ValueSize int
}

// Symbol is the symbol that r names, or nil for the zero Ref.
func (f *Function) Symbol(r Ref) *Symbol {
	if r <= 0 || int(r) > len(f.Symbols) {
		return nil
	}
	return &f.Symbols[r-1]
}

// Anchored is the symbol in whose terms the value of r is known, and how many
// bytes r is behind it: r itself and 0 where nothing better is known.
func (f *Function) Anchored(r Ref) (Ref, int64) {
	if s := f.Symbol(r); s != nil && s.Anchor != 0 {
		return s.Anchor, s.Offset
	}
	return r, 0
}

// Slots is the function's size in units of 8 bytes.
func (f *Function) Slots() int {
	n := 0
	for _, b := range f.Blocks {
		n += Slots(b.Code)
	}
	return n
}

// Clone copies the function's blocks and code; symbols are shared.
func (f *Function) Clone() *Function {
	c := *f
	c.Blocks = make([]*Block, len(f.Blocks))
	for i, b := range f.Blocks {
		c.Blocks[i] = &Block{Label: b.Label, Code: append([]Instruction(nil), b.Code...)}
	}
	return &c
}

// Level is the highest level that any instruction of the function needs.
func (f *Function) Level() Level {
	l := V1
	for _, b := range f.Blocks {
		for _, in := range b.Code {
			l = max(l, in.Level())
		}
	}
	return l
}
