package builds

import (
	"path/filepath"
	"testing"

	"github.com/k2cc/k2cc/internal/proctest"
)

// makeLinked compiles two objects of which one uses the other's map and
// function, links them, and has a program of this machine load them.
const makeLinked = `
$CC $BPF_CFLAGS -c verdict.bpf.c -o verdict.bpf.o
$CC $BPF_CFLAGS -c filter.bpf.c -o filter.bpf.o
bpftool gen object linked.o filter.bpf.o verdict.bpf.o
bpftool gen skeleton linked.o name linked >linked.skel.h
$CC -O2 -Wall -Werror -o main main.c $(pkg-config --cflags --libs libbpf)
`

// TestLinked has bpftool link optimised objects and make a skeleton of them.
func TestLinked(t *testing.T) {
	need(t, "bpftool", "pkg-config")
	proctest.NeedKernel(t)
	size := map[string]int{}
	for _, compiler := range compilers {
		dir := copyOf(t, "link")
		env := []string{"CC=" + compiler, "BPF_CFLAGS=-O2 -g -Wall -Werror --target=bpf -mcpu=v3 " + multiarch(t)}
		if said := shell(t, dir, env, makeLinked); said != "" {
			t.Errorf("%s: said %q", compiler, said)
		}
		want := "short 2\nlong 1\nlong 1\ntoo many 0\nseen 4\n"
		if got := shell(t, dir, nil, "./main"); got != want {
			t.Errorf("%s: the program said:\n%s", compiler, got)
		}
		size[compiler] = codeSize(t, filepath.Join(dir, "linked.o"))
	}
	if size["k2cc"] >= size["clang"] {
		t.Errorf("%d bytes of code became %d", size["clang"], size["k2cc"])
	}
}
