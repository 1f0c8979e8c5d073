// Package examples makes the BPF programs in its subfolders usable as test
// inputs: it compiles them, fills their maps, generates traffic that reaches
// deep into them, and compares how two objects made from one example behave.
// The programs themselves are realistic ones, to be read and run as well.
package examples

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/cilium/ebpf"
)

// Example is one of the programs: a C file and what is needed to run what
// comes of it.
type Example struct {
	Name   string
	Source string // path of the C file; its folder holds the k2.toml

	Programs []Program

	// NeedsDebug says that the source compiles with -g alone: it relies on
	// CO-RE. Every example needs -g to be loaded.
	NeedsDebug bool

	entries   func(*filler)
	traffic   func(t *traffic, program string) Input
	configure map[string]any // read-only variables that a loader sets
}

// Program is an entry point of an example.
type Program struct {
	Name    string // of the function
	Section string
	Type    ebpf.ProgramType

	// RunAs is the type as which BPF_PROG_TEST_RUN can run the program. For
	// tracepoints and kprobes, which the kernel does not run on request, it is
	// RawTracepoint, whose context is as free of meaning to the verifier and
	// whose helpers include theirs. UnspecifiedProgram: it can't be run.
	RunAs ebpf.ProgramType
}

// Runnable tells whether the kernel runs the program on request.
func (p Program) Runnable() bool { return p.RunAs != ebpf.UnspecifiedProgram }

// takesPackets tells whether the program's inputs have data.
func (p Program) takesPackets() bool {
	switch p.Type {
	case ebpf.XDP, ebpf.SchedCLS, ebpf.SocketFilter:
		return true
	}
	return false
}

// All returns the examples in alphabetical order.
func All() []Example {
	all := []Example{
		flowExport(), profiler(), rateLimit(), sockAddr(),
		sockStats(), tcParser(), xdpFirewall(), xdpLB(),
	}
	root := folder()
	for i := range all {
		name := all[i].Name
		all[i].Source = filepath.Join(root, name, name+".bpf.c")
	}
	return all
}

// Find returns the example of that name.
func Find(name string) (Example, error) {
	for _, e := range All() {
		if e.Name == name {
			return e, nil
		}
	}
	return Example{}, fmt.Errorf("find example %q: %w", name, fs.ErrNotExist)
}

// Program returns the entry point of that name.
func (e Example) Program(name string) (Program, error) {
	for _, p := range e.Programs {
		if p.Name == name {
			return p, nil
		}
	}
	return Program{}, fmt.Errorf("find program %q of %s: %w", name, e.Name, fs.ErrNotExist)
}

// folder is where the examples are. A build with -trimpath does not know where
// its source was: then the folder is looked for above the working directory.
func folder() string {
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		return filepath.Dir(file)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "examples"
	}
	for ; ; dir = filepath.Dir(dir) {
		candidate := filepath.Join(dir, "examples")
		if _, err := os.Stat(filepath.Join(candidate, "xdp_lb")); err == nil {
			return candidate
		}
		if dir == filepath.Dir(dir) {
			return "examples"
		}
	}
}

// Flags are the compiler's arguments that every example is compiled with. What
// follows them on the command line overrides them.
func Flags() []string {
	flags := []string{"-O2", "-g", "--target=bpf"}
	triple := map[string]string{
		"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu",
		"ppc64le": "powerpc64le-linux-gnu", "riscv64": "riscv64-linux-gnu",
		"s390x": "s390x-linux-gnu", "loong64": "loongarch64-linux-gnu",
	}[runtime.GOARCH]
	// Debian keeps asm/types.h apart; elsewhere it is in /usr/include.
	if dir := "/usr/include/" + triple; triple != "" {
		if _, err := os.Stat(dir); err == nil {
			flags = append(flags, "-I"+dir)
		}
	}
	return flags
}

// Compile runs the compiler over the C file with Flags and flags, and returns
// the object. A warning is an error: it says what the compiler said.
func Compile(ctx context.Context, clang, src string, flags ...string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "k2cc-example-")
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", src, err)
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "out.o")
	args := append(Flags(), flags...)
	args = append(args, "-c", src, "-o", out)
	said, err := exec.CommandContext(ctx, clang, args...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w: %s", src, err, said)
	}
	if strings.Contains(string(said), "warning:") {
		return nil, fmt.Errorf("compile %s: %w: %s", src, errors.New("compiler warns"), said)
	}
	object, err := os.ReadFile(out)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", src, err)
	}
	return object, nil
}
