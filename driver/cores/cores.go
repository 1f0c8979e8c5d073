// Package cores shares the machine's cores with other processes: as GNU make
// says, or else with the k2cc processes of the same user.
package cores

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Share is the cores that a process may use until it gives them back.
type Share struct {
	N       int // at least 1
	release []func()
}

// Take takes as many cores as are free, without waiting. A process always has
// one, which its parent gave it. flags is the variable MAKEFLAGS; dir is a folder
// in which processes agree where there is no make; without one, each has one core.
func Take(flags, dir string) *Share {
	s := &Share{N: 1}
	limit := runtime.NumCPU()
	if server, ok := openJobServer(flags); ok {
		for s.N < limit && server.take(s) {
			s.N++
		}
		s.release = append(s.release, server.close)
		return s
	}
	if dir != "" {
		s.takeLocks(filepath.Join(dir, "cores"), limit)
	}
	return s
}

// Release gives the cores back.
func (s *Share) Release() {
	for _, release := range s.release {
		release()
	}
	s.N, s.release = 1, nil
}

// takeLocks takes cores by locking files, one for each. The system gives them
// back should the process be killed.
func (s *Share) takeLocks(dir string, limit int) {
	if os.MkdirAll(dir, 0o755) != nil {
		return
	}
	taken := 0
	for i := range limit {
		f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(i)), os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			break
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
			f.Close()
			continue
		}
		s.release = append(s.release, func() { f.Close() })
		taken++
	}
	s.N = max(1, taken)
}

// jobServer hands out the tokens of GNU make, each of which allows a job beside
// the one that a process may run anyway (GNU make manual, "POSIX Jobserver").
type jobServer struct{ in, out int }

// openJobServer finds the server in MAKEFLAGS.
func openJobServer(flags string) (jobServer, bool) {
	auth := ""
	for word := range strings.FieldsSeq(flags) {
		for _, option := range []string{"--jobserver-auth=", "--jobserver-fds="} {
			if value, ok := strings.CutPrefix(word, option); ok {
				auth = value // the last one counts
			}
		}
	}
	in, out, ok := ends(auth)
	if !ok {
		return jobServer{}, false
	}
	// Opened anew, since whether to wait is a property of the open file, which
	// others share. Reads then say at once whether there is a token.
	r, err := openPipe(in, unix.O_RDONLY)
	if err != nil {
		return jobServer{}, false
	}
	w, err := openPipe(out, unix.O_WRONLY)
	if err != nil {
		unix.Close(r)
		return jobServer{}, false
	}
	return jobServer{r, w}, true
}

// ends are the pipe's ends as paths.
func ends(auth string) (in, out string, ok bool) {
	if path, ok := strings.CutPrefix(auth, "fifo:"); ok {
		return path, path, true
	}
	r, w, ok := strings.Cut(auth, ",")
	if !ok {
		return "", "", false
	}
	for _, fd := range []string{r, w} {
		if n, err := strconv.Atoi(fd); err != nil || n < 0 {
			return "", "", false
		}
	}
	return "/proc/self/fd/" + r, "/proc/self/fd/" + w, true
}

// openPipe opens a pipe, and nothing else: make closes the descriptors of
// commands that it does not take for itself, and others may have their numbers.
func openPipe(path string, how int) (int, error) {
	fd, err := unix.Open(path, how|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open jobserver: %w", err)
	}
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil || info.Mode&unix.S_IFMT != unix.S_IFIFO {
		unix.Close(fd)
		return 0, fmt.Errorf("%s is no pipe", path)
	}
	return fd, nil
}

// take takes a token, which is given back as the byte that it was.
func (j jobServer) take(s *Share) bool {
	token := make([]byte, 1)
	n, err := unix.Read(j.in, token)
	if n != 1 || err != nil {
		return false
	}
	s.release = append(s.release, func() { unix.Write(j.out, token) })
	return true
}

func (j jobServer) close() {
	unix.Close(j.in)
	unix.Close(j.out)
}
