package driver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/k2cc/k2cc/driver/stats"
)

// smallDisk mounts a file system of a few pages in a mount namespace of this
// test's own thread.
func smallDisk(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	runtime.LockOSThread() // for good: the thread ends with the test
	err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if err == nil {
		err = unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k")
	}
	if err != nil {
		t.Skipf("needs a mount namespace: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// fillDisk leaves no room on a disk.
func fillDisk(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			if errors.Is(err, unix.ENOSPC) {
				return nil
			}
			return err
		}
	}
}

func TestFullDisk(t *testing.T) {
	clang := needClang(t)
	for _, strict := range []string{"", "--k2-strict"} {
		t.Run(strict, func(t *testing.T) {
			dir, cache := smallDisk(t), t.TempDir()
			t.Setenv(cacheVariable, cache)
			source, out := filepath.Join(dir, "good.c"), filepath.Join(dir, "good.o")
			put(t, source, sources["good.c"])
			args := []string{"-O2", "--target=bpf", "-c", source, "-o", out}
			runIn(t, "/", clang, args...)
			want := get(t, out)
			if strict != "" {
				args = append(args, strict)
			}
			got := compileWith(func(_ context.Context, in []byte, _ task) ([]byte, *Report, error) {
				return append(in, make([]byte, 4096)...), &Report{}, fillDisk(filepath.Join(dir, "ballast"))
			}, args...)
			if strings.Count(got.errors, "\n") != 1 || !strings.Contains(got.errors, "no space left on device") {
				t.Errorf("got %+v", got)
			}
			if _, err := os.Stat(out); strict != "" && (err == nil || got.code != exitStrict) {
				t.Errorf("strict: an object is there, exit code %d", got.code)
			}
			counts, err := (stats.Store{Dir: cache}).Read()
			if err != nil || counts.Failed["object not written"] != 1 {
				t.Errorf("counted %+v, %v", counts, err)
			}
			if strict == "" && (got.code != 0 || get(t, out) != want) {
				t.Errorf("exit code %d, or not clang's object", got.code)
			}
		})
	}
}

// How a whole k2cc fails: what happens, what its line says, what is counted.
func TestFailOpenInAWholeProcess(t *testing.T) {
	clang := needClang(t)
	tests := []struct {
		name string
		args []string
		says string
		kind string
	}{
		// An empty library stands for a missing one; clang itself may need a real one.
		{"no solver", []string{"LD_LIBRARY_PATH=.", "K2CC_CLANG=./unbroken"}, "load Z3: ", "no solver"},
		{"no permission", []string{actVariable + "=a worker without privileges", "K2CC_KERNEL=require"}, `kernel = "require", but the kernel can't be asked`, "kernel not asked"},
		{"settings that do not exist", []string{"--k2-config=none.toml"}, "none.toml: no such file", "wrong settings"},
		{"settings that can't be read", []string{"--k2-config=.git"}, "not a regular file", "wrong settings"},
		{"the user's own settings can't be read", []string{"XDG_CONFIG_HOME=/proc/self/cwd/config"}, "k2cc/k2.toml: not a regular file", "wrong settings"},
		{"a wrong option", []string{"--k2-goal=speed"}, `--k2-goal: want "balanced"`, "wrong settings"},
		{"a wrong variable", []string{"K2CC_ISA=v9"}, "K2CC_ISA: want", "wrong settings"},
		{"an unknown pass", []string{"--k2-passes=magic"}, `no pass is called "magic"`, "wrong settings"},
		{"out of memory", []string{actVariable + "=a worker that eats memory"}, "the optimiser ended early", "optimiser ended early"},
		{"a crash", []string{actVariable + "=a worker that crashes"}, "the optimiser ended early: signal: segmentation fault", "optimiser ended early"},
		{"out of time", []string{actVariable + "=a worker that hangs", "--k2-budget-object=1ms"}, "not done within 1.004s", "out of time"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			put(t, filepath.Join(dir, "libz3.so.4"), "")
			put(t, filepath.Join(dir, "libz3.so"), "")
			if err := os.MkdirAll(filepath.Join(dir, "config/k2cc/k2.toml"), 0o755); err != nil {
				t.Fatal(err)
			}
			script(t, filepath.Join(dir, "unbroken"), "unset LD_LIBRARY_PATH; exec "+clang+` "$@"`)
			runIn(t, dir, clang, compileArgs...)
			want := get(t, filepath.Join(dir, "good.o"))
			os.Remove(filepath.Join(dir, "good.o"))
			cache := filepath.Join(dir, "cache")
			args := append(append([]string{cacheVariable + "=" + cache}, test.args...), compileArgs...)
			got := k2cc(t, dir, args...)
			if got.code != 0 || got.out != "" || strings.Count(got.errors, "\n") != 1 ||
				!strings.Contains(got.errors, test.says) || !strings.HasSuffix(got.errors, "; using clang's object\n") {
				t.Errorf("got %+v", got)
			}
			if get(t, filepath.Join(dir, "good.o")) != want {
				t.Error("the object is not clang's")
			}
			counts, err := (stats.Store{Dir: cache}).Read()
			if err != nil || counts.Failed[test.kind] != 1 || len(counts.Failed) != 1 {
				t.Errorf("counted %+v, %v", counts, err)
			}
			got = k2cc(t, dir, append([]string{"K2CC_STRICT=1"}, args...)...)
			if got.code != exitStrict || strings.Count(got.errors, "\n") != 1 {
				t.Errorf("strict: got %+v", got)
			}
			if _, err := os.Stat(filepath.Join(dir, "good.o")); err == nil {
				t.Error("strict: there is an object")
			}
		})
	}
}

