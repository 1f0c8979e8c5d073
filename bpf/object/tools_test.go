package object

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// grownFiles writes an object and the same with no-ops into a folder.
func grownFiles(t *testing.T, dir string, o object) (before, after string) {
	t.Helper()
	grown, _, err := withNoOps(read(t, o), 4)
	if err != nil {
		t.Fatalf("%s: %v", o.name, err)
	}
	base := filepath.Join(dir, strings.NewReplacer("/", "_", ".elf", "").Replace(o.name))
	before, after = base+".o", base+".grown.o"
	if err := os.WriteFile(before, o.data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(after, grown, 0o600); err != nil {
		t.Fatal(err)
	}
	return before, after
}

func needTool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(name, " is not installed")
	}
}

// TestLLVMReadsMovedCode has LLVM's tools read changed objects, of which they
// must have no more to say on stderr than of the input.
func TestLLVMReadsMovedCode(t *testing.T) {
	needTool(t, "llvm-objdump-22")
	needTool(t, "llvm-readelf-22")
	dir := t.TempDir()
	var before, after []string
	for _, o := range append(compiled(t, host), shipped(t)...) {
		b, a := grownFiles(t, dir, o)
		before, after = append(before, b), append(after, a)
	}
	for _, args := range [][]string{{"llvm-objdump-22", "-dr"}, {"llvm-readelf-22", "-a"}} {
		want := complaints(t, args, before...)
		got := strings.ReplaceAll(complaints(t, args, after...), ".grown.o", ".o")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-before +with no-ops):\n%s", args[0], diff)
		}
	}
}

// host selects what the running kernel could load, with BTF.
func host(j job) bool {
	return some(j) && j.target == "bpfel" && j.debug != "" && (j.level == "v2" || j.level == "v3")
}

// complaints is what a tool says on stderr of some files.
func complaints(t *testing.T, args []string, files ...string) string {
	t.Helper()
	var msg strings.Builder
	cmd := exec.Command(args[0], append(args[1:], files...)...)
	cmd.Stderr = &msg
	if err := cmd.Run(); err != nil {
		msg.WriteString(err.Error())
	}
	return msg.String()
}

// TestLibbpfReadsMovedCode has libbpf's linker and loader, through bpftool,
// take every changed object whose input they take.
func TestLibbpfReadsMovedCode(t *testing.T) {
	needTool(t, "bpftool")
	dir := t.TempDir()
	taken := map[string]int{}
	for _, o := range append(compiled(t, host), shipped(t)...) {
		before, after := grownFiles(t, dir, o)
		out := filepath.Join(dir, "linked.o")
		for name, args := range map[string][]string{
			"gen object": {"bpftool", "gen", "object", out},
			"btf dump":   {"bpftool", "btf", "dump", "file"},
		} {
			if complaints(t, args, before) != "" {
				continue
			}
			taken[name]++
			if msg := complaints(t, args, after); msg != "" {
				t.Errorf("%s: bpftool %s: %s", o.name, name, msg)
			}
		}
		if os.Geteuid() != 0 || libbpfLoad(dir, before) != "" {
			continue
		}
		taken["prog loadall"]++
		if msg := libbpfLoad(dir, after); msg != "" {
			t.Errorf("%s: bpftool prog loadall: %s", o.name, msg)
		}
	}
	t.Logf("objects taken: %v", taken)
	if taken["gen object"] == 0 || taken["btf dump"] == 0 {
		t.Error("bpftool takes none of the objects")
	}
	if taken["prog loadall"] == 0 {
		t.Log("bpftool may not load anything here")
	}
}

// libbpfLoad loads all programs of an object through libbpf and says what went
// wrong. They are pinned in a file system of a mount namespace that ends with
// the command, and with it the programs do.
func libbpfLoad(dir, file string) string {
	script := `mount -t bpf none "$1" && bpftool prog loadall "$2" "$1/all" && ls "$1/all" | grep -q .`
	mnt := filepath.Join(dir, "bpffs")
	if err := os.MkdirAll(mnt, 0o700); err != nil {
		return err.Error()
	}
	msg, err := exec.Command("unshare", "--mount", "sh", "-c", script, "sh", mnt, file).CombinedOutput()
	if err != nil {
		return err.Error() + ": " + string(msg)
	}
	return ""
}

// TestProcessedObjects reads objects that other tools wrote: LLVM's strip and
// objcopy, and libbpf's linker.
func TestProcessedObjects(t *testing.T) {
	dir := t.TempDir()
	linked := []string{"bpftool", "gen", "object"}
	sources := compiled(t, func(j job) bool {
		return some(j) && j.level == "v3" && j.debug != "" && strings.HasPrefix(j.source, "testdata/")
	})
	for _, args := range [][]string{{"llvm-strip-22", "-g", "-o"}, {"llvm-objcopy-22"}, linked} {
		t.Run(args[0], func(t *testing.T) {
			needTool(t, args[0])
			for _, o := range sources {
				in, out := filepath.Join(dir, "in.o"), filepath.Join(dir, "out.o")
				if err := os.WriteFile(in, o.data, 0o600); err != nil {
					t.Fatal(err)
				}
				files := []string{in, out}
				if args[0] != "llvm-objcopy-22" {
					files = []string{out, in}
				}
				if err := exec.Command(args[0], append(args[1:], files...)...).Run(); err != nil {
					continue // bpftool takes neither every object nor every byte order
				}
				data, err := os.ReadFile(out)
				if err != nil {
					t.Fatal(err)
				}
				processed := object{name: o.name, data: data}
				want, got := read(t, o), read(t, processed)
				if len(want.Program().Functions) != len(got.Program().Functions) {
					t.Errorf("%s: %d functions, %d before: %v", o.name, len(got.Program().Functions), len(want.Program().Functions), got.Skipped())
				}
				unchanged(t, processed, got)
				if anew, err := reencode(got); err != nil || !bytes.Equal(anew, data) {
					t.Errorf("%s: written anew, the object differs (%v)", o.name, err)
				}
			}
		})
	}
}
