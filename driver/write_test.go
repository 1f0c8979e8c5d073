package driver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestStaleFiles finds what killed processes left behind: only files for the
// same target go, and none that is still written.
func TestStaleFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a [b*")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(dir, "x.o")
	old := time.Now().Add(-2 * staleAge)
	plant := func(name string) string {
		put(t, name, "half")
		if err := os.Chtimes(name, old, old); err != nil {
			t.Fatal(err)
		}
		return name
	}
	dead := plant(temporaryPrefix(target) + "dead")
	other := plant(temporaryPrefix(filepath.Join(dir, "y.o")) + "dead")
	live := plant(temporaryPrefix(target) + "live")
	f, err := os.Open(live)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	young := temporaryPrefix(target) + "young"
	put(t, young, "half")
	if err := replaceFile(target, []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dead); err == nil {
		t.Error("a dead process's file is still there")
	}
	for _, name := range []string{other, live, young} {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
	if get(t, target) != "new" {
		t.Errorf("got %q", get(t, target))
	}
}

// The object's mode is what the umask leaves of clang's.
func TestMode(t *testing.T) {
	needClang(t)
	dir := folder(t)
	t.Chdir(dir)
	old := unix.Umask(0o027)
	defer unix.Umask(old)
	if got := compileWith(mark, compileArgs...); got != (result{}) {
		t.Fatalf("%+v", got)
	}
	info, err := os.Stat("good.o")
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
}

func TestOwnOptionsInResponseFiles(t *testing.T) {
	needClang(t)
	t.Chdir(folder(t))
	put(t, "one", "--k2-goal=size @two 'good.c'")
	put(t, "two", "-O2 --target=bpf")
	look, goal := watch()
	if got := compileWith(look, "@one", "-c"); got != (result{}) || *goal != "size" {
		t.Errorf("got %+v with goal %q", got, *goal)
	}
}

// Whatever clang did not write just now is not touched.
func TestOldObjectIsNotTouched(t *testing.T) {
	dir := folder(t)
	t.Chdir(dir)
	script(t, "fake", "exit 0")
	t.Setenv("K2CC_CLANG", filepath.Join(dir, "fake"))
	put(t, "good.o", "\x7fELF not from here")
	if got := compileWith(mark, compileArgs...); got != (result{}) || get(t, "good.o") != "\x7fELF not from here" {
		t.Errorf("got %+v, %q", got, get(t, "good.o"))
	}
}

// A pipe or a device is written to, and stays what it is.
func TestReplaceFileKeepsPipes(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan []byte)
	go func() {
		text, _ := os.ReadFile(pipe)
		got <- text
	}()
	if err := replaceFile(pipe, []byte("object"), 0o644); err != nil {
		t.Fatal(err)
	}
	if text := <-got; string(text) != "object" {
		t.Errorf("read %q", text)
	}
	if info, err := os.Stat(pipe); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("the pipe became %v, %v", info.Mode(), err)
	}
}

// An open file that a name stands for gets the bytes where it stands, even if it
// is nowhere in the file system any more.
func TestReplaceFileOfADescriptor(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "gone"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("before "); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(fmt.Sprintf("/dev/fd/%d", f.Fd()), link); err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(link, []byte("object"), 0o644); err != nil {
		t.Error(err)
	}
	var text [20]byte
	n, err := f.ReadAt(text[:], 0)
	if string(text[:n]) != "before object" || !errors.Is(err, io.EOF) {
		t.Errorf("got %q, %v", text[:n], err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", info, err)
	}
	if err := replaceFile("/proc/self/fd/999", nil, 0o644); err == nil || !strings.Contains(err.Error(), "bad file descriptor") {
		t.Errorf("a closed file: got %v", err)
	}
}

func TestReplaceFolder(t *testing.T) {
	if err := replaceFile(t.TempDir(), nil, 0o644); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("got %v", err)
	}
}
