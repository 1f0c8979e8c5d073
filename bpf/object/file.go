package object

import (
	"bytes"
	"fmt"

	"github.com/k2cc/k2cc/bpf"
)

// File is an object that was read. Its functions may be changed by assigning
// to the Blocks of the Program's functions; Bytes writes what they are then.
// It may be used by one goroutine at a time.
type File struct {
	data     []byte
	elf      *image
	ext      *ext // nil without .BTF.ext
	code     map[int]*codeSection
	order    []*codeSection // by section index
	refs     []*ref
	tables   []*jumpTable
	program  *bpf.Program
	sections []Skip // sections left alone as a whole
	alone    string // why the whole object is left alone
}

// Skip is a part of an object that is left alone: a function, a section when
// Function is empty, or the whole object when Section is empty too.
type Skip struct {
	Function string
	Section  string
	Reason   string
}

func (s Skip) String() string {
	switch {
	case s.Section == "":
		return "object left alone: " + s.Reason
	case s.Function == "":
		return fmt.Sprintf("section %s left alone: %s", s.Section, s.Reason)
	}
	return fmt.Sprintf("function %s in %s left alone: %s", s.Function, s.Section, s.Reason)
}

// Read takes an ELF object apart. It fails where data is no ELF64 object for
// BPF or contradicts itself; what is well-formed but not understood is left
// alone instead, see Skipped. The File keeps data, which must not change.
func Read(data []byte) (*File, error) {
	img, err := parseImage(data)
	if err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	f := &File{data: data, elf: img, code: map[int]*codeSection{}}
	f.program = &bpf.Program{BigEndian: img.bigEndian()}
	if err := f.analyse(); err != nil {
		f.alone = err.Error()
		f.program.Functions = nil
	}
	f.program.Level = f.level()
	return f, nil
}

// analyse finds the functions of the object. An error says why the object as
// a whole has to be left alone.
func (f *File) analyse() error {
	if err := f.elf.supported(); err != nil {
		return err
	}
	f.cutSections()
	if err := f.collectRefs(); err != nil {
		return err
	}
	if err := f.readExt(); err != nil {
		return err
	}
	f.freezeTargets()
	f.freezeJumpTables()
	f.understand()
	return nil
}

// Program is the object's code: the functions that were understood, in layout
// order. Every call returns the same one.
func (f *File) Program() *bpf.Program { return f.program }

// Skipped lists what is left alone, and why.
func (f *File) Skipped() []Skip {
	if f.alone != "" {
		return []Skip{{Reason: f.alone}}
	}
	out := append([]Skip(nil), f.sections...)
	for _, s := range f.order {
		for _, p := range s.pieces {
			if p.fn == nil && p.name != "" {
				out = append(out, Skip{Function: p.name, Section: s.name, Reason: p.reason})
			}
		}
	}
	return out
}

// Bytes is the object with the functions' current Blocks for code. It is a
// copy of what was read if no function changed. It fails where code can't be
// laid out (a jump or a call too far, a block without a label that is jumped
// to), where a Ref names no symbol of its function or one that does not fit
// the instruction, and where control would run off a function's end.
func (f *File) Bytes() ([]byte, error) {
	p, err := f.plan()
	if err != nil {
		return nil, fmt.Errorf("write object: %w", err)
	}
	if !p.changed() {
		return bytes.Clone(f.data), nil
	}
	out, err := p.encode(true)
	if err != nil {
		return nil, fmt.Errorf("write object: %w", err)
	}
	return out, nil
}
