package driver

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k2cc/k2cc/driver/args"
)

// compileArgs make k2cc step in.
var compileArgs = []string{"-O2", "--target=bpf", "-c", "good.c", "-o", "good.o"}

// keep is an optimiser that finds nothing.
func keep(_ context.Context, in []byte, _ task) ([]byte, *Report, error) {
	return in, &Report{Functions: []FunctionReport{{Name: "f", Section: ".text", SlotsBefore: 4, SlotsAfter: 3}}}, nil
}

// mark is an optimiser whose work can be recognised.
func mark(_ context.Context, in []byte, _ task) ([]byte, *Report, error) {
	return append(slices.Clone(in), "optimised"...), &Report{}, nil
}

// watch is an optimiser that notes the goal it was given.
func watch() (optimizer, *string) {
	goal := new(string)
	return func(_ context.Context, in []byte, got task) ([]byte, *Report, error) {
		*goal = string(got.settings.Goal)
		return in, &Report{}, nil
	}, goal
}

// compileWith compiles in the current folder with an optimiser of the test's.
func compileWith(o optimizer, args ...string) result {
	var out, errs bytes.Buffer
	d := newDriver(Streams{strings.NewReader(""), &out, &errs})
	d.optimize = o
	code := d.compile(args)
	return result{code: code, out: out.String(), errors: errs.String()}
}

// TestSameAsClang compares all that a call leaves behind with clang's own.
func TestSameAsClang(t *testing.T) {
	clang := needClang(t)
	tests := []struct {
		name string
		args []string
	}{
		{"version", []string{"--version"}},
		{"no arguments", nil},
		{"a program for this machine", []string{"-c", "good.c"}},
		{"preprocess", []string{"--target=bpf", "-E", "other.c"}},
		{"assembly", []string{"--target=bpf", "-O2", "-S", "good.c"}},
		{"bitcode", []string{"--target=bpf", "-O2", "-emit-llvm", "-c", "good.c"}},
		{"dependencies", []string{"--target=bpf", "-MM", "other.c"}},
		{"plan", []string{"--target=bpf", "-###", "-c", "good.c"}},
		{"to standard output", []string{"--target=bpf", "-S", "good.c", "-o", "-"}},
		{"syntax check with warnings", []string{"--target=bpf", "-fsyntax-only", "-Wall", "warns.c"}},
		{"missing input", []string{"--target=bpf", "-c", "none.c"}},
		{"wrong option", []string{"--target=bpf", "-c", "good.c", "--nonesuch"}},
		{"wrong source", []string{"--target=bpf", "-O2", "-c", "wrong.c"}},
		{"wrong source among others", []string{"--target=bpf", "-O2", "-c", "good.c", "wrong.c", "other.c"}},
		{"unwritable output", []string{"--target=bpf", "-O2", "-c", "good.c", "-o", "none/x.o"}},
		{"warnings", []string{"--target=bpf", "-O2", "-Wall", "-c", "warns.c"}},
		{"warnings as errors", []string{"--target=bpf", "-O2", "-Wall", "-Werror", "-c", "warns.c"}},
		{"dependency file by default name", []string{"--target=bpf", "-O2", "-MMD", "-c", "other.c", "-o", "q.o"}},
		{"dependency file by name", []string{"--target=bpf", "-O2", "-MMD", "-MF", "x.d", "-MT", "y", "-c", "other.c"}},
		{"other files beside the object", []string{"--target=bpf", "-O2", "-g", "-gsplit-dwarf", "-fstack-usage", "-c", "good.c"}},
		{"debug information", []string{"--target=bpf", "-O2", "-g", "-c", "good.c", "-o", "good.o"}},
		{"all dependency options", []string{"--target=bpf", "-O2", "-MD", "-MP", "-MV", "-MQ", "a b", "-MJ", "x.json", "-c", "other.c", "-oq.o"}},
		{"intermediate files", []string{"--target=bpf", "-O2", "-save-temps", "-c", "good.c"}},
		{"response file", []string{"@args"}},
		{"response file that can't be read", []string{"--target=bpf", "-O2", "-c", "good.c", "@none"}},
		{"several inputs", []string{"--target=bpf", "-O2", "-c", "good.c", "other.c"}},
		{"not optimised", []string{"--target=bpf", "-O0", "-c", "good.c"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			put(t, filepath.Join(dir, "args"), "-O2 -g --target=bpf -c good.c")
			// Neither path nor time may differ.
			snapshot := func() (contents map[string]string) {
				contents = map[string]string{}
				for _, name := range files(t, dir) {
					contents[name] = get(t, filepath.Join(dir, name))
					if sources[name] == "" && name != "args" {
						os.Remove(filepath.Join(dir, name))
					}
				}
				return contents
			}
			// The optimiser is not what this is about, so leave all as it is.
			put(t, filepath.Join(dir, "k2.toml"), "[[override]]\nprogram = \"*\"\nskip = true\n")
			want := runIn(t, dir, clang, test.args...)
			wantFiles := snapshot()
			put(t, filepath.Join(dir, "k2.toml"), "[[override]]\nprogram = \"*\"\nskip = true\n")
			got := k2cc(t, dir, test.args...)
			gotFiles := snapshot()
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(result{})); diff != "" {
				t.Error(diff)
			}
			for name, text := range wantFiles {
				if gotFiles[name] != text {
					t.Errorf("%s differs", name)
				}
			}
			if len(gotFiles) != len(wantFiles) {
				t.Errorf("got %d files, want %d", len(gotFiles), len(wantFiles))
			}
		})
	}
}

