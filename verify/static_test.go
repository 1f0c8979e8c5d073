package verify

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/object"
	"github.com/k2cc/k2cc/examples"
)

func parse(t *testing.T, context bpf.Context, text string) *bpf.Function {
	t.Helper()
	blocks, err := bpf.Parse(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return &bpf.Function{Name: "f", Context: context, Blocks: blocks}
}

// tryInKernel loads a function without symbols.
func tryInKernel(t *testing.T, fn *bpf.Function) error {
	t.Helper()
	placed, err := bpf.Place(fn.Blocks)
	if err != nil {
		t.Fatal(err)
	}
	var code []byte
	for _, p := range placed {
		code = p.Append(code, binary.LittleEndian)
	}
	spec := &ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL"}
	if fn.Context == bpf.ContextSKB {
		spec.Type = ebpf.SchedCLS
	}
	spec.Instructions, err = asm.AppendInstructions(nil, bytes.NewReader(code), binary.LittleEndian, "linux")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ebpf.NewProgram(spec)
	if err != nil {
		return err
	}
	return p.Close()
}

func TestStatic(t *testing.T) {
	const (
		refuses = "the kernel refuses it"
		accepts = "the kernel accepts it"
		some    = "some kernels refuse it"
	)
	const xdp, skb = bpf.ContextXDP, bpf.ContextSKB
	tests := []struct {
		name    string
		context bpf.Context
		code    string
		want    string // part of the error, empty for none
		kernel  string
	}{
		{"nothing wrong", xdp, "r0 = 0\nexit", "", accepts},
		{"context to stack and back", xdp, "*(u64 *)(r10 - 8) = r1\nr2 = *(u64 *)(r10 - 8)\nw0 = *(u32 *)(r2 + 12)\nexit", "", accepts},
		{"length of the packet", xdp, "w0 = *(u32 *)(r1 + 4)\nw1 = *(u32 *)(r1 + 0)\nr0 -= r1\nexit", "", accepts},
		{"stack narrow and wide", xdp, "*(u32 *)(r10 - 4) = 1\n*(u32 *)(r10 - 8) = 2\nr0 = *(u64 *)(r10 - 8)\nexit", "", accepts},
		{"pointer moved and used", xdp, "r2 = r10\nr2 += -16\n*(u64 *)(r2 + 8) = 7\nr0 = 0\nexit", "", accepts},
		{"written on both ways", xdp, "if r1 == 0 goto L2\nr0 = 1\ngoto L3\nL2:\nr0 = 2\nL3:\nexit", "", accepts},

		{"level", xdp, "r0 = (s8)r10\nr0 = bswap16 r0\nexit", "needs v4", ""},
		{"off the end", xdp, "r0 = 0", "off the end", ""},
		{"unreachable", xdp, "r0 = 0\nexit\nL2:\nr0 = 1\nexit", "no way leads", refuses},
		{"never written", xdp, "r0 = r5\nexit", "r5 is not readable", refuses},
		{"lost in a call", xdp, "r6 = r1\ncall 5\nr0 = r1\nexit", "r1 is not readable", refuses},
		{"no result", xdp, "exit", "r0 is not readable", refuses},
		{"number as base", xdp, "r2 = 4096\nr0 = *(u64 *)(r2 + 0)\nexit", "no pointer", refuses},
		{"packet's end as base", xdp, "r2 = *(u32 *)(r1 + 4)\nr0 = *(u8 *)(r2 - 1)\nexit", "packet's end", refuses},
		{"below the frame", xdp, "*(u64 *)(r10 - 520) = 0\nr0 = 0\nexit", "not in the frame", refuses},
		{"above the frame", xdp, "*(u32 *)(r10 + 0) = 0\nr0 = 0\nexit", "not in the frame", refuses},
		{"partly above the frame", xdp, "*(u64 *)(r10 - 4) = 0\nr0 = 0\nexit", "not in the frame", refuses},
		{"misaligned on the stack", xdp, "*(u64 *)(r10 - 12) = 0\nr0 = 0\nexit", "12 of the frame", refuses},
		{"misaligned through a copy", xdp, "r2 = r10\nr2 += -6\n*(u32 *)(r2 + 0) = 0\nr0 = 0\nexit", "-6 of the frame", refuses},
		{"part of a pointer stored", xdp, "*(u32 *)(r10 - 8) = w1\nr0 = 0\nexit", "stores part of a pointer", refuses},
		{"part of a pointer loaded", xdp, "*(u64 *)(r10 - 8) = r1\nw0 = *(u32 *)(r10 - 8)\nexit", "loads part of a pointer", refuses},
		{"context moved", xdp, "r1 += 4\nw0 = *(u32 *)(r1 + 0)\nexit", "was moved", refuses},
		{"context misaligned", xdp, "w0 = *(u32 *)(r1 + 2)\nexit", "offset 2 of the context", refuses},
		{"immediate into the context", skb, "*(u32 *)(r1 + 8) = 5\nr0 = 0\nexit", "immediate into the context", some},
		{"atomic on the context", skb, "r2 = 1\nlock *(u32 *)(r1 + 8) += w2\nr0 = 0\nexit", "atomic operation on the context", refuses},
		{"atomic on the packet", xdp, "r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\nr4 = r2\nr4 += 8\nif r4 > r3 goto L2\nr5 = 1\nlock *(u32 *)(r2 + 0) += w5\nL2:\nr0 = 0\nexit", "atomic operation on the packet", refuses},
		{"pointer added to memory", xdp, "*(u64 *)(r10 - 8) = 0\nlock *(u64 *)(r10 - 8) += r1\nr0 = 0\nexit", "pointer as its operand", some},
		{"half a pointer copied", xdp, "w2 = w1\nr0 = 0\nexit", "copies part", some},
		{"32-bit sum", xdp, "r2 = r10\nw2 += 8\nr0 = 0\nexit", "32-bit arithmetic", refuses},
		{"pointer masked", xdp, "r2 = r10\nr2 &= -8\nr0 = 0\nexit", "neither adds", refuses},
		{"pointer shifted", xdp, "r2 = r10\nr2 <<= 32\nr0 = 0\nexit", "neither adds", refuses},
		{"pointer negated", xdp, "r2 = r10\nr2 = -r2\nr0 = 0\nexit", "neither adds", some},
		{"sum of pointers", xdp, "r2 = r10\nr2 += r1\nr0 = 0\nexit", "adds two pointers", refuses},
		{"number minus pointer", xdp, "r2 = 8\nr2 -= r10\nr0 = 0\nexit", "subtracts a pointer", refuses},
		{"packet's end moved", xdp, "r2 = *(u32 *)(r1 + 4)\nr2 += 8\nr0 = 0\nexit", "has to stay", refuses},
	}
	kernel := Permitted()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fn := parse(t, test.context, test.code)
			err := Static(t.Context(), fn, bpf.V3)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want …%s…", err, test.want)
			}
			if kernel != nil || test.kernel == "" || test.kernel == some {
				return
			}
			if err := tryInKernel(t, fn); (err == nil) != (test.kernel == accepts) {
				t.Errorf("want that %s: %v", test.kernel, err)
			}
		})
	}
}