// However few files may be open, where clang gets by, so does k2cc, if need be
// by giving way to clang.
func TestFewFiles(t *testing.T) {
	clang := needClang(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := folder(t)
	cache := filepath.Join(dir, "cache")
	gaveWay := false
	for n := 8; n <= 16; n++ { // Go itself needs a few
		limited := func(program string, env ...string) result {
			os.Remove(filepath.Join(dir, "good.o"))
			command := fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, n)
			args := append(env, "K2CC_PASSES=local", cacheVariable+"="+cache, "-c", command, program)
			return runIn(t, dir, "sh", append(args, compileArgs...)...)
		}
		if got := limited(clang); got.code != 0 {
			continue // nor does clang get by
		}
		got := limited(self, actVariable+"=1", variableName("clang")+"="+clang)
		if got.code != 0 || got.out != "" || strings.Count(got.errors, "\n") > 1 || !isObject(filepath.Join(dir, "good.o")) {
			t.Errorf("with %d files: %+v", n, got)
		}
		if strings.HasSuffix(got.errors, "; leaving all to clang\n") {
			gaveWay = true
			if got := limited(self, actVariable+"=1", variableName("clang")+"="+clang, "K2CC_STRICT=1"); got.code != exitStrict {
				t.Errorf("strict, with %d files: %+v", n, got)
			}
		}
	}
	counts, err := (stats.Store{Dir: cache}).Read()
	if err != nil || gaveWay && counts.Left[string(noRoom)] == 0 {
		t.Errorf("counted %+v, %v", counts, err)
	}
	t.Logf("gave way to clang: %v", gaveWay)
}