func TestCompile(t *testing.T) {
	needClang(t)
	t.Chdir(folder(t))
	got := compileWith(mark, "-O2", "--target=bpf", "-c", "good.c", "other.c")
	if got != (result{}) {
		t.Errorf("got %+v, want silence", got)
	}
	for _, file := range []string{"good.o", "other.o"} {
		if !strings.HasSuffix(get(t, file), "optimised") {
			t.Errorf("%s was not optimised", file)
		}
	}
	want := append(slices.Sorted(mapsKeys(sources)), "good.o", "other.o")
	slices.Sort(want)
	if diff := cmp.Diff(want, files(t, ".")); diff != "" {
		t.Errorf("files left behind: %s", diff)
	}
}

func mapsKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func TestNotOptimised(t *testing.T) {
	needClang(t)
	for _, args := range [][]string{
		{"--target=bpf", "-c", "good.c"},
		{"-O0", "--target=bpf", "-c", "good.c"},
		{"-O2", "--target=bpf", "-c", "good.c", "-o", "/dev/null"},
	} {
		// A worker, if there was one, would not go unnoticed.
		if got := k2cc(t, folder(t), append([]string{actVariable + "=a worker that crashes"}, args...)...); got != (result{}) {
			t.Errorf("%q: got %+v, want silence", args, got)
		}
	}
}

func TestTask(t *testing.T) {
	needClang(t)
	tests := []struct {
		name, settings string
		args           []string
		level          int
		goal           string
	}{
		{"nothing said", "", nil, 0, "balanced"},
		{"by -mcpu", "", []string{"-mcpu=v2"}, 2, "balanced"},
		{"by k2.toml", "isa = \"v3\"\ngoal = \"size\"", nil, 3, "size"},
		{"the lower one of both", `isa = "v4"`, []string{"-mcpu=v1"}, 1, "balanced"},
		{"the lower one of both, reversed", `isa = "v1"`, []string{"-mcpu=v4"}, 1, "balanced"},
		{"a level that depends on the machine", "", []string{"-mcpu=probe"}, 0, "balanced"},
		{"from another file", `goal = "size"`, []string{"--k2-config=other.toml"}, 0, "verifier"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(folder(t))
			put(t, "k2.toml", test.settings)
			put(t, "other.toml", `goal = "verifier"`)
			calls := 0
			look := func(_ context.Context, in []byte, got task) ([]byte, *Report, error) {
				calls++
				if got.level != test.level || string(got.settings.Goal) != test.goal || got.name != "good.c" {
					t.Errorf("got %+v", got)
				}
				return in, &Report{}, nil
			}
			if got := compileWith(look, append(test.args, compileArgs...)...); got != (result{}) || calls != 1 {
				t.Errorf("got %+v and %d calls", got, calls)
			}
		})
	}
}

// failures are optimisers that fail in every way, and what k2cc says.
var failures = []struct {
	name, reason string
	optimize     optimizer
}{
	{"error", "solver: out\n of memory", func(context.Context, []byte, task) ([]byte, *Report, error) {
		return []byte("half an obj"), nil, errors.New("solver: out\n of memory")
	}},
	{"panic", "panic: boom", func(context.Context, []byte, task) ([]byte, *Report, error) { panic("boom") }},
	{"nothing", "the optimised object is empty", func(context.Context, []byte, task) ([]byte, *Report, error) {
		return nil, nil, nil
	}},
	{"too slow", "not done within 1.004s", func(ctx context.Context, in []byte, _ task) ([]byte, *Report, error) {
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}},
	{"too slow, and then done", "not done within 1.004s", func(ctx context.Context, in []byte, _ task) ([]byte, *Report, error) {
		<-ctx.Done()
		return in, &Report{}, nil
	}},
}

func TestFailOpen(t *testing.T) {
	clang := needClang(t)
	for _, test := range failures {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(folder(t))
			put(t, "k2.toml", "budget.object = \"1ms\"")
			runIn(t, ".", clang, compileArgs...)
			want := get(t, "good.o")
			os.Remove("good.o")
			before := files(t, ".")

			got := compileWith(test.optimize, compileArgs...)
			line := "k2cc: good.c: " + strings.ReplaceAll(test.reason, "\n", "; ") + "; using clang's object\n"
			if got != (result{code: 0, out: "", errors: line}) {
				t.Errorf("got %+v, want %q", got, line)
			}
			if get(t, "good.o") != want {
				t.Error("the object is not clang's")
			}
			if left := len(files(t, ".")) - len(before); left != 1 {
				t.Errorf("%d files were written, want 1", left)
			}
		})
	}
}

