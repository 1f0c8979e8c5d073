package builds

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/internal/filetest"
	"github.com/k2cc/k2cc/internal/proctest"
)

// TestMain builds k2cc and puts it and clang, under these names, first on
// PATH, as a user would.
func TestMain(m *testing.M) {
	dir, err := install()
	if err != nil {
		fmt.Fprintln(os.Stderr, "install k2cc for the tests:", err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// install returns the folder that PATH begins with.
func install() (dir string, err error) {
	dir, err = os.MkdirTemp("", "k2cc-builds-")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	// Tests may themselves run under make and ccache.
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if foreign.MatchString(name) {
			os.Unsetenv(name)
		}
	}
	if msg, err := exec.Command("go", "build", "-o", dir, "../../cmd/k2cc").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, msg)
	}
	// What k2cc keeps of its runs is not for the user who tests. The go
	// command's cache stays where it is.
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOCACHE: %w", err)
	}
	os.Setenv("GOCACHE", strings.TrimSpace(string(cache)))
	os.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	os.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
	// Nets of wall-clock time are for a user who waits, and would strike at
	// random where many builds share few cores.
	os.Setenv("K2CC_BUDGET_WINDOW", "10m")
	os.Setenv("K2CC_BUDGET_OBJECT", "10m")
	// What finds most costs little; how well k2cc searches is no matter here.
	os.Setenv("K2CC_PASSES", "local")
	if version := newest(); version != 0 {
		clang, err := exec.LookPath(fmt.Sprintf("clang-%d", version))
		if err != nil {
			return "", err
		}
		link := filepath.Join(dir, "clang")
		if err := os.Symlink(clang, link); err != nil {
			return "", err
		}
		os.Setenv("K2CC_CLANG", link) // it says its own name in messages
	}
	os.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return dir, nil
}

// foreign are variables that say how to build, and would say it to the builds
// under test.
var foreign = regexp.MustCompile(`^(K2CC_.*|MAKE.*|MFLAGS|GNUMAKEFLAGS|CCACHE_.*|BPF2GO_.*|CC|CFLAGS|CPPFLAGS|LDFLAGS|NINJA_STATUS)$`)

// newest returns the version of the newest clang, 0 without one.
func newest() int {
	for version := 30; version > 13; version-- {
		if _, err := exec.LookPath(fmt.Sprintf("clang-%d", version)); err == nil {
			return version
		}
	}
	return 0
}

// compilers are clang, which sets the example, and k2cc.
var compilers = []string{"clang", "k2cc"}

// need skips a test where one of the programs, or a compiler, is not installed.
func need(t *testing.T, programs ...string) {
	t.Helper()
	proctest.Need(t, append(programs, compilers...)...)
}

// shell has a command succeed in a folder and returns all that it printed.
func shell(t *testing.T, dir string, env []string, command string) string {
	t.Helper()
	got := proctest.Run(t, dir, env, "sh", "-euc", "exec 2>&1; "+command)
	if got.Code != 0 {
		t.Fatalf("%s: exit code %d\n%s", command, got.Code, got.Out)
	}
	return got.Out
}

// copyOf returns a new folder with the contents of one in testdata.
func copyOf(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// put and get write and read files.
var put, get = filetest.Put, filetest.Get

// multiarch is the option for the system's headers that the BPF target does
// not find by itself.
func multiarch(t *testing.T) string {
	t.Helper()
	dirs, err := filepath.Glob("/usr/include/*-linux-gnu/asm")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		return "-idirafter" + filepath.Dir(dir)
	}
	return "-idirafter/usr/include" // they are there already
}

// exists tells whether there is a file of that name.
func exists(file string) bool {
	_, err := os.Lstat(file)
	return !errors.Is(err, os.ErrNotExist)
}
