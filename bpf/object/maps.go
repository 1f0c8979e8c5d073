package object

import (
	"bytes"
	"debug/elf"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/k2cc/k2cc/bpf"
)

// isMaps tells whether a section defines maps: with BTF in .maps, as structs
// of numbers in the older maps.
func isMaps(section string) bool { return section == ".maps" || isLegacyMaps(section) }

func isLegacyMaps(section string) bool {
	return section == "maps" || strings.HasPrefix(section, "maps/")
}

// mapTable knows the maps of an object.
type mapTable struct {
	f      *File
	byName map[string]*bpf.Map // of .maps
	named  map[place]string    // objects by where they start
}

// readMaps reads the definitions of the object's maps. A map whose definition
// can't be read is known by its name alone.
func (f *File) readMaps() *mapTable {
	t := &mapTable{f: f, byName: map[string]*bpf.Map{}, named: map[place]string{}}
	for i := range f.elf.symbols {
		s := &f.elf.symbols[i]
		if !s.defined() || s.name == "" || s.typ() == elf.STT_SECTION || s.typ() == elf.STT_FILE {
			continue
		}
		at := place{section: int(s.Shndx), off: int64(s.Value)}
		if _, ok := t.named[at]; !ok {
			t.named[at] = s.name
		}
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(f.data))
	if err != nil {
		return t
	}
	var sec *btf.Datasec
	if err := spec.TypeByName(".maps", &sec); err != nil {
		return t
	}
	for _, v := range sec.Vars {
		if v, ok := v.Type.(*btf.Var); ok {
			t.byName[v.Name] = mapOf(v)
		}
	}
	return t
}

// mapOf reads a map's definition from its variable's type
// (Documentation/bpf/libbpf/program_types.rst and libbpf's parse_btf_map_def).
// It is nil where there is none.
func mapOf(v *btf.Var) *bpf.Map {
	def, ok := btf.As[*btf.Struct](v.Type)
	if !ok {
		return nil
	}
	m := &bpf.Map{}
	for _, member := range def.Members {
		switch member.Name {
		case "type":
			m.Type = uint32(arrayLength(member.Type))
		case "key_size":
			m.KeySize = arrayLength(member.Type)
		case "value_size":
			m.ValueSize = arrayLength(member.Type)
		case "values": // maps or programs, which a map holds by number
			m.ValueSize = 4
		case "key":
			m.KeySize = pointedSize(member.Type)
		case "value":
			m.ValueSize = pointedSize(member.Type)
		}
	}
	return m
}

// arrayLength reads the number that the macro __uint hides in a pointer to an
// array of that length.
func arrayLength(t btf.Type) int {
	ptr, ok := btf.As[*btf.Pointer](t)
	if !ok {
		return 0
	}
	array, ok := btf.As[*btf.Array](ptr.Target)
	if !ok {
		return 0
	}
	return int(array.Nelems)
}

// pointedSize is the size of the type that the macro __type points to.
func pointedSize(t btf.Type) int {
	ptr, ok := btf.As[*btf.Pointer](t)
	if !ok {
		return 0
	}
	size, err := btf.Sizeof(ptr.Target)
	if err != nil || size < 0 {
		return 0
	}
	return size
}

// symbol describes the map at an offset of a section.
func (t *mapTable) symbol(section int, off int64) bpf.Symbol {
	s := t.f.elf.sections[section]
	name, ok := t.named[place{section: section, off: off}]
	if !ok {
		return bpf.Symbol{Kind: bpf.SymbolMap, Name: fmt.Sprintf("%s%+d", s.name, off)}
	}
	if !isLegacyMaps(s.name) {
		return bpf.Symbol{Kind: bpf.SymbolMap, Name: name, Map: t.byName[name]}
	}
	return bpf.Symbol{Kind: bpf.SymbolMap, Name: name, Map: t.legacy(s, off)}
}

// legacy reads the first fields of struct bpf_map_def: type, key and value
// size.
func (t *mapTable) legacy(s *section, off int64) *bpf.Map {
	b, err := span(s.data, uint64(off), 12)
	if err != nil {
		return nil
	}
	order := t.f.elf.order
	return &bpf.Map{
		Type:      order.Uint32(b),
		KeySize:   int(order.Uint32(b[4:])),
		ValueSize: int(order.Uint32(b[8:])),
	}
}
