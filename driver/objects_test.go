package driver

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/examples"
	"github.com/k2cc/k2cc/toml"
	"github.com/k2cc/k2cc/verify"
)

// optimized runs the whole of the optimiser with default settings and checks
// what holds for any object: nothing grew, and every program that loaded still
// loads. It returns the new object and the slots before and after.
func optimized(t *testing.T, name string, in []byte) (out []byte, before, after int) {
	t.Helper()
	out, rep, err := Optimize(context.Background(), in, Options{Name: name, Config: toml.Default()})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, f := range rep.Functions {
		before, after = before+f.SlotsBefore, after+f.SlotsAfter
		if f.SlotsAfter > f.SlotsBefore {
			t.Errorf("%s: %s grew from %d to %d slots", name, f.Name, f.SlotsBefore, f.SlotsAfter)
		}
	}
	if verify.Permitted() != nil {
		return out, before, after
	}
	comparisons, err := verify.Compare(context.Background(), in, out)
	if err != nil {
		t.Logf("%s: not compared by the kernel: %v", name, err)
	}
	for _, c := range comparisons {
		if c.Verdict == verify.Broken {
			t.Errorf("%s: %s no longer loads: %s", name, c.Name, c.Reason)
		}
	}
	return out, before, after
}

// needKernel skips what says nothing without the kernel's word.
func needKernel(t *testing.T) {
	t.Helper()
	if err := verify.Permitted(); err != nil {
		t.Skip(err)
	}
}

// K2's own benchmark programs stay loadable and get smaller on the whole.
func TestPublishedPrograms(t *testing.T) {
	needKernel(t)
	pack, err := filepath.Abs("../../shared/k2bench/pack.py")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(pack); err != nil {
		t.Skipf("K2's benchmark inputs are missing: %v", err)
	}
	dir := t.TempDir()
	if out, err := exec.Command("python3", pack, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.o"))
	if err != nil || len(files) != 19 {
		t.Fatalf("%d objects, %v", len(files), err)
	}
	smaller := 0
	for _, file := range files {
		in, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, before, after := optimized(t, filepath.Base(file), in)
		if after < before {
			smaller++
		}
	}
	if smaller < 12 {
		t.Errorf("only %d of 19 programs got smaller", smaller)
	}
}

// The examples behave the same over traffic that reaches deep into them: in the
// kernel, or where that can't be, in the interpreter.
func TestExamplesBehaveTheSame(t *testing.T) {
	clang, err := exec.LookPath("clang-22")
	if err != nil {
		t.Skip(err)
	}
	for _, e := range examples.All() {
		t.Run(e.Name, func(t *testing.T) {
			ctx := context.Background()
			in, err := examples.Compile(ctx, clang, e.Source, "-O2", "-g", "-mcpu=v3")
			if err != nil {
				t.Fatal(err)
			}
			out, before, after := optimized(t, e.Name, in)
			if after >= before {
				t.Errorf("%d slots became %d", before, after)
			}
			res, err := compareRuns(ctx, e, in, out, 1000, verify.Permitted())
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range res.Differences {
				t.Errorf("differs: %v", d)
			}
			if len(res.Unrun) > 0 || len(res.Ran) != len(e.Programs) {
				t.Errorf("not run: %s", strings.Join(res.Unrun, ", "))
			}
			t.Logf("%d slots became %d", before, after)
		})
	}
}

// The objects that cilium/ebpf tests itself with are as odd as objects get:
// both byte orders, all kinds of relocations, sections and programs.
func TestLoaderObjects(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cilium/ebpf").Output()
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	err = filepath.WalkDir(strings.TrimSpace(string(dir)), func(path string, _ os.DirEntry, err error) error {
		if filepath.Ext(path) == ".elf" {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("%d objects, %v", len(files), err)
	}
	for _, file := range files {
		in, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		optimized(t, filepath.Base(file), in)
	}
}
