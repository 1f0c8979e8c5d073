package object

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Relocation types of BPF (llvm/include/llvm/BinaryFormat/ELFRelocs/BPF.def).
const (
	reloc6464     = 1  // 64-bit immediate load: a map, data, an extern, a code address
	relocAbs64    = 2  // eight bytes of data
	relocAbs32    = 3  // four bytes of data
	relocNoDyld32 = 4  // four bytes of .BTF or .BTF.ext, of no matter to a loader
	reloc6432     = 10 // call
)

// Section types that debug/elf does not name (llvm/BinaryFormat/ELF.h).
const shtAddrsig elf.SectionType = 0x6fff4c03

const (
	headerSize  = 64
	sectionSize = 64
	symbolSize  = 24
	relocSize   = 16
)

// byteOrder is what binary.LittleEndian and binary.BigEndian are.
type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// image is an ELF file in parts.
type image struct {
	order    byteOrder
	header   elf.Header64
	sections []*section
	symbols  []symbol
	symtab   int // index of the symbol table's section, 0 without one
}

// section is a section header with what it stands for.
type section struct {
	elf.Section64
	name   string
	data   []byte // nil for NOBITS
	rel    int    // the REL section for this one, 0 without one
	relocs []reloc
	debug  bool // part of the object's DWARF, relocations included
}

type symbol struct {
	elf.Sym64
	name string
}

// reloc is an entry of a REL section.
type reloc struct {
	off uint64
	typ uint32
	sym uint32
}

func (im *image) bigEndian() bool { return im.order == binary.BigEndian }

func (s *section) kind() elf.SectionType { return elf.SectionType(s.Type) }

func (s *section) has(flag elf.SectionFlag) bool { return elf.SectionFlag(s.Flags)&flag != 0 }

// isCode tells whether the section holds instructions.
func (s *section) isCode() bool {
	return s.kind() == elf.SHT_PROGBITS && s.has(elf.SHF_EXECINSTR) && len(s.data) > 0
}

func (s *symbol) typ() elf.SymType { return elf.ST_TYPE(s.Info) }

func (s *symbol) bind() elf.SymBind { return elf.ST_BIND(s.Info) }

// defined tells whether the symbol stands for a place in a section.
func (s *symbol) defined() bool {
	return s.Shndx != uint16(elf.SHN_UNDEF) && s.Shndx < uint16(elf.SHN_LORESERVE)
}

// parseImage reads the ELF structures that every object has. All indices in
// what it returns are within bounds.
func parseImage(data []byte) (*image, error) {
	im, err := parseHeader(data)
	if err != nil {
		return nil, err
	}
	if err := im.parseSections(data); err != nil {
		return nil, err
	}
	if err := im.parseSymbols(); err != nil {
		return nil, err
	}
	return im, im.parseRelocs()
}

func parseHeader(data []byte) (*image, error) {
	if len(data) < headerSize || !bytes.HasPrefix(data, []byte(elf.ELFMAG)) {
		return nil, errors.New("not an ELF file")
	}
	im := &image{}
	switch elf.Data(data[elf.EI_DATA]) {
	case elf.ELFDATA2LSB:
		im.order = binary.LittleEndian
	case elf.ELFDATA2MSB:
		im.order = binary.BigEndian
	default:
		return nil, errors.New("unknown byte order")
	}
	if elf.Class(data[elf.EI_CLASS]) != elf.ELFCLASS64 {
		return nil, errors.New("not a 64-bit ELF file")
	}
	if _, err := binary.Decode(data, im.order, &im.header); err != nil {
		return nil, fmt.Errorf("ELF header: %w", err)
	}
	h := &im.header
	switch {
	case elf.Machine(h.Machine) != elf.EM_BPF:
		return nil, fmt.Errorf("ELF file for %v, not for BPF", elf.Machine(h.Machine))
	case elf.Type(h.Type) != elf.ET_REL:
		return nil, fmt.Errorf("ELF file of type %v, not relocatable", elf.Type(h.Type))
	case h.Shnum == 0 || h.Shentsize != sectionSize || h.Ehsize != headerSize:
		return nil, errors.New("ELF header of unknown layout")
	case h.Shstrndx >= h.Shnum:
		return nil, errors.New("no section holds the section names")
	}
	return im, nil
}

