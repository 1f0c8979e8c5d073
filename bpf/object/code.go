package object

import (
	"debug/elf"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/k2cc/k2cc/bpf"
)

// codeSection is an executable section, cut into pieces that cover it.
type codeSection struct {
	*section
	index  int
	pieces []*piece
	refs   []*ref // what stands in it, by offset
}

// isCut tells whether the section was cut into functions. All symbols of such
// a section lie in it.
func (c *codeSection) isCut() bool { return c.pieces[0].name != "" }

// piece is a function's place in its section. Where it is not understood (fn
// is nil) its bytes are frozen: they stay as they are, but for references to
// what moved, and move only as one. A piece without a name is a whole section
// that could not be cut.
type piece struct {
	name       string
	section    *codeSection
	start, end int // bytes from the section's start
	local      bool
	raw        []bpf.Raw // slots count from the section's start; nil if it can't be decoded
	fn         *bpf.Function
	original   []bpf.Placed // fn's code as it was read
	records    []record     // what fn's symbols' Index counts
	at         []use        // by Pos-1
	reason     string       // why it is frozen
}

// cutSections finds the pieces of all executable sections.
func (f *File) cutSections() {
	for i, s := range f.elf.sections {
		if !s.isCode() {
			continue
		}
		c := &codeSection{section: s, index: i}
		f.code[i] = c
		f.order = append(f.order, c)
		pieces, err := f.cut(c)
		if err != nil {
			c.pieces = []*piece{{section: c, end: len(s.data)}}
			f.freezeSection(c, err.Error())
			continue
		}
		c.pieces = pieces
		f.decode(c)
	}
}

// cut finds the functions of a section by their symbols. It fails where they
// don't cover it.
func (f *File) cut(c *codeSection) ([]*piece, error) {
	if len(c.data)%bpf.SlotSize != 0 {
		return nil, fmt.Errorf("%d bytes are not a multiple of %d", len(c.data), bpf.SlotSize)
	}
	if f.sameName(c) {
		return nil, errors.New("another section has the same name")
	}
	byStart := map[int]*piece{}
	for i := range f.elf.symbols {
		sym := &f.elf.symbols[i]
		if !sym.defined() || int(sym.Shndx) != c.index || sym.typ() != elf.STT_FUNC {
			continue
		}
		if sym.Value >= uint64(len(c.data)) || sym.Value%bpf.SlotSize != 0 {
			return nil, fmt.Errorf("function %s does not start at an instruction", sym.name)
		}
		p, ok := byStart[int(sym.Value)]
		if !ok {
			p = &piece{section: c, start: int(sym.Value), local: true}
			byStart[p.start] = p
		}
		if local := sym.bind() == elf.STB_LOCAL; p.name == "" || p.local && !local {
			p.name, p.local = sym.name, local
		}
	}
	var pieces []*piece
	for _, p := range byStart {
		pieces = append(pieces, p)
	}
	slices.SortFunc(pieces, func(a, b *piece) int { return a.start - b.start })
	if len(pieces) == 0 || pieces[0].start != 0 {
		return nil, errors.New("it does not start with a function")
	}
	for i, p := range pieces {
		p.end = len(c.data)
		if i+1 < len(pieces) {
			p.end = pieces[i+1].start
		}
		if p.name == "" {
			return nil, fmt.Errorf("the function at byte %d has no name", p.start)
		}
	}
	return pieces, f.checkSizes(c, pieces)
}

func (f *File) sameName(c *codeSection) bool {
	n := 0
	for _, s := range f.elf.sections {
		if s.isCode() && s.name == c.name {
			n++
		}
	}
	return n > 1
}

// checkSizes checks that functions end where the next one starts. A symbol
// without a size makes no claim.
func (f *File) checkSizes(c *codeSection, pieces []*piece) error {
	for i := range f.elf.symbols {
		sym := &f.elf.symbols[i]
		if !sym.defined() || int(sym.Shndx) != c.index {
			continue
		}
		if sym.Value > uint64(len(c.data)) || sym.Size > uint64(len(c.data))-sym.Value {
			return fmt.Errorf("symbol %s reaches beyond the section", sym.name)
		}
		if sym.typ() != elf.STT_FUNC || sym.Size == 0 {
			continue
		}
		p := pieces[pieceIndex(pieces, int(sym.Value))]
		if sym.Size != uint64(p.end-p.start) {
			return fmt.Errorf("function %s does not end where the next one starts", sym.name)
		}
	}
	return nil
}

// pieceIndex is the index of the piece that holds the byte at off, which is
// within the section that pieces cover.
func pieceIndex(pieces []*piece, off int) int {
	return sort.Search(len(pieces), func(i int) bool { return pieces[i].end > off })
}

// pieceAt is the piece that holds the byte at off, or nil.
func (c *codeSection) pieceAt(off int64) *piece {
	if off < 0 || off >= int64(len(c.data)) {
		return nil
	}
	return c.pieces[pieceIndex(c.pieces, int(off))]
}

// decode reads every piece's instructions.
func (f *File) decode(c *codeSection) {
	for _, p := range c.pieces {
		raw, err := bpf.Decode(c.data[p.start:p.end], f.elf.order)
		if err != nil {
			f.freezeSection(c, fmt.Sprintf("function %s: %v", p.name, err))
			return
		}
		for i := range raw {
			raw[i].Slot += p.start / bpf.SlotSize
		}
		p.raw = raw
	}
}

// instruction is the index of the instruction that starts at off, bytes from
// the section's start.
func (p *piece) instruction(off int) (int, bool) {
	i := p.after(off)
	return i, i < len(p.raw) && p.raw[i].Slot*bpf.SlotSize == off
}

// after is the index of the first instruction that starts at off or later.
func (p *piece) after(off int) int {
	return sort.Search(len(p.raw), func(i int) bool { return p.raw[i].Slot*bpf.SlotSize >= off })
}

// freeze leaves the function alone.
func (p *piece) freeze(format string, args ...any) {
	if p.reason == "" {
		p.reason = fmt.Sprintf(format, args...)
	}
	p.fn = nil
}

// freezeSection leaves all of a section alone, so that nothing in it moves.
func (f *File) freezeSection(c *codeSection, reason string) {
	for _, s := range f.sections {
		if s.Section == c.name && s.Reason == reason {
			return
		}
	}
	f.sections = append(f.sections, Skip{Section: c.name, Reason: reason})
	for _, p := range c.pieces {
		p.freeze("its section is left alone")
	}
}

// level is the highest level that any instruction of the object needs.
func (f *File) level() bpf.Level {
	l := bpf.V1
	for _, s := range f.elf.sections {
		if !s.isCode() {
			continue
		}
		raw, err := bpf.Decode(s.data[:len(s.data)/bpf.SlotSize*bpf.SlotSize], f.elf.order)
		if err != nil {
			continue
		}
		for _, r := range raw {
			l = max(l, r.Level())
			if isIndirect(r.Instruction) {
				l = bpf.V4
			}
		}
	}
	return l
}

// isIndirect tells whether the instruction is gotox, a jump to an address in a
// register (include/uapi/linux/bpf.h, BPF_JA with BPF_X).
func isIndirect(in bpf.Instruction) bool { return in.Op == bpf.ClassJMP|bpf.OpJA|bpf.SourceX }
