package verify

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// needKernel skips a test where BPF can't be loaded.
func needKernel(t *testing.T) {
	t.Helper()
	if err := Permitted(); err != nil {
		t.Skip(err)
	}
}

// compile returns the object that clang makes of a file in testdata.
func compile(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	clang, err := exec.LookPath("clang-22")
	if err != nil {
		t.Skip("clang-22 is not installed")
	}
	out := filepath.Join(t.TempDir(), "out.o")
	args = append([]string{"--target=bpf", "-mcpu=v3", "-O2", "-g", "-w", "-I/usr/include/x86_64-linux-gnu", "-c",
		filepath.Join("testdata", name), "-o", out}, args...)
	if msg, err := exec.Command(clang, args...).CombinedOutput(); err != nil {
		t.Fatalf("compile %s: %v\n%s", name, err, msg)
	}
	obj, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return obj
}
