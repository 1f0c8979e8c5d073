package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// script puts an executable shell script into a file.
func script(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// link puts a link to k2cc, here the test binary, into a file.
func link(t *testing.T, file string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, file); err != nil {
		t.Fatal(err)
	}
}

func TestFindClang(t *testing.T) {
	root := t.TempDir()
	at := func(name string) string { return filepath.Join(root, name) }
	for _, name := range []string{"a/clang-9", "a/clang-18", "a/clang", "b/clang-18", "b/clang-22", "c/clang", "d/clang-7.bak", "d/clang-cl-30"} {
		script(t, at(name), "")
	}
	put(t, at("a/clang-98"), "not executable")
	if err := os.Mkdir(at("a/clang-99"), 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, at("self/clang-40"))
	link(t, at("self/clang"))

	tests := []struct {
		name, path, configured, variable string
		want                             string // empty: an error
	}{
		{"the highest number", "a:b", "", "", "b/clang-22"},
		{"numbers, not strings", "a", "", "", "a/clang-18"},
		{"the first of equals", "d:a", "", "", "a/clang-18"},
		{"plain clang where none has a number", "d:c", "", "", "c/clang"},
		{"not k2cc", "self:c", "", "", "c/clang"},
		{"folders that don't exist", "none:c", "", "", "c/clang"},
		{"the environment's", "a:b", "", "clang-9", "a/clang-9"},
		{"the environment's by path", "a:b", "", at("c/clang"), "c/clang"},
		{"the configured one first", "a:b", "clang-9", "clang-22", "a/clang-9"},
		{"the configured one, but not k2cc", "self:c", "clang", "", "c/clang"},
		{"none", "d", "", "", ""},
		{"none but k2cc", "self", "", "", ""},
		{"the configured one is missing", "a:b", "clang-30", "", ""},
		{"the environment's is missing", "a:b", "", at("none"), ""},
		{"the configured path is k2cc", "a:b", at("self/clang"), "", ""},
		{"the configured path is a folder", "a:b", at("a/clang-99"), "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var path []string
			for dir := range strings.SplitSeq(test.path, ":") {
				path = append(path, at(dir))
			}
			t.Setenv("PATH", strings.Join(path, ":"))
			t.Setenv(clangVariable, test.variable)
			got, err := findClang(test.configured)
			if test.want == "" {
				if err == nil {
					t.Errorf("got %s, want an error", got)
				}
				return
			}
			if err != nil || got != at(test.want) {
				t.Errorf("got %s %v, want %s", got, err, at(test.want))
			}
		})
	}
}

func TestNoClang(t *testing.T) {
	dir := folder(t)
	got := k2cc(t, dir, "PATH="+dir, "--version")
	if got.code != exitNotFound || got.out != "" || strings.Count(got.errors, "\n") != 1 ||
		!strings.Contains(got.errors, "found no clang") {
		t.Errorf("got %+v", got)
	}
}

func TestConfiguredClang(t *testing.T) {
	dir := folder(t)
	script(t, filepath.Join(dir, "tools/mine"), `echo "mine: $*"; exit 7`)
	put(t, filepath.Join(dir, "k2.toml"), `clang = "tools/mine"`)
	want := result{7, "mine: -c good.c\n", ""}
	if got := k2cc(t, dir, "-c", "good.c"); got != want {
		t.Errorf("in the folder: got %+v, want %+v", got, want)
	}
	file := filepath.Join(dir, "good.c")
	want.out = "mine: -c " + file + "\n"
	if got := k2cc(t, "/", "-c", file); got != want {
		t.Errorf("from elsewhere: got %+v, want %+v", got, want)
	}
}

// TestRecursion has k2cc run a script as clang that runs k2cc.
func TestRecursion(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := folder(t)
	loop := filepath.Join(dir, "loop")
	script(t, loop, fmt.Sprintf("exec '%s' \"$@\"", self))
	for _, args := range [][]string{{"--version"}, compileArgs} {
		got := k2cc(t, dir, append([]string{clangVariable + "=" + loop}, args...)...)
		if got.code != exitFailure || strings.Count(got.errors, "\n") != 1 || !strings.Contains(got.errors, loop) {
			t.Errorf("%q: got %+v", args, got)
		}
	}
}

func TestClangKilled(t *testing.T) {
	dir := folder(t)
	fake := filepath.Join(dir, "fake")
	plan := `"clang" "-cc1" "-triple" "bpf" "-O2" "-emit-obj" "-o" "good.o" "-x" "c" "good.c"`
	script(t, fake, fmt.Sprintf("[ \"$1\" = -### ] && { echo ' %s' >&2; exit; }\nkill -9 $$\n", plan))
	got := k2cc(t, dir, append([]string{clangVariable + "=" + fake}, compileArgs...)...)
	if got != (result{exitSignal + 9, "", ""}) {
		t.Errorf("got %+v", got)
	}
}
