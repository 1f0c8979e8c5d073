package cores

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// pipe makes a pipe with tokens in it, and returns how many are left.
func pipe(t *testing.T, tokens string) (r, w *os.File, left func() int) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	if _, err := w.WriteString(tokens); err != nil {
		t.Fatal(err)
	}
	return r, w, func() int {
		n, err := unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
}

func TestJobServer(t *testing.T) {
	r, w, left := pipe(t, "++")
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	fifo, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer fifo.Close()
	if _, err := fifo.WriteString("++"); err != nil {
		t.Fatal(err)
	}
	want := min(3, runtime.NumCPU())
	for name, flags := range map[string]string{
		"descriptors":     fmt.Sprintf("rR -j3 --jobserver-auth=%d,%d", r.Fd(), w.Fd()),
		"the older name":  fmt.Sprintf(" -j --jobserver-fds=%d,%d", r.Fd(), w.Fd()),
		"a fifo":          "-j3 --jobserver-auth=fifo:" + path,
		"the last counts": fmt.Sprintf("--jobserver-auth=-2,-2 --jobserver-auth=%d,%d", r.Fd(), w.Fd()),
	} {
		first := Take(flags, t.TempDir())
		if first.N != want {
			t.Errorf("%s: got %d cores, want %d", name, first.N, want)
		}
		if second := Take(flags, t.TempDir()); second.N != 1 && first.N == 3 {
			t.Errorf("%s: %d cores where no token is left", name, second.N)
		} else {
			second.Release()
		}
		first.Release()
		if left() != 2 {
			t.Fatalf("%s: %d tokens came back, want 2", name, left())
		}
	}
}

// Who opens the pipe anew does not change how others read it.
func TestJobServerStaysBlocking(t *testing.T) {
	r, w, _ := pipe(t, "+")
	Take(fmt.Sprintf("--jobserver-auth=%d,%d", r.Fd(), w.Fd()), t.TempDir()).Release()
	flags, err := unix.FcntlInt(r.Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("flags %o, %v", flags, err)
	}
}

func TestNoJobServer(t *testing.T) {
	for _, flags := range []string{
		"", "n", "-j8", "--jobserver-auth=", "--jobserver-auth=-2,-2", "--jobserver-auth=1000,1001",
		"--jobserver-auth=a,b", "--jobserver-auth=fifo:/none", "--jobserver-auth=fifo:/dev/null",
	} {
		s := Take(flags, t.TempDir())
		if s.N != runtime.NumCPU() {
			t.Errorf("%q: got %d cores of %d", flags, s.N, runtime.NumCPU())
		}
		s.Release()
	}
}

func TestShares(t *testing.T) {
	dir := t.TempDir()
	first := Take("", dir)
	second := Take("", dir)
	if first.N != runtime.NumCPU() || second.N != 1 {
		t.Errorf("got %d and %d cores", first.N, second.N)
	}
	first.Release()
	if third := Take("", dir); third.N != runtime.NumCPU() {
		t.Errorf("got %d cores after all came back", third.N)
	}
	if s := Take("", "/dev/null"); s.N != 1 {
		t.Errorf("got %d cores where nobody can agree", s.N)
	}
}
