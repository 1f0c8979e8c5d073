package object

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
)

// assemble makes an object of a source in LLVM's syntax.
func assemble(t *testing.T, source string) []byte {
	t.Helper()
	if _, err := exec.LookPath("clang-22"); err != nil {
		t.Skip("clang-22 is not installed: nothing to assemble with")
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "a.s"), filepath.Join(dir, "a.o")
	if err := os.WriteFile(in, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	if msg, err := exec.Command("clang-22", "-target", "bpfel", "-mcpu=v4", "-c", in, "-o", out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, msg)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// asmFunction wraps code into a global function.
func asmFunction(name, code string) string {
	return "\t.globl " + name + "\n\t.type " + name + ",@function\n" + name + ":\n" + code +
		"\n.Lend_" + name + ":\n\t.size " + name + ", .Lend_" + name + "-" + name + "\n"
}

// TestLeftAlone checks what is not touched, how much else that spoils, and
// that the object with everything else changed is still right.
func TestLeftAlone(t *testing.T) {
	plain := asmFunction("plain", "r0 = 1\nr0 += 2\nexit")
	tests := []struct {
		name      string
		source    string
		functions string // that are understood
		skipped   string
	}{
		{"nothing", plain, "plain", ""},
		{"jump over a function", asmFunction("bad", "r0 = 1\ngoto +2") + plain, "",
			"section .text left alone: function bad: jump out of the function"},
		{"runs off the end", plain + asmFunction("bad", "r0 = 1\ncall 7"), "plain",
			"function bad in .text left alone: slot 4: control runs off the end"},
		{"call of a register", plain + asmFunction("bad", "callx r1\nexit"), "plain",
			"function bad in .text left alone: call to an address in a register"},
		{"indirect jump", plain + asmFunction("bad", "r0 = 1\ngotox r1\nexit"), "",
			"section .text left alone: an indirect jump without a jump table"},
		{"unknown opcode", plain + asmFunction("bad", ".byte 0x0e,0,0,0,0,0,0,0\nexit"), "plain",
			"function bad in .text left alone: instruction 0: .insn 0x0e"},
		{"half an instruction", plain + asmFunction("bad", "exit\n.byte 0x18,1,0,0,0,0,0,0"), "",
			"section .text left alone: function bad: decode: slot 1: 64-bit immediate without its second half"},
		{"gap", plain + "exit\n" + asmFunction("other", "exit"), "",
			"section .text left alone: function plain does not end where the next one starts"},
		{"code before a function", "exit\n" + plain, "",
			"section .text left alone: it does not start with a function"},
		{"no functions", "r0 = 1\nexit", "", "section .text left alone: it does not start with a function"},
		{"odd size", plain + ".byte 1", "", "section .text left alone: 25 bytes are not a multiple of 8"},
		{"jump to a global label", plain + ".section other,\"ax\"\n" +
			asmFunction("bad", "goto away\n.globl away\naway:\nexit"), "plain",
			"section other left alone: a relocation of unknown type refers to it"},
		{"code address in data that is inside", plain + asmFunction("bad", "r0 = 1\n.Lx:\nexit") +
			".data\n.quad .Lx", "plain",
			"function bad in .text left alone: something refers to the inside of the function"},
		{"sizes of code", plain + ".section .stack_sizes,\"\"\n.quad plain", "",
			"object left alone: section .stack_sizes: it describes code in a way that is not understood"},
		{"group", plain + ".section x,\"axG\",@progbits,grp,comdat\n" + asmFunction("other", "exit"), "",
			"object left alone: section .group: unknown section type SHT_GROUP"},
		{"unwind information", plain + ".section .eh_frame,\"a\"\n.quad 0", "",
			"object left alone: section .eh_frame: it holds the extent of code"},
		{"32-bit code address", plain + ".data\n.long plain", "plain", ""},
		{"call into data", asmFunction("bad", "call buf\nexit") + plain + ".data\nbuf: .quad 0", "plain",
			"function bad in .text left alone: instruction 0: call into section .data"},
		{"same name twice", plain + ".section .text,\"ax\",@progbits,unique,1\n" + asmFunction("other", "exit"), "",
			"section .text left alone: another section has the same name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := object{name: tt.name, data: assemble(t, tt.source)}
			f := read(t, o)
			checkParts(t, f, tt.functions, tt.skipped)
			unchanged(t, o, f)
			grown, _, err := withNoOps(f, 6)
			if err != nil {
				t.Fatal(err)
			}
			back, err := Read(grown)
			if err != nil {
				t.Fatal(err)
			}
			checkParts(t, back, tt.functions, "")
		})
	}
}

// checkParts checks which functions are understood and that what is skipped
// starts with, or if it is empty is, skipped.
func checkParts(t *testing.T, f *File, functions, skipped string) {
	t.Helper()
	var names []string
	for _, fn := range f.Program().Functions {
		names = append(names, fn.Name)
	}
	if got := strings.Join(names, " "); got != functions {
		t.Errorf("functions %q, want %q (%v)", got, functions, f.Skipped())
	}
	if skipped == "" {
		return
	}
	for _, s := range f.Skipped() {
		if strings.HasPrefix(s.String(), skipped) {
			return
		}
	}
	t.Errorf("skipped %q, want %q", f.Skipped(), skipped)
}

// seed is one of the fuzz target's seeds.
func seed(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/seeds/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// patchSection lets edit change the header of the named section.
func patchSection(t *testing.T, data []byte, name string, edit func(*elf.Section64)) []byte {
	t.Helper()
	f := read(t, object{name: name, data: data})
	data = bytes.Clone(data)
	for i, s := range f.elf.sections {
		if s.name != name {
			continue
		}
		h := s.Section64
		edit(&h)
		at := f.elf.header.Shoff + uint64(i)*sectionSize
		if _, err := binary.Encode(data[at:], f.elf.order, &h); err != nil {
			t.Fatal(err)
		}
		return data
	}
	t.Fatalf("no section %s", name)
	return nil
}

// TestObjectLeftAlone checks objects with parts that move with nothing.
func TestObjectLeftAlone(t *testing.T) {
	tests := []struct {
		name, section string
		edit          func(*elf.Section64)
		want          string
	}{
		{"RELA", ".relxdp", func(s *elf.Section64) { s.Type = uint32(elf.SHT_RELA) }, "unknown section type SHT_RELA"},
		{"more section numbers", "license", func(s *elf.Section64) { s.Type = uint32(elf.SHT_SYMTAB_SHNDX) }, "unknown section type SHT_SYMTAB_SHNDX"},
		{"overlap", "license", func(s *elf.Section64) { s.Off -= 8 }, "shares bytes"},
		{"alignment", "license", func(s *elf.Section64) { s.Addralign = 3 }, "alignment of 3"},
		{"symbols that matter", ".llvm_addrsig", func(s *elf.Section64) { s.Off, s.Size = 0, 64 }, "no list of symbols"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data := patchSection(t, seed(t, "section-el.elf"), tt.section, tt.edit)
			f := read(t, object{name: tt.name, data: data})
			skips := f.Skipped()
			if len(f.Program().Functions) != 0 || len(skips) != 1 || !strings.Contains(skips[0].String(), tt.want) {
				t.Errorf("%d functions, skipped %v, want none and %q", len(f.Program().Functions), skips, tt.want)
			}
			unchanged(t, object{name: tt.name, data: data}, f)
		})
	}
}

// TestNoObject checks what Read refuses.
func TestNoObject(t *testing.T) {
	good := seed(t, "section-el.elf")
	edit := func(at int, b ...byte) []byte {
		out := bytes.Clone(good)
		copy(out[at:], b)
		return out
	}
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "not an ELF file"},
		{"text", bytes.Repeat([]byte("int x;\n"), 20), "not an ELF file"},
		{"32 bits", edit(4, 1), "not a 64-bit ELF file"},
		{"byte order", edit(5, 9), "unknown byte order"},
		{"executable", edit(16, 2), "not relocatable"},
		{"x86", edit(18, 62), "EM_X86_64, not for BPF"},
		{"cut off", good[:len(good)-8], "beyond the end of the file"},
		{"no sections", edit(60, 0, 0), "unknown layout"},
		{"no names", edit(62, 0xff, 0), "no section holds the section names"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Read(tt.data)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// TestBadChange checks what Bytes refuses to write.
func TestBadChange(t *testing.T) {
	data := seed(t, "subprogs-el.elf")
	var (
		exit  = bpf.Instruction{Op: bpf.ClassJMP | bpf.OpExit}
		local = bpf.Instruction{Op: bpf.ClassJMP | bpf.OpCall, Src: bpf.CallLocal}
		imm64 = bpf.Instruction{Op: bpf.LoadImm64}
		add   = bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpAdd}
		jump  = bpf.Instruction{Op: bpf.ClassJMP | bpf.OpJA}
	)
	block := func(code ...bpf.Instruction) []*bpf.Block { return []*bpf.Block{{Label: 1, Code: code}} }
	with := func(in bpf.Instruction, kind bpf.SymbolKind) bpf.Instruction {
		for i, s := range function(t, read(t, object{data: data}), "mix").Symbols {
			if s.Kind == kind {
				in.Ref = bpf.Ref(i + 1)
				return in
			}
		}
		t.Fatal("no such symbol")
		return in
	}
	tests := []struct {
		name   string
		blocks []*bpf.Block
		want   string
	}{
		{"nothing", nil, "no code"},
		{"off the end", block(add), "control runs off its end"},
		{"to nowhere", block(bpf.Instruction{Op: jump.Op, Target: 5}), "no block has label 5"},
		{"no symbol", block(bpf.Instruction{Op: bpf.LoadImm64, Ref: 99}, exit), "no symbol 99"},
		{"no register", block(bpf.Instruction{Op: add.Op, Dst: 12}, exit), "no such register"},
		{"address of data", block(with(imm64, bpf.SymbolData), exit), ""},
		{"symbol of arithmetic", block(with(add, bpf.SymbolData), exit), "no relocation fits"},
		{"call of data", block(with(local, bpf.SymbolData), exit), "form that the object does not have"},
		{"call of a function", block(with(local, bpf.SymbolFunc), exit), ""},
		{"address of what is only called", block(with(imm64, bpf.SymbolFunc), exit), "form that the object does not have"},
		{"local call of nothing", block(local, exit), "local call without a symbol"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := read(t, object{data: data})
			function(t, f, "mix").Blocks = tt.blocks
			_, err := f.Bytes()
			if (tt.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// TestJumpTablesMove checks that the tables of a function that is left alone
// follow it when what lies before it grows.
func TestJumpTablesMove(t *testing.T) {
	data := seed(t, "switch-el.elf")
	f := read(t, object{data: data})
	checkParts(t, f, "plain", "function dense in xdp left alone: it jumps through a table")
	grown, n, err := withNoOps(f, 8)
	if err != nil || n == 0 {
		t.Fatalf("%d no-ops: %v", n, err)
	}
	back, err := Read(grown)
	if err != nil {
		t.Fatal(err)
	}
	checkParts(t, back, "plain", "function dense in xdp left alone: it jumps through a table")
	want, got := entries(t, f), entries(t, back)
	if len(want) < 20 || len(want) != len(got) {
		t.Fatalf("%d entries, with no-ops %d", len(want), len(got))
	}
	for i := range want {
		if got[i] != want[i]+uint64(n)*bpf.SlotSize {
			t.Errorf("entry %d: %d, with %d no-ops before it %d", i, want[i], n, got[i])
		}
	}
}

// entries reads the jump tables of an object.
func entries(t *testing.T, f *File) []uint64 {
	t.Helper()
	var out []uint64
	for _, s := range f.elf.sections {
		if s.name == jumpTables {
			for at := 0; at < len(s.data); at += 8 {
				out = append(out, f.elf.order.Uint64(s.data[at:]))
			}
		}
	}
	return out
}
