package examples

import (
	"iter"
	"reflect"
	"testing"
)

func TestInputsAreDeterministic(t *testing.T) {
	collect := func(seq iter.Seq[Input]) []Input {
		var all []Input
		for in := range seq {
			all = append(all, in)
		}
		return all
	}
	for _, e := range All() {
		for _, p := range e.Programs {
			t.Run(e.Name+"/"+p.Name, func(t *testing.T) {
				first := collect(e.Inputs(p.Name, 7, 100))
				again := collect(e.Inputs(p.Name, 7, 50))
				if !reflect.DeepEqual(first[:50], again) {
					t.Error("the same seed gives other inputs")
				}
				if reflect.DeepEqual(first[:50], collect(e.Inputs(p.Name, 8, 50))) {
					t.Error("another seed gives the same inputs")
				}
			})
		}
	}
}

func TestEntriesAreDeterministic(t *testing.T) {
	for _, e := range All() {
		next, stop := iter.Pull(e.Entries(3))
		for entry := range e.Entries(3) {
			if again, ok := next(); !ok || !reflect.DeepEqual(entry, again) {
				t.Errorf("%s: %v, the second time %v", e.Name, entry, again)
				break
			}
		}
		stop()
	}
}

func TestPacketsAreFrames(t *testing.T) {
	for _, e := range All() {
		n := 0
		for b := range e.Packets(1, 1000) {
			n++
			if len(b) <= 14 || len(b) > 3000 {
				t.Errorf("%s: a frame of %d bytes", e.Name, len(b))
			}
		}
		first, _ := e.Program(e.Programs[0].Name)
		want := 1000
		if !first.takesPackets() {
			want = 0
		}
		if n != want {
			t.Errorf("%s: %d frames, want %d", e.Name, n, want)
		}
	}
}

func TestIPv4Checksum(t *testing.T) {
	tr := newTraffic(1, "")
	m := someMix()
	for range 100 {
		f := tr.newFlow(&m)
		b := tr.ipv4(&m, f, protoUDP, nil)
		if sum := checksum(b); sum != 0 {
			t.Errorf("checksum over %x is %#x", b, sum)
		}
	}
}