func TestStrict(t *testing.T) {
	needClang(t)
	for _, test := range failures {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(folder(t))
			put(t, "k2.toml", "strict = true\nbudget.object = \"1ms\"")
			before := files(t, ".")
			got := compileWith(test.optimize, compileArgs...)
			line := "k2cc: good.c: " + strings.ReplaceAll(test.reason, "\n", "; ") + "\n"
			if got != (result{code: exitStrict, out: "", errors: line}) {
				t.Errorf("got %+v, want %q", got, line)
			}
			if diff := cmp.Diff(before, files(t, ".")); diff != "" {
				t.Errorf("files were left behind: %s", diff)
			}
		})
	}
}

func TestWrongSettings(t *testing.T) {
	needClang(t)
	tests := []struct {
		name, settings string
		want           result
	}{
		{"unknown keys", "goall = 1\nclnag = 2\n", result{code: 0, errors: `k2cc: good.c: FILE:1: unknown key "goall" (did you mean "goal"?); ` +
			`FILE:2: unknown key "clnag" (did you mean "clang"?); using clang's object` + "\n"}},
		{"strict all the same", "strict = true\nisa = 3\n", result{code: exitStrict, errors: `k2cc: good.c: FILE:2: isa: want "auto", "v1", "v2", "v3" or "v4", got the number 3` + "\n"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(folder(t))
			put(t, "k2.toml", test.settings)
			got := compileWith(mark, compileArgs...)
			dir, err := os.Getwd()
			if err != nil {
				t.Fatal(err)
			}
			got.errors = strings.ReplaceAll(got.errors, filepath.Join(dir, "k2.toml"), "FILE")
			if got != test.want {
				t.Errorf("got %+v\nwant %+v", got, test.want)
			}
		})
	}
}

func TestMissingSettingsFile(t *testing.T) {
	needClang(t)
	t.Chdir(folder(t))
	got := compileWith(mark, append([]string{"--k2-config=none.toml"}, compileArgs...)...)
	if got.code != 0 || !strings.Contains(got.errors, "none.toml: no such file") || strings.Count(got.errors, "\n") != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestUnknownOption(t *testing.T) {
	got := compileWith(mark, append([]string{"--k2-reprot"}, compileArgs...)...)
	if got.code != exitMisuse || !strings.Contains(got.errors, "--k2-reprot") {
		t.Errorf("got %+v", got)
	}
}

func TestReport(t *testing.T) {
	needClang(t)
	t.Chdir(folder(t))
	got := compileWith(keep, append([]string{"--k2-report"}, compileArgs...)...)
	if got.code != 0 || got.out != "" {
		t.Errorf("got %+v", got)
	}
	for _, want := range []string{"good.c", ".text", "25.0%"} {
		if !strings.Contains(got.errors, want) {
			t.Errorf("no %q in\n%s", want, got.errors)
		}
	}
}

func TestReplaceFile(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	put(t, file, "old")
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(link, []byte("new"), 0o741); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(file)
	if err != nil || info.Mode() != 0o741 || get(t, file) != "new" {
		t.Errorf("got %v, %v, %q", info.Mode(), err, get(t, file))
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced, not the file")
	}
	if err := replaceFile(filepath.Join(dir, "none", "file"), nil, 0o644); err == nil {
		t.Error("no error for a folder that does not exist")
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(filepath.Join(dir, "folder"), []byte("x"), 0o644); err == nil {
		t.Error("no error for a folder in the file's place")
	}
	if diff := cmp.Diff([]string{"file", "link"}, files(t, dir)); diff != "" {
		t.Errorf("files left behind: %s", diff)
	}
}

// TestReadersSeeWholeObjects reads an object over and over while it is
// replaced.
func TestReadersSeeWholeObjects(t *testing.T) {
	file := filepath.Join(t.TempDir(), "object")
	contents := [][]byte{bytes.Repeat([]byte("a"), 1<<20), bytes.Repeat([]byte("b"), 1<<20)}
	put(t, file, string(contents[0]))
	done := make(chan error)
	go func() {
		var err error
		for i := 0; i < 50 && err == nil; i++ {
			err = replaceFile(file, contents[i%2], 0o644)
		}
		done <- err
	}()
	for deadline := time.After(time.Minute); ; {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		case <-deadline:
			t.Fatal("writer is stuck")
		default:
		}
		if got := get(t, file); got != string(contents[0]) && got != string(contents[1]) {
			t.Fatalf("read %d bytes of a mixture", len(got))
		}
	}
}

// Of several sources whose objects have one name, the last one's object stays.
func TestLastOfEach(t *testing.T) {
	got := lastOfEach([]args.Job{{Input: "a/x.c", Output: "x.o"}, {Input: "y.c", Output: "y.o"}, {Input: "b/x.c", Output: "x.o"}})
	want := []args.Job{{Input: "y.c", Output: "y.o"}, {Input: "b/x.c", Output: "x.o"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
