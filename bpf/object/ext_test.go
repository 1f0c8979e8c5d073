package object

import (
	"bytes"
	"debug/elf"
	"fmt"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"

	"github.com/k2cc/k2cc/bpf"
)

// records reads a function's records of a table: for each the slot, counted
// from the function's start, and what follows the offset.
func records(f *File, name string, table int) []string {
	var out []string
	for _, c := range f.order {
		for _, p := range c.pieces {
			if p.name != name {
				continue
			}
			for _, r := range f.ext.group(table, c).of(p) {
				out = append(out, fmt.Sprintf("%d: %x", (r.off(f.elf.order)-p.start)/bpf.SlotSize, []byte(r[4:])))
			}
		}
	}
	return out
}

// change reads a seed, lets edit change a function and reads the result.
func change(t *testing.T, seedName, fn string, edit func(*bpf.Function)) (before, after *File) {
	t.Helper()
	before = read(t, object{name: seedName, data: seed(t, seedName)})
	f := function(t, before, fn)
	edit(f)
	data, err := before.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	after, err = Read(data)
	if err != nil {
		t.Fatal(err)
	}
	return before, after
}

// TestLinesFollowPos checks how line records follow the instructions that
// they govern.
func TestLinesFollowPos(t *testing.T) {
	const name = "weigh"
	f := read(t, object{name: "subprogs", data: seed(t, "subprogs-el.elf")})
	fn := function(t, f, name)
	var code []bpf.Instruction
	for _, b := range fn.Blocks {
		code = append(code, b.Code...)
	}
	lines := records(f, name, extLine)
	govern := map[int32]string{} // what governs an instruction, by Pos
	for i, in := range code {
		slot := bpf.Slots(code[:i])
		for _, l := range lines {
			var at int
			var what string
			if _, err := fmt.Sscanf(l, "%d: %s", &at, &what); err == nil && at <= slot {
				govern[in.Pos] = what
			}
		}
	}
	n := int32(len(code))
	exit := bpf.Instruction{Op: bpf.ClassJMP | bpf.OpExit}
	mov := func(pos int32) bpf.Instruction {
		return bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpMov, Pos: pos}
	}
	at := func(slot int, pos int32) string { return fmt.Sprintf("%d: %s", slot, govern[pos]) }
	if govern[1] == govern[n] {
		t.Fatal("the function has but one line")
	}
	tests := []struct {
		name string
		pos  []int32
		want []string
	}{
		{"only the last", []int32{n}, []string{at(0, n)}},
		{"one line is said once", []int32{n, n, n}, []string{at(0, n)}},
		{"new code at the start", []int32{0, n}, []string{at(0, 1), at(1, n)}},
		{"new code keeps the line before it", []int32{n, 0, n}, []string{at(0, n)}},
		{"moved up", []int32{1, n, 1}, []string{at(0, 1), at(1, n), at(2, 1)}},
		{"beyond the input", []int32{1, 9999}, []string{at(0, 1)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, after := change(t, "subprogs-el.elf", name, func(fn *bpf.Function) {
				b := &bpf.Block{Label: 1}
				for _, pos := range tt.pos {
					b.Code = append(b.Code, mov(pos))
				}
				fn.Blocks = []*bpf.Block{{Label: 1, Code: append(b.Code, exit)}}
			})
			if diff := cmp.Diff(tt.want, records(after, name, extLine)); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCoreMoves moves a CO-RE relocation from a move onto the addition that
// takes its value, and expects loaders to see it there.
func TestCoreMoves(t *testing.T) {
	const fn = "parent"
	moved := 0
	var names []string
	before, after := change(t, "core-el.elf", fn, func(fn *bpf.Function) {
		for _, b := range fn.Blocks {
			for i := 0; i+1 < len(b.Code); i++ {
				mov, add := b.Code[i], &b.Code[i+1]
				s := fn.Symbol(mov.Ref)
				if s == nil || s.Kind != bpf.SymbolCore || mov.Op != bpf.ClassALU64|bpf.OpMov {
					continue
				}
				if add.Op != bpf.ClassALU64|bpf.OpAdd|bpf.SourceX || add.Src != mov.Dst {
					continue
				}
				add.Op, add.Src, add.Imm, add.Ref = bpf.ClassALU64|bpf.OpAdd, 0, mov.Imm, mov.Ref
				b.Code = slices.Delete(b.Code, i, i+1)
				names = append(names, s.Name)
				moved++
			}
		}
	})
	if moved == 0 {
		t.Fatal("no relocation to move")
	}
	if was, is := len(records(before, fn, extCore)), len(records(after, fn, extCore)); was != is {
		t.Errorf("%d CO-RE relocations, now %d", was, is)
	}
	data, err := before.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	adds := 0
	for _, ins := range spec.Programs["on_switch"].Instructions {
		if btf.CORERelocationMetadata(&ins) != nil && ins.OpCode == 0x07 {
			adds++
		}
	}
	if adds < moved {
		t.Errorf("%d relocated additions (%v), want %d", adds, names, moved)
	}
}

// TestCoreGoes removes all CO-RE relocations of a section: loaders refuse
// tables and groups without records.
func TestCoreGoes(t *testing.T) {
	before, after := change(t, "kfunc-eb.elf", "on_new", func(fn *bpf.Function) {
		for _, b := range fn.Blocks {
			for i := range b.Code {
				if s := fn.Symbol(b.Code[i].Ref); s != nil && s.Kind == bpf.SymbolCore {
					b.Code[i].Ref = 0
				}
			}
		}
	})
	if len(before.ext.tables[extCore].groups) != 1 || len(after.ext.tables[extCore].groups) != 0 || after.ext.tables[extCore].recordSize != 0 {
		t.Errorf("CO-RE table %+v, was %+v", after.ext.tables[extCore], before.ext.tables[extCore])
	}
	data, err := before.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(data)); err != nil {
		t.Error(err)
	}
}

// TestDebugInformationGoes checks that changed code takes the DWARF with it,
// and that nothing else goes.
func TestDebugInformationGoes(t *testing.T) {
	objects := compiled(t, func(j job) bool { return host(j) && j.source == "testdata/subprogs.c" && j.level == "v3" })
	f := read(t, objects[0])
	grown, _, err := withNoOps(f, 7)
	if err != nil {
		t.Fatal(err)
	}
	after, err := Read(grown)
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for i, s := range f.elf.sections {
		if !s.debug {
			want = append(want, f.elf.sections[i].name)
		}
	}
	for _, s := range after.elf.sections {
		got = append(got, s.name)
	}
	if len(want) == len(f.elf.sections) {
		t.Error("the input has no debug information")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sections (-want +got):\n%s", diff)
	}
	if len(after.elf.symbols) >= len(f.elf.symbols) {
		t.Error("no symbol went with the sections")
	}
	first := int(after.elf.sections[after.elf.symtab].Info)
	for i, s := range after.elf.symbols {
		if local := s.bind() == elf.STB_LOCAL; local != (i < first) {
			t.Errorf("symbol %d, %s: local is %v, but the first that is not local is said to be %d", i, s.name, local, first)
		}
	}
}

// Of two lines for one instruction the last one counts.
func TestTwoLines(t *testing.T) {
	const name = "weigh"
	data := bytes.Clone(seed(t, "subprogs-el.elf"))
	f := read(t, object{name: "subprogs", data: data})
	lines := records(f, name, extLine)
	var first, second []byte
	for _, c := range f.order {
		for _, p := range c.pieces {
			if p.name == name {
				r := f.ext.group(extLine, c).of(p)
				first, second = bytes.Clone(r[0]), bytes.Clone(r[1])
			}
		}
	}
	if bytes.Count(data, second) != 1 {
		t.Fatal("the record is not found in the object")
	}
	moved := append(bytes.Clone(first[:4]), second[4:]...)
	f, err := Read(bytes.Replace(data, second, moved, 1))
	if err != nil {
		t.Fatal(err)
	}
	fn := function(t, f, name) // fails where it is left alone
	fn.Blocks = []*bpf.Block{{Label: 1, Code: []bpf.Instruction{
		{Op: bpf.ClassALU64 | bpf.OpMov, Pos: 1}, {Op: bpf.ClassJMP | bpf.OpExit},
	}}}
	out, err := f.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	after, err := Read(out)
	if err != nil {
		t.Fatal(err)
	}
	var slot int
	var what string
	if _, err := fmt.Sscanf(lines[1], "%d: %s", &slot, &what); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"0: " + what}, records(after, name, extLine)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}
