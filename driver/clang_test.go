package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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

// fakeClang is a script that answers as a clang of a version does.
func fakeClang(t *testing.T, file string, version int, targets string) {
	script(t, file, fmt.Sprintf("case $1 in --version) echo 'clang version %d.1';; --print-targets) printf '  Registered Targets:\n    %s - x\n';; esac", version, targets))
}

func TestFindClang(t *testing.T) {
	root := t.TempDir()
	at := func(name string) string { return filepath.Join(root, name) }
	for name, version := range map[string]int{"a/clang-9": 9, "a/clang-18": 18, "a/clang": 18, "b/clang-18": 18, "b/clang-22": 22,
		"c/clang": 23, "d/clang-7.bak": 7, "d/clang-cl-30": 30} {
		fakeClang(t, at(name), version, "bpf")
	}
	fakeClang(t, at("e/clang-40"), 40, "x86")
	put(t, at("a/clang-98"), "not executable")
	if err := os.Mkdir(at("a/clang-99"), 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, at("self/clang-40"))
	link(t, at("self/clang"))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script(t, at("loop/clang-50"), fmt.Sprintf("%s=1 exec '%s' \"$@\"", actVariable, self))

	tests := []struct {
		name, path, configured string
		want                   string // empty: an error
	}{
		{"the highest number", "a:b", "", "b/clang-22"},
		{"numbers, not strings", "a", "", "a/clang-18"},
		{"the first of equals", "d:a", "", "a/clang-18"},
		{"plain clang where none has a number", "d:c", "", "c/clang"},
		{"plain clang where it is newer", "a:b:c", "", "c/clang"},
		{"not k2cc", "self:c", "", "c/clang"},
		{"not a script that runs k2cc", "loop:b", "", "b/clang-22"},
		{"one that compiles for BPF", "e:a", "", "a/clang-18"},
		{"folders that don't exist", "none:c", "", "c/clang"},
		{"the configured one first", "a:b", "clang-9", "a/clang-9"},
		{"the configured one by path", "a:b", at("c/clang"), "c/clang"},
		{"the configured one, but not k2cc", "self:c", "clang", "c/clang"},
		{"none", "d", "", ""},
		{"none but k2cc", "self", "", ""},
		{"none for BPF", "e", "", ""},
		{"the configured one is missing", "a:b", "clang-30", ""},
		{"the configured path is missing", "a:b", at("none"), ""},
		{"the configured path is k2cc", "a:b", at("self/clang"), ""},
		{"the configured path is a folder", "a:b", at("a/clang-99"), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := []string{}
			for dir := range strings.SplitSeq(test.path, ":") {
				path = append(path, at(dir))
			}
			t.Setenv("PATH", strings.Join(path, ":"))
			t.Setenv(cacheVariable, at("cache"))
			got, err := newDriver(Streams{}).findClang(test.configured)
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

// TestProbe asks a compiler once, and again when it was replaced.
func TestProbe(t *testing.T) {
	dir := t.TempDir()
	clang, cache := filepath.Join(dir, "clang-22"), filepath.Join(dir, "cache")
	fakeClang(t, clang, 22, "bpf")
	probe := func() ability { return (&prober{dir: cache}).probe(clang) }
	if got := probe(); got.Version != 22 || !got.BPF {
		t.Fatalf("got %+v", got)
	}
	old, err := os.Stat(clang)
	if err != nil {
		t.Fatal(err)
	}
	fakeClang(t, clang, 22, "x86")
	if err := os.Chtimes(clang, old.ModTime(), old.ModTime()); err != nil {
		t.Fatal(err)
	}
	if got := probe(); !got.BPF {
		t.Error("was asked again")
	}
	if err := os.Chtimes(clang, old.ModTime(), old.ModTime().Add(1)); err != nil {
		t.Fatal(err)
	}
	if got := probe(); got.BPF {
		t.Error("was not asked again")
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
	trust := trustVariable + "=" + dir
	want := result{code: 7, out: "mine: -c good.c\n"}
	if got := k2cc(t, dir, trust, "-c", "good.c"); got != want {
		t.Errorf("in the folder: got %+v, want %+v", got, want)
	}
	file := filepath.Join(dir, "good.c")
	want.out = "mine: -c " + file + "\n"
	if got := k2cc(t, "/", trust, "-c", file); got != want {
		t.Errorf("from elsewhere: got %+v, want %+v", got, want)
	}
	if got := k2cc(t, dir, "--k2-config=k2.toml", "-v"); got.out != "mine: -v\n" {
		t.Errorf("named by the user: got %+v", got)
	}
	if got := k2cc(t, dir, "--version"); strings.Contains(got.out, "mine") {
		t.Errorf("not trusted: got %+v", got)
	}
	got := k2cc(t, dir, compileArgs...)
	if got.code != 0 || strings.Count(got.errors, "\n") != 1 || !strings.Contains(got.errors, "k2.toml: clang is ignored") {
		t.Errorf("not trusted: got %+v", got)
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
		got := k2cc(t, dir, append([]string{variableName("clang") + "=" + loop}, args...)...)
		if got.code != exitMisuse || strings.Count(got.errors, "\n") != 1 || !strings.Contains(got.errors, loop) {
			t.Errorf("%q: got %+v", args, got)
		}
	}
}

func TestClangKilled(t *testing.T) {
	dir := folder(t)
	fake := filepath.Join(dir, "fake")
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSEGV, syscall.SIGTERM, syscall.SIGPIPE, syscall.SIGABRT} {
		script(t, fake, fmt.Sprintf("kill -%d $$\n", sig))
		for _, args := range [][]string{compileArgs, {"--version"}} {
			got := k2cc(t, dir, append([]string{variableName("clang") + "=" + fake}, args...)...)
			if got.signal != sig || got.out != "" || got.errors != "" {
				t.Errorf("%v: got %+v", sig, got)
			}
		}
	}
}
