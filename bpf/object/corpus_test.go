package object

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// object is a test object.
type object struct {
	name string
	data []byte
	job  job // how it was compiled; zero where it was not
}

// job is a call of the compiler.
type job struct{ source, opt, level, target, debug string }

func jobs(sources []string) []job {
	var out []job
	for _, src := range sources {
		for _, opt := range []string{"-O1", "-O2", "-Os"} {
			for _, level := range []string{"v1", "v2", "v3", "v4"} {
				for _, target := range []string{"bpfel", "bpfeb"} {
					for _, debug := range []string{"", "-g"} {
						out = append(out, job{src, opt, level, target, debug})
					}
				}
			}
		}
	}
	return out
}

func (j job) name() string {
	base := filepath.Base(j.source)
	return base + j.opt + "-" + j.level + "-" + j.target + j.debug
}

// needsDebug are sources that don't compile without -g, for CO-RE.
func needsDebug(source string) bool {
	b, err := os.ReadFile(source)
	return err == nil && (bytes.Contains(b, []byte("bpf_core_read.h")) || bytes.Contains(b, []byte("preserve_access_index")))
}

func (j job) run() (object, error) {
	dir, err := os.MkdirTemp("", "k2cc-object")
	if err != nil {
		return object{}, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "object.o")
	args := []string{"-Wno-unused-command-line-argument", "-target", j.target, "-mcpu=" + j.level, j.opt, "-I/usr/include/" + multiarch(), "-c", j.source, "-o", out}
	if j.debug != "" {
		args = append(args, j.debug)
	}
	if msg, err := exec.Command("clang-22", args...).CombinedOutput(); err != nil {
		return object{}, fmt.Errorf("clang-22 %s: %w\n%s", strings.Join(args, " "), err, msg)
	}
	data, err := os.ReadFile(out)
	return object{j.name(), data, j}, err
}

func multiarch() string {
	if runtime.GOARCH == "arm64" {
		return "aarch64-linux-gnu"
	}
	return "x86_64-linux-gnu"
}

// compiler compiles each job once.
type compiler struct {
	mu    sync.Mutex
	cache map[job]func() (object, error)
}

var corpus = compiler{cache: map[job]func() (object, error){}}

func (c *compiler) compile(j job) (object, error) {
	c.mu.Lock()
	once, ok := c.cache[j]
	if !ok {
		once = sync.OnceValues(j.run)
		c.cache[j] = once
	}
	c.mu.Unlock()
	return once()
}

// all runs the jobs on all cores.
func (c *compiler) all(jobs []job) ([]object, error) {
	out := make([]object, len(jobs))
	errs := make([]error, len(jobs))
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.NumCPU() {
		wg.Go(func() {
			for i := range next {
				out[i], errs[i] = c.compile(jobs[i])
			}
		})
	}
	for i := range jobs {
		next <- i
	}
	close(next)
	wg.Wait()
	return out, errors.Join(errs...)
}

// sources are the jobs for the test sources and the project's examples.
func sources() ([]job, error) {
	own, err := filepath.Glob("testdata/*.[cs]")
	if err != nil {
		return nil, err
	}
	examples, err := filepath.Glob("../../examples/*/*.bpf.c")
	if err != nil {
		return nil, err
	}
	var out []job
	for _, j := range jobs(append(own, examples...)) {
		if strings.HasSuffix(j.source, ".s") && (j.opt != "-O2" || j.debug != "") {
			continue // the assembler does nothing else there
		}
		if j.debug != "" || !needsDebug(j.source) {
			out = append(out, j)
		}
	}
	return out, nil
}

// compiled are the jobs that keep selects, compiled.
func compiled(tb testing.TB, keep func(job) bool) []object {
	tb.Helper()
	if _, err := exec.LookPath("clang-22"); err != nil {
		tb.Skip("clang-22 is not installed: no objects to test with")
	}
	all, err := sources()
	if err != nil {
		tb.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(j job) bool { return !keep(j) || testing.Short() && !some(j) })
	if len(all) == 0 {
		tb.Fatal("no sources to compile")
	}
	out, err := corpus.all(all)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// some keeps one optimisation level: enough where what is tested does not
// depend on it.
func some(j job) bool { return j.opt == "-O2" }

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
