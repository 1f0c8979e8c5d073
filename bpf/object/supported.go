package object

import (
	"cmp"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// supported says why the object holds something that the writer could not
// carry along when code moves.
func (im *image) supported() error {
	if im.header.Phnum != 0 {
		return errors.New("it has program headers")
	}
	for i, s := range im.sections {
		if i == 0 {
			if s.Section64 != (elf.Section64{}) {
				return errors.New("section header 0 is in use")
			}
			continue
		}
		if err := im.sectionSupported(s); err != nil {
			return fmt.Errorf("section %s: %w", s.name, err)
		}
	}
	for i := range im.symbols {
		s := &im.symbols[i]
		if s.Shndx == uint16(elf.SHN_XINDEX) {
			return fmt.Errorf("symbol %q has an extended section index", s.name)
		}
		if s.typ() == elf.STT_SECTION && (s.Value != 0 || !s.defined()) {
			return fmt.Errorf("section symbol %d does not stand for a section's start", i)
		}
	}
	if err := im.disjoint(); err != nil {
		return err
	}
	return im.debugSeparable()
}

func (im *image) sectionSupported(s *section) error {
	switch s.kind() {
	case elf.SHT_PROGBITS, elf.SHT_NOBITS, elf.SHT_STRTAB, elf.SHT_SYMTAB, elf.SHT_REL, elf.SHT_NULL, elf.SHT_NOTE, shtAddrsig:
	default:
		return fmt.Errorf("unknown section type %v", s.kind())
	}
	if s.has(elf.SHF_GROUP) {
		return errors.New("it is a member of a group")
	}
	if s.has(elf.SHF_INFO_LINK) && s.kind() != elf.SHT_REL {
		return errors.New("it describes another section")
	}
	if s.kind() == shtAddrsig && s.Link != 0 {
		if _, err := im.addrsig(s); err != nil {
			return err
		}
	}
	if a := s.Addralign; a&(a-1) != 0 || a > 1<<16 {
		return fmt.Errorf("alignment of %d", a)
	}
	if int(s.Link) >= len(im.sections) {
		return errors.New("linked to no section")
	}
	if s.has(elf.SHF_EXECINSTR) && s.has(elf.SHF_COMPRESSED) {
		return errors.New("compressed code")
	}
	if !s.debug && s.kind() != elf.SHT_REL && s.name == ".eh_frame" {
		return errors.New("it holds the extent of code")
	}
	return nil
}

// addrsig reads a list of symbols, each a ULEB128 number
// (llvm/docs/Extensions.rst).
func (im *image) addrsig(s *section) ([]int, error) {
	var out []int
	for b := s.data; len(b) > 0; {
		v, n := binary.Uvarint(b)
		if n <= 0 || v >= uint64(len(im.symbols)) {
			return nil, errors.New("no list of symbols")
		}
		b = b[n:]
		out = append(out, int(v))
	}
	return out, nil
}

// disjoint checks that no two parts of the file share bytes.
func (im *image) disjoint() error {
	end := uint64(headerSize)
	for _, i := range im.byOffset() {
		s := im.sections[i]
		if len(s.data) == 0 {
			continue
		}
		if s.Off < end {
			return fmt.Errorf("section %s shares bytes with what lies before it", s.name)
		}
		end = s.Off + s.Size
	}
	return nil
}

// byOffset lists the sections in the order in which the file has them.
func (im *image) byOffset() []int {
	var out []int
	for i := range im.sections {
		if i != 0 {
			out = append(out, i)
		}
	}
	slices.SortStableFunc(out, func(a, b int) int {
		x, y := im.sections[a], im.sections[b]
		if c := cmp.Compare(x.Off, y.Off); c != 0 {
			return c
		}
		return cmp.Compare(min(len(x.data), 1), min(len(y.data), 1))
	})
	return out
}

// debugSeparable checks that the DWARF sections can be dropped: nothing else
// may point into them.
func (im *image) debugSeparable() error {
	for _, s := range im.sections {
		if s.debug {
			continue
		}
		if s.Link != 0 && im.sections[s.Link].debug {
			return fmt.Errorf("section %s is linked to debug information", s.name)
		}
		for _, r := range s.relocs {
			if sym := &im.symbols[r.sym]; sym.defined() && im.sections[sym.Shndx].debug {
				return fmt.Errorf("section %s refers to debug information", s.name)
			}
		}
	}
	if im.sections[im.header.Shstrndx].debug {
		return errors.New("section names in debug information")
	}
	return nil
}
