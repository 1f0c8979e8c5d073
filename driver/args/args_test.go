package args

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A case is a command line, behind the compiler's name, and the objects that
// k2cc takes on as "input>output", or the reason why there are none.
type command struct {
	line string
	jobs string
	why  Reason
}

// check compares a command with what Jobs says, and that with clang's own plan.
func (c command) check(t *testing.T) {
	t.Helper()
	words := strings.Fields(c.line)
	jobs, why := Jobs(words)
	var got []string
	for _, j := range jobs {
		got = append(got, j.Input+">"+j.Output)
	}
	if strings.Join(got, " ") != c.jobs || why != c.why {
		t.Errorf("%s: got %q, %q; want %q, %q", c.line, got, why, c.jobs, c.why)
	}
	for _, clang := range clangs(t)[:1] {
		dir := t.TempDir()
		for u := range options(words) {
			if u.does == isInput && u.value != "-" && !strings.Contains(c.line, "none.c") {
				have(t, dir, u.value)
			}
		}
		if diff := cmp.Diff(plan(t, clang, dir, words), jobs); diff != "" && c.why != ConfigFile && c.why != Unusual {
			t.Errorf("%s: %s plans otherwise: %s", c.line, clang, diff)
		}
	}
}

func runAll(t *testing.T, all []command) {
	for _, c := range all {
		t.Run(c.line, func(t *testing.T) {
			t.Parallel()
			c.check(t)
		})
	}
}

func TestJobs(t *testing.T) {
	runAll(t, []command{
		{"-O2 --target=bpf -c a.c", "a.c>a.o", ""},
		{"-O2 -target bpf -c a.c", "a.c>a.o", ""},
		{"-O2 --target=bpfel -c a.c", "a.c>a.o", ""},
		{"-O2 --target=bpfeb -c a.c", "a.c>a.o", ""},
		{"-O2 --target=bpf-unknown-none -c d/a.b.c", "d/a.b.c>a.b.o", ""},
		{"-O2 --target=bpf -c a.c -o x.o", "a.c>x.o", ""},
		{"-O2 --target=bpf -c a.c -ox.o", "a.c>x.o", ""},
		{"-O2 --target=bpf -c a.c --output x.o", "a.c>x.o", ""},
		{"-O2 --target=bpf -c a.c --output=x.o", "a.c>x.o", ""},
		{"-O2 --target=bpf -c a.c -o 1.o -o 2.o", "a.c>2.o", ""},
		{"-O2 --target=bpf --compile a.c", "a.c>a.o", ""},
		{"-O2 --target=bpf -mcpu=v2 -c a.c", "a.c>a.o", ""},
		{"-Os --target=bpf -c a.c", "a.c>a.o", ""},
		{"-O --target=bpf -c a.c", "a.c>a.o", ""},
		{"--optimize=3 --target=bpf -c a.c", "a.c>a.o", ""},
		{"-O0 -O2 --target=bpf -c a.c", "a.c>a.o", ""},
		{"-O2 --target=bpf -c a.c b.c", "a.c>a.o b.c>b.o", ""},
		{"-O2 --target=bpf -c -- a.c -b.c", "a.c>a.o -b.c>-b.o", ""},
		{"-O2 --target=bpf -c a.i", "a.i>a.o", ""},
		{"-O2 --target=bpf -c a.ll b.bc", "a.ll>a.o b.bc>b.o", ""},
		{"--target=bpf -c a.s b.S", "a.s>a.o b.S>b.o", ""},
		{"-O2 --target=bpf -c -x c a.h", "a.h>a.o", ""},
		{"-O2 --target=bpf -c -xc a.txt -x none b.c", "a.txt>a.o b.c>b.o", ""},
		{"-O2 --target=bpf -c --language=c a.txt", "a.txt>a.o", ""},
		{"-O2 --target=bpf -c -x assembler a.c", "a.c>a.o", ""},
		{"-O2 --target=bpf -c -x c - -o x.o", "->x.o", ""},
		{"-v -O2 --target=bpf -c a.c", "a.c>a.o", ""},
		{"-O2 --target=bpf -c a.c -MMD -MF x.d -MT y -MQ z -MP", "a.c>a.o", ""},
		{"-O2 --target=bpf -c a.c -flto -fno-lto", "a.c>a.o", ""},

		// What follows an option is no mode and no input.
		{"-O2 --target=bpf -c a.c -I -E", "a.c>a.o", ""},
		{"-O2 --target=bpf -c -D -S a.c -include -M", "a.c>a.o", ""},
		{"-O2 --target=bpf -c -isystem b.c a.c", "a.c>a.o", ""},
		{"-O2 --target=bpf -c a.c -mllvm -help", "a.c>a.o", ""},
		{"-O2 --target=bpf -c a.c -MT --version -MF -###", "a.c>a.o", ""},
		{"-O2 --target=bpf -c -Xclang -debug-info-kind=limited a.c", "a.c>a.o", ""},

		{"-O0 --target=bpf -c a.c", "", NotOptimised},
		{"--target=bpf -c a.c", "", NotOptimised},
		{"-O2 -O0 --target=bpf -c a.c", "", NotOptimised},
		{"--target=bpf -c a.ll", "", NotOptimised},
		{"-O2 -c a.c", "", OtherTarget},
		{"-O2 -Ibpf -c a.c", "", OtherTarget},
		{"--target=bpf --target=x86_64-linux-gnu -O2 -c a.c", "", OtherTarget},
		{"-O2 --target=bpf a.c -o x", "", Link},
		{"-O2 --target=bpf a.o -o x", "", Link},
		{"-O2 -E -c --target=bpf a.c", "", Preprocess},
		{"-O2 -M -c --target=bpf a.c", "", Preprocess},
		{"-O2 -MM -c --target=bpf a.c", "", Preprocess},
		{"-O2 -S -c --target=bpf a.c", "", Assemble},
		{"-O2 -emit-llvm -c --target=bpf a.c", "", Bitcode},
		{"-O2 -emit-llvm -c --target=bpf a.c -o -", "", Bitcode},
		{"-O2 -flto -c --target=bpf a.c", "", Bitcode},
		{"-O2 -flto=thin -c --target=bpf a.c", "", Bitcode},
		{"-O2 -fsyntax-only -c --target=bpf a.c", "", Check},
		{"-O2 --analyze --target=bpf a.c", "", Check},
		{"-### -c --target=bpf a.c", "", Query},
		{"--version --target=bpf", "", Query},
		{"-v", "", NoInput},
		{"-print-search-dirs --target=bpf", "", Query},
		{"--print-target-triple", "", Query},
		{"-dumpmachine", "", Query},
		{"-cc1 -triple bpf -emit-obj a.c", "", Frontend},
		{"-O2 -c --target=bpf a.c -o -", "", StdOut},
		{"-O2 -c --target=bpf a.cc", "", Language},
		{"-O2 -c --target=bpf a.h", "", Language},
		{"-O2 -c --target=bpf -x c++ a.c", "", Language},
		{"-O2 -c --target=bpf a.o", "", Language},
		{"-O2 -c --target=bpf", "", NoInput},
		{"-O2 -c --target=bpf a.c b.c -o x.o", "", OneOutput},
		{"--config x.cfg -O2 -c --target=bpf a.c", "", ConfigFile},
		{"-working-directory d -O2 -c --target=bpf a.c", "", Unusual},
		{"", "", NoInput},
	})
}

