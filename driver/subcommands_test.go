package driver

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"

	"github.com/k2cc/k2cc/toml"
)

// runWith runs k2cc in this process with an optimiser of the test's.
func runWith(o optimizer, args ...string) result {
	var out, errs bytes.Buffer
	d := newDriver(Streams{strings.NewReader(""), &out, &errs})
	d.optimize = o
	code := d.run(append([]string{"k2cc"}, args...))
	return result{code: code, out: out.String(), errors: errs.String()}
}

// What is made of a source gets the settings and the level of that source, and
// says its name.
func TestOptForSource(t *testing.T) {
	dir := folder(t)
	if err := os.Mkdir(filepath.Join(dir, "src"), 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "src", "k2.toml"), "goal = \"size\"\nisa = \"v3\"\n")
	t.Chdir(dir)
	put(t, "in.o", "object")
	put(t, "other.o", "another object")
	var got task
	note := func(_ context.Context, in []byte, t task) ([]byte, *Report, error) {
		got = t
		return in, &Report{}, nil
	}
	for cpu, level := range map[string]int{"v2": 2, "v4": 3, "generic": 3} {
		r := runWith(note, "opt", "in.o", "-o", "out.o", "--source=src/x.c", "--mcpu", cpu, "--alternative=other.o")
		if r != (result{}) || got.name != "src/x.c" || got.level != level || got.settings.Goal != toml.GoalSize ||
			string(got.alternative.Object) != "another object" {
			t.Errorf("%+v, task %+v", r, got)
		}
	}
	runWith(note, "opt", "in.o", "-o", "out.o")
	if got.level != 0 || got.settings.Goal != toml.GoalBalanced || got.alternative.Object != nil {
		t.Errorf("without a source: task %+v", got)
	}
}

func TestOpt(t *testing.T) {
	tests := []struct {
		name string
		args []string
		file string // that holds the result
	}{
		{"flags last", []string{"in.o", "-o", "out.o"}, "out.o"},
		{"flags first", []string{"-o", "out.o", "in.o"}, "out.o"},
		{"flags on both sides", []string{"-o", "out.o", "in.o", "--config", "other.toml"}, "out.o"},
		{"one word", []string{"in.o", "-o=out.o"}, "out.o"},
		{"in place", []string{"in.o", "-o", "in.o"}, "in.o"},
		{"over another file", []string{"in.o", "-o", "there.o"}, "there.o"},
		{"a name like a flag", []string{"-o", "out.o", "--", "-in.o"}, "out.o"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(folder(t))
			put(t, "in.o", "object ")
			put(t, "-in.o", "object ")
			put(t, "there.o", "something longer than the object")
			put(t, "other.toml", "")
			if got := runWith(mark, append([]string{"opt"}, test.args...)...); got != (result{}) {
				t.Errorf("got %+v, want silence", got)
			}
			if got := get(t, test.file); got != "object optimised" {
				t.Errorf("got %q", got)
			}
			if test.file != "in.o" && get(t, "in.o") != "object " {
				t.Error("the input changed")
			}
		})
	}
}

func TestOptThroughPipes(t *testing.T) {
	var out, errs bytes.Buffer
	d := newDriver(Streams{strings.NewReader("object "), &out, &errs})
	d.optimize = mark
	if code := d.run([]string{"k2cc", "opt", "-", "-o", "-"}); code != 0 || out.String() != "object optimised" || errs.Len() > 0 {
		t.Errorf("got %d, %q, %q", code, out.String(), errs.String())
	}
	t.Chdir(folder(t))
	out.Reset()
	d = newDriver(Streams{strings.NewReader("object"), &out, &errs})
	d.optimize = failures[0].optimize
	if code := d.run([]string{"k2cc", "opt", "-", "-o", "x.o"}); code != 0 || get(t, "x.o") != "object" || out.Len() > 0 ||
		!strings.Contains(errs.String(), "using the object as it was") {
		t.Errorf("got %d, %q, %q", code, out.String(), errs.String())
	}
}

