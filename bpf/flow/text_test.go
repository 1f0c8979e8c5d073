package flow

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStateText(t *testing.T) {
	for _, text := range []string{
		"",
		"r0 = 5",
		"r1 = -9223372036854775808",
		"r1 = packet(b7)+14",
		"r1 = map_value?(b7)-4",
		"r1 = map_value?(b7a8)-4; r2 = any(b8a2); r3 = scalar(b9a4)+1[1,9]; [r10-8:8] = other(b7a8)",
		"r1 = any; r2 = scalar[0,255]; r3 = scalar s[-1,1]; r4 = scalar{0x1/0xff0}",
		"r1 = scalar(b9)+2[10,300]{0x0/0x1fe}",
		"r6 = fp-32; r7 = fp; r8 = stack(b44)",
		"[r10-8:4] = 5; [r10-4:1] = scalar(b5)[0,255]; written [r10-512:3] [r10-8:8]",
		"r1 = context(b2); escaped",
	} {
		s, err := ParseState(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := s.String(); got != text {
			t.Errorf("%s: got %s", text, got)
		}
	}
}

func TestStateTextErrors(t *testing.T) {
	for _, text := range []string{
		"r11 = 5", "r1", "r1 = 5 5", "r1 = frob", "r1 = scalar[5,4]", "r1 = scalar[0,1", "r1 = scalar{0x1/0x1}",
		"[r10-8:3] = 1", "[r10-600:8] = 1", "[r10-4:8] = 1", "[r10-4:1] = 256", "written r1", "r1 = packet(b0)", "escaped!",
		"r1 = packet(b7a1)", "r1 = packet(b7a3)", "r1 = packet(b7a16)", "r1 = packet(b7a)", "r1 = packet(a8)",
	} {
		if s, err := ParseState(text); err == nil {
			t.Errorf("%s: read as %v", text, s)
		} else if !strings.Contains(err.Error(), "cannot read") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestLiveText(t *testing.T) {
	for _, text := range []string{"", "r0", "r1:0xff r10", "[r10-8:4]", "r0 r3:0x8000000000000000 [r10-512:512]", "[r10-512:1] [r10-1:1]"} {
		l, err := ParseLive(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := l.String(); got != text {
			t.Errorf("%s: got %s", text, got)
		}
	}
	for _, text := range []string{"r11", "r1:", "[r10-8]", "[r10-8:0]", "8"} {
		if l, err := ParseLive(text); err == nil {
			t.Errorf("%s: read as %v", text, l)
		}
	}
}

// TestValueText reads every kind of value back.
func TestValueText(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 20_000 {
		n := randomNumber(rng, 64, []uint64{1, 2})
		n.meet(randomNumber(rng, 64, nil))
		n = number{n.Value, 64}.synced()
		n.Kind = Kind(1 + rng.IntN(int(KindOther)))
		n = asKind(n)
		n.MaybeNull = nullable(n.Kind) && rng.IntN(2) == 0
		if n.Base != 0 && rng.IntN(2) == 0 {
			n.Align = 2 << rng.IntN(3)
		}
		s, err := ParseState("r1 = " + n.String())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(n.Value, s.Regs[1]); d != "" {
			t.Fatalf("%v: %s", n.Value, d)
		}
	}
}

func TestContains(t *testing.T) {
	regs := [11]uint64{1: 5, 2: 9, 6: math.MaxUint64, 10: 0x1000}
	stack := func(off int) byte { return byte(-off) }
	for text, want := range map[string]string{
		"r1 = 5; r2 = 9; r6 = -1":                "",
		"r1 = 6":                                 "r1: 0x5",
		"r2 = scalar[0,8]":                       "r2: 0x9",
		"r6 = scalar s[0,5]":                     "r6: ",
		"r2 = scalar{0x0/0x7}":                   "r2: 0x9",
		"r1 = packet(b7); r2 = packet(b7)+4":     "",
		"r1 = packet(b7); r2 = packet(b7)+5":     "r2: ",
		"r0 = map_value?(b7)":                    "",
		"r0 = map_value(b7)":                     "r0: null",
		"r1 = packet(b7a4)+1; r2 = any(b8a8)+1":  "",
		"r2 = packet(b7a8)":                      "r2: 0x9",
		"r1 = fp":                                "r1: ",
		"[r10-4:2] = 772":                        "",
		"[r10-4:2] = 1027":                       "[r10-4:2]: 0x304",
		"[r10-4:1] = any(b8); r1 = any(b8)+1":    "",
		"[r10-4:1] = scalar(b8); r1 = any(b8)+2": "[r10-4:1]: ",
	} {
		s, err := ParseState(text)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Contains(regs, stack, false)
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func FuzzParseState(f *testing.F) {
	f.Add("r1 = packet(b3)+14; r2 = scalar[0,255]s[0,255]{0x0/0xff}; [r10-8:4] = 5; written [r10-8:8]; escaped")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseState(text)
		if err != nil {
			return
		}
		again, err := ParseState(s.String())
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		if d := cmp.Diff(s, again); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzParseLive(f *testing.F) {
	f.Add("r1:0xff r2 [r10-8:4]")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ParseLive(text)
		if err != nil {
			return
		}
		if again, err := ParseLive(l.String()); err != nil || again != l {
			t.Fatalf("%s: %v, %v", l, again, err)
		}
	})
}
