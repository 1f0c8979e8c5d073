package builds

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k2cc/k2cc/internal/proctest"
)

// host are commands of builds for this machine, in the order of a build. $CC
// is the compiler.
var host = []string{
	"$CC --version",
	"$CC -v",
	"$CC -dumpmachine",
	"$CC -print-search-dirs",
	"$CC -print-prog-name=ld",
	"$CC -print-file-name=libc.so",
	"$CC -print-resource-dir",
	"$CC -E -dM -x c /dev/null",
	"$CC -Wl,--version",
	"$CC -g -O2 -Ibpf -MT format.lo -MD -MP -MF format.Tpo -c tool/format.c -fPIC -DPIC -o format.o", // as libtool does
	"$CC -shared -fPIC -DPIC format.o -g -O2 -Wl,-soname -Wl,libformat.so.0 -o libformat.so.0.0.0",
	"$CC -O2 -Ibpf -c tool/main.c -o main.o $(pkg-config --cflags libbpf)",
	"$CC -o tool.Out main.o ./libformat.so.0.0.0 $(pkg-config --libs-only-L libbpf) -Wl,-rpath,.",
	"$CC -Ibpf -o at.once tool/main.c tool/format.c && ./at.once",
	"printf 'int f(void) { return 1; }' | $CC -x c - -c -o stdin.o",
	"echo '#error no' | $CC -x c - -fsyntax-only",
	"$CC -c nonesuch.c",
	"$CC nonesuch.o",
	"$CC",
}

// TestHost runs calls that have nothing to do with BPF.
func TestHost(t *testing.T) {
	t.Parallel()
	need(t, "pkg-config")
	dir := copyOf(t, "project")
	var said [2][]proctest.Result
	var left [2]map[string]string
	for i, compiler := range compilers {
		for _, command := range host {
			got := proctest.Run(t, dir, []string{"CC=" + compiler}, "sh", "-c", command)
			got.Out, got.Errors = anonymous(got.Out, compiler), anonymous(got.Errors, compiler)
			said[i] = append(said[i], got)
		}
		left[i] = contents(t, dir)
		for name := range left[i] {
			if filepath.Dir(name) == "." && !exists(filepath.Join("testdata/project", name)) {
				os.Remove(filepath.Join(dir, name))
			}
		}
	}
	for i, command := range host {
		if diff := cmp.Diff(said[0][i], said[1][i], cmp.AllowUnexported(proctest.Result{})); diff != "" {
			t.Errorf("%s: %s", command, diff)
		}
	}
	if diff := cmp.Diff(left[0], left[1]); diff != "" {
		t.Errorf("files differ: %s", diff)
	}
	if text := left[0]["format.Tpo"]; !strings.HasPrefix(text, "format.lo: tool/format.c ") {
		t.Errorf("format.Tpo holds %q", text)
	}
}

// TestConfigure has autoconf's script look at either compiler.
func TestConfigure(t *testing.T) {
	t.Parallel()
	need(t, "autoconf", "autoheader")
	dir := copyOf(t, "configure")
	shell(t, dir, nil, "autoheader && autoconf")
	var said, header [2]string
	for i, compiler := range compilers {
		out := filepath.Join(dir, "build")
		renew(t, out)
		said[i] = anonymous(shell(t, out, nil, "../configure CC="+compiler), compiler)
		header[i] = get(t, filepath.Join(out, "config.h"))
	}
	if diff := cmp.Diff(said[0], said[1]); diff != "" {
		t.Errorf("configure says: %s", diff)
	}
	if diff := cmp.Diff(header[0], header[1]); diff != "" {
		t.Errorf("config.h: %s", diff)
	}
	if !strings.Contains(said[0], "compiles for BPF... yes") || !strings.Contains(header[0], "#define LONG ") {
		t.Errorf("asked nothing:\n%s%s", said[0], header[0])
	}
}
