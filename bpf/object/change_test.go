package object

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestInsertAndRemove makes all code move apart, reads what comes out, takes
// the no-ops out again and expects the object that it started from, without
// its DWARF: growing and shrinking move everything that has to move.
func TestInsertAndRemove(t *testing.T) {
	for _, o := range append(compiled(t, some), shipped(t)...) {
		f := read(t, o)
		p, err := f.plan()
		if err != nil {
			t.Fatal(err)
		}
		want, err := p.encode(true)
		if err != nil {
			t.Fatalf("%s: %v", o.name, err)
		}
		moves := countNoOps(f)
		grown, n, err := withNoOps(f, 1)
		if err != nil {
			t.Errorf("%s: %v", o.name, err)
			continue
		}
		if len(f.Program().Functions) == 0 {
			continue
		}
		if n == 0 && codeSlots(f) > 20 {
			t.Errorf("%s: no no-op inserted", o.name)
		}
		back, err := Read(grown)
		if err != nil {
			t.Errorf("%s: with no-ops: %v", o.name, err)
			continue
		}
		if diff := cmp.Diff(f.Skipped(), back.Skipped()); diff != "" {
			t.Errorf("%s: other parts are left alone with no-ops (-before +after):\n%s", o.name, diff)
		}
		removed := 0
		for _, fn := range back.Program().Functions {
			removed += removeNoOps(fn)
		}
		if removed != n+moves {
			t.Errorf("%s: %d no-ops inserted and %d there before, %d removed", o.name, n, moves, removed)
		}
		got, err := back.Bytes()
		if err != nil {
			t.Errorf("%s: without no-ops: %v", o.name, err)
		} else if moves == 0 && n > 0 && !bytes.Equal(got, want) {
			t.Errorf("%s: after inserting and removing no-ops the object differs at byte %d of %d (%d)",
				o.name, firstDifference(got, want), len(want), len(got))
		}
	}
}

func countNoOps(f *File) int {
	n := 0
	for _, fn := range f.Program().Functions {
		n += removeNoOps(fn.Clone())
	}
	return n
}

func codeSlots(f *File) int {
	n := 0
	for _, fn := range f.Program().Functions {
		n += fn.Slots()
	}
	return n
}

// leads lists where the references of an object lead that lead to code: from
// section and function to function and byte.
func leads(f *File) []string {
	var out []string
	for _, r := range f.refs {
		to := f.targetPiece(r)
		if to == nil {
			continue
		}
		from := f.elf.sections[r.section].name
		if c := f.code[r.section]; c != nil {
			from += " " + c.pieceAt(int64(r.off)).name
		}
		_, off, _ := f.target(r)
		out = append(out, fmt.Sprintf("%s -> %s+%d", from, to.name, off-int64(to.start)))
	}
	slices.Sort(out)
	return out
}

// TestReferencesStay checks that calls, code addresses in code and code
// addresses in data lead to the same functions after everything moved, from
// functions that are left alone too.
func TestReferencesStay(t *testing.T) {
	all := 0
	for _, o := range append(compiled(t, some), shipped(t)...) {
		f := read(t, o)
		want := leads(f)
		all += len(want)
		grown, _, err := withNoOps(f, 9)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Read(grown)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, leads(back)); diff != "" {
			t.Errorf("%s: references (-before +after):\n%s", o.name, diff)
		}
	}
	if all < 100 {
		t.Errorf("only %d references to code", all)
	}
}
