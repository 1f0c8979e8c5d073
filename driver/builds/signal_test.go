package builds

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// start starts a command in a process group of its own.
func start(t *testing.T, dir string, env []string, program string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// outlived tells whether a process of a command's group is still there some
// time after the command's end.
func outlived(cmd *exec.Cmd) bool {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := syscall.Kill(-cmd.Process.Pid, 0)
		if errors.Is(err, syscall.ESRCH) {
			return false
		}
		if time.Now().After(deadline) {
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			return true
		}
	}
}

// TestInterruptedMake interrupts make -j8 at several points, as Ctrl-C does:
// no object but whole ones may remain, nothing else, nobody at work. The next
// make goes on from there.
func TestInterruptedMake(t *testing.T) {
	need(t, "make")
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "source"), os.DirFS("testdata/project")); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "build")
	build := func() *exec.Cmd {
		return start(t, out, nil, "make", "-s", "-j8", "-f", "../source/Makefile", "CC=k2cc")
	}
	renew(t, out)
	begin := time.Now()
	if err := build().Wait(); err != nil {
		t.Fatal(err)
	}
	whole, duration := contents(t, out), time.Since(begin)

	const times = 3
	interrupted := 0
	for i := range times {
		renew(t, out)
		cmd := build()
		time.Sleep(duration * time.Duration(2*i+1) / (2 * times))
		syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		if cmd.Wait() != nil {
			interrupted++
		}
		if outlived(cmd) {
			t.Error("processes outlive their make")
		}
		for name, text := range contents(t, out) {
			if want, known := whole[name]; !known && !ofClang(name) || strings.HasSuffix(name, ".o") && text != want {
				t.Errorf("interrupt %d left a wrong %s", i, name)
			}
		}
		if err := build().Wait(); err != nil {
			t.Errorf("make after interrupt %d: %v", i, err)
		}
		for name, text := range contents(t, out) {
			if text != whole[name] && !ofClang(name) {
				t.Errorf("%s differs after interrupt %d and another make", name, i)
			}
		}
	}
	if interrupted == 0 {
		t.Error("no make was interrupted at work")
	}
}

// renew empties a folder.
func renew(t *testing.T, dir string) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
}

// ofClang tells whether a file is one that clang has begun to write. A second
// signal may end clang before it has removed it.
func ofClang(name string) bool { return strings.HasSuffix(name, ".tmp") }

// contents returns the files of a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	walk(t, dir, func(name string, _ fs.FileInfo) {
		texts[name] = get(t, filepath.Join(dir, name))
	})
	return texts
}
