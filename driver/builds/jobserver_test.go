package builds

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// jobserver stands in for GNU make: jobs take a byte from a pipe for each
// further thread of work, and put the same byte back.
type jobserver struct {
	pipe *os.File   // both ends
	auth string     // how make tells its jobs of the pipe
	ends []*os.File // what jobs inherit, from descriptor 3 on
}

// newJobserver makes a jobserver whose jobs find it by name, as those of make
// 4.4 do, or else by descriptors, as those of older ones.
func newJobserver(t *testing.T, byName bool, tokens string) *jobserver {
	t.Helper()
	name := filepath.Join(t.TempDir(), "jobs")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pipe.Close() })
	if _, err := pipe.WriteString(tokens); err != nil {
		t.Fatal(err)
	}
	if byName {
		return &jobserver{pipe: pipe, auth: "fifo:" + name}
	}
	return &jobserver{pipe: pipe, auth: "3,4", ends: []*os.File{pipe, pipe}}
}

// waiting returns the number of tokens that nobody has taken.
func (s *jobserver) waiting(t *testing.T) int {
	t.Helper()
	n, err := unix.IoctlGetInt(int(s.pipe.Fd()), unix.TIOCINQ)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// tokens takes all tokens out, sorted.
func (s *jobserver) tokens(t *testing.T) string {
	t.Helper()
	n := s.waiting(t)
	if n == 0 {
		return ""
	}
	all := make([]byte, n)
	n, err := s.pipe.Read(all)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all[:n])
	return string(all[:n])
}

// job is a compilation of one of the project's programs that make has started.
func job(t *testing.T, auth string, ends []*os.File) (cmd *exec.Cmd, said *bytes.Buffer) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.o")
	cmd = exec.CommandContext(t.Context(), "k2cc", "-O2", "-g", "--target=bpf", "-mcpu=v3", multiarch(t),
		"-c", "testdata/project/bpf/ingress.bpf.c", "-o", out)
	cmd.Env = append(os.Environ(), "MAKEFLAGS= -j8 --jobserver-auth="+auth, "MAKELEVEL=1")
	cmd.ExtraFiles = ends
	said = new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = said, said
	return cmd, said
}

// TestJobserver watches the tokens while k2cc works.
func TestJobserver(t *testing.T) {
	need(t)
	for _, byName := range []bool{false, true} {
		name := map[bool]string{false: "pipe", true: "fifo"}[byName]
		const some = "abcdefg"
		t.Run(name, func(t *testing.T) {
			server := newJobserver(t, byName, some)
			cmd, said := job(t, server.auth, server.ends)
			fewest := server.watch(t, cmd, nil)
			if !cmd.ProcessState.Success() || said.Len() > 0 {
				t.Errorf("%v, said %q", cmd.ProcessState, said)
			}
			if fewest == len(some) {
				t.Error("took no token")
			}
			if got := server.tokens(t); got != some {
				t.Errorf("left the tokens %q, want %q", got, some)
			}
		})
		t.Run(name+" without a token", func(t *testing.T) {
			server := newJobserver(t, byName, "")
			cmd, said := job(t, server.auth, server.ends)
			server.watch(t, cmd, nil)
			if !cmd.ProcessState.Success() || said.Len() > 0 {
				t.Errorf("%v, said %q", cmd.ProcessState, said)
			}
			if got := server.tokens(t); got != "" {
				t.Errorf("invented the tokens %q", got)
			}
		})
		t.Run(name+", terminated", func(t *testing.T) {
			server := newJobserver(t, byName, some)
			cmd, _ := job(t, server.auth, server.ends)
			server.watch(t, cmd, syscall.SIGTERM)
			if cmd.ProcessState.Success() {
				t.Error("was not terminated at work")
			}
			if got := server.tokens(t); got != some {
				t.Errorf("left the tokens %q, want %q", got, some)
			}
		})
	}
}

// watch runs a job and returns the fewest tokens that there were meanwhile. A
// signal is sent to the job as soon as it has taken one.
func (s *jobserver) watch(t *testing.T, cmd *exec.Cmd, signal os.Signal) int {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		cmd.Wait()
		close(done)
	}()
	fewest := s.waiting(t)
	for limit := time.After(time.Minute); ; {
		select {
		case <-done:
			return fewest
		case <-limit:
			cmd.Process.Kill()
			<-done
			t.Fatal("is stuck")
		case <-time.After(time.Millisecond):
		}
		n := s.waiting(t)
		if n < fewest && signal != nil {
			cmd.Process.Signal(signal)
			signal = nil
		}
		fewest = min(fewest, n)
	}
}

// TestNoJobserver has k2cc told of a jobserver that it can't use: make keeps
// the descriptors from jobs whose line has no plus sign, but not the variable.
func TestNoJobserver(t *testing.T) {
	need(t)
	const text = "keep your hands off\n"
	other := filepath.Join(t.TempDir(), "other")
	put(t, other, text)
	file, err := os.OpenFile(other, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tests := []struct {
		name, auth string
		ends       []*os.File
	}{
		{"closed descriptors", "3,4", nil},
		{"descriptors of something else", "3,4", []*os.File{file, file}},
		{"descriptors that make withdrew", "-2,-2", nil},
		{"no such pipe", "fifo:/nonexistent/jobs", nil},
		{"a file for a pipe", "fifo:" + other, nil},
		{"a form of the future", "sem:jobs", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cmd, said := job(t, test.auth, test.ends)
			if err := cmd.Run(); err != nil || said.Len() > 0 {
				t.Errorf("%v, said %q", err, said)
			}
			if at, err := file.Seek(0, 1); err != nil || at != 0 || get(t, other) != text {
				t.Errorf("read or wrote what is no jobserver: at %d, %v, %q", at, err, strings.TrimSpace(get(t, other)))
			}
		})
	}
}
