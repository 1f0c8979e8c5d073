package driver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"

	"github.com/k2cc/k2cc/toml"
	"github.com/k2cc/k2cc/verify"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; -update accepts it):\n%s", name, diff)
	}
}

// fixed are measurements with every kind of result in them.
func fixed() measurements {
	all := measurements{Goal: toml.GoalBalanced, Objects: []objectMeasurement{
		{Name: "good", Seconds: 1.25, Warm: 0.25, Runs: 200, Programs: []programMeasurement{{
			Name: "f", Section: "xdp", Loads: "kept", K2: 90,
			Before: figures{Slots: 100, JITed: 400, Processed: 1000, Nanos: 50},
			After:  figures{Slots: 80, JITed: 380, Processed: 900, Nanos: 40},
		}}},
		{Name: "two", Seconds: 0.5, Uncertain: "the kernel runs none of its programs on request", Programs: []programMeasurement{{
			Name: "first", Section: "kprobe/x", Loads: "kept",
			Before: figures{Slots: 10, JITed: 60, Processed: 9},
			After:  figures{Slots: 10, JITed: 64, Processed: 10},
		}, {
			Name: "second", Section: "lsm/x", Loads: "unknown", Reason: "this kernel or its policy permits no LSM programs",
			Before: figures{Slots: 20}, After: figures{Slots: 15},
		}}},
		{Name: "bad", Seconds: 2, Unequal: "f run 3: return value: 01 became 02", Programs: []programMeasurement{{
			Name: "f", Section: "xdp", Loads: "broken", Reason: "R1 !read_ok (permission denied)",
			Before: figures{Slots: 30, JITed: 100, Processed: 30, Nanos: 10}, After: figures{Slots: 31},
		}}},
		{Name: "lost", Error: "not done within 2m0s", Seconds: 120, Programs: []programMeasurement{{
			Name: "f", Section: "tc", Loads: "kept", K2: 40,
			Before: figures{Slots: 50, JITed: 200, Processed: 60, Nanos: 7},
			After:  figures{Slots: 50, JITed: 200, Processed: 60, Nanos: 8},
		}}},
	}}
	all.conclude()
	return all
}

func TestTables(t *testing.T) {
	denied := fixed()
	denied.NoKernel = "not permitted to load BPF programs: operation not permitted"
	denied.Objects = denied.Objects[:1]
	denied.Objects[0].Runs = 0
	p := &denied.Objects[0].Programs[0]
	p.Loads, p.Before, p.After = "unknown", figures{Slots: 100}, figures{Slots: 80}
	denied.conclude()
	tests := []struct {
		golden string
		all    measurements
		json   bool
		print  func(io.Writer, measurements)
	}{
		{"bench.txt", fixed(), false, benchTable},
		{"bench_denied.txt", denied, false, benchTable},
		{"bench.json", fixed(), true, benchTable},
		{"demo.txt", fixed(), false, demoTable},
		{"demo_denied.txt", denied, false, demoTable},
	}
	for _, test := range tests {
		t.Run(test.golden, func(t *testing.T) {
			var out bytes.Buffer
			if err := printMeasurements(&out, test.all, test.json, test.print); err != nil {
				t.Fatal(err)
			}
			golden(t, test.golden, out.Bytes())
		})
	}
}

func TestMean(t *testing.T) {
	tests := []struct {
		name            string
		pairs           [][2]float64
		change, percent string
	}{
		{"none", nil, "-", "-"},
		{"unknown ones don't count", [][2]float64{{0, 5}, {5, 0}, {100, 90}}, "-10.0%", "10.0%"},
		{"programs count alike, whatever their size", [][2]float64{{1000, 1000}, {10, 5}}, "-25.0%", "25.0%"},
		{"more", [][2]float64{{100, 110}}, "+10.0%", "-10.0%"},
		{"none at all is no negative zero", [][2]float64{{10000, 9999}}, "+0.0%", "0.0%"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var m mean
			for _, p := range test.pairs {
				m.add(p[0], p[1])
			}
			if m.change() != test.change || m.percent() != test.percent {
				t.Errorf("change %s, reduction %s, want %s and %s", m.change(), m.percent(), test.change, test.percent)
			}
		})
	}
}

