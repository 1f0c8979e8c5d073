package object

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
)

// rebuilt is the object's image with new contents, before the layout.
type rebuilt struct {
	*plan
	sections []*section // copies; nil where dropped
	newIndex []int      // of sections, 0 where dropped
	symbols  []symbol   // with section indices of the input
	newSym   []uint32   // of symbols, 0 where dropped
}

// encode writes the whole object anew. dropDebug leaves its DWARF out.
func (pl *plan) encode(dropDebug bool) ([]byte, error) {
	if pl.f.alone != "" {
		return nil, errors.New("the object is left alone: " + pl.f.alone)
	}
	rb := &rebuilt{plan: pl}
	for _, s := range pl.f.elf.sections {
		c := *s
		rb.sections = append(rb.sections, &c)
	}
	if err := rb.replaceCode(); err != nil {
		return nil, err
	}
	if err := rb.patchData(); err != nil {
		return nil, err
	}
	rb.moveSymbols()
	rb.drop(dropDebug)
	if err := rb.writeTables(); err != nil {
		return nil, err
	}
	return rb.layOut()
}

// replaceCode gives the executable sections and .BTF.ext their new contents.
func (rb *rebuilt) replaceCode() error {
	emitted := map[*codeSection]*emission{}
	for _, c := range rb.f.order {
		e, err := rb.emit(c)
		if err != nil {
			return fmt.Errorf("section %s: %w", c.name, err)
		}
		emitted[c] = e
		s := rb.sections[c.index]
		s.data, s.relocs = e.data, e.relocs
	}
	if rb.f.ext != nil {
		rb.encodeExt(emitted)
	}
	return nil
}

// encodeExt writes .BTF.ext and its relocations.
func (rb *rebuilt) encodeExt(emitted map[*codeSection]*emission) {
	e, order := rb.f.ext, rb.f.elf.order
	out := append([]byte(nil), e.header...)
	s := rb.sections[e.section]
	s.relocs = nil
	for i, t := range e.tables {
		start := len(out)
		for _, g := range t.groups {
			records := g.records
			if g.code != nil {
				records = emitted[g.code].ext[i]
			}
			if len(records) == 0 {
				continue // loaders refuse groups without records
			}
			if len(out) == start {
				out = order.AppendUint32(out, uint32(t.recordSize))
			}
			out = order.AppendUint32(out, g.nameOff)
			out = order.AppendUint32(out, uint32(len(records)))
			for _, r := range records {
				if g.reloc != nil {
					s.relocs = append(s.relocs, reloc{off: uint64(len(out)), typ: g.reloc.typ, sym: g.reloc.sym})
				}
				out = append(out, r...)
			}
		}
		if field := 8 + 8*i; field+8 <= len(e.header) {
			order.PutUint32(out[field:], uint32(start-len(e.header)))
			order.PutUint32(out[field+4:], uint32(len(out)-start))
		}
	}
	s.data = out
}

// patchData mends references to code in data sections and jump tables.
func (rb *rebuilt) patchData() error {
	own := map[int]bool{} // sections whose data is a copy already
	data := func(i int) []byte {
		if !own[i] {
			rb.sections[i].data = append([]byte(nil), rb.sections[i].data...)
			own[i] = true
		}
		return rb.sections[i].data
	}
	for _, r := range rb.f.refs {
		if rb.f.code[r.section] != nil || rb.f.targetCode(r) == nil {
			continue
		}
		if err := rb.patch(data(r.section), r.off, r); err != nil {
			return fmt.Errorf("section %s: %w", rb.sections[r.section].name, err)
		}
	}
	order := rb.f.elf.order
	done := map[jumpTable]bool{}
	for _, t := range rb.f.tables {
		if done[*t] {
			continue
		}
		done[*t] = true
		b := data(t.section)[t.off : t.off+t.size]
		for ; len(b) > 0; b = b[8:] {
			to := rb.move(t.code.index, int64(order.Uint64(b)))
			order.PutUint64(b, uint64(to))
		}
	}
	return nil
}

// moveSymbols gives the symbols of code their new values and sizes.
func (rb *rebuilt) moveSymbols() {
	for _, s := range rb.f.elf.symbols {
		if c := rb.f.code[int(s.Shndx)]; s.defined() && c != nil && c.isCut() && s.typ() != elf.STT_SECTION {
			end := rb.move(c.index, int64(s.Value+s.Size))
			start := rb.move(c.index, int64(s.Value))
			if s.Size != 0 {
				s.Size = uint64(max(0, end-start))
			}
			s.Value = uint64(start)
		}
		rb.symbols = append(rb.symbols, s)
	}
}

// drop numbers the sections and symbols that stay.
func (rb *rebuilt) drop(debug bool) {
	rb.newIndex = make([]int, len(rb.sections))
	next := 0
	for i, s := range rb.sections {
		if debug && s.debug {
			rb.sections[i] = nil
			continue
		}
		rb.newIndex[i] = next
		next++
	}
	rb.newSym = make([]uint32, len(rb.symbols))
	kept := uint32(0)
	for i, s := range rb.symbols {
		if s.defined() && rb.sections[s.Shndx] == nil {
			continue
		}
		rb.newSym[i] = kept
		kept++
	}
}

// writeTables encodes the symbol table and what refers to it by number.
func (rb *rebuilt) writeTables() error {
	for _, s := range rb.sections {
		if s == nil {
			continue
		}
		if s.rel != 0 {
			if rel := rb.sections[s.rel]; rel != nil {
				rel.data = rb.encodeRelocs(s.relocs)
			}
		}
	}
	if rb.f.elf.symtab != 0 {
		if err := rb.encodeSymbols(rb.sections[rb.f.elf.symtab]); err != nil {
			return err
		}
	}
	for _, s := range rb.sections {
		if s == nil {
			continue
		}
		if s.kind() == shtAddrsig && s.Link != 0 {
			if err := rb.encodeAddrsig(s); err != nil {
				return fmt.Errorf("section %s: %w", s.name, err)
			}
		}
		s.Link = uint32(rb.newIndex[s.Link])
		if s.kind() == elf.SHT_REL {
			s.Info = uint32(rb.newIndex[s.Info])
		}
	}
	return nil
}

func (rb *rebuilt) encodeRelocs(relocs []reloc) []byte {
	var out []byte
	order := rb.f.elf.order
	for _, r := range relocs {
		out = order.AppendUint64(out, r.off)
		out = order.AppendUint64(out, uint64(rb.newSym[r.sym])<<32|uint64(r.typ))
	}
	return out
}

func (rb *rebuilt) encodeSymbols(table *section) error {
	table.data = nil
	locals := uint32(0) // dropped ones
	for i, s := range rb.symbols {
		if i != 0 && rb.newSym[i] == 0 {
			if uint32(i) < table.Info {
				locals++
			}
			continue
		}
		if s.defined() {
			s.Shndx = uint16(rb.newIndex[s.Shndx])
		}
		var err error
		if table.data, err = binary.Append(table.data, rb.f.elf.order, &s.Sym64); err != nil {
			return fmt.Errorf("symbol %s: %w", s.name, err)
		}
	}
	table.Info -= locals // the first symbol that is not local
	return nil
}

// encodeAddrsig renumbers the list of symbols whose address matters.
func (rb *rebuilt) encodeAddrsig(s *section) error {
	list, err := rb.f.elf.addrsig(s)
	if err != nil {
		return err
	}
	s.data = nil
	for _, v := range list {
		if v == 0 || rb.newSym[v] != 0 {
			s.data = binary.AppendUvarint(s.data, uint64(rb.newSym[v]))
		}
	}
	return nil
}
