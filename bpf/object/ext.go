package object

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/k2cc/k2cc/bpf"
)

// The tables of .BTF.ext (Documentation/bpf/btf.rst, section 4).
const (
	extFunc = iota
	extLine
	extCore
	extTables
)

const (
	btfMagic      = 0xeb9f
	extHeaderSize = 24 // up to and with the lengths of func_info and line_info
	coreSize      = 16 // bytes of a CO-RE relocation: offset, type, access string, kind
)

// ext is .BTF.ext in parts.
type ext struct {
	section int
	header  []byte
	tables  [extTables]extTable
}

type extTable struct {
	recordSize int
	groups     []*extGroup
}

// extGroup holds the records of one table for one section.
type extGroup struct {
	nameOff uint32
	code    *codeSection // nil where it describes no code of the object
	records []extRecord
	reloc   *reloc                 // how all its records are relocated; nil where none is
	byPiece map[*piece][]extRecord // records of code, by offset
}

// extRecord is a record: its first four bytes are the offset, in bytes from
// the section's start.
type extRecord []byte

func (r extRecord) off(order binary.ByteOrder) int { return int(order.Uint32(r)) }

// readExt takes .BTF.ext apart and finds the code that it describes.
func (f *File) readExt() error {
	for i, s := range f.elf.sections {
		if s.name != ".BTF.ext" || s.data == nil {
			continue
		}
		if f.ext != nil {
			return errors.New("more than one .BTF.ext section")
		}
		e, err := parseExt(s.data, f.elf.order)
		if err != nil {
			return fmt.Errorf("section .BTF.ext: %w", err)
		}
		e.section = i
		if err := f.checkExtRelocs(e); err != nil {
			return fmt.Errorf("section .BTF.ext: %w", err)
		}
		f.ext = e
	}
	if f.ext == nil {
		return nil
	}
	names, err := f.btfStrings()
	if err != nil {
		return fmt.Errorf("section .BTF: %w", err)
	}
	return f.bindExt(names)
}

func parseExt(data []byte, order binary.ByteOrder) (*ext, error) {
	if len(data) < extHeaderSize || order.Uint16(data) != btfMagic || data[2] != 1 {
		return nil, errors.New("unknown header")
	}
	size := int64(order.Uint32(data[4:]))
	if size < extHeaderSize || size%4 != 0 || size > 64 || size > int64(len(data)) {
		return nil, fmt.Errorf("header of %d bytes", size)
	}
	e := &ext{header: data[:size]}
	body := data[size:]
	at := uint64(0)
	for i := range e.tables {
		field := 8 + 8*i
		if field+8 > len(e.header) {
			break
		}
		off, n := uint64(order.Uint32(data[field:])), uint64(order.Uint32(data[field+4:]))
		if n == 0 {
			continue
		}
		if off != at {
			return nil, errors.New("its tables do not follow each other")
		}
		table, err := span(body, off, n)
		if err != nil {
			return nil, fmt.Errorf("table %d: %w", i, err)
		}
		if e.tables[i], err = parseExtTable(table, order); err != nil {
			return nil, fmt.Errorf("table %d: %w", i, err)
		}
		at += n
	}
	if at != uint64(len(body)) {
		return nil, errors.New("unknown data behind its tables")
	}
	return e, nil
}

func parseExtTable(data []byte, order binary.ByteOrder) (extTable, error) {
	var t extTable
	if len(data) < 4 {
		return t, errors.New("no record size")
	}
	size := order.Uint32(data)
	if size < 8 || size%4 != 0 || size > 1024 {
		return t, fmt.Errorf("records of %d bytes", size)
	}
	t.recordSize = int(size)
	data = data[4:]
	for len(data) > 0 {
		if len(data) < 8 {
			return t, errors.New("section without a head")
		}
		g := &extGroup{nameOff: order.Uint32(data)}
		n := uint64(order.Uint32(data[4:]))
		body, err := span(data[8:], 0, n*uint64(size))
		if err != nil {
			return t, fmt.Errorf("%d records: %w", n, err)
		}
		data = data[8+len(body):]
		for len(body) > 0 {
			g.records = append(g.records, body[:size])
			body = body[size:]
		}
		t.groups = append(t.groups, g)
	}
	return t, nil
}

