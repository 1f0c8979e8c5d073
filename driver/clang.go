package driver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// findClang finds the compiler: the one that settings name, else the newest on
// PATH that compiles for BPF.
func (d *driver) findClang(configured string) (string, error) {
	if configured != "" {
		path, err := lookUp(configured)
		if err != nil {
			return "", fmt.Errorf("clang = %q: %w", configured, err)
		}
		return path, nil
	}
	return newestClang(filepath.SplitList(os.Getenv("PATH")), &prober{dir: d.cacheDir()})
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

var versionedClang = regexp.MustCompile(`^clang(?:-(\d{1,4}))?$`)

// compiler is a program that may be clang.
type compiler struct {
	path    string
	version int // of its name; -1: it has none
}

// newestClang finds the clang with the highest version in the folders that
// compiles for BPF, the first of equals.
func newestClang(dirs []string, p *prober) (string, error) {
	all := compilers(dirs)
	// Of equals, one that has its number in its name comes first.
	slices.SortStableFunc(all, func(a, b compiler) int { return b.version - a.version })
	for i, c := range all {
		if c.version < 0 {
			all[i].version = p.probe(c.path).Version
		}
	}
	slices.SortStableFunc(all, func(a, b compiler) int { return b.version - a.version })
	for _, c := range all {
		if p.probe(c.path).BPF {
			return c.path, nil
		}
	}
	if len(all) > 0 {
		return "", fmt.Errorf("no clang on PATH compiles for BPF (%s is the newest); name one in k2.toml (clang) or %s", all[0].path, variableName("clang"))
	}
	return "", fmt.Errorf("found no clang on PATH; install clang-22 or name one in k2.toml (clang) or %s", variableName("clang"))
}

// compilers are the programs called clang or clang-NN, in the folders' order.
func compilers(dirs []string) (all []compiler) {
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // PATH may name folders that don't exist
		}
		for _, entry := range entries {
			match := versionedClang.FindStringSubmatch(entry.Name())
			path := filepath.Join(dir, entry.Name())
			if match == nil || !isProgram(path) || isSelf(path) {
				continue
			}
			c := compiler{path, -1}
			if n, err := strconv.Atoi(match[1]); err == nil {
				c.version = n
			}
			all = append(all, c)
		}
	}
	return all
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

// signalGrace is how long clang gets to end of a signal that it got itself.
const signalGrace = 300 * time.Millisecond

// become replaces this process by clang. It returns only if that fails.
func (d *driver) become(clang string, args []string) int {
	err := d.exec(clang, append([]string{clang}, args...), clangEnvironment(clang))
	d.say("run %s: %v", clang, err)
	return exitCantRun
}

// runClang runs clang with the driver's own streams and returns its exit code,
// or the signal that ended it. A signal that k2cc gets, clang gets too, so that
// it removes what it has begun to write. An error means that clang did not start.
func (d *driver) runClang(ctx *interrupts, clang string, args []string) (code int, killed syscall.Signal, err error) {
	runtime.LockOSThread() // Pdeathsig is about the thread that starts clang
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, clang, args...)
	cmd.Env = clangEnvironment(clang)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = d.In, d.Out, d.Err
	cmd.Cancel = func() error {
		// A signal from a terminal or to the whole group has reached clang
		// already: a second one would end it before it has cleaned up.
		time.Sleep(signalGrace)
		return cmd.Process.Signal(ctx.signal())
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Run(); cmd.ProcessState == nil {
		return 0, 0, err
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 0, status.Signal(), nil
	}
	return cmd.ProcessState.ExitCode(), 0, nil
}
