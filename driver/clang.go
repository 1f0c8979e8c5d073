package driver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

const (
	// clangVariable names the compiler where k2.toml does not.
	clangVariable = "K2CC_CLANG"
	// guardVariable is set for the compiler that k2cc runs, to the path of
	// that compiler. If k2cc finds it set, that compiler was k2cc again.
	guardVariable = "K2CC_RUNS"
)

// findClang finds the compiler: the configured one (of k2.toml), else the
// environment's, else the newest on PATH.
func findClang(configured string) (string, error) {
	if configured != "" {
		path, err := lookUp(configured)
		if err != nil {
			return "", fmt.Errorf("clang = %q of k2.toml: %w", configured, err)
		}
		return path, nil
	}
	if name := os.Getenv(clangVariable); name != "" {
		path, err := lookUp(name)
		if err != nil {
			return "", fmt.Errorf("%s=%q: %w", clangVariable, name, err)
		}
		return path, nil
	}
	return newestClang(filepath.SplitList(os.Getenv("PATH")))
}

// lookUp finds a program by path or name, passing over k2cc itself.
func lookUp(name string) (string, error) {
	if strings.Contains(name, "/") {
		if !isProgram(name) {
			return "", errors.New("no such program")
		}
		if isSelf(name) {
			return "", errors.New("that is k2cc itself")
		}
		return name, nil
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if path := filepath.Join(dir, name); isProgram(path) && !isSelf(path) {
			return path, nil
		}
	}
	return "", errors.New("no such program on PATH")
}

var versionedClang = regexp.MustCompile(`^clang-(\d{1,4})$`)

// newestClang finds the clang-NN with the highest number in the folders, the
// first of equals, or plain clang where none has a number.
func newestClang(dirs []string) (string, error) {
	newest, version := "", -1
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // PATH may name folders that don't exist
		}
		for _, entry := range entries {
			match := versionedClang.FindStringSubmatch(entry.Name())
			if match == nil {
				continue
			}
			path := filepath.Join(dir, entry.Name())
			n, err := strconv.Atoi(match[1])
			if err == nil && n > version && isProgram(path) && !isSelf(path) {
				newest, version = path, n
			}
		}
	}
	if newest != "" {
		return newest, nil
	}
	path, err := lookUp("clang")
	if err != nil {
		return "", fmt.Errorf("found no clang on PATH; install clang-22 or name one in k2.toml (clang) or %s", clangVariable)
	}
	return path, nil
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// isSelf tells whether the path leads to k2cc, which may well be installed
// under the name of clang.
func isSelf(path string) bool {
	self, err := os.Executable()
	if err != nil {
		return false
	}
	a, errA := os.Stat(self)
	b, errB := os.Stat(path)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// clangEnvironment is the environment with the guard against recursion set.
func clangEnvironment(clang string) []string {
	return append(os.Environ(), guardVariable+"="+clang)
}

// become replaces this process by clang. It returns only if that fails.
func (d *driver) become(clang string, args []string) int {
	err := syscall.Exec(clang, append([]string{clang}, args...), clangEnvironment(clang))
	d.say("run %s: %v", clang, err)
	return exitNotFound - 1 // found but not executable
}

// runClang runs clang with the driver's own streams and returns its exit code
// as a shell would. When the context ends, clang is asked to stop, so that it
// removes what it has begun to write.
func (d *driver) runClang(ctx context.Context, clang string, args []string) int {
	cmd := exec.CommandContext(ctx, clang, args...)
	cmd.Env = clangEnvironment(clang)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = d.In, d.Out, d.Err
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	err := cmd.Run()
	if cmd.ProcessState == nil {
		d.say("run %s: %v", clang, err)
		return exitNotFound - 1
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitSignal + int(status.Signal())
	}
	return cmd.ProcessState.ExitCode()
}
