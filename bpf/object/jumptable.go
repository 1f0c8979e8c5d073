package object

import (
	"debug/elf"
	"strings"
)

const jumpTables = ".jumptables"

// jumpTable is a table of code addresses of 8 bytes each, counted from the
// start of the section of the function that jumps through it. Clang writes
// them from ISA level v4 on, without relocations.
type jumpTable struct {
	code      *codeSection
	section   int
	off, size int
}

// freezeJumpTables leaves functions with indirect jumps alone and checks that
// what they jump through can be kept right when the functions move.
func (f *File) freezeJumpTables() {
	for i, s := range f.elf.sections {
		if strings.HasPrefix(s.name, jumpTables) && s.kind() == elf.SHT_PROGBITS {
			f.findJumpTables(i)
		}
	}
	for _, c := range f.order {
		for _, p := range c.pieces {
			for _, r := range p.raw {
				if !isIndirect(r.Instruction) {
					continue
				}
				if p.reason != reasonTable {
					f.freezeSection(c, "an indirect jump without a jump table")
				}
			}
		}
	}
}

const reasonTable = "it jumps through a table"

// findJumpTables records the tables in a section of the file. The functions
// that use them are left alone; where a table is not a plain one of one
// function, the whole section of that function is.
func (f *File) findJumpTables(section int) {
	for _, r := range f.refs {
		to, off, ok := f.target(r)
		c := f.code[r.section]
		if !ok || to != section || c == nil {
			continue
		}
		p := c.pieceAt(int64(r.off))
		t := &jumpTable{code: c, section: section, off: int(off), size: int(f.elf.symbols[r.reloc.sym].Size)}
		if r.addend != 0 || r.form != formImm64 || !f.plainTable(t, p) || f.overlaps(t) {
			f.freezeSection(c, "a jump table of unknown form")
			continue
		}
		p.freeze(reasonTable)
		f.tables = append(f.tables, t)
	}
}

// overlaps tells whether a table other than t itself shares bytes with it. The
// other table's code is then left alone as well.
func (f *File) overlaps(t *jumpTable) bool {
	bad := false
	for _, o := range f.tables {
		if *o == *t || o.section != t.section || o.off+o.size <= t.off || t.off+t.size <= o.off {
			continue
		}
		f.freezeSection(o.code, "a jump table of unknown form")
		bad = true
	}
	return bad
}

// plainTable tells whether t lies in its section and all its entries in p.
func (f *File) plainTable(t *jumpTable, p *piece) bool {
	s := f.elf.sections[t.section]
	if s.rel != 0 || t.off < 0 || t.size <= 0 || t.size%8 != 0 {
		return false
	}
	data, err := span(s.data, uint64(t.off), uint64(t.size))
	if err != nil {
		return false
	}
	for at := 0; at < len(data); at += 8 {
		if to := f.elf.order.Uint64(data[at:]); to < uint64(p.start) || to >= uint64(p.end) {
			return false
		}
	}
	return true
}
