package driver

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/object"
	"github.com/k2cc/k2cc/examples"
	"github.com/k2cc/k2cc/toml"
	"github.com/k2cc/k2cc/verify"
)

// found compiles a program that was once optimised wrongly.
func found(t *testing.T, name string) []byte {
	t.Helper()
	clang, err := exec.LookPath("clang-22")
	if err != nil {
		t.Skip(err)
	}
	in, err := examples.Compile(context.Background(), clang, filepath.Join("testdata/found", name), "-O2", "-g", "-mcpu=v3", "-w")
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// without the kernel's word.
func unasked(t *testing.T, in []byte) []byte {
	t.Helper()
	cfg := toml.Default()
	cfg.Kernel = toml.KernelOff
	out, _, err := Optimize(context.Background(), in, Options{Name: t.Name(), Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestGlobalArgumentsAreSetUp(t *testing.T) {
	in := found(t, "global_arguments.c")
	for name, out := range map[string][]byte{"input": in, "unasked": unasked(t, in)} {
		file, err := object.Read(out)
		if err != nil {
			t.Fatal(err)
		}
		fn := file.Program().Functions[slices.IndexFunc(file.Program().Functions, func(f *bpf.Function) bool { return f.Name == "prog" })]
		sets := false
		for _, b := range fn.Blocks {
			sets = sets || slices.ContainsFunc(b.Code, func(in bpf.Instruction) bool {
				return in.Op.ALU() == bpf.OpAdd && in.IsALU() && in.Dst == bpf.R2 && in.Imm == 3
			})
		}
		if !sets {
			t.Errorf("%s: the second argument is not computed:\n%s", name, bpf.FormatBlocks(fn.Blocks))
		}
	}
}

// Whoever loads the object may set its constants.
func TestConstantsMayBeSet(t *testing.T) {
	needKernel(t)
	out, _, _ := optimized(t, "constants.c", found(t, "constants.c"))
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	if err := spec.Variables["enabled"].Set(int32(1)); err != nil {
		t.Fatal(err)
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatalf("rejected with the constant set: %v", err)
	}
	coll.Close()
}

func TestSearchEnds(t *testing.T) {
	start := time.Now()
	in := found(t, "frame_or.c")
	if _, _, err := Optimize(context.Background(), in, Options{Name: t.Name(), Config: toml.Default()}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("took %v", took)
	}
}

// Where no kernel is asked, what comes out still loads.
func TestUnaskedStillLoads(t *testing.T) {
	needKernel(t)
	for _, name := range []string{"bounds.c", "constants.c", "global_arguments.c"} {
		in := found(t, name)
		comparisons, err := verify.Compare(context.Background(), in, unasked(t, in))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range comparisons {
			if c.Verdict != verify.Kept {
				t.Errorf("%s: %s is %v: %s", name, c.Name, c.Verdict, c.Reason)
			}
		}
	}
}

// Helpers read the frame through pointers that they find in memory.
func TestFrameIsRead(t *testing.T) {
	needKernel(t)
	in := found(t, "frame_kept.c")
	out, _, _ := optimized(t, "frame_kept.c", in)
	run := func(object []byte) (results []uint32) {
		spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
		if err != nil {
			t.Fatal(err)
		}
		coll, err := ebpf.NewCollection(spec)
		if err != nil {
			t.Fatal(err)
		}
		defer coll.Close()
		for _, name := range []string{"copied", "formatted"} {
			r, err := coll.Programs[name].Run(&ebpf.RunOptions{Data: make([]byte, 60)})
			if err != nil {
				t.Fatal(err)
			}
			results = append(results, r)
		}
		return results
	}
	if want, got := run(in), run(out); !slices.Equal(want, got) {
		t.Errorf("results are %v, want %v", got, want)
	}
}