// A compiler that can't be run is what it is to every caller.
func TestClangThatIsNone(t *testing.T) {
	dir := folder(t)
	if err := os.WriteFile(filepath.Join(dir, "fake"), []byte("\x7fELF"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{compileArgs, {"--version"}} {
		got := k2cc(t, dir, append([]string{variableName("clang") + "=./fake"}, args...)...)
		if got.code != exitCantRun || strings.Count(got.errors, "\n") != 1 || !strings.Contains(got.errors, "exec format error") {
			t.Errorf("%q: got %+v", args, got)
		}
	}
}

// To k2cc opt, no other compiler lends its place: without a solver it fails.
func TestOptWithoutSolver(t *testing.T) {
	t.Chdir(folder(t))
	for _, name := range []string{"libz3.so.4", "libz3.so", "in.o"} {
		put(t, name, "")
	}
	got := k2cc(t, ".", "LD_LIBRARY_PATH=.", "opt", "in.o", "-o", "out.o")
	if got.code != exitFailure || got.out != "" || !strings.HasPrefix(got.errors, "k2cc: in.o: load Z3: ") || strings.Count(got.errors, "\n") != 1 {
		t.Errorf("got %+v", got)
	}
	if _, err := os.Stat("out.o"); err == nil {
		t.Error("there is an output")
	}
}

// An object that is none to k2cc stays what clang made of it.
func TestObjectNotUnderstood(t *testing.T) {
	clang := needClang(t)
	dir := folder(t)
	cache := filepath.Join(dir, "cache")
	runIn(t, dir, clang, compileArgs...)
	header := get(t, filepath.Join(dir, "good.o"))[:64]
	put(t, filepath.Join(dir, "header"), header)
	script(t, filepath.Join(dir, "fake"), "rm -f good.o; cp header good.o")
	args := append([]string{variableName("clang") + "=./fake", cacheVariable + "=" + cache}, compileArgs...)
	got := k2cc(t, dir, args...)
	if got.code != 0 || got.out != "" || strings.Count(got.errors, "\n") != 1 || !strings.Contains(got.errors, "; using clang's object") ||
		get(t, filepath.Join(dir, "good.o")) != header {
		t.Errorf("got %+v, or another object", got)
	}
	counts, err := (stats.Store{Dir: cache}).Read()
	if err != nil || counts.Failed["object not understood"] != 1 {
		t.Errorf("counted %+v, %v", counts, err)
	}
	if got := k2cc(t, dir, append([]string{"K2CC_STRICT=1"}, args...)...); got.code != exitStrict {
		t.Errorf("strict: got %+v", got)
	}
}

// odd is a function that ends before its last instruction, and one that could
// be shorter.
const odd = `
	.section xdp,"ax",@progbits
	.globl odd
	.type odd,@function
odd:
	r0 = 1
	exit
	.size odd, 8
	.text
	.globl fine
	.type fine,@function
fine:
	r0 = 1
	r0 += 1
	exit
	.size fine, .-fine
`

// A function that is not understood stays as it is, and is named. Others are
// optimised.
func TestFunctionNotUnderstood(t *testing.T) {
	clang := needClang(t)
	dir := folder(t)
	cache := cacheVariable + "=" + filepath.Join(dir, "cache")
	put(t, filepath.Join(dir, "odd.s"), odd)
	args := []string{"--target=bpf", "-c", "odd.s", "-o", "odd.o"}
	runIn(t, dir, clang, args...)
	clangs := get(t, filepath.Join(dir, "odd.o"))

	got := k2cc(t, dir, append([]string{cache, "K2CC_PASSES=local"}, args...)...)
	line := "k2cc: odd.s: section xdp left alone: function odd does not end where the next one starts\n"
	if got != (result{errors: line}) {
		t.Errorf("got %+v, want %s", got, line)
	}
	if get(t, filepath.Join(dir, "odd.o")) == clangs {
		t.Error("the other function was not optimised")
	}
	counts, err := (stats.Store{Dir: filepath.Join(dir, "cache")}).Read()
	if err != nil || counts.Failed["function not understood"] != 1 || counts.Optimised != 1 {
		t.Errorf("counted %+v, %v", counts, err)
	}
	got = k2cc(t, dir, append([]string{cache, "K2CC_STRICT=1", "K2CC_PASSES=local"}, args...)...)
	if got != (result{code: exitStrict, errors: line}) {
		t.Errorf("strict: got %+v", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "odd.o")); err == nil {
		t.Error("strict: there is an object")
	}
	put(t, filepath.Join(dir, "k2.toml"), "[[override]]\nsection = \"xdp\"\nskip = true\n")
	if got = k2cc(t, dir, append([]string{cache, "K2CC_STRICT=1", "K2CC_PASSES=local"}, args...)...); got != (result{}) {
		t.Errorf("skipped by settings: got %+v", got)
	}
}

// Nowhere to keep anything is no reason to say anything.
func TestNoCache(t *testing.T) {
	needClang(t)
	dir := folder(t)
	put(t, filepath.Join(dir, "k2.toml"), "[[override]]\nprogram = \"*\"\nskip = true\n")
	for _, args := range [][]string{compileArgs, {"--target=bpf", "-E", "good.c", "-o", "x"}} {
		if got := k2cc(t, dir, append([]string{cacheVariable + "=/dev/null/x"}, args...)...); got != (result{}) {
			t.Errorf("got %+v", got)
		}
	}
}
