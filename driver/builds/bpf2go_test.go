package builds

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"github.com/k2cc/k2cc/internal/proctest"
	"github.com/k2cc/k2cc/verify"
)

// TestBPF2Go generates a Go package from C with either compiler and compares
// the two, and what a program does that loads it.
func TestBPF2Go(t *testing.T) {
	t.Parallel()
	need(t, "go")
	dir := copyOf(t, "bpf2go")
	shell(t, dir, nil, "go build -o /dev/null github.com/cilium/ebpf/cmd/bpf2go") // brings what it needs, and says so
	generated := map[string]map[string]string{}                                   // by compiler and name
	said := map[string]string{}
	for _, compiler := range compilers {
		env := []string{
			"BPF2GO_CC=" + compiler,
			"BPF2GO_CFLAGS=-Wall -Werror " + multiarch(t),
			fmt.Sprintf("BPF2GO_STRIP=llvm-strip-%d", newest()),
		}
		got := proctest.Run(t, dir, env, "go", "generate", ".")
		if got.Code != 0 || got.Errors != "" {
			t.Fatalf("go generate with %s: %+v", compiler, got)
		}
		generated[compiler] = map[string]string{}
		for _, name := range []string{"count_bpfel.go", "count_bpfeb.go", "count_bpfel.o", "count_bpfeb.o"} {
			generated[compiler][name] = get(t, filepath.Join(dir, name))
		}
		if verify.Permitted() == nil {
			said[compiler] = shell(t, dir, nil, "go run .")
		}
		for _, endian := range []string{"el", "eb"} {
			name := "count_bpf" + endian
			if err := os.Rename(filepath.Join(dir, name+".o"), filepath.Join(dir, name+"."+compiler)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(generated["clang"][name+".go"], generated[compiler][name+".go"]); diff != "" {
				t.Errorf("%s.go differs: %s", name, diff)
			}
			before, after := codeSize(t, filepath.Join(dir, name+".clang")), codeSize(t, filepath.Join(dir, name+"."+compiler))
			if compiler == "k2cc" && after >= before {
				t.Errorf("%s: %d bytes of code became %d", name, before, after)
			}
			checkStripped(t, generated[compiler][name+".o"])
		}
	}
	if len(said) == 0 {
		t.Skip("loaded no program: ", verify.Permitted())
	}
	want := "action 2\naction 2\naction 1\npackets 3 bytes 192\n"
	for compiler, text := range said {
		if text != want {
			t.Errorf("with %s the program said:\n%s", compiler, text)
		}
	}
}

// checkStripped wants an object to be one that cilium/ebpf reads, without
// DWARF.
func checkStripped(t *testing.T, object string) {
	t.Helper()
	if strings.Contains(object, ".debug_info") {
		t.Error("was not stripped")
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(strings.NewReader(object))
	if err != nil {
		t.Error(err)
	} else if spec.Programs["count"] == nil || spec.Maps["protocols"] == nil {
		t.Errorf("misses the program or the map: %v", spec)
	}
}
