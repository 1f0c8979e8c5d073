package llvm

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/internal/proctest"
)

// TestPasses runs what the .ll files say in LLVM's manner: each RUN line has to
// succeed, with %opt for opt with the plugin, %FileCheck, %s for the file and %t
// for a temporary one.
func TestPasses(t *testing.T) {
	files, err := filepath.Glob("*.ll")
	if err != nil || len(files) == 0 {
		t.Fatalf("found no tests: %v", err)
	}
	for _, version := range versions {
		t.Run("LLVM "+version, func(t *testing.T) {
			proctest.Need(t, "opt-"+version)
			opt := "opt-" + version + " -load-pass-plugin=" + plugin(t, version)
			check := fileCheck(t)
			for _, file := range files {
				t.Run(file, func(t *testing.T) {
					t.Parallel()
					runLines(t, file, strings.NewReplacer("%opt", opt, "%FileCheck", check,
						"%s", file, "%t", filepath.Join(t.TempDir(), "out")))
				})
			}
		})
	}
}

// fileCheck finds LLVM's FileCheck, which Debian keeps off PATH.
func fileCheck(t *testing.T) string {
	t.Helper()
	for _, version := range versions {
		if path := "/usr/lib/llvm-" + version + "/bin/FileCheck"; exists(path) {
			return path
		}
	}
	path, err := exec.LookPath("FileCheck")
	if err != nil {
		t.Skip("FileCheck is not installed")
	}
	return path
}

// runLines runs a test file's RUN lines.
func runLines(t *testing.T, file string, names *strings.Replacer) {
	t.Helper()
	ran := 0
	for line := range strings.Lines(get(t, file)) {
		line = strings.TrimSpace(line)
		command, ok := strings.CutPrefix(line, "; RUN: ")
		if !ok {
			continue
		}
		ran++
		got := proctest.Run(t, ".", nil, "bash", "-o", "pipefail", "-euc", names.Replace(command))
		if got.Code != 0 {
			t.Errorf("%s: exit code %d\n%s%s", command, got.Code, got.Out, got.Errors)
		}
	}
	if ran == 0 {
		t.Error("has no RUN line")
	}
}
