package builds

import (
	"debug/elf"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// k2cc starts, and can say what is missing, where Z3 is not installed.
func TestStartsWithoutSolver(t *testing.T) {
	path, err := exec.LookPath("k2cc")
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	needed, err := f.ImportedLibraries()
	if err != nil || slices.ContainsFunc(needed, func(name string) bool { return strings.Contains(name, "z3") }) {
		t.Errorf("k2cc needs %q, %v", needed, err)
	}
	exported, err := f.DynamicSymbols()
	if err != nil || slices.ContainsFunc(exported, func(s elf.Symbol) bool { return strings.HasPrefix(s.Name, "Z3_") }) {
		t.Errorf("k2cc's own jumps stand before Z3's functions, or it needs them: %v, %v", exported, err)
	}
}
