package llvm

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/k2cc/k2cc/internal/proctest"
)

// all has every example compared at every ISA level, which takes minutes.
var all = flag.Bool("all", false, "compare all examples at all ISA levels")

// root is the project's folder.
const root = "../../.."

// versions are those of LLVM that the plugin is made for.
var versions = []string{"22", "19"}

// TestMain builds k2cc into a folder of the tests' own, away from any plugin.
func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := install()
	if err != nil {
		fmt.Fprintln(os.Stderr, "install k2cc for the tests:", err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// foreign are variables that say how to build, and would say it to the builds
// under test.
var foreign = regexp.MustCompile(`^(K2CC.*|MAKE.*|MFLAGS|GNUMAKEFLAGS)$`)

func install() (dir string, err error) {
	dir, err = os.MkdirTemp("", "k2cc-plugin-")
	if err != nil {
		return "", err
	}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if foreign.MatchString(name) {
			os.Unsetenv(name)
		}
	}
	k2cc := filepath.Join(dir, "k2cc")
	if msg, err := exec.Command("go", "build", "-o", k2cc, root+"/cmd/k2cc").CombinedOutput(); err != nil {
		return dir, fmt.Errorf("go build: %w\n%s", err, msg)
	}
	for name, value := range map[string]string{
		"K2CC":            k2cc,
		"XDG_CACHE_HOME":  filepath.Join(dir, "cache"),
		"XDG_CONFIG_HOME": filepath.Join(dir, "config"),
		// Nets of wall-clock time strike at random on a busy machine.
		"K2CC_BUDGET_WINDOW": "10m",
		"K2CC_BUDGET_OBJECT": "10m",
		// How well k2cc searches is no matter here.
		"K2CC_PASSES": "jumps,registers,local",
	} {
		os.Setenv(name, value)
	}
	return dir, nil
}

// k2cc is the program under test.
func k2cc() string { return os.Getenv("K2CC") }

// built are the plugins made so far, by version.
var built struct {
	sync.Mutex
	plugins map[string]proctest.Result
}

// plugin builds the plugin for a version of LLVM, once, and returns its path. It
// skips the test where that LLVM's headers are not installed.
func plugin(t *testing.T, version string) string {
	t.Helper()
	proctest.Need(t, "llvm-config-"+version, "clang++-22", "make")
	built.Lock()
	defer built.Unlock()
	if built.plugins == nil {
		built.plugins = map[string]proctest.Result{}
	}
	dir, err := filepath.Abs(filepath.Join(root, "build", "llvm-"+version))
	if err != nil {
		t.Fatal(err)
	}
	made, ok := built.plugins[version]
	if !ok {
		// The sources are compiled as make plugin does, but to a place where no
		// k2cc finds what comes of it.
		made = proctest.Run(t, root, nil, "make", "-j2", "-f", "passes/llvm/plugin.mk", "LLVM="+version, "BIN="+dir)
		built.plugins[version] = made
	}
	if made.Code != 0 {
		t.Fatalf("build the plugin: exit code %d\n%s%s", made.Code, made.Out, made.Errors)
	}
	return filepath.Join(dir, "libk2-"+version+".so")
}

// compile has a compiler write an object and returns that; the compiler is to
// have nothing to say.
func compile(t *testing.T, dir string, env []string, compiler string, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "out.o")
	got := proctest.Run(t, dir, env, compiler, append(args, "-o", file)...)
	if got.Code != 0 || got.Errors != "" {
		t.Fatalf("%s %s: exit code %d\n%s", compiler, args, got.Code, got.Errors)
	}
	return get(t, file)
}

func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// exists tells whether there is a file of that name.
func exists(file string) bool {
	_, err := os.Lstat(file)
	return !errors.Is(err, os.ErrNotExist)
}