func TestMisses(t *testing.T) {
	const size, balanced = toml.GoalSize, toml.GoalBalanced
	tests := []struct {
		name  string
		goal  toml.Goal
		k2    int
		after figures // clang's are 100 everywhere
		want  []string
	}{
		{"none", balanced, 0, figures{Slots: 95, JITed: 100, Processed: 105, Nanos: 103}, []string{}},
		{"more code", balanced, 0, figures{Slots: 95, JITed: 101}, []string{"f: 101 JITed bytes, above clang's 100"}},
		{"more for the verifier", balanced, 0, figures{Slots: 95, Processed: 106},
			[]string{"f: 106 verifier insns, above clang's 100 by more than 5%"}},
		{"slower", balanced, 0, figures{Slots: 95, Nanos: 103.5}, []string{"f: 103.5 ns/run, above clang's 100.0 by more than 3%"}},
		{"size is all that counts", size, 0, figures{Slots: 95, JITed: 200, Processed: 200, Nanos: 200}, []string{}},
		{"larger than K2's, and all in all", size, 94, figures{Slots: 95}, []string{"f: 95 slots, above K2's 94", "mean reduction 5.0%, should be 20%"}},
		{"too little in all", balanced, 99, figures{Slots: 95}, []string{"mean reduction 5.0%, should be 12%"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := programMeasurement{Name: "f", K2: test.k2, Before: figures{100, 100, 100, 100}, After: test.after}
			all := measurements{Goal: test.goal, Objects: []objectMeasurement{{Name: "f", Programs: []programMeasurement{p}}}}
			all.conclude()
			if diff := cmp.Diff(test.want, all.Misses); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParsePublished(t *testing.T) {
	got, err := parsePublished([]byte("# name\n\nsocket/0\tsocket_0\tsocket/0\t29\t27\n"))
	if err != nil || len(got) != 1 || got[0] != (published{"socket/0", "socket_0", 27}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, wrong := range []string{"a\tb\tc\t1\n", "a\tb\tc\t1\tmany\n"} {
		if _, err := parsePublished([]byte(wrong)); err == nil {
			t.Errorf("%q: no error", wrong)
		}
	}
}

// bench runs one of the two commands with an optimiser of the test's own.
func bench(t *testing.T, optimize optimizer, args ...string) (result, measurements) {
	t.Helper()
	var out, errs bytes.Buffer
	d := &driver{Streams: Streams{Out: &out, Err: &errs}, optimize: optimize}
	app := &cli.App{
		Name: "k2cc", Writer: &out, ErrWriter: &errs,
		Commands:       []*cli.Command{d.benchCommand(), d.demoCommand()},
		ExitErrHandler: func(*cli.Context, error) {},
	}
	r := result{}
	if err := app.Run(append([]string{"k2cc"}, args...)); err != nil {
		r.code = exitFailure
		if code, ok := err.(cli.ExitCoder); ok {
			r.code = code.ExitCode()
		}
		r.errors = err.Error()
	}
	r.out = out.String()
	var all measurements
	if strings.HasPrefix(r.out, "{") {
		if err := json.Unmarshal(out.Bytes(), &all); err != nil {
			t.Fatalf("%v in %s", err, r.out)
		}
	}
	return r, all
}

// unchanged is the optimiser that finds nothing.
func unchanged(_ context.Context, in []byte, _ task) ([]byte, *Report, error) {
	return in, &Report{}, nil
}

// unsteady is an optimiser that does something else the second time.
func unsteady() optimizer {
	calls := 0
	return func(_ context.Context, in []byte, _ task) ([]byte, *Report, error) {
		if calls++; calls > 1 {
			in = append(bytes.Clone(in), 0)
		}
		return in, &Report{}, nil
	}
}

const published19 = "../../shared/k2bench"

// The sizes of the published programs, and what the kernel says to them.
func TestBenchPublished(t *testing.T) {
	if !exists(published19) {
		t.Skipf("%s is not there", published19)
	}
	r, all := bench(t, unchanged, "bench", "--json", published19)
	if r.code != 0 {
		t.Fatalf("exit code %d: %s\n%s", r.code, r.errors, r.out)
	}
	if s := all.summary(); s.programs != 19 || s.before != 2723 || s.after != 2723 {
		t.Errorf("%d programs of %d and %d slots, want 19 of 2723", s.programs, s.before, s.after)
	}
	if all.NoKernel != "" {
		t.Skip(all.NoKernel)
	}
	for _, m := range all.Objects {
		p := m.Programs[0]
		if p.Loads != verify.Kept.String() || p.Before.Processed == 0 || p.Before.Processed != p.After.Processed {
			t.Errorf("%s: %+v", m.Name, p)
		}
		if networked := p.Section == "xdp" || p.Section == "tc"; networked && (p.Before.Nanos == 0 || p.After.Nanos == 0) {
			t.Errorf("%s was not timed: %s", m.Name, p.Reason)
		}
	}
}

// benchSource has a program that loads, and one more on request.
const benchSource = `
struct xdp_md;
__attribute__((section("xdp"))) int first(struct xdp_md *ctx) { return 2; }
#ifdef MORE
__attribute__((section("xdp"))) int second(struct xdp_md *ctx) { return 1; }
#endif
char _license[] __attribute__((section("license"))) = "GPL";
`

// Whatever an optimiser gets wrong is a failure, seen in the exit code.
func TestBenchFailures(t *testing.T) {
	clang := needClang(t)
	if err := verify.Permitted(); err != nil {
		t.Skip(err)
	}
	dir := folder(t)
	for name := range sources {
		os.Remove(filepath.Join(dir, name))
	}
	put(t, filepath.Join(dir, "prog.c"), benchSource)
	worse := func(flags ...string) optimizer {
		out := filepath.Join(t.TempDir(), "worse.o")
		args := append([]string{"--target=bpf", "-g", "-w", "-c", filepath.Join(dir, "prog.c"), "-o", out}, flags...)
		if r := runIn(t, dir, clang, args...); r.code != 0 {
			t.Fatal(r.errors)
		}
		object := []byte(get(t, out))
		return func(context.Context, []byte, task) ([]byte, *Report, error) { return object, &Report{}, nil }
	}
	tests := []struct {
		name     string
		optimize optimizer
		failure  string
	}{
		{"nothing wrong", unchanged, ""},
		{"larger", worse("-O0"), "grew from 2 to 3 slots"},
		{"renamed away", worse("-O2", "-Dfirst=third"), "no longer loads"},
		{"another object each time", unsteady(), "with a warm cache: another object"},
		{"no object", func(context.Context, []byte, task) ([]byte, *Report, error) { return []byte("x"), nil, nil }, "read the optimised object"},
		{"gives up", func(context.Context, []byte, task) ([]byte, *Report, error) { return nil, nil, errors.New("tired") }, "tired"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, all := bench(t, test.optimize, "bench", "--json", filepath.Join(dir, "prog.c"))
			if (r.code != 0) != (test.failure != "") {
				t.Errorf("exit code %d", r.code)
			}
			if said := strings.Join(all.Failures, "\n"); !strings.Contains(said, test.failure) || test.failure == "" && said != "" {
				t.Errorf("failures %q, want %q among them", said, test.failure)
			}
		})
	}
}

// Folders, objects and C files may be mixed; what does not compile is said.
func TestBenchInputs(t *testing.T) {
	clang := needClang(t)
	dir := folder(t)
	for name := range sources {
		os.Remove(filepath.Join(dir, name))
	}
	put(t, filepath.Join(dir, "a.c"), benchSource)
	put(t, filepath.Join(dir, "wrong.c"), "int f(void) { return x; }")
	if err := os.Mkdir(filepath.Join(dir, "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	both := filepath.Join(dir, "deep", "both.o")
	if r := runIn(t, dir, clang, "--target=bpf", "-O2", "-g", "-w", "-DMORE", "-c", "a.c", "-o", both); r.code != 0 {
		t.Fatal(r.errors)
	}
	r, all := bench(t, unchanged, "bench", "--json", dir, both)
	if r.code != exitFailure {
		t.Errorf("exit code %d, want %d for what does not compile", r.code, exitFailure)
	}
	var got []string
	for _, m := range all.Objects {
		for _, p := range m.Programs {
			got = append(got, m.programName(p))
		}
		if m.Error != "" {
			got = append(got, m.Name+" fails")
		}
	}
	want := []string{"a", "both/first", "both/second", "wrong fails", "both/first", "both/second"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("measured (-want +got):\n%s", diff)
	}
}

func TestBenchWrongArguments(t *testing.T) {
	for _, args := range [][]string{
		{"bench"}, {"bench", "no/such/folder"}, {"bench", t.TempDir()}, {"demo"}, {"demo", "a", "b"},
		{"bench", "--config", "no/such/file", "testdata"},
	} {
		if r, _ := bench(t, unchanged, args...); r.code == 0 || r.errors == "" {
			t.Errorf("%v: exit code %d, %q", args, r.code, r.errors)
		}
	}
}

func TestDemo(t *testing.T) {
	needClang(t)
	r, all := bench(t, unchanged, "demo", "--json", "../examples")
	if r.code != 0 {
		t.Fatalf("exit code %d: %s\n%s", r.code, r.errors, r.out)
	}
	if len(all.Objects) < 6 {
		t.Errorf("%d examples, want at least 6", len(all.Objects))
	}
	if all.NoKernel != "" {
		t.Skip(all.NoKernel)
	}
	for _, m := range all.Objects {
		for _, p := range m.Programs {
			if p.Loads != verify.Kept.String() {
				t.Errorf("%s: %s (%s)", m.programName(p), p.Loads, p.Reason)
			}
		}
	}
}
