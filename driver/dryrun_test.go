package driver

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlanJobs(t *testing.T) {
	clang := needClang(t)
	good := []job{{input: "good.c", output: "good.o", optimised: true}}
	with := func(change func(*job)) []job {
		j := good[0]
		change(&j)
		return []job{j}
	}
	tests := []struct {
		name string
		args []string
		want []job // nil: none of k2cc's business
	}{
		{"--target=bpf", []string{"-O2", "--target=bpf", "-c", "good.c"}, good},
		{"-target bpf", []string{"-O2", "-target", "bpf", "-c", "good.c"}, good},
		{"little endian by name", []string{"-O2", "--target=bpfel", "-c", "good.c"}, good},
		{"big endian", []string{"-O2", "--target=bpfeb", "-c", "good.c"}, good},
		{"with vendor and system", []string{"-O2", "--target=bpf-unknown-none", "-c", "good.c"}, good},
		{"output", []string{"-O2", "--target=bpf", "-c", "good.c", "-o", "a b$.o"},
			with(func(j *job) { j.output = "a b$.o" })},
		{"output in one word", []string{"-O2", "--target=bpf", "-c", "good.c", "-oq\".o"},
			with(func(j *job) { j.output = "q\".o" })},
		{"the last output counts", []string{"-O2", "--target=bpf", "-c", "good.c", "-o", "1.o", "-o", "2.o"},
			with(func(j *job) { j.output = "2.o" })},
		{"-mcpu", []string{"-O2", "--target=bpf", "-mcpu=v2", "-c", "good.c"},
			with(func(j *job) { j.cpu = "v2" })},
		{"-Os", []string{"-Os", "--target=bpf", "-c", "good.c"}, good},
		{"-O0", []string{"-O0", "--target=bpf", "-c", "good.c"}, with(func(j *job) { j.optimised = false })},
		{"no -O", []string{"--target=bpf", "-c", "good.c"}, with(func(j *job) { j.optimised = false })},
		{"the last -O counts", []string{"-O2", "-O0", "--target=bpf", "-c", "good.c"},
			with(func(j *job) { j.optimised = false })},
		{"several inputs", []string{"-O2", "--target=bpf", "-c", "good.c", "other.c"},
			append(with(func(*job) {}), job{input: "other.c", output: "other.o", optimised: true})},
		{"response file", []string{"@args"}, good},
		{"dependency file", []string{"-O2", "--target=bpf", "-c", "good.c", "-MMD", "-MF", "x.d"}, good},
		{"-v", []string{"-v", "-O2", "--target=bpf", "-c", "good.c"}, good},
		{"an option's value that looks like a mode", []string{"-O2", "--target=bpf", "-c", "good.c", "-I", "-E"}, good},

		{"another target", []string{"-O2", "-c", "good.c"}, nil},
		{"another target, bpf in a name", []string{"-O2", "-Ibpf", "-c", "good.c"}, nil},
		{"the last target counts", []string{"--target=bpf", "--target=x86_64-linux-gnu", "-c", "good.c"}, nil},
		{"linking", []string{"-O2", "--target=bpf", "good.c", "-o", "x"}, nil},
		{"-E", []string{"-E", "-c", "--target=bpf", "good.c"}, nil},
		{"-S", []string{"-S", "-c", "--target=bpf", "good.c"}, nil},
		{"-M", []string{"-M", "-c", "--target=bpf", "good.c"}, nil},
		{"-MM", []string{"-MM", "-c", "--target=bpf", "good.c"}, nil},
		{"-emit-llvm", []string{"-emit-llvm", "-c", "--target=bpf", "good.c"}, nil},
		{"-flto", []string{"-flto", "-c", "--target=bpf", "good.c"}, nil},
		{"-fsyntax-only", []string{"-fsyntax-only", "-c", "--target=bpf", "good.c"}, nil},
		{"-###", []string{"-###", "-c", "--target=bpf", "good.c"}, nil},
		{"--version", []string{"--version", "--target=bpf"}, nil},
		{"-print-search-dirs", []string{"-print-search-dirs", "--target=bpf"}, nil},
		{"-cc1", []string{"-cc1", "-triple", "bpf", "-emit-obj", "good.c"}, nil},
		{"to standard output", []string{"-c", "--target=bpf", "good.c", "-o", "-"}, nil},
		{"C++", []string{"-c", "--target=bpf", "cplus.cc"}, nil},
		{"assembly", []string{"-c", "--target=bpf", "-x", "assembler", "good.c"}, nil},
		{"no input", []string{"-c", "--target=bpf"}, nil},
		{"missing input", []string{"-c", "--target=bpf", "none.c"}, nil},
		{"wrong option", []string{"-c", "--target=bpf", "-nonesuch", "good.c"}, nil},
		{"several inputs for one output", []string{"-c", "--target=bpf", "good.c", "other.c", "-o", "x.o"}, nil},
		{"nothing", nil, nil},
	}
	dir := folder(t)
	put(t, filepath.Join(dir, "args"), "-O2 --target=bpf\n-c \"good.c\"")
	t.Chdir(dir)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, ok := planJobs(t.Context(), clang, test.args)
			if ok != (test.want != nil) {
				t.Fatalf("got %v %+v, want %+v", ok, got, test.want)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(job{})); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := os.Stat("good.o"); err == nil {
		t.Error("asking for the plan carried it out")
	}
}

func TestMayBeBPFSparesTheQuestion(t *testing.T) {
	for _, args := range [][]string{
		{"-O2", "-c", "x.c"}, {"--version"}, {}, {"-###", "--target=bpf"}, {"-cc1", "bpf"},
	} {
		if mayBeBPF(args) {
			t.Errorf("%q: asks clang for a plan", args)
		}
	}
}

func TestSplitQuoted(t *testing.T) {
	tests := []struct {
		line string
		want []string
	}{
		{` "a" "b c"`, []string{"a", "b c"}},
		{` "a\"b" "\\" "\$x"`, []string{`a"b`, `\`, "$x"}},
		{` "" "x"`, []string{"", "x"}},
		{` "unterminated`, nil},
		{``, nil},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, splitQuoted(test.line)); diff != "" {
			t.Errorf("%s: %s", test.line, diff)
		}
	}
}

// FuzzParsePlan checks that no output makes the parser panic, and that what it
// takes for a job has the names that a job needs.
func FuzzParsePlan(f *testing.F) {
	f.Add("clang version\n \"clang\" \"-cc1\" \"-triple\" \"bpf\" \"-emit-obj\" \"-o\" \"x.o\" \"-x\" \"c\" \"x.c\"\n")
	f.Add(" \"a\" \"-cc1\" \"-x\" \"c\" \"\\\"")
	f.Add(" \"ld\" \"-o\" \"x\"\n")
	f.Fuzz(func(t *testing.T, plan string) {
		jobs, ok := parsePlan(plan)
		if ok != (len(jobs) > 0) {
			t.Errorf("%v with %d jobs", ok, len(jobs))
		}
		for _, j := range jobs {
			if j.output == "" || j.output == "-" {
				t.Errorf("job without output: %+v", j)
			}
		}
	})
}
