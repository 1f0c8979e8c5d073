package driver

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/k2cc/k2cc/bpf/object"
	"github.com/k2cc/k2cc/toml"
)

// wasteful leaves something to gain in every compiler's output.
const wasteful = `
struct xdp_md { unsigned data, data_end; };
__attribute__((section("xdp"), used)) int prog(struct xdp_md *c)
{
	unsigned char *p = (void *)(long)c->data, *end = (void *)(long)c->data_end;
	if (p + 4 > end)
		return 0;
	return p[0] | p[1] << 8 | p[2] << 16 | (unsigned)p[3] << 24;
}
`

// The oldest clang that is supported writes objects that k2cc takes, and is
// called as the newest is.
func TestOldestClang(t *testing.T) {
	const clang = "clang-14"
	if _, err := exec.LookPath(clang); err != nil {
		t.Skip(err)
	}
	dir := folder(t)
	put(t, filepath.Join(dir, "k2.toml"), "kernel = \"off\"\nclang = \""+clang+"\"\n")
	put(t, filepath.Join(dir, "p.c"), wasteful)
	got := k2cc(t, dir, trustVariable+"="+dir, "--k2-report", "--k2-strict", "-O2", "-g", "--target=bpf", "-c", "p.c")
	if got.code != 0 || !strings.Contains(got.errors, "prog") {
		t.Errorf("got %+v", got)
	}
	if _, err := object.Read([]byte(get(t, filepath.Join(dir, "p.o")))); err != nil {
		t.Error(err)
	}
}

// Objects of GCC go through k2cc opt.
func TestObjectOfGCC(t *testing.T) {
	gcc, err := exec.LookPath("bpf-gcc")
	if err != nil {
		t.Skip(err)
	}
	dir := folder(t)
	put(t, filepath.Join(dir, "k2.toml"), "kernel = \"off\"")
	put(t, filepath.Join(dir, "p.c"), wasteful)
	if got := runIn(t, dir, gcc, "-O2", "-c", "p.c"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	got := k2cc(t, dir, "K2CC_STRICT=1", "opt", "p.o", "-o", "better.o", "--report")
	if got.code != 0 || !strings.Contains(got.errors, "prog") {
		t.Errorf("got %+v", got)
	}
	if _, err := object.Read([]byte(get(t, filepath.Join(dir, "better.o")))); err != nil {
		t.Error(err)
	}
}

// LLVM IR and assembly that end in a BPF object are optimised as C is, and the
// number of cores does not show in the result.
func TestOtherInputs(t *testing.T) {
	clang := needClang(t)
	dir := folder(t)
	put(t, filepath.Join(dir, "k2.toml"), "kernel = \"off\"\nbudget = { window = \"1m\", object = \"2m\" }")
	put(t, filepath.Join(dir, "p.c"), wasteful)
	for _, mode := range []string{"-S", "-emit-llvm"} {
		runIn(t, dir, clang, "-O2", "--target=bpf", "-mcpu=v3", "-c", mode, "p.c")
	}
	k2cc(t, dir, "-O2", "--target=bpf", "-mcpu=v3", "-c", "p.c", "-o", "c.o")
	runIn(t, dir, clang, "-O2", "--target=bpf", "-mcpu=v3", "-c", "p.c", "-o", "clang.o")
	want := code(t, filepath.Join(dir, "c.o"))
	if bytes.Equal(want, code(t, filepath.Join(dir, "clang.o"))) {
		t.Fatal("nothing was optimised")
	}
	for _, args := range [][]string{{"-O2", "p.bc"}, {"p.s"}, {"-O2", "-x", "ir", "p.bc"}} {
		got := k2cc(t, dir, append([]string{"--target=bpf", "-mcpu=v3", "-c", "-o", "x.o"}, args...)...)
		if got != (result{}) || !bytes.Equal(want, code(t, filepath.Join(dir, "x.o"))) {
			t.Errorf("%q: got %+v, or other code", args, got)
		}
	}
	got := k2cc(t, dir, "MAKEFLAGS= --jobserver-auth=fifo:/none", "-O2", "--target=bpf", "-mcpu=v3", "-c", "p.c", "-o", "y.o")
	if got != (result{}) || !bytes.Equal(want, code(t, filepath.Join(dir, "y.o"))) {
		t.Errorf("a second time: got %+v, or other code", got)
	}
}

// code is the program's section of an object.
func code(t *testing.T, file string) []byte {
	t.Helper()
	out := exec.Command("llvm-objcopy-22", "-O", "binary", "--only-section=xdp", file, file+".bin")
	if said, err := out.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	return []byte(get(t, file+".bin"))
}

// The same object comes out whatever the number of cores.
func TestCoresDoNotShow(t *testing.T) {
	in := found(t, "bounds.c")
	config := toml.Default()
	config.Kernel = toml.KernelOff
	config.Budget = toml.Budget{Window: time.Minute, Object: 5 * time.Minute}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	var want []byte
	for _, n := range []int{1, 4} {
		runtime.GOMAXPROCS(n)
		out, _, err := Optimize(context.Background(), in, Options{Name: t.Name(), Config: config})
		if err != nil {
			t.Fatal(err)
		}
		if want != nil && !bytes.Equal(want, out) {
			t.Errorf("%d cores make another object", n)
		}
		want = out
	}
}
