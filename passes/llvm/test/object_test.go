package llvm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/examples"
	"github.com/k2cc/k2cc/examples/interp"

	"github.com/k2cc/k2cc/internal/proctest"
)

// source is a program that has something to gain.
const source = `
#define SEC(name) __attribute__((section(name), used))
struct xdp_md { unsigned data, data_end; };
struct __attribute__((packed)) header { unsigned char kind; unsigned a, b; unsigned short c; };

SEC("xdp") int filter(struct xdp_md *ctx)
{
	struct header *h = (void *)(long)ctx->data;

	if ((void *)(h + 1) > (void *)(long)ctx->data_end)
		return 1;
	return h->a == h->b && h->c ? 2 : 1;
}

char _license[] SEC("license") = "GPL";
`

// folder returns a new folder with x.c, that is a repository's root so that no
// k2.toml above it counts.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "x.c"), source)
	return dir
}

// bpf are the words that compile x.c.
var bpf = []string{"-O2", "-g", "--target=bpf", "-c", "x.c"}

func withPlugin(t *testing.T, words ...string) []string {
	return append([]string{"-fpass-plugin=" + plugin(t, "22")}, words...)
}

// TestSameObject compares what clang with the plugin writes with what k2cc
// writes, with passes on IR and without.
func TestSameObject(t *testing.T) {
	proctest.Need(t, "clang-22")
	usual := []string{"rate_limit v2 ", "flow_export v4 k2-merge,k2-widen"}
	for _, e := range examples.All() {
		for _, level := range []string{"v1", "v2", "v3", "v4"} {
			for _, passes := range []string{"", "k2-merge,k2-widen"} {
				name := e.Name + " " + level + " " + passes
				if !*all && !slices.Contains(usual, name) {
					continue
				}
				t.Run(name, func(t *testing.T) {
					sameObject(t, e, level, passes)
				})
			}
		}
	}
}