// Functions that the text form can't express.
func TestStaticShape(t *testing.T) {
	exit := bpf.Instruction{Op: bpf.ClassJMP | bpf.OpExit}
	zero := bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpMov}
	tests := []struct {
		name   string
		blocks []*bpf.Block
	}{
		{"no blocks", nil},
		{"unknown label", []*bpf.Block{{Label: 1, Code: []bpf.Instruction{zero, {Op: bpf.ClassJMP | bpf.OpJA, Target: 9}}}, {Label: 2, Code: []bpf.Instruction{exit}}}},
		{"frame pointer written", []*bpf.Block{{Label: 1, Code: []bpf.Instruction{{Op: bpf.ClassALU64 | bpf.OpAdd, Dst: bpf.R10, Imm: 8}, zero, exit}}}},
		{"exit in the middle", []*bpf.Block{{Label: 1, Code: []bpf.Instruction{zero, exit, zero, exit}}}},
		{"no such opcode", []*bpf.Block{{Label: 1, Code: []bpf.Instruction{{Op: 0xff}, zero, exit}}}},
		{"no such symbol", []*bpf.Block{{Label: 1, Code: []bpf.Instruction{{Op: bpf.LoadImm64, Ref: 3}, zero, exit}}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fn := &bpf.Function{Name: "f", Context: bpf.ContextXDP, Blocks: test.blocks}
			if err := Static(t.Context(), fn, bpf.V4); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestStaticEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Static(ctx, parse(t, bpf.ContextXDP, "r0 = 0\nexit"), bpf.V4); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestStaticChange(t *testing.T) {
	const loop = "r0 = 8\nL2:\nr0 += -1\nif r0 != 0 goto L2\nexit"
	tests := []struct {
		name, old, new string
		want           string
	}{
		{"same", loop, loop, ""},
		{"shorter", "r0 = 1\nr0 += 1\nexit", "r0 = 2\nexit", ""},
		{"as wrong as before", "*(u64 *)(r10 - 12) = 0\nr0 = 0\nexit", "*(u64 *)(r10 - 20) = 0\nr0 = 0\nexit", "frame of 20 bytes"},
		{"wrong in the same way", "*(u64 *)(r10 - 20) = 0\nr0 = 0\nexit", "*(u64 *)(r10 - 12) = 0\nr0 = 0\nexit", ""},
		{"wrong in a new way", "*(u64 *)(r10 - 24) = 0\nr0 = 0\nexit", "*(u64 *)(r10 - 20) = 0\nr0 = 0\nexit", "20 of the frame"},
		{"new loop", "r0 = 0\nexit", loop, "1 loops where there were 0"},
		{"level of the target, not of the old code", "r0 = 0\nr0 = bswap16 r0\nexit", "r0 = 1\nr0 = bswap16 r0\nexit", "needs v4"},
		{"context loads narrowed", "w0 = *(u32 *)(r1 + 12)\nw0 &= 255\nexit", "w0 = *(u8 *)(r1 + 12)\nexit", "new access to the context: 1 bytes at offset 12"},
		{"context load gone", "w0 = *(u32 *)(r1 + 12)\nw0 = 0\nexit", "w0 = 0\nexit", ""},
		{"context load became store", "w0 = *(u32 *)(r1 + 12)\nexit", "w0 = 0\n*(u32 *)(r1 + 12) = w0\nexit", "new access to the context"},
		{"read after a write on one way", "r0 = 0\nexit", "if r1 == 0 goto L2\nr2 = 1\nL2:\nr0 = r2\nexit", "r2 is not readable on every path"},
		{"such a read gone", "if r1 == 0 goto L2\nr2 = 1\nL2:\nr0 = r2\nexit", "r0 = 0\nexit", ""},
		{"result set on one way", "r0 = 0\nexit", "if r1 == 0 goto L2\nr0 = 1\nL2:\nexit", "r0 is not readable on every path"},
		{"stack not written", "*(u64 *)(r10 - 8) = 0\nr0 = *(u64 *)(r10 - 8)\nexit", "r0 = *(u64 *)(r10 - 8)\nexit", "not written on every path"},
		{"stack partly written", "*(u64 *)(r10 - 8) = 1\nr0 = *(u64 *)(r10 - 8)\nexit", "*(u32 *)(r10 - 8) = 1\nr0 = *(u64 *)(r10 - 8)\nexit", "-4 of the frame is not written"},
		{"immediate store in place of another", "r2 = 5\n*(u32 *)(r1 + 8) = r2\nr0 = 0\nexit", "*(u32 *)(r1 + 8) = 5\nr0 = 0\nexit", "immediate into the context"},
		{"deeper frame", "*(u64 *)(r10 - 8) = 0\nr0 = 0\nexit", "*(u64 *)(r10 - 16) = 0\nr0 = 0\nexit", "frame of 16 bytes where there were 8"},
		{"frame that a pointer shows", "r2 = r10\nr2 += -16\nr0 = 0\nexit", "*(u64 *)(r10 - 16) = 0\nr0 = 0\nexit", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			old, new := parse(t, bpf.ContextXDP, test.old), parse(t, bpf.ContextXDP, test.new)
			err := StaticChange(t.Context(), old, new, bpf.V3)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want …%s…", err, test.want)
			}
		})
	}
}

// What clang emits and the kernel accepts is nothing to complain of.
func TestStaticAcceptsClang(t *testing.T) {
	objects := map[string][]byte{}
	if clang, err := exec.LookPath("clang-22"); err == nil {
		for _, e := range examples.All() {
			for _, flags := range [][]string{{"-mcpu=v2", "-Os"}, {"-mcpu=v4", "-O1"}} {
				obj, err := examples.Compile(t.Context(), clang, e.Source, flags...)
				if err != nil {
					t.Log(err)
					continue
				}
				objects[e.Name+strings.Join(flags, "")] = obj
			}
		}
	}
	if pack := "../../shared/k2bench/pack.py"; exec.Command("python3", pack, t.TempDir()).Run() == nil {
		dir := t.TempDir()
		if err := exec.Command("python3", pack, dir).Run(); err != nil {
			t.Fatal(err)
		}
		files, _ := filepath.Glob(filepath.Join(dir, "*.o"))
		for _, file := range files {
			obj, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			objects[filepath.Base(file)] = obj
		}
	}
	if len(objects) == 0 {
		t.Skip("neither clang-22 nor ../shared/k2bench is there")
	}
	functions := 0
	for name, obj := range objects {
		file, err := object.Read(obj)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, fn := range file.Program().Functions {
			functions++
			if err := Static(t.Context(), fn, bpf.V4); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := StaticChange(t.Context(), fn, fn.Clone(), fn.Level()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	t.Logf("%d functions of %d objects", functions, len(objects))
}
