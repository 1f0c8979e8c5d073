package builds

import (
	"debug/elf"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// compareObjects wants the folders of two builds to hold the same files, host
// objects the same to the byte, and the BPF objects of the second one to have
// less code.
func compareObjects(t *testing.T, clang, k2cc string) {
	t.Helper()
	names := func(dir string) (all []string) {
		walk(t, dir, func(name string, _ fs.FileInfo) {
			if !strings.Contains(name, "CMakeTmp") {
				all = append(all, name)
			}
		})
		return all
	}
	files := names(clang)
	if diff := cmp.Diff(files, names(k2cc)); diff != "" {
		t.Errorf("files differ: %s", diff)
	}
	files = slices.DeleteFunc(files, func(name string) bool { return filepath.Ext(name) != ".o" })
	before, after := 0, 0
	for _, name := range files {
		a, b := filepath.Join(clang, name), filepath.Join(k2cc, name)
		if n := codeSize(t, a); n > 0 {
			before += n
			after += codeSize(t, b)
		} else if get(t, a) != get(t, b) {
			t.Errorf("%s, which is for the host, differs", name)
		}
	}
	if before == 0 || after >= before {
		t.Errorf("%d bytes of BPF code became %d", before, after)
	}
}

// codeSize returns the size of a BPF object's code in bytes, 0 for an object
// of another kind.
func codeSize(t *testing.T, file string) int {
	t.Helper()
	object, err := elf.Open(file)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	defer object.Close()
	if object.Machine != elf.EM_BPF {
		return 0
	}
	size := 0
	for _, section := range object.Sections {
		if section.Flags&elf.SHF_EXECINSTR != 0 {
			size += int(section.Size)
		}
	}
	return size
}