func TestWrongUse(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no output", []string{"opt", "in.o"}, "opt: want a place for the object: -o OUT.o"},
		{"no output for standard input", []string{"opt", "-"}, "opt: want a place for the object: -o OUT.o"},
		{"output without a name", []string{"opt", "in.o", "-o"}, "opt: flag needs an argument: -o"},
		{"output with an empty name", []string{"opt", "in.o", "-o", ""}, "opt: want a place for the object: -o OUT.o"},
		{"no input", []string{"opt", "-o", "out.o"}, "opt: want one object, got 0"},
		{"two inputs", []string{"opt", "in.o", "in.o", "-o", "out.o"}, "opt: want one object, got 2"},
		{"missing input", []string{"opt", "none.o", "-o", "out.o"}, "read object: stat none.o: no such file or directory"},
		{"input is a folder", []string{"opt", ".git", "-o", "out.o"}, "read object: read .git: is a directory"},
		{"output in no folder", []string{"opt", "in.o", "-o", "none/out.o"}, "write none/out.o: no such file or directory"},
		{"unknown flag", []string{"opt", "in.o", "-o", "out.o", "--fast"}, "opt: flag provided but not defined: -fast"},
		{"unknown flag of another command", []string{"stats", "--jsn"}, "stats: flag provided but not defined: -jsn"},
		{"arguments for none", []string{"stats", "extra"}, `stats: want no arguments, got "extra"`},
		{"more folders than one", []string{"config", ".", ".."}, "config: want one folder at most, got 2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(folder(t))
			put(t, "in.o", "object")
			before := files(t, ".")
			if got, want := runWith(keep, test.args...), (result{code: exitFailure, errors: "k2cc: " + test.want + "\n"}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if diff := cmp.Diff(before, files(t, ".")); diff != "" {
				t.Errorf("files were written: %s", diff)
			}
		})
	}
}

// What can't be printed is an error, also in tables and help.
func TestFullOutput(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"stats"}, {"stats", "--json"}, {"config"}, {"help"}, {"opt", "--help"}, {"man"}, {"version"}, {"completion", "bash"}} {
		got := runIn(t, folder(t), "sh", append([]string{actVariable + "=1", "-c", `exec "$0" "$@" >/dev/full`, self}, args...)...)
		if got.code != exitFailure || strings.Count(got.errors, "\n") != 1 || !strings.Contains(got.errors, "no space left on device") {
			t.Errorf("%q: got %+v", args, got)
		}
	}
}

func TestOptFails(t *testing.T) {
	for _, test := range failures {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(folder(t))
			put(t, "in.o", "object")
			reason := strings.ReplaceAll(test.reason, "\n", "; ")

			put(t, "k2.toml", "budget.object = \"1ms\"")
			want := result{code: 0, out: "", errors: "k2cc: in.o: " + reason + "; using the object as it was\n"}
			if got := runWith(test.optimize, "opt", "in.o", "-o", "out.o"); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if get(t, "out.o") != "object" {
				t.Error("the output is not the input")
			}

			put(t, "k2.toml", "strict = true\nbudget.object = \"1ms\"")
			want = result{code: exitStrict, out: "", errors: "k2cc: in.o: " + reason + "\n"}
			if got := runWith(test.optimize, "opt", "in.o", "-o", "strict.o"); got != want {
				t.Errorf("strict: got %+v, want %+v", got, want)
			}
			if _, err := os.Stat("strict.o"); err == nil {
				t.Error("strict: wrote an output")
			}
		})
	}
}

func TestOptInAWholeProcess(t *testing.T) {
	clang := needClang(t)
	dir := folder(t)
	runIn(t, dir, clang, compileArgs...)
	put(t, filepath.Join(dir, "k2.toml"), "[[override]]\nprogram = \"*\"\nskip = true")
	got := k2cc(t, dir, "opt", "good.o", "-o", "out.o")
	if got != (result{}) {
		t.Errorf("got %+v, want silence", got)
	}
	if get(t, filepath.Join(dir, "out.o")) != get(t, filepath.Join(dir, "good.o")) {
		t.Error("an object of which all is to be skipped has changed")
	}
}

func TestVersionAndHelp(t *testing.T) {
	if got := runWith(keep, "version"); got.code != 0 || !strings.HasPrefix(got.out, "k2cc ") {
		t.Errorf("version: got %+v", got)
	}
	got := runWith(keep, "help")
	for _, want := range []string{"--k2-report", "opt"} {
		if got.code != 0 || !strings.Contains(got.out, want) {
			t.Errorf("help: got %+v", got)
		}
	}
}

func TestFlagsFirst(t *testing.T) {
	app := &cli.App{Commands: []*cli.Command{{
		Name:  "c",
		Flags: []cli.Flag{&cli.StringFlag{Name: "text", Aliases: []string{"t"}}, &cli.BoolFlag{Name: "yes"}},
	}}}
	tests := []struct{ args, want []string }{
		{[]string{"k", "c", "a", "-t", "b", "c"}, []string{"k", "c", "-t", "b", "--", "a", "c"}},
		{[]string{"k", "c", "a", "--yes", "b"}, []string{"k", "c", "--yes", "--", "a", "b"}},
		{[]string{"k", "c", "a", "--text=b", "-"}, []string{"k", "c", "--text=b", "--", "a", "-"}},
		{[]string{"k", "c", "a", "--text"}, []string{"k", "c", "--text"}},
		{[]string{"k", "c", "--", "--yes"}, []string{"k", "c", "--", "--yes"}},
		{[]string{"k", "other", "--yes"}, []string{"k", "other", "--yes"}},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, flagsFirst(app, test.args)); diff != "" {
			t.Errorf("%q: %s", test.args, diff)
		}
	}
}
