package semantics

import (
	"math"
	"testing"

	"github.com/k2cc/k2cc/bpf"
)

// What loaders put in place of a symbol depends on where it stands.
func TestStateSymbols(t *testing.T) {
	const value = 0x1_8000_0010
	for text, want := range map[string]uint64{
		"r1 = @1 ll":                value,
		"r1 = @1:0x77 ll":           value,
		"r1 = @1":                   0xffff_ffff_8000_0010,
		"w1 = @1":                   0x8000_0010,
		"r1 = 0\nr1 += @1:24":       0xffff_ffff_8000_0010,
		"r1 = *(u8 *)(r10 + @1:24)": 0x55,
		"*(u8 *)(r10 + @1) = 7\nr1 = 0\nr1 = *(u8 *)(r10 + 16)": 7,
		"r1 = @2 ll": 0,
	} {
		s := &State{Symbols: map[bpf.Ref]uint64{1: value}}
		s.Regs[bpf.R10] = 0x1000
		s.Write(0x1010, 1, 0x55)
		if _, err := s.Run(parse(t, text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if s.Regs[1] != want {
			t.Errorf("%s: got %#x, want %#x", text, s.Regs[1], want)
		}
	}
}

func TestStateRunTaken(t *testing.T) {
	for text, want := range map[string]bool{
		"r1 = 5\nif r1 s> -1 goto L1": true,
		"r1 = 5\nif r1 > -1 goto L1":  false,
		"r1 = 5":                      false,
	} {
		taken, err := new(State).Run(parse(t, text))
		if err != nil || taken != want {
			t.Errorf("%s: got %v, %v", text, taken, err)
		}
	}
}

func TestStateRunRefuses(t *testing.T) {
	for _, text := range []string{"goto L1", "call 1", "exit", "if r1 > 5 goto L1\nr1 = 5", "r0 = *(u8 *)skb[0]", "may_goto L1"} {
		if _, err := new(State).Run(parse(t, text)); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}

func TestStateCloneSharesNothing(t *testing.T) {
	s := &State{Symbols: map[bpf.Ref]uint64{1: 1}}
	s.Write(100, 8, math.MaxUint64)
	c := s.Clone()
	c.Write(100, 1, 0)
	c.Symbols[1] = 2
	c.Regs[1] = 3
	if s.Read(100, 8) != math.MaxUint64 || s.Symbols[1] != 1 || s.Regs[1] != 0 {
		t.Errorf("the original has changed: %+v", s)
	}
}

func TestStateFill(t *testing.T) {
	s := &State{Fill: func(addr uint64) byte { return byte(addr) }}
	s.Write(0x12, 1, 0xff)
	if got := s.Read(0x10, 4); got != 0x13ff1110 {
		t.Errorf("little-endian: got %#x", got)
	}
	s.Big = true
	if got := s.Read(0x10, 4); got != 0x1011ff13 {
		t.Errorf("big-endian: got %#x", got)
	}
}

// vagueState leaves open what kernels leave open.
type vagueState struct{ *State }

func (vagueState) Unspecified(bpf.Instruction, int) Word { return Word{0x1234, 32} }

// The upper half of R0 is open after a 32-bit compare-and-exchange, and only
// after that.
func TestVague(t *testing.T) {
	for text, want := range map[string]uint64{
		"w0 = cmpxchg32_32(r1 + 0, w0, w2)": 0x1234_00000007,
		"r0 = cmpxchg_64(r1 + 0, r0, r2)":   0xff_00000007,
		"r2 = xchg_64(r1 + 0, r2)":          0xffff_ffff_ffff_ffff,
	} {
		s := &State{}
		s.Write(0, 8, 0xff_00000007)
		s.Regs[0] = math.MaxUint64
		if err := Step[Word](vagueState{s}, parse(t, text)[0]); err != nil {
			t.Fatal(err)
		}
		if s.Regs[0] != want {
			t.Errorf("%s: got %#x, want %#x", text, s.Regs[0], want)
		}
	}
}

// Division by zero and overflow in the domain itself follow SMT-LIB.
func TestWordsDivision(t *testing.T) {
	var d Words
	w := func(v uint64) Word { return d.Const(v, 8) }
	for _, test := range []struct {
		name      string
		got, want Word
	}{
		{"5 / 0", d.UDiv(w(5), w(0)), w(0xff)},
		{"5 % 0", d.URem(w(5), w(0)), w(5)},
		{"5 s/ 0", d.SDiv(w(5), w(0)), w(0xff)},
		{"-5 s/ 0", d.SDiv(w(0xfb), w(0)), w(1)},
		{"-5 s% 0", d.SRem(w(0xfb), w(0)), w(0xfb)},
		{"-128 s/ -1", d.SDiv(w(0x80), w(0xff)), w(0x80)},
		{"-128 s% -1", d.SRem(w(0x80), w(0xff)), w(0)},
		{"-7 s/ 2", d.SDiv(w(0xf9), w(2)), w(0xfd)},
		{"-7 s% 2", d.SRem(w(0xf9), w(2)), w(0xff)},
	} {
		if test.got != test.want {
			t.Errorf("%s: got %+v, want %+v", test.name, test.got, test.want)
		}
	}
}

// Casts cut pointers into an arena to 32 bits, or give them user space's upper
// half unless they are null.
func TestCasts(t *testing.T) {
	for text, want := range map[string]uint64{
		"r1 = 0x1234567890 ll\nr2 = addr_space_cast(r1, 0, 1)": 0x34567890,
		"r1 = 0x1234567890 ll\nr2 = addr_space_cast(r1, 1, 0)": 0x7f00_34567890,
		"r1 = 0x1200000000 ll\nr2 = addr_space_cast(r1, 1, 0)": 0,
	} {
		s := &State{Arena: 0x7f00_0000_1000}
		if _, err := s.Run(parse(t, text)); err != nil || s.Regs[2] != want {
			t.Errorf("%s: got %#x, %v", text, s.Regs[2], err)
		}
	}
}

// What the verifier refuses for its immediate alone means what RFC 9669 says.
func TestRefusedImmediates(t *testing.T) {
	for _, test := range []struct {
		in   bpf.Instruction
		want uint64
	}{
		{bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpDiv, Dst: 1}, 0},
		{bpf.Instruction{Op: bpf.ClassALU | bpf.OpMod, Dst: 1}, 0x11},
		{bpf.Instruction{Op: bpf.ClassALU | bpf.OpLsh, Dst: 1, Imm: 60}, 0x10000000},
		{bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpRsh, Dst: 1, Imm: -60}, 1},
	} {
		s := &State{Regs: [bpf.NumRegisters]uint64{1: 0x11}}
		if err := Step[Word](s, test.in); err != nil || s.Regs[1] != test.want {
			t.Errorf("%v: got %#x, %v", test.in, s.Regs[1], err)
		}
	}
}
