package verify

import (
	"bytes"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

func TestRun(t *testing.T) {
	needKernel(t)
	obj := compile(t, "run.c")
	tests := []struct {
		program string
		ret     uint32
		size    int // of the packet afterwards
	}{
		{"pass", 2, 64},
		{"drop_short", 2, 0}, // tc: 64 bytes are short
		{"filter", 17, 64},
		{"grow", 2, 72},
		{"tail", 2, 64},
	}
	for _, test := range tests {
		t.Run(test.program, func(t *testing.T) {
			timing, err := Run(t.Context(), obj, test.program, RunOptions{Repeat: 1000, Rounds: 3})
			if err != nil {
				t.Fatal(err)
			}
			if timing.Return != test.ret {
				t.Errorf("returned %d, want %d", timing.Return, test.ret)
			}
			if test.size > 0 && len(timing.Output) != test.size {
				t.Errorf("packet of %d bytes, want %d", len(timing.Output), test.size)
			}
			if timing.Nanos <= 0 {
				t.Errorf("took %v ns", timing.Nanos)
			}
		})
	}
}

func TestRunNoType(t *testing.T) {
	needKernel(t)
	if _, err := Run(t.Context(), compile(t, "run.c"), "probe", RunOptions{}); !errors.Is(err, ErrNoTestRun) {
		t.Errorf("error %v, want %v", err, ErrNoTestRun)
	}
}

// A loop of a thousand rounds takes longer than one of ten, whoever goes first.
func TestRace(t *testing.T) {
	needKernel(t)
	long, short := compile(t, "run.c", "-DLONG"), compile(t, "run.c")
	for _, swap := range []bool{false, true} {
		old, new := long, short
		if swap {
			old, new = short, long
		}
		a, b, err := Race(t.Context(), old, new, "loop", RunOptions{Repeat: 1000, Rounds: 5})
		if err != nil {
			t.Fatal(err)
		}
		if (a.Nanos > b.Nanos) == swap {
			t.Errorf("old %v ns, new %v ns (swapped: %v)", a.Nanos, b.Nanos, swap)
		}
	}
}

// What is put ahead of a program changes nothing of what it does.
func TestShift(t *testing.T) {
	needKernel(t)
	obj := compile(t, "run.c")
	want, err := Run(t.Context(), obj, "loop", RunOptions{Repeat: 10, Rounds: 1})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Run(t.Context(), obj, "loop", RunOptions{Repeat: 10, Rounds: 1, Shift: 5})
	if err != nil {
		t.Fatal(err)
	}
	if got.Return != want.Return || !bytes.Equal(got.Output, want.Output) {
		t.Errorf("returns %d, want %d", got.Return, want.Return)
	}
}

func TestRunPrepare(t *testing.T) {
	needKernel(t)
	timing, err := Run(t.Context(), compile(t, "run.c"), "lookup", RunOptions{
		Repeat: 10, Rounds: 1,
		Prepare: func(maps map[string]*ebpf.Map) error { return maps["answers"].Put(uint32(7), uint32(42)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if timing.Return != 42 {
		t.Errorf("returned %d, want what Prepare put there", timing.Return)
	}
}

// Test runs see a network of their own, and nobody else comes to see it.
func TestOwnNetwork(t *testing.T) {
	needKernel(t)
	const link = "/proc/thread-self/ns/net"
	before, err := os.Readlink(link)
	if err != nil {
		t.Skip(err)
	}
	var inside string
	var devices []net.Interface
	err = inOwnNetwork(func() (err error) {
		if inside, err = os.Readlink(link); err != nil {
			return err
		}
		devices, err = net.Interfaces()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if after, err := os.Readlink(link); err != nil || inside == before || after != before {
		t.Errorf("network %s before, %s inside, %s after (%v)", before, inside, after, err)
	}
	if len(devices) != 1 || devices[0].Flags&net.FlagLoopback == 0 {
		t.Errorf("devices inside: %v, want the loopback alone", devices)
	}
}

func TestPacketChecksums(t *testing.T) {
	p := Packet()
	if len(p) != 64 || !bytes.Equal(p[12:14], []byte{8, 0}) {
		t.Fatalf("no IPv4 packet of 64 bytes: % x", p)
	}
	if sum := checksum(0, p[14:34]); sum != 0 {
		t.Errorf("IPv4 header sums up to %#x", sum)
	}
	pseudo := append(append([]byte{}, p[26:34]...), 0, 6, 0, byte(len(p)-34))
	if sum := checksum(0, append(pseudo, p[34:]...)); sum != 0 {
		t.Errorf("TCP segment sums up to %#x", sum)
	}
}

func TestMiddle(t *testing.T) {
	for _, tt := range []struct {
		name    string
		samples []time.Duration
		want    float64
	}{
		{"one", []time.Duration{7}, 7},
		{"whole numbers", []time.Duration{10, 11, 11, 10}, 10.5},
		{"outliers", []time.Duration{900, 10, 12, 11, 11, 1, 800, 10}, 11},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := middle(tt.samples); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}
