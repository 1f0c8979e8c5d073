package cost_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/rlimit"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/object"
	"github.com/k2cc/k2cc/examples"
)

// The kernel makes as many bytes of machine code of every instruction as the
// table says.
func TestBytesInTheKernel(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the table is for x86-64")
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Skip(err)
	}
	sum := tally{}
	for name, obj := range objects(t) {
		sum.object(t, name, obj)
	}
	if t.Failed() {
		return
	}
	t.Logf("%d programs, %d instructions of %d bytes", sum.programs, sum.instructions, sum.bytes)
	if sum.programs > 0 && sum.instructions < 1000 {
		t.Errorf("only %d instructions were compared", sum.instructions)
	}
	if sum.programs == 0 {
		t.Skip("no program can be loaded here")
	}
}

// objects is the project's examples and, where they are, K2's programs.
func objects(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	if clang, err := exec.LookPath("clang-22"); err == nil {
		for _, e := range examples.All() {
			obj, err := examples.Compile(context.Background(), clang, e.Source, "-O2", "-g", "-mcpu=v3")
			if err != nil {
				t.Fatal(err)
			}
			out[e.Name] = obj
		}
	}
	dir := t.TempDir()
	if exec.Command("python3", "../../../shared/k2bench/pack.py", dir).Run() == nil {
		files, _ := filepath.Glob(filepath.Join(dir, "*.o"))
		for _, file := range files {
			obj, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			out[filepath.Base(file)] = obj
		}
	}
	return out
}

// tally counts what was compared.
type tally struct{ programs, instructions, bytes int }

func (sum *tally) object(t *testing.T, name string, obj []byte) {
	file, err := object.Read(obj)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(obj))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range spec.Maps {
		if m.Type == ebpf.ProgramArray {
			m.Contents = nil
		}
	}
	for _, fn := range file.Program().Functions {
		prog := spec.Programs[fn.Name]
		if prog == nil {
			continue // a subprogram
		}
		lines := jitedLines(t, spec, prog)
		facts, err := flow.Analyze(context.Background(), fn, flow.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if count := instructions(fn); lines == nil || len(lines) != count {
			continue // it does not load here, has subprograms, or the verifier dropped dead code
		}
		sum.programs++
		sum.function(t, name+"/"+fn.Name, fn, facts, lines)
	}
}

func instructions(fn *bpf.Function) (n int) {
	for _, b := range fn.Blocks {
		n += len(b.Code)
	}
	return n
}

func (sum *tally) function(t *testing.T, name string, fn *bpf.Function, facts *flow.Facts, lines []uint64) {
	i := 0
	for n, b := range fn.Blocks {
		var states []flow.State
		if facts.Reachable(n) {
			states = facts.Block(n)
		}
		for j, in := range b.Code {
			// The first line has the function's prologue as well.
			if i++; i == 1 || i == len(lines) || states == nil || !predictable(in, &states[j]) {
				continue
			}
			got, want := cost.Bytes(in), int(lines[i]-lines[i-1])
			if in.IsCondJump() && want-got == 4 {
				want -= 4 // to a target farther away
			}
			if got != want {
				t.Errorf("%s: %v: %d bytes, the kernel makes %d of it", name, in, got, want)
			}
			sum.instructions++
			sum.bytes += want
		}
	}
}

// predictable tells whether the verifier leaves an instruction as it is: no
// calls, no access to the context or through pointers that may fault.
func predictable(in bpf.Instruction, s *flow.State) bool {
	base := in.Dst
	switch {
	case in.IsCall(), in.IsExit(), in.IsGoto(), in.IsMayGoto(), in.IsPacketLoad():
		return false
	case in.IsLoad():
		base = in.Src
	case in.IsStore(), in.IsAtomic():
	default:
		return true
	}
	switch s.Regs[base].Kind {
	case flow.KindStack, flow.KindPacket, flow.KindMapValue:
		return true
	}
	return false
}

// jitedLines loads a program with each instruction on a line of its own and
// returns where their machine code begins, or nil if it does not load.
func jitedLines(t *testing.T, spec *ebpf.CollectionSpec, prog *ebpf.ProgramSpec) []uint64 {
	t.Helper()
	prog = prog.Copy()
	for i := range prog.Instructions {
		prog.Instructions[i] = prog.Instructions[i].WithSource(asm.Comment("a line"))
	}
	if first := &prog.Instructions[0]; btf.FuncMetadata(first) == nil {
		ret := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
		*first = btf.WithFuncMetadata(*first, &btf.Func{Name: prog.Name, Type: &btf.FuncProto{Return: ret}})
	}
	only := &ebpf.CollectionSpec{Maps: spec.Maps, Variables: spec.Variables, Types: spec.Types, ByteOrder: spec.ByteOrder,
		Programs: map[string]*ebpf.ProgramSpec{prog.Name: prog}}
	coll, err := ebpf.NewCollection(only)
	if err != nil {
		t.Logf("%s is not compared: %v", prog.Name, err)
		return nil
	}
	defer coll.Close()
	info, err := coll.Programs[prog.Name].Info()
	if err != nil {
		t.Fatal(err)
	}
	lines, _ := info.JitedLineInfos()
	return lines
}
