package object

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzRead reads hostile objects and writes them back, unchanged, anew and
// with no-ops in them.
func FuzzRead(f *testing.F) {
	seeds, err := filepath.Glob("testdata/seeds/*.elf")
	if err != nil || len(seeds) == 0 {
		f.Fatal("no seeds: ", err)
	}
	for _, name := range seeds {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Read(data)
		if err != nil {
			return
		}
		same, err := file.Bytes()
		if err != nil || !bytes.Equal(same, data) {
			t.Fatalf("an unchanged object differs (%v)", err)
		}
		if len(file.Program().Functions) == 0 {
			return
		}
		anew, err := reencode(file)
		if err != nil {
			t.Fatalf("written anew: %v", err)
		}
		checkSame(t, file, anew)
		grown, n, err := withNoOps(file, 5)
		if err != nil || n == 0 {
			return // too far for a jump, or an address too large
		}
		back, err := Read(grown)
		if err != nil {
			t.Fatalf("with no-ops: %v", err)
		}
		if len(back.Program().Functions) != len(file.Program().Functions) {
			t.Fatalf("%d functions, %d with no-ops: %v", len(file.Program().Functions), len(back.Program().Functions), back.Skipped())
		}
	})
}

// checkSame checks that data has the functions of f.
func checkSame(t *testing.T, f *File, data []byte) {
	t.Helper()
	g, err := Read(data)
	if err != nil {
		t.Fatalf("written anew: %v", err)
	}
	if len(g.Program().Functions) != len(f.Program().Functions) {
		t.Fatalf("written anew: %d functions of %d: %v", len(g.Program().Functions), len(f.Program().Functions), g.Skipped())
	}
	a, err := f.plan()
	if err != nil {
		t.Fatal(err)
	}
	b, err := g.plan()
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range f.order {
		for j, p := range c.pieces {
			q := g.order[i].pieces[j]
			if p.name != q.name || !sameCode(a.placed[p].code, b.placed[q].code) {
				t.Fatalf("written anew, %s differs", p.name)
			}
		}
	}
}
