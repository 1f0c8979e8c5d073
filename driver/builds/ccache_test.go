package builds

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/internal/proctest"
)

// TestCcache has ccache run k2cc twice.
func TestCcache(t *testing.T) {
	need(t, "ccache")
	tests := []struct {
		name string
		env  []string
	}{
		{"as it comes", nil},
		{"told that k2cc is a clang", []string{"CCACHE_COMPILERTYPE=clang"}},
		{"by preprocessed source", []string{"CCACHE_NODIRECT=1"}},
		{"compiling the preprocessed source", []string{"CCACHE_NODIRECT=1", "CCACHE_NOCPP2=1"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newCcache(t, test.env)
			alone := c.compile(t, "k2cc")
			first := c.compile(t, "ccache", "k2cc")
			c.expect(t, 0, 1)
			second := c.compile(t, "ccache", "k2cc")
			c.expect(t, 1, 1)
			if second != first {
				t.Error("the second object is not the first one")
			}
			// Line information counts columns of what was compiled.
			preprocessed := slices.Contains(test.env, "CCACHE_NOCPP2=1")
			if first != alone && !preprocessed {
				t.Error("the object is not what k2cc makes without ccache")
			}
		})
	}
}

// TestCcacheSettings has ccache look at settings as README tells users to.
func TestCcacheSettings(t *testing.T) {
	t.Parallel()
	need(t, "ccache")
	c := newCcache(t, nil)
	settings := filepath.Join(c.dir, "k2.toml")
	c.env = append(c.env, "CCACHE_COMPILERCHECK=%compiler% config", "CCACHE_EXTRAFILES="+settings)
	put(t, settings, "")
	first := c.compile(t, "ccache", "k2cc")
	put(t, settings, "[[override]]\nprogram = \"*\"\nskip = true\n")
	if second := c.compile(t, "ccache", "k2cc"); second == first {
		t.Error("other settings, but the same object")
	}
	c.expect(t, 0, 2)
	c.env = append(c.env, "K2CC_GOAL=size")
	c.compile(t, "ccache", "k2cc")
	c.expect(t, 0, 3)
}

// ccache is a folder with a source and a compiler cache.
type ccache struct {
	dir string
	env []string
}

func newCcache(t *testing.T, env []string) *ccache {
	t.Helper()
	dir := copyOf(t, "project")
	return &ccache{dir, append(env, "CCACHE_DIR="+t.TempDir())}
}

// compile runs a compiler and returns the object.
func (c *ccache) compile(t *testing.T, command ...string) string {
	t.Helper()
	args := append(command[1:], "-O2", "-g", "--target=bpf", "-mcpu=v3", multiarch(t), "-MMD", "-c", "bpf/ingress.bpf.c", "-o", "out.o")
	if got := proctest.Run(t, c.dir, c.env, command[0], args...); got != (proctest.Result{}) {
		t.Fatalf("%q: %+v", command, got)
	}
	if dependencies := get(t, filepath.Join(c.dir, "out.d")); !strings.HasPrefix(dependencies, "out.o: bpf/ingress.bpf.c ") {
		t.Errorf("%q: out.d holds %q", command, dependencies)
	}
	object := get(t, filepath.Join(c.dir, "out.o"))
	os.Remove(filepath.Join(c.dir, "out.o"))
	os.Remove(filepath.Join(c.dir, "out.d"))
	return object
}

// expect compares ccache's own counts.
func (c *ccache) expect(t *testing.T, hits, misses int) {
	t.Helper()
	counts := map[string]int{}
	for line := range strings.Lines(shell(t, c.dir, c.env, "ccache --print-stats")) {
		if name, n, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			counts[name], _ = strconv.Atoi(n)
		}
	}
	if got := counts["direct_cache_hit"] + counts["preprocessed_cache_hit"]; got != hits {
		t.Errorf("%d hits, want %d", got, hits)
	}
	if got := counts["cache_miss"]; got != misses {
		t.Errorf("%d misses, want %d", got, misses)
	}
}
