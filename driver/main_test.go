package driver

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/k2cc/k2cc/internal/filetest"
)

// actVariable makes the test binary act as k2cc, for tests of what only a
// whole process can do: becoming clang, running a worker, being interrupted.
const actVariable = "ACT_AS_K2CC"

func TestMain(m *testing.M) {
	if act := os.Getenv(actVariable); act != "" {
		if len(os.Args) > 1 && os.Args[1] == workerFlag {
			actAsWorker(act)
		}
		os.Exit(Main(os.Args, Streams{os.Stdin, os.Stdout, os.Stderr}))
	}
	for _, name := range append(variableNames(), guardVariable) {
		os.Unsetenv(name)
	}
	os.Exit(inOwnFolders(m))
}

// actAsWorker makes a worker go wrong, if that is its act.
func actAsWorker(act string) {
	switch act {
	case "a worker that hangs":
		select {}
	case "a worker without privileges":
		dropPrivileges()
	case "a worker that crashes":
		dieBy(syscall.SIGSEGV)
	case "a worker that eats memory":
		if err := limitMemory(1 << 30); err != nil {
			panic(err)
		}
		var all [][]byte
		for range 64 {
			all = append(all, make([]byte, 1<<28))
		}
		runtime.KeepAlive(all)
	}
}

// dropPrivileges starts this process anew without capabilities.
func dropPrivileges() {
	runtime.LockOSThread() // of which capabilities are a property
	for c := range uintptr(unix.CAP_LAST_CAP + 1) {
		unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0) // there is nothing to drop for other users than root
	}
	os.Setenv(actVariable, "1")
	panic(syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
}

// inOwnFolders runs the tests with cache and configuration of their own.
func inOwnFolders(m *testing.M) int {
	dir, err := os.MkdirTemp("", "k2cc-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	os.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	os.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
	return m.Run()
}

// result is what a process left behind.
type result struct {
	code        int // -1: ended by a signal
	out, errors string
	signal      syscall.Signal
}

// runIn runs a program in a folder; further arguments of the form NAME=value
// that come first are added to its environment.
func runIn(t testing.TB, dir, program string, args ...string) result {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Env = os.Environ()
	for len(args) > 0 && strings.Contains(args[0], "=") && !strings.HasPrefix(args[0], "-") {
		cmd.Env = append(cmd.Env, args[0])
		args = args[1:]
	}
	cmd.Args = append(cmd.Args, args...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatalf("run %s: %v", program, err)
	}
	got := result{code: cmd.ProcessState.ExitCode(), out: out.String(), errors: errs.String()}
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		got.signal = status.Signal()
	}
	return got
}

// k2cc runs the test binary as k2cc.
func k2cc(t *testing.T, dir string, args ...string) result {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return runIn(t, dir, self, append([]string{actVariable + "=1"}, args...)...)
}

// needClang returns the clang that k2cc would run.
func needClang(t testing.TB) string {
	t.Helper()
	clang, err := newDriver(Streams{}).findClang("")
	if err != nil {
		t.Skipf("needs clang: %v", err)
	}
	return clang
}

// sources are what the tests compile.
var sources = map[string]string{
	"good.c":  "int f(int x) { return x + 1; }\n",
	"other.c": "#include \"header.h\"\nint g(void) { return H; }\n",
	"header.h": `#define H 3
`,
	"warns.c":  "int f(void) { int unused; return 0 / 0; }\n",
	"wrong.c":  "int f(void) { return x; }\n",
	"cplus.cc": "int f() { return 1; }\n",
}

// folder returns a new folder with the sources, that is a repository's root so
// that no k2.toml above it counts.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range sources {
		put(t, filepath.Join(dir, name), text)
	}
	return dir
}

// put and get write and read files.
var put, get = filetest.Put, filetest.Get

// files lists a folder's files.
func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		if !entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	slices.Sort(names)
	return names
}
