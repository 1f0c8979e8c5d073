package driver

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// replaceFile writes a file in one step: readers see the old or the new bytes.
// What is open already, and devices and pipes, just get the bytes.
func replaceFile(name string, data []byte, mode os.FileMode) error {
	if fd, ok := descriptor(name); ok {
		if err := writeTo(fd, data); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		return nil
	}
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		target = name // does not exist
	}
	if info, err := os.Stat(target); err == nil && !info.Mode().IsRegular() {
		// A device or a pipe takes the bytes, it must not become a file; a folder
		// says that it is one.
		return os.WriteFile(target, data, mode)
	}
	if err := writeAndRename(target, data, mode); err != nil {
		return fmt.Errorf("write %s: %w", name, withoutPath(err))
	}
	return nil
}

// descriptor is the open file of this process that a name stands for, as
// /dev/stdout does. Such a name must not be taken for one to move a file to.
func descriptor(name string) (fd int, ok bool) {
	for range 40 { // as many links as the system follows
		dir, err := filepath.EvalSymlinks(filepath.Dir(name))
		if err != nil {
			return 0, false
		}
		base := filepath.Base(name)
		if dir == fmt.Sprintf("/proc/%d/fd", os.Getpid()) {
			fd, err := strconv.Atoi(base)
			return fd, err == nil
		}
		if name, err = os.Readlink(filepath.Join(dir, base)); err != nil {
			return 0, false
		}
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
	}
	return 0, false
}

// writeTo writes to an open file, where it stands.
func writeTo(fd int, data []byte) error {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(own), "output")
	_, err = f.Write(data)
	return errors.Join(withoutPath(err), f.Close())
}

// writeAndRename writes a file without a name, gives it one beside the target
// when it is whole, and moves it to the target. Only who is killed between the
// last two leaves something behind, which the next one removes.
func writeAndRename(target string, data []byte, mode os.FileMode) error {
	prefix := temporaryPrefix(target)
	removeStale(prefix)
	f, temp, err := createTemporary(prefix)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode.Perm())
	}
	if err == nil && temp == "" {
		temp = prefix + strconv.FormatUint(rand.Uint64(), 36)
		source := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
		err = unix.Linkat(unix.AT_FDCWD, source, unix.AT_FDCWD, temp, unix.AT_SYMLINK_FOLLOW)
	}
	if err == nil {
		err = os.Rename(temp, target)
	}
	if err != nil && temp != "" {
		os.Remove(temp)
	}
	return err
}

// temporaryPrefix is how names of temporary files for a target begin.
func temporaryPrefix(target string) string {
	hash := fnv.New32a()
	hash.Write([]byte(filepath.Base(target)))
	return filepath.Join(filepath.Dir(target), fmt.Sprintf(".k2cc-%08x-", hash.Sum32()))
}

// createTemporary opens a file to be written, locked as long as it is open. It
// has no name yet (temp is empty) unless the file system can't have such files.
func createTemporary(prefix string) (f *os.File, temp string, err error) {
	fd, err := unix.Open(filepath.Dir(prefix), unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err == nil {
		f = os.NewFile(uintptr(fd), prefix)
	} else if f, err = os.CreateTemp(filepath.Dir(prefix), filepath.Base(prefix)+"*"); err != nil {
		return nil, "", err
	} else {
		temp = f.Name()
	}
	unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) // nobody else has it
	return f, temp, nil
}

// staleAge is how old a temporary file is at least before it is removed, for
// the moment in which it has a name but no lock.
const staleAge = 10 * time.Second

// removeStale removes temporary files that nobody writes any more.
func removeStale(prefix string) {
	names, err := filepath.Glob(filepath.Join(escapeGlob(filepath.Dir(prefix)), filepath.Base(prefix)+"*"))
	if err != nil {
		return
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		info, err := f.Stat()
		if err == nil && time.Since(info.ModTime()) > staleAge && unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			os.Remove(name)
		}
		f.Close()
	}
}

// escapeGlob makes a path match itself alone.
func escapeGlob(path string) string {
	var out []byte
	for _, c := range []byte(path) {
		if c == '*' || c == '?' || c == '[' || c == '\\' {
			out = append(out, '\\')
		}
		out = append(out, c)
	}
	return string(out)
}

// withoutPath takes the names of temporary files out of an error.
func withoutPath(err error) error {
	if path := new(os.PathError); errors.As(err, &path) {
		return path.Err
	}
	if link := new(os.LinkError); errors.As(err, &link) {
		return link.Err
	}
	return err
}
