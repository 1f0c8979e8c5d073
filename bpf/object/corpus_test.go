package object

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// object is a test object.
type object struct {
	name  string
	data  []byte
	clang bool // compiled here, by clang-22
}

// job is a call of the compiler.
type job struct{ name, source, opt, level, target, debug string }

func jobs(sources []string) []job {
	var out []job
	for _, src := range sources {
		for _, opt := range []string{"-O1", "-O2", "-Os"} {
			for _, level := range []string{"v1", "v2", "v3", "v4"} {
				for _, target := range []string{"bpfel", "bpfeb"} {
					for _, debug := range []string{"", "-g"} {
						base := strings.TrimSuffix(filepath.Base(src), ".c")
						name := base + opt + "-" + level + "-" + target + debug
						out = append(out, job{name, src, opt, level, target, debug})
					}
				}
			}
		}
	}
	return out
}

// needsDebug are sources that don't compile without -g, for CO-RE.
func needsDebug(source string) bool {
	b, err := os.ReadFile(source)
	return err == nil && (bytes.Contains(b, []byte("bpf_core_read.h")) || bytes.Contains(b, []byte("preserve_access_index")))
}

func (j job) run(dir string) (object, error) {
	out := filepath.Join(dir, j.name+".o")
	args := []string{"-target", j.target, "-mcpu=" + j.level, j.opt, "-I/usr/include/" + multiarch(), "-c", j.source, "-o", out}
	if j.debug != "" {
		args = append(args, j.debug)
	}
	if msg, err := exec.Command("clang-22", args...).CombinedOutput(); err != nil {
		return object{}, fmt.Errorf("clang-22 %s: %w\n%s", strings.Join(args, " "), err, msg)
	}
	data, err := os.ReadFile(out)
	return object{j.name, data, true}, err
}

func multiarch() string {
	if runtime.GOARCH == "arm64" {
		return "aarch64-linux-gnu"
	}
	return "x86_64-linux-gnu"
}

// compileAll runs the jobs on all cores.
func compileAll(jobs []job) ([]object, error) {
	dir, err := os.MkdirTemp("", "k2cc-object")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := make([]object, len(jobs))
	errs := make([]error, len(jobs))
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.NumCPU() {
		wg.Go(func() {
			for i := range next {
				out[i], errs[i] = jobs[i].run(dir)
			}
		})
	}
	for i := range jobs {
		next <- i
	}
	close(next)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

var compileCorpus = sync.OnceValues(func() ([]object, error) {
	own, err := filepath.Glob("testdata/*.c")
	if err != nil {
		return nil, err
	}
	examples, err := filepath.Glob("../../examples/*/*.bpf.c")
	if err != nil {
		return nil, err
	}
	var todo []job
	for _, j := range jobs(own) {
		if j.debug != "" || !needsDebug(j.source) {
			todo = append(todo, j)
		}
	}
	for _, j := range jobs(examples) {
		if j.debug != "" {
			todo = append(todo, j)
		}
	}
	return compileAll(todo)
})

// compiled are the test sources and the examples, compiled in all ways.
func compiled(tb testing.TB) []object {
	tb.Helper()
	if _, err := exec.LookPath("clang-22"); err != nil {
		tb.Skip("clang-22 is not installed: no objects to test with")
	}
	out, err := compileCorpus()
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// some are the compiled objects at one optimisation level each: enough where
// what is tested does not depend on it.
func some(tb testing.TB) []object {
	tb.Helper()
	var out []object
	for _, o := range compiled(tb) {
		if strings.Contains(o.name, "-O2-") {
			out = append(out, o)
		}
	}
	return out
}

// shipped are the objects inside cilium/ebpf's module.
func shipped(tb testing.TB) []object {
	tb.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cilium/ebpf").Output()
	if err != nil {
		tb.Skip("go list does not find cilium/ebpf: ", err)
	}
	root := strings.TrimSpace(string(dir))
	var out []object
	err = filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".elf") {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(root, path)
		out = append(out, object{name: name, data: data})
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	if len(out) == 0 {
		tb.Fatal("no objects in ", root)
	}
	return out
}