func TestCut(t *testing.T) {
	tests := []struct{ line, cut, rest string }{
		{"--k2-a -c --k2-b=c x.c", "--k2-a --k2-b=c", "-c x.c"},
		{"-D --k2-a -o --k2-b x.c", "", "-D --k2-a -o --k2-b x.c"},
		{"--k2-a -- --k2-b", "--k2-a", "-- --k2-b"},
		{"-sectalign a b --k2-a --k2-b", "--k2-b", "-sectalign a b --k2-a"},
		{"-o", "", "-o"},
	}
	for _, test := range tests {
		cut, rest := Cut(strings.Fields(test.line), "--k2-")
		if got := strings.Join(cut, " "); got != test.cut {
			t.Errorf("%s: cut %q", test.line, got)
		}
		if got := strings.Join(rest, " "); got != test.rest {
			t.Errorf("%s: left %q", test.line, got)
		}
	}
}

// FuzzJobs checks what callers rely on: no panic, a reason or jobs, names for
// both files, and that cutting options out keeps all other words.
func FuzzJobs(f *testing.F) {
	for _, line := range []string{"-O2 --target=bpf -c a.c", "-segprot a", "-x", "-Xarch_a -o - --", "-o x -xc -"} {
		f.Add(strings.ReplaceAll(line, " ", "\n"))
	}
	f.Fuzz(func(t *testing.T, text string) {
		words := strings.Split(text, "\n")
		jobs, why := Jobs(words)
		if (len(jobs) > 0) == (why != "") {
			t.Errorf("%d jobs, reason %q", len(jobs), why)
		}
		for _, j := range jobs {
			if j.Input == "" || j.Output == "" || j.Output == "-" {
				t.Errorf("job without a name: %+v", j)
			}
		}
		cut, rest := Cut(words, "--k2-")
		if len(cut)+len(rest) != len(words) {
			t.Errorf("%q became %q and %q", words, cut, rest)
		}
	})
}