func (im *image) parseSections(data []byte) error {
	h := &im.header
	for i := range int(h.Shnum) {
		b, err := span(data, h.Shoff+uint64(i)*sectionSize, sectionSize)
		if err != nil {
			return fmt.Errorf("section header %d: %w", i, err)
		}
		s := &section{}
		if _, err := binary.Decode(b, im.order, &s.Section64); err != nil {
			return fmt.Errorf("section header %d: %w", i, err)
		}
		if s.kind() != elf.SHT_NOBITS && s.kind() != elf.SHT_NULL {
			if s.data, err = span(data, s.Off, s.Size); err != nil {
				return fmt.Errorf("section %d: %w", i, err)
			}
		}
		im.sections = append(im.sections, s)
	}
	names := im.sections[h.Shstrndx].data
	for i, s := range im.sections {
		var err error
		if s.name, err = cString(names, s.Name); err != nil {
			return fmt.Errorf("name of section %d: %w", i, err)
		}
		s.debug = s.isDWARF()
	}
	return nil
}

func (s *section) isDWARF() bool {
	return s.kind() == elf.SHT_PROGBITS && !s.has(elf.SHF_ALLOC) && !s.has(elf.SHF_EXECINSTR) &&
		(strings.HasPrefix(s.name, ".debug_") || strings.HasPrefix(s.name, ".zdebug_") || strings.HasPrefix(s.name, ".apple_"))
}

func (im *image) parseSymbols() error {
	for i, s := range im.sections {
		if s.kind() != elf.SHT_SYMTAB {
			continue
		}
		if im.symtab != 0 {
			return errors.New("more than one symbol table")
		}
		if s.Entsize != symbolSize || len(s.data)%symbolSize != 0 || int(s.Link) >= len(im.sections) {
			return errors.New("symbol table of unknown layout")
		}
		im.symtab = i
		names := im.sections[s.Link].data
		for at := 0; at < len(s.data); at += symbolSize {
			var sym symbol
			if _, err := binary.Decode(s.data[at:], im.order, &sym.Sym64); err != nil {
				return fmt.Errorf("symbol %d: %w", len(im.symbols), err)
			}
			var err error
			if sym.name, err = cString(names, sym.Name); err != nil {
				return fmt.Errorf("name of symbol %d: %w", len(im.symbols), err)
			}
			if sym.defined() && int(sym.Shndx) >= len(im.sections) {
				return fmt.Errorf("symbol %q: no section %d", sym.name, sym.Shndx)
			}
			im.symbols = append(im.symbols, sym)
		}
	}
	return nil
}

func (im *image) parseRelocs() error {
	for i, s := range im.sections {
		if s.kind() != elf.SHT_REL {
			continue
		}
		if s.Entsize != relocSize || len(s.data)%relocSize != 0 {
			return fmt.Errorf("section %s: relocations of unknown layout", s.name)
		}
		if s.Info == 0 || int(s.Info) >= len(im.sections) || int(s.Link) != im.symtab {
			return fmt.Errorf("section %s: relocations for no section", s.name)
		}
		to := im.sections[s.Info]
		if to.rel != 0 {
			return fmt.Errorf("section %s: relocated twice", to.name)
		}
		to.rel = i
		s.debug = to.debug
		for at := 0; at < len(s.data); at += relocSize {
			info := im.order.Uint64(s.data[at+8:])
			r := reloc{off: im.order.Uint64(s.data[at:]), typ: uint32(info), sym: uint32(info >> 32)}
			if int(r.sym) >= len(im.symbols) {
				return fmt.Errorf("section %s: no symbol %d", s.name, r.sym)
			}
			to.relocs = append(to.relocs, r)
		}
	}
	return nil
}

// span is the part of data from off, size bytes long.
func span(data []byte, off, size uint64) ([]byte, error) {
	if off > uint64(len(data)) || size > uint64(len(data))-off {
		return nil, errors.New("beyond the end of the file")
	}
	return data[off : off+size : off+size], nil
}

// cString is the zero-terminated string at off of a string table.
func cString(table []byte, off uint32) (string, error) {
	if off == 0 && len(table) == 0 {
		return "", nil
	}
	if uint64(off) >= uint64(len(table)) {
		return "", errors.New("beyond the end of the string table")
	}
	s, _, ok := bytes.Cut(table[off:], []byte{0})
	if !ok {
		return "", errors.New("string without an end")
	}
	return string(s), nil
}
