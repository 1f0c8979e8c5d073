// Package proctest runs programs for tests, and skips those for which the machine
// lacks what they need.
package proctest

import (
	"bytes"
	"os"
	"os/exec"
	"testing"

	"github.com/k2cc/k2cc/verify"
)

// Need skips a test where one of the programs is not installed.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
}

// NeedKernel skips a test where BPF can't be loaded.
func NeedKernel(t testing.TB) {
	t.Helper()
	if err := verify.Permitted(); err != nil {
		t.Skip(err)
	}
}

// Result is what a process left behind.
type Result struct {
	Code        int // -1: killed by a signal
	Out, Errors string
}

// Run runs a program in a folder with additions to the environment.
func Run(t testing.TB, dir string, env []string, program string, args ...string) Result {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatalf("run %s: %v", program, err)
	}
	return Result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}