func sameObject(t *testing.T, e examples.Example, level, passes string) {
	env := []string{"K2CC_LLVM_PASSES=" + passes, "K2CC_CLANG=clang-22", "K2CC_REPORT="}
	args := append(examples.Flags(), "-mcpu="+level, "-c", filepath.Base(e.Source))
	dir := filepath.Dir(e.Source)
	got := compile(t, dir, env, "clang-22", withPlugin(t, args...)...)
	if want := compile(t, dir, env, besidePlugin(t), args...); got != want {
		t.Errorf("the plugin's object has %d bytes, k2cc's %d, or others", len(got), len(want))
	}
	clangs := compile(t, dir, env, "clang-22", args...)
	if got == clangs {
		t.Error("that is clang's object")
	}
	proctest.NeedKernel(t)
	result, err := examples.Compare(t.Context(), e, []byte(clangs), []byte(got), 200)
	if err == nil && len(result.Unrun) > 0 {
		result, err = interp.Compare(t.Context(), e, []byte(clangs), []byte(got), 200)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !result.Equal() {
		t.Errorf("behaves differently: %v", result.Differences[0])
	}
}

// besidePlugin returns a copy of k2cc that finds the plugin.
func besidePlugin(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, link := range [][2]string{{k2cc(), "bin/k2cc"}, {plugin(t, "22"), "lib/k2cc/libk2-22.so"}} {
		to := filepath.Join(dir, link[1])
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(link[0], to); err != nil {
			put(t, to, get(t, link[0]))
			if err := os.Chmod(to, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	return filepath.Join(dir, "bin", "k2cc")
}

// Where clang is not to write a BPF object, or k2cc is not to help, the plugin
// changes nothing and says nothing.
func TestLeftAlone(t *testing.T) {
	proctest.Need(t, "clang-22")
	tests := []struct {
		name string
		env  []string
		args []string
	}{
		{"another target", nil, []string{"-O2", "-g", "-c", "x.c"}},
		{"not optimised", nil, []string{"--target=bpf", "-c", "x.c"}},
		{"-O0", nil, []string{"--target=bpf", "-O0", "-g", "-c", "x.c"}},
		{"assembly", nil, []string{"--target=bpf", "-O2", "-S", "x.c"}},
		{"bitcode", nil, []string{"--target=bpf", "-O2", "-emit-llvm", "-c", "x.c"}},
		{"preprocessed", nil, []string{"--target=bpf", "-O2", "-E", "x.c"}},
		{"switched off", []string{"K2CC_DISABLE=1"}, bpf},
		{"called by k2cc", []string{"K2CC_RUNS=clang-22"}, bpf},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			env := append(test.env, "K2CC_LLVM_PASSES=k2-merge,k2-widen,k2-atomic")
			want := compile(t, dir, env, "clang-22", test.args...)
			if got := compile(t, dir, env, "clang-22", withPlugin(t, test.args...)...); got != want {
				t.Error("the output is not clang's")
			}
		})
	}
}

// With LLVM 19 there is nothing to be done for another target either.
func TestLeftAloneBy19(t *testing.T) {
	proctest.Need(t, "clang-19")
	dir := folder(t)
	args := []string{"-O2", "-g", "-c", "x.c"}
	want := compile(t, dir, nil, "clang-19", args...)
	if got := compile(t, dir, nil, "clang-19", append(args, "-fpass-plugin="+plugin(t, "19"))...); got != want {
		t.Error("the output is not clang's")
	}
}

// Whatever goes wrong, there is clang's object and one line.
func TestFailOpen(t *testing.T) {
	proctest.Need(t, "clang-22")
	script := func(text string) string { return "#!/bin/sh\n" + text + "\n" }
	tests := []struct {
		name, k2cc string // k2cc's text
		toml       string
		code       int
		want       string // in what is said
		lines      int
	}{
		{name: "no k2cc", want: "run /no/such/k2cc: No such file", lines: 1},
		{name: "k2cc that fails", k2cc: script("exit 3"), want: "exit code 3", lines: 1},
		{name: "k2cc that reads nothing", k2cc: script("exec <&-; echo no object"), want: "made no object", lines: 1},
		{name: "k2cc that writes nothing", k2cc: script("cat >/dev/null"), want: "made no object", lines: 1},
		{name: "k2cc that is killed", k2cc: script("kill -9 $$"), want: "signal 9", lines: 1},
		{name: "k2cc that is no program", k2cc: "\x00\x01\x02", want: "run ", lines: 1},
		{name: "wrong settings", toml: "gaol = 1\n", want: "gaol", lines: 1},
		{name: "strict", toml: "strict = true\ngaol = 1\n", code: 1, want: "strict", lines: 3},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			env := []string{}
			switch {
			case test.k2cc != "":
				put(t, filepath.Join(dir, "fake"), test.k2cc)
				if err := os.Chmod(filepath.Join(dir, "fake"), 0o755); err != nil {
					t.Fatal(err)
				}
				env = append(env, "K2CC="+filepath.Join(dir, "fake"))
			case test.toml == "":
				env = append(env, "K2CC=/no/such/k2cc")
			}
			put(t, filepath.Join(dir, "k2.toml"), test.toml)
			want := compile(t, dir, nil, "clang-22", bpf...)
			got := proctest.Run(t, dir, env, "clang-22", withPlugin(t, append(bpf, "-o", "x.o")...)...)
			if got.Code != test.code || !strings.Contains(got.Errors, test.want) || strings.Count(got.Errors, "\n") > test.lines {
				t.Errorf("exit code %d, says:\n%s", got.Code, got.Errors)
			}
			if file := filepath.Join(dir, "x.o"); test.code != 0 {
				if exists(file) {
					t.Error("there is an object")
				}
			} else if get(t, file) != want {
				t.Error("the object is not clang's")
			}
		})
	}
}

// K2CC may be a name as well as a path. A name is looked for on PATH alone.
func TestNamedK2cc(t *testing.T) {
	proctest.Need(t, "clang-22")
	tests := []struct{ name, script, path, want string }{
		{"on PATH", "bin/named", "bin", "exit code 3"},
		{"here", "named", "bin", "K2CC = named: no such program on PATH"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := folder(t)
			file := filepath.Join(dir, test.script)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			put(t, file, "#!/bin/sh\nexit 3\n")
			if err := os.Chmod(file, 0o755); err != nil {
				t.Fatal(err)
			}
			env := []string{"K2CC=named", "PATH=" + filepath.Join(dir, test.path) + ":" + os.Getenv("PATH")}
			got := proctest.Run(t, dir, env, "clang-22", withPlugin(t, append(bpf, "-o", "x.o")...)...)
			if got.Code != 0 || strings.Count(got.Errors, "\n") != 1 || !strings.Contains(got.Errors, test.want) {
				t.Errorf("exit code %d, says:\n%s", got.Code, got.Errors)
			}
		})
	}
}

