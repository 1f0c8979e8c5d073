package object

import (
	"bytes"
	"testing"
)

// reencode writes the object anew from its parts although nothing changed.
func reencode(f *File) ([]byte, error) {
	p, err := f.plan()
	if err != nil {
		return nil, err
	}
	return p.encode(false)
}

func TestRoundTripCompiled(t *testing.T) {
	skips := map[string]int{}
	for _, o := range compiled(t, func(job) bool { return true }) {
		f := read(t, o)
		for _, s := range f.Skipped() {
			skips[s.String()]++
		}
		unchanged(t, o, f)
		got, err := reencode(f)
		if err != nil {
			t.Errorf("%s: %v", o.name, err)
		} else if !bytes.Equal(got, o.data) {
			t.Errorf("%s: written anew, the object differs at byte %d of %d", o.name, firstDifference(got, o.data), len(o.data))
		}
	}
	for s, n := range skips {
		t.Logf("%d times: %s", n, s)
	}
}

func TestRoundTripShipped(t *testing.T) {
	for _, o := range shipped(t) {
		f := read(t, o)
		for _, s := range f.Skipped() {
			t.Logf("%s: %v", o.name, s)
		}
		unchanged(t, o, f)
		got, err := reencode(f)
		if err != nil {
			t.Errorf("%s: %v", o.name, err)
		} else if !bytes.Equal(got, o.data) {
			t.Errorf("%s: written anew, the object differs at byte %d of %d", o.name, firstDifference(got, o.data), len(o.data))
		}
	}
}

func read(t *testing.T, o object) *File {
	t.Helper()
	f, err := Read(o.data)
	if err != nil {
		t.Fatalf("%s: %v", o.name, err)
	}
	return f
}

// unchanged checks that Bytes gives the input back.
func unchanged(t *testing.T, o object, f *File) {
	t.Helper()
	got, err := f.Bytes()
	if err != nil {
		t.Errorf("%s: %v", o.name, err)
	} else if !bytes.Equal(got, o.data) {
		t.Errorf("%s: an unchanged object differs", o.name)
	}
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
