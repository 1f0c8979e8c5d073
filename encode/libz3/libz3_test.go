//go:build amd64 || arm64

package libz3

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write symbols.h")

// The list holds the functions that go-z3 calls and no others.
func TestSymbols(t *testing.T) {
	declared := matches(t, "/usr/include/z3*.h", `\bZ3_API\s+(Z3_\w+)\(`)
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aclements/go-z3").Output()
	if err != nil {
		t.Fatal(err)
	}
	used := matches(t, filepath.Join(strings.TrimSpace(string(dir)), "z3", "*.go"), `\bC\.(Z3_\w+)\b`)
	var want bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if declared[name] {
			fmt.Fprintf(&want, "SYMBOL(%s)\n", name)
		}
	}
	if *update {
		if err := os.WriteFile("symbols.h", want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("symbols.h")
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("symbols.h is not what go-z3 calls (%v); go test -update writes it", err)
	}
}

// matches collects what a pattern's group matches in files.
func matches(t *testing.T, files, pattern string) map[string]bool {
	t.Helper()
	names, err := filepath.Glob(files)
	if err != nil || len(names) == 0 {
		t.Fatalf("no files %s (%v)", files, err)
	}
	found := map[string]bool{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
			found[string(match[1])] = true
		}
	}
	return found
}

func TestLoad(t *testing.T) {
	if err := load("libnone.so.4"); err == nil || !strings.Contains(err.Error(), "libnone.so.4") {
		t.Errorf("a missing library: got %v", err)
	}
	if err := load("libc.so.6"); err == nil || !strings.Contains(err.Error(), "Z3_") {
		t.Errorf("a library of something else: got %v", err)
	}
	if err := Load(); err != nil {
		t.Error(err)
	}
}