// What clang has to say, it says once, and the same with passes on IR: the
// backend works twice then.
func TestDiagnostics(t *testing.T) {
	proctest.Need(t, "clang-22")
	dir := folder(t)
	put(t, filepath.Join(dir, "x.c"), `
void use(char *);
int f(void) { char big[600]; use(big); return big[0]; }
`)
	env := []string{"K2CC_LLVM_PASSES=k2-merge,k2-widen"}
	args := append(bpf, "-o", "x.o")
	want := proctest.Run(t, dir, env, "clang-22", args...)
	if want.Errors == "" {
		t.Fatal("clang says nothing")
	}
	if got := proctest.Run(t, dir, env, "clang-22", withPlugin(t, args...)...); got != want {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

// LLVM 19 has passes on IR for us and no more, which is said where none is asked
// for.
func TestLLVM19(t *testing.T) {
	proctest.Need(t, "clang-19")
	dir := folder(t)
	args := append(bpf, "-mcpu=v3", "-fpass-plugin="+plugin(t, "19"), "-o", "x.o")
	got := proctest.Run(t, dir, nil, "clang-19", args...)
	if got.Code != 0 || !strings.Contains(got.Errors, "only run passes on IR") || strings.Count(got.Errors, "\n") != 1 {
		t.Errorf("exit code %d, says:\n%s", got.Code, got.Errors)
	}
	without := get(t, filepath.Join(dir, "x.o"))
	got = proctest.Run(t, dir, []string{"K2CC_LLVM_PASSES=k2-widen"}, "clang-19", args...)
	if got.Code != 0 || got.Errors != "" {
		t.Errorf("exit code %d, says:\n%s", got.Code, got.Errors)
	}
	if with := get(t, filepath.Join(dir, "x.o")); len(with) >= len(without) {
		t.Errorf("%d bytes with passes, %d without", len(with), len(without))
	}
}

// k2cc uses the passes if it finds a plugin for its clang, says so, and does
// without where it finds none or a broken one. Files beside the object are those
// of the call as it was.
func TestK2ccWithPasses(t *testing.T) {
	proctest.Need(t, "clang-22")
	proctest.NeedKernel(t)
	tests := []struct{ name, settings, plugin, want string }{
		{"used", "k2-merge,k2-widen", "", "libk2-22.so): used"},
		{"makes no difference", "k2-atomic", "", "not used: made no difference"},
		{"none", "k2-widen", "none", "there is no libk2-22.so"},
		{"broken", "k2-widen", "broken", "not used: compile with passes"},
		{"not wanted", "", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir, program := folder(t), besidePlugin(t)
			file := filepath.Join(filepath.Dir(program), "../lib/k2cc/libk2-22.so")
			if test.plugin != "" {
				os.Remove(file)
			}
			if test.plugin == "broken" {
				put(t, file, "no library")
			}
			env := []string{"K2CC_LLVM_PASSES=" + test.settings, "K2CC_CLANG=clang-22"}
			args := append(bpf, "-MMD", "-o", "x.o")
			clangs := compile(t, dir, nil, "clang-22", bpf...)
			proctest.Run(t, dir, nil, "clang-22", args...)
			dependencies := get(t, filepath.Join(dir, "x.d"))
			got := proctest.Run(t, dir, env, program, append(args, "--k2-report")...)
			if got.Code != 0 || !strings.Contains(got.Errors, test.want) ||
				test.want == "" && strings.Contains(got.Errors, "llvm.passes") {
				t.Errorf("exit code %d, says:\n%s", got.Code, got.Errors)
			}
			if get(t, filepath.Join(dir, "x.o")) == clangs {
				t.Error("nothing was optimised")
			}
			if get(t, filepath.Join(dir, "x.d")) != dependencies {
				t.Error("the dependency file is not clang's")
			}
			entries, err := filepath.Glob(filepath.Join(dir, "[a-z]*"))
			if err != nil || len(entries) != 3 {
				t.Errorf("the folder holds %v, %v", entries, err)
			}
		})
	}
}
