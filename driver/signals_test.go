package driver

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hanging starts k2cc with a worker that never ends, and waits until clang's
// object is there.
func hanging(t *testing.T, dir string, through ...string) (*exec.Cmd, string) {
	t.Helper()
	needClang(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	words := append(append(through, self), compileArgs...)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), actVariable+"=a worker that hangs")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	object := filepath.Join(dir, "good.o")
	for range 600 {
		if isObject(object) {
			time.Sleep(100 * time.Millisecond) // for the worker to start
			return cmd, object
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("clang has written no object")
	return nil, ""
}

// wait waits for the end of a process and of all that it started.
func wait(t *testing.T, cmd *exec.Cmd) syscall.WaitStatus {
	t.Helper()
	cmd.Wait()
	for range 200 {
		if syscall.Kill(-cmd.Process.Pid, 0) != nil {
			return cmd.ProcessState.Sys().(syscall.WaitStatus)
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("a child lives on")
	return 0
}

func TestEndedBySignal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			cmd, object := hanging(t, dir)
			before := get(t, object)
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if status := wait(t, cmd); !status.Signaled() || status.Signal() != sig {
				t.Errorf("ended with %v", status)
			}
			if get(t, object) != before || len(files(t, dir)) != len(sources)+1 {
				t.Errorf("not just clang's object is there: %q", files(t, dir))
			}
		})
	}
}

// A terminal's signal reaches the worker as well, which may be faster.
func TestEndedByTerminal(t *testing.T) {
	for range 5 {
		dir := folder(t)
		cmd, _ := hanging(t, dir)
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if status := wait(t, cmd); !status.Signaled() || status.Signal() != syscall.SIGINT {
			t.Errorf("ended with %v", status)
		}
	}
}

// What k2cc was told to ignore, as by nohup, it ignores.
func TestIgnoredSignal(t *testing.T) {
	t.Parallel()
	cmd, _ := hanging(t, folder(t), "nohup")
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := wait(t, cmd); status.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v", status)
	}
}

// Where nobody reads what k2cc says, the exit code is clang's all the same, and
// the object whole.
func TestNobodyReads(t *testing.T) {
	needClang(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, first := range []string{"--k2-report", "--k2-goal=wrong"} {
		dir := folder(t)
		put(t, filepath.Join(dir, "k2.toml"), "[[override]]\nprogram = \"*\"\nskip = true\n")
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		cmd := exec.Command(self, append([]string{first}, compileArgs...)...)
		cmd.Dir, cmd.Stderr, cmd.Env = dir, w, append(os.Environ(), actVariable+"=1")
		if err := cmd.Run(); err != nil {
			t.Errorf("%s: %v", first, err)
		}
		w.Close()
		if !isObject(filepath.Join(dir, "good.o")) {
			t.Errorf("%s: no object is there", first)
		}
	}
}

// Clang ignores what k2cc was started with as ignored, and nothing else.
func TestIgnoredSignalsArePassedOn(t *testing.T) {
	t.Parallel()
	clang := needClang(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := folder(t)
	script(t, filepath.Join(dir, "tells"), "grep ^SigIgn: /proc/self/status; exec "+clang+` "$@"`)
	for _, signals := range []string{"", "INT", "INT HUP QUIT TERM PIPE USR1 ALRM"} {
		for _, args := range [][]string{compileArgs, {"-fsyntax-only", "good.c"}} {
			command := "trap '' " + signals + "; grep ^SigIgn: /proc/self/status; exec \"$@\""
			got := runIn(t, dir, "sh", append([]string{actVariable + "=1", "K2CC_CLANG=./tells", "K2CC_PASSES=local", "-c", command, "sh", self}, args...)...)
			mine, clangs, _ := strings.Cut(got.out, "\n")
			if got.code != 0 || mine == "" || clangs != mine+"\n" {
				t.Errorf("%q: got %+v", signals, got)
			}
		}
	}
}

// A SIGQUIT before clang runs ends k2cc without a word.
func TestQuitBeforeClang(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	script(t, filepath.Join(dir, "bin", "clang-99"), "touch asked; exec sleep 60")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, compileArgs...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), actVariable+"=1", "PATH="+filepath.Join(dir, "bin")+":/usr/bin:/bin", cacheVariable+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var said strings.Builder
	cmd.Stderr, cmd.WaitDelay = &said, time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	for range 600 {
		if _, err := os.Stat(filepath.Join(dir, "asked")); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	cmd.Process.Signal(syscall.SIGQUIT)
	cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGQUIT || said.Len() > 0 {
		t.Errorf("ended with %v, said %q", status, said.String())
	}
}
