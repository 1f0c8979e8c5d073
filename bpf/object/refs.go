package object

import (
	"debug/elf"
	"fmt"
	"slices"
	"sort"

	"github.com/k2cc/k2cc/bpf"
)

// form is how a reference is written down.
type form uint8

const (
	formOther  form = iota // not understood: carried along as it is
	formImm64              // R_BPF_64_64: the addend in bytes in both halves of the immediate
	formCall               // R_BPF_64_32: the addend in slots, less one, in the immediate
	formPCRel              // a call without a relocation: slots from the next slot
	formData64             // R_BPF_64_ABS64
	formData32             // R_BPF_64_ABS32, R_BPF_64_NODYLD32
)

// ref is one reference of the input, from a section to a symbol.
type ref struct {
	section int
	off     int // where it stands, bytes from the section's start
	form    form
	reloc   reloc // without meaning for formPCRel
	addend  int64 // bytes, for formPCRel from the section's start
}

// collectRefs finds what the sections refer to by ELF relocation, and the
// calls within a section that need none. DWARF is left out.
func (f *File) collectRefs() error {
	for i, s := range f.elf.sections {
		if s.debug || s.name == ".BTF.ext" {
			continue
		}
		for _, r := range s.relocs {
			ref, err := f.newRef(i, r)
			if err != nil {
				return fmt.Errorf("section %s: %w", s.name, err)
			}
			f.refs = append(f.refs, ref)
		}
	}
	for _, c := range f.order {
		f.collectCalls(c)
	}
	for _, r := range f.refs {
		if c := f.code[r.section]; c != nil {
			c.refs = append(c.refs, r)
		}
	}
	for _, c := range f.order {
		slices.SortStableFunc(c.refs, func(a, b *ref) int { return a.off - b.off })
	}
	return nil
}

// refsIn lists the references that stand within [start, end).
func (c *codeSection) refsIn(start, end int) []*ref {
	first := sort.Search(len(c.refs), func(i int) bool { return c.refs[i].off >= start })
	last := sort.Search(len(c.refs), func(i int) bool { return c.refs[i].off >= end })
	return c.refs[first:last]
}

func (f *File) newRef(section int, r reloc) (*ref, error) {
	s := f.elf.sections[section]
	out := &ref{section: section, reloc: r, form: f.formOf(section, r)}
	size := map[form]uint64{formImm64: 16, formCall: 8, formData64: 8}[out.form]
	b, err := span(s.data, r.off, max(4, size))
	if err != nil {
		return nil, fmt.Errorf("relocation at byte %d: %w", r.off, err)
	}
	out.off = int(r.off)
	u32 := func(at int) uint64 { return uint64(f.elf.order.Uint32(b[at:])) }
	switch out.form {
	case formImm64:
		out.addend = int64(u32(4) | u32(12)<<32)
	case formCall:
		out.addend = (int64(int32(u32(4))) + 1) * bpf.SlotSize
	case formData64:
		out.addend = int64(f.elf.order.Uint64(b))
	case formData32:
		out.addend = int64(u32(0))
	}
	if !s.has(elf.SHF_ALLOC) && s.name != ".BTF" && f.targetCode(out) != nil {
		return nil, fmt.Errorf("it describes code in a way that is not understood")
	}
	return out, nil
}

// formOf says how a relocation is written down. In code the type alone does
// not tell: clang's assembler puts R_BPF_64_64 on jumps to global labels too.
func (f *File) formOf(section int, r reloc) form {
	if f.code[section] == nil {
		switch r.typ {
		case relocAbs64:
			return formData64
		case relocAbs32, relocNoDyld32:
			return formData32
		}
		return formOther
	}
	b, err := span(f.elf.sections[section].data, r.off, 1)
	switch {
	case err != nil || r.off%bpf.SlotSize != 0:
		return formOther
	case r.typ == reloc6464 && bpf.Op(b[0]) == bpf.LoadImm64:
		return formImm64
	case r.typ == reloc6432 && bpf.Op(b[0]) == bpf.ClassJMP|bpf.OpCall:
		return formCall
	}
	return formOther
}

// collectCalls adds the calls of a section that lead to the same section
// without a relocation, and freezes it where control leaves a function by
// other means than calls.
func (f *File) collectCalls(c *codeSection) {
	relocated := map[int]bool{}
	for _, r := range c.relocs {
		relocated[int(r.off)] = true
	}
	for _, p := range c.pieces {
		for _, r := range p.raw {
			off := r.Slot * bpf.SlotSize
			switch {
			case relocated[off]:
			case r.Op == bpf.ClassJMP|bpf.OpCall && r.Src == bpf.CallLocal:
				to := (int64(r.Slot) + 1 + r.Imm) * bpf.SlotSize
				f.refs = append(f.refs, &ref{section: c.index, off: off, form: formPCRel, addend: to})
			case r.Op == bpf.LoadImm64 && r.Src == bpf.PseudoFunc:
				f.freezeSection(c, fmt.Sprintf("function %s: code address without a relocation", p.name))
			case r.IsJump() && !isIndirect(r.Instruction):
				if to := r.JumpTo() * bpf.SlotSize; to < p.start || to >= p.end {
					f.freezeSection(c, fmt.Sprintf("function %s: jump out of the function", p.name))
				}
			}
		}
	}
}

// target is the section and the offset in it that a reference leads to. ok is
// false where it leads into no section of the object.
func (f *File) target(r *ref) (section int, off int64, ok bool) {
	if r.form == formPCRel {
		return r.section, r.addend, true
	}
	sym := &f.elf.symbols[r.reloc.sym]
	if !sym.defined() {
		return 0, 0, false
	}
	return int(sym.Shndx), int64(sym.Value) + r.addend, true
}

// targetCode is the executable section that r leads to, or nil.
func (f *File) targetCode(r *ref) *codeSection {
	section, _, ok := f.target(r)
	if !ok {
		return nil
	}
	return f.code[section]
}

// freezeTargets leaves alone what is referred to in a way that pins it: the
// inside of a function, or code in a form that is not understood.
func (f *File) freezeTargets() {
	for _, r := range f.refs {
		c := f.targetCode(r)
		if c == nil {
			continue
		}
		_, off, _ := f.target(r)
		p := c.pieceAt(off)
		switch {
		case r.form == formOther:
			f.freezeSection(c, "a relocation of unknown type refers to it")
			if from := f.code[r.section]; from != nil {
				f.freezeSection(from, "it holds a relocation of unknown type that refers to code")
			}
		case p == nil:
			f.freezeSection(c, "something refers to what lies beyond its end")
		case off != int64(p.start):
			p.freeze("something refers to the inside of the function")
		}
	}
}