// checkExtRelocs matches the relocations of .BTF.ext with its records. Either
// all records of a group have one, for the same section symbol, or none has.
func (f *File) checkExtRelocs(e *ext) error {
	at := map[uint64]reloc{}
	for _, r := range f.elf.sections[e.section].relocs {
		if _, ok := at[r.off]; ok {
			return errors.New("a record is relocated twice")
		}
		at[r.off] = r
	}
	pos := uint64(len(e.header))
	for i := range e.tables {
		t := &e.tables[i]
		if t.recordSize != 0 {
			pos += 4
		}
		for _, g := range t.groups {
			pos += 8
			for j := range g.records {
				r, ok := at[pos]
				delete(at, pos)
				pos += uint64(t.recordSize)
				if j == 0 && ok {
					g.reloc = &r
				}
				if ok != (g.reloc != nil) || ok && (r.typ != g.reloc.typ || r.sym != g.reloc.sym) {
					return errors.New("records relocated in different ways")
				}
			}
		}
	}
	if len(at) != 0 {
		return errors.New("relocations that belong to no record")
	}
	return nil
}

// bindExt finds each group's section and leaves code alone that its records
// describe in a way that can't be kept when it changes.
func (f *File) bindExt(names []byte) error {
	for i := range f.ext.tables {
		seen := map[uint32]bool{}
		for _, g := range f.ext.tables[i].groups {
			name, err := cString(names, g.nameOff)
			if err != nil {
				return fmt.Errorf("section name in .BTF.ext: %w", err)
			}
			for _, c := range f.order {
				if c.name == name {
					g.code = c
				}
			}
			if g.code == nil {
				continue
			}
			if seen[g.nameOff] {
				return errors.New("section .BTF.ext: a section described twice")
			}
			seen[g.nameOff] = true
			if r := g.reloc; r != nil {
				sym := &f.elf.symbols[r.sym]
				if !sym.defined() || int(sym.Shndx) != g.code.index || sym.Value != 0 {
					return errors.New("section .BTF.ext: a record relocated by more than its section's start")
				}
			}
			if err := f.checkRecords(i, g); err != nil {
				return fmt.Errorf("section .BTF.ext: %w", err)
			}
		}
	}
	return nil
}

// checkRecords sorts the records of a group by function.
func (f *File) checkRecords(table int, g *extGroup) error {
	if table == extCore && f.ext.tables[table].recordSize != coreSize {
		return errors.New("CO-RE relocations of unknown layout")
	}
	g.byPiece = map[*piece][]extRecord{}
	order := f.elf.order
	records := slices.Clone(g.records)
	slices.SortStableFunc(records, func(a, b extRecord) int { return a.off(order) - b.off(order) })
	seen := map[int]bool{}
	for _, r := range records {
		off := r.off(order)
		p := g.code.pieceAt(int64(off))
		if p == nil {
			return errors.New("a record for what lies beyond a section's end")
		}
		g.byPiece[p] = append(g.byPiece[p], r)
		_, starts := p.instruction(off)
		switch {
		case p.raw == nil:
		case table == extFunc && off != p.start:
			f.freezeSection(g.code, "function information inside a function")
		case !starts:
			p.freeze("a record of .BTF.ext inside an instruction")
		case seen[off] && table == extFunc:
			p.freeze("two records of .BTF.ext for one instruction")
		}
		seen[off] = true
	}
	return nil
}

// group is the group of a table that describes c, or nil.
func (e *ext) group(table int, c *codeSection) *extGroup {
	if e == nil {
		return nil
	}
	for _, g := range e.tables[table].groups {
		if g.code == c {
			return g
		}
	}
	return nil
}

// of lists the group's records for p by offset.
func (g *extGroup) of(p *piece) []extRecord {
	if g == nil {
		return nil
	}
	return g.byPiece[p]
}

// governing gives for each instruction of p the index of the record that
// holds for it: the last one at or before it; -1 where there is none.
func governing(p *piece, records []extRecord, order binary.ByteOrder) []int {
	out := make([]int, len(p.raw))
	next := 0
	for i, r := range p.raw {
		for next < len(records) && records[next].off(order) <= r.Slot*bpf.SlotSize {
			next++
		}
		out[i] = next - 1
	}
	return out
}

// btfStrings is the string table of .BTF (Documentation/bpf/btf.rst, section
// 2).
func (f *File) btfStrings() ([]byte, error) {
	for _, s := range f.elf.sections {
		if s.name != ".BTF" || s.data == nil {
			continue
		}
		order := f.elf.order
		if len(s.data) < 24 || order.Uint16(s.data) != btfMagic {
			return nil, errors.New("unknown header")
		}
		off := uint64(order.Uint32(s.data[4:])) + uint64(order.Uint32(s.data[16:]))
		return span(s.data, off, uint64(order.Uint32(s.data[20:])))
	}
	return nil, errors.New("there is none, but a .BTF.ext")
}
