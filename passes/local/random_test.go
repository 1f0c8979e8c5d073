package local

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/encode"
)

// randomProgram writes a window that holds the stuff that transformations are
// about: narrow accesses side by side, masks and shifts, copies, constants.
func randomProgram(rng *rand.Rand) program {
	var lines []string
	reg := func() string { return fmt.Sprintf("r%d", []int{0, 2, 3, 4, 5, 9}[rng.IntN(6)]) }
	imm := func() int { return []int{0, 1, 8, 16, 24, 32, 255, 65535, -1, 7, -8}[rng.IntN(11)] }
	size := func() int { return 8 << rng.IntN(4) }
	base := func() string {
		switch rng.IntN(4) {
		case 0:
			return fmt.Sprintf("r7 + %d", rng.IntN(10))
		case 1:
			return fmt.Sprintf("r6 + %d", rng.IntN(10))
		case 2:
			return fmt.Sprintf("r8 + %d", rng.IntN(10))
		}
		return ""
	}
	place := func() (int, string) {
		n, at := size(), base()
		if at == "" {
			at = fmt.Sprintf("r10 - %d", n/8*(1+rng.IntN(16*8/n)))
		}
		return n, at
	}
	for range 3 + rng.IntN(14) {
		switch rng.IntN(9) {
		case 0, 1:
			n, at := place()
			lines = append(lines, fmt.Sprintf("%s = *(u%d *)(%s)", reg(), n, at))
		case 2, 3:
			n, at := place()
			lines = append(lines, fmt.Sprintf("*(u%d *)(%s) = %s", n, at, reg()))
		case 4:
			lines = append(lines, fmt.Sprintf("%s = %d", reg(), imm()))
		case 5:
			lines = append(lines, fmt.Sprintf("%s = %s", reg(), reg()))
		case 6:
			lines = append(lines, fmt.Sprintf("%s %s %d", reg(), []string{"<<=", ">>=", "s>>="}[rng.IntN(3)], 8*rng.IntN(8)))
		case 7:
			lines = append(lines, fmt.Sprintf("%s %s %s", reg(), []string{"|=", "&=", "+=", "^=", "*=", "-="}[rng.IntN(6)], reg()))
		case 8:
			lines = append(lines, fmt.Sprintf("%s %s %d", reg(), []string{"|=", "&=", "+=", "^=", "*="}[rng.IntN(5)], imm()))
		}
	}
	if rng.IntN(2) == 0 {
		lines = append(lines, fmt.Sprintf("if %s %s %d goto L1", reg(), []string{"==", "!=", ">", "s>", "&"}[rng.IntN(5)], imm()))
	}
	p := program{
		level: bpf.Level(1 + rng.IntN(4)),
		code:  strings.Join(lines, "\n"),
		facts: "r3 = scalar[0,255]; r4 = scalar{0x0/0xffff0}; r5 = 8; [r10-8:8] = scalar; [r10-16:4] = scalar[0,255]; [r10-12:4] = scalar; written [r10-16:16]",
		big:   rng.IntN(4) == 0,
	}
	for _, r := range []string{"r0", "r2", "r3", "r4", "r9:0xff", "r5:0xffffffff", "[r10-16:8]", "[r10-8:4]"} {
		if rng.IntN(3) == 0 {
			p.needs += " " + r
		}
	}
	return p
}

// randomState is a state that the facts of randomProgram allow: packets far
// from each other or overlapping.
func randomState(rng *rand.Rand) *encode.Counterexample {
	s := &encode.Counterexample{Memory: make(map[uint64]byte)}
	for r := range s.Regs {
		s.Regs[r] = rng.Uint64() >> (8 * rng.IntN(8))
	}
	s.Regs[1], s.Regs[6], s.Regs[7], s.Regs[8], s.Regs[10] = 0x1000, 0x2000, 0x3000, 0x4000, 0x10000
	if rng.IntN(2) == 0 {
		s.Regs[6] = s.Regs[7] + uint64(rng.IntN(17)) - 8
	}
	s.Regs[3] &= 0xff
	s.Regs[4] &= 0xffff0
	s.Regs[5] = 8
	for _, from := range []uint64{0x1000, 0x2000, 0x2ff0, 0x3000, 0x4000, 0x10000 - 32} {
		for i := range uint64(48) {
			s.Memory[from+i] = byte(rng.Uint32())
		}
	}
	return s
}

// fits makes a cell of the facts hold.
func fits(s *encode.Counterexample, big bool) *encode.Counterexample {
	low := uint64(0)
	if big {
		low = 3
	}
	for i := range uint64(4) {
		if i != low {
			s.Memory[s.Regs[10]-16+i] = 0
		}
	}
	return s
}

// checkRandom compares the proposals for a random window with its code, in
// random states, and tells whether there were any.
func checkRandom(t *testing.T, rng *rand.Rand) bool {
	p := randomProgram(rng)
	w := p.window(t)
	proposals := 0
	New().Propose(context.Background(), w, func(code []bpf.Instruction) encode.Verdict {
		proposals++
		for range 20 {
			from := fits(randomState(rng), p.big)
			want, ok1 := replay(w, w.Code, from)
			got, ok2 := replay(w, code, from)
			if ok1 && (!ok2 || !want.same(got, &w.Needs)) {
				t.Fatalf("needs %s, facts %s, big endian %v\n%s--\n%s", p.needs, p.facts, p.big, bpf.Format(w.Code), bpf.Format(code))
			}
		}
		return encode.Verdict{Outcome: encode.Proven}
	})
	return proposals > 0
}

func TestRandomWindows(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	changed := 0
	for range 700 {
		if checkRandom(t, rng) {
			changed++
		}
	}
	if changed < 300 {
		t.Errorf("only %d windows were changed", changed)
	}
}

func FuzzWindow(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) { checkRandom(t, rand.New(rand.NewPCG(a, b))) })
}

// TestRandomProofs has the checker prove what becomes of random windows.
func TestRandomProofs(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	checker := encode.New(encode.Options{})
	count := make(map[string]int)
	for range 150 {
		w := randomProgram(rng).window(t)
		New().Propose(context.Background(), w, func(code []bpf.Instruction) encode.Verdict {
			v := checker.Check(context.Background(), w, code)
			count[v.Outcome.String()]++
			if v.Outcome != encode.Proven {
				t.Logf("%v: %s\n%s--\n%s", v.Outcome, v.Reason, bpf.Format(w.Code), bpf.Format(code))
			}
			return v
		})
	}
	t.Log(count)
	if bad := count["refuted"] + count["undecided"] + count["unsafe"]; 10*bad > count["proven"] {
		t.Errorf("%d candidates not proven, %d proven", bad, count["proven"])
	}
}
