package search

import (
	"math/rand/v2"
	"testing"

	"github.com/k2cc/k2cc/bpf"
)

func TestDemand(t *testing.T) {
	for _, tt := range []struct {
		code string
		need uint64 // of r1
		want needs
	}{
		{"r1 &= 255", all64, needs{1: 0xff}},
		{"r1 |= 255", 0xffff, needs{1: 0xff00}},
		{"r1 >>= 8", 0xff, needs{1: 0xff00}},
		{"r1 <<= 8", 0xff00, needs{1: 0xff}},
		{"w1 = w2", all64, needs{2: low32}},
		{"r1 += r2", 0x100, needs{1: 0x1ff, 2: 0x1ff}},
		{"r1 = 5", all64, needs{}},
		{"*(u8 *)(r2 + 0) = r3", 0, needs{2: all64, 3: 0xff}},
		{"r1 = *(u8 *)(r2 + 0)", 1, needs{2: all64}},
		{"r1 s>>= 63", 1, needs{1: all64}},
		{"if w2 > w3 goto L1", 0, needs{2: low32, 3: low32}},
	} {
		code, err := bpf.ParseCode(tt.code)
		if err != nil {
			t.Fatal(err)
		}
		got := demand([bpf.NumRegisters]uint64{1: tt.need}, code)
		for r, bits := range got {
			if bits != tt.want[bpf.Register(r)] {
				t.Errorf("%s: r%d: got %#x, want %#x", tt.code, r, bits, tt.want[bpf.Register(r)])
			}
		}
	}
}

// TestDemandSuffices changes bits that random code is said not to need, and
// wants the needed bits behind it to stay.
func TestDemandSuffices(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	w := window(t, bpf.V4, "r1 += r2\nr1 ^= 1234\nr2 s>>= 5\nr2 /= 3\nr1 *= r3\nr3 = -r3\nr2 %= 7\nr3 = be32 r3", nil, needs{1: all64, 2: all64, 3: all64})
	p, ok := newProblem(w, nil, 0)
	if !ok {
		t.Fatal("no problem")
	}
	m := newMover(p)
	free := 0
	for range 20_000 {
		code := make([]bpf.Instruction, 0, 3)
		for len(code) < 3 {
			if in := m.randomALU(rng); in.Op != gap {
				code = append(code, in)
			}
		}
		need := [bpf.NumRegisters]uint64{1: rng.Uint64() & rng.Uint64() & rng.Uint64(), 2: rng.Uint64() >> rng.Uint64N(64)}
		before := demand(need, code)
		a, b := p.lanes[0].start, p.lanes[0].start
		for r := 1; r <= 5; r++ {
			a.regs[r] = rng.Uint64()
			b.regs[r] = a.regs[r] ^ rng.Uint64()&^before[r]
			if a.regs[r] != b.regs[r] {
				free++
			}
		}
		p.lanes[0].run(&a, code)
		p.lanes[0].run(&b, code)
		for r, bits := range need {
			if (a.regs[r]^b.regs[r])&bits != 0 {
				t.Fatalf("%s: with %#x needed of r%d, %x before are not enough", bpf.Format(code), bits, r, before)
			}
		}
	}
	if free < 20_000 {
		t.Errorf("bits were changed in %d registers only", free)
	}
}
