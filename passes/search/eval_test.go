package search

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
)

// where memory is while the evaluator is compared with the description.
const (
	memoryAddr = 0x4000_0000
	memorySize = 64
)

// TestEvaluator compares the evaluator with the description of instructions on
// random ones.
func TestEvaluator(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		data := make([]byte, 10+11*8)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		compare(t, data)
	}
}

func FuzzEvaluator(f *testing.F) {
	f.Add([]byte("\\x0f\\x12\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00"))
	f.Fuzz(func(t *testing.T, data []byte) { compare(t, data) })
}

// compare runs the instruction in data's first bytes from the registers in the
// others.
func compare(t *testing.T, data []byte) {
	if len(data) < 10 {
		return
	}
	raw, err := bpf.Decode(data[:8], binary.LittleEndian)
	if err != nil || data[0] == byte(bpf.LoadImm64) {
		return
	}
	in := raw[0].Instruction
	tidy(&in, data[8])
	if semantics.Valid(in) != nil || in.IsCall() || in.IsExit() || in.IsPacketLoad() || in.IsJump() && !in.IsCondJump() {
		return
	}
	if in.IsAtomic() && in.Imm == bpf.AtomicCmpXchg && in.Dst == bpf.R0 {
		return // compares a pointer with itself: no program does
	}
	ref := &semantics.State{Big: data[9]&1 != 0, Fill: func(addr uint64) byte { return byte(mix(addr - memoryAddr)) }}
	l := &lane{env: env{big: ref.Big}, bytes: memorySize}
	l.segs = []segment{{addr: memoryAddr, n: memorySize}}
	l.readable.add(0, memorySize)
	l.writable.add(0, memorySize)
	for i := range memorySize {
		l.start.mem[i] = byte(mix(uint64(i)))
	}
	var words [8 * bpf.NumRegisters]byte
	copy(words[:], data[10:])
	for r := range ref.Regs {
		ref.Regs[r] = binary.LittleEndian.Uint64(words[8*r:])
		if data[9]>>1&7 == byte(r%8) { // one register in eight leads to memory
			ref.Regs[r] = memoryAddr + ref.Regs[r]%memorySize
		}
	}
	ref.Check = func(addr uint64, size int, _ bool) error {
		if addr-memoryAddr > uint64(memorySize-size) {
			return errors.New("outside")
		}
		return nil
	}
	s := l.start
	s.regs = ref.Regs
	run(t, in, l, &s, ref)
}

func run(t *testing.T, in bpf.Instruction, l *lane, s *state, ref *semantics.State) {
	if in.IsCondJump() {
		want, err := ref.Taken(in)
		if got := l.jumps(s, &in); err != nil || got != want {
			t.Fatalf("%v from %x: taken %v, want %v (%v)", in, ref.Regs, got, want, err)
		}
		return
	}
	before := ref.Regs
	_, err := ref.Run([]bpf.Instruction{in})
	if ok := l.exec(s, &in); ok != (err == nil) {
		t.Fatalf("%v from %x: ok %v, want %v", in, before, ok, err)
	}
	if err != nil {
		return
	}
	if s.regs != ref.Regs {
		t.Fatalf("%v from %x: got %x, want %x", in, before, s.regs, ref.Regs)
	}
	for i := range memorySize {
		if want := ref.Byte(memoryAddr + uint64(i)); s.mem[i] != want {
			t.Fatalf("%v from %x: byte %d is %#x, want %#x", in, before, i, s.mem[i], want)
		}
	}
}

// tidy makes more of the random instructions valid.
func tidy(in *bpf.Instruction, how byte) {
	in.Dst, in.Src = in.Dst%11, in.Src%11
	switch {
	case in.IsALU() && in.Op.ALU() == bpf.OpEnd:
		in.Imm, in.Src, in.Off = 16<<(how%3), 0, 0
	case in.IsALU():
		in.Off = [...]int16{0, 0, 1, 8, 16, 32}[how%6]
		if in.Op.ALU() != bpf.OpMov && in.Op.ALU() != bpf.OpDiv && in.Op.ALU() != bpf.OpMod {
			in.Off = 0
		}
		if isShift(in) {
			in.Imm &= 31
		}
		in.Imm, in.Src = either(in)
	case in.IsCondJump():
		in.Imm, in.Src = either(in)
	case in.IsAtomic():
		in.Imm = [...]int64{bpf.AtomicAdd, bpf.AtomicOr, bpf.AtomicAnd, bpf.AtomicXor, bpf.AtomicAdd | 1, bpf.AtomicXor | 1,
			bpf.AtomicXchg, bpf.AtomicCmpXchg, bpf.AtomicLoadAcq, bpf.AtomicStRel}[how%10]
		in.Off %= 8
	case in.IsLoad(), in.IsStore():
		in.Off %= 8
		if in.Op.Class() != bpf.ClassST {
			in.Imm = 0
		} else {
			in.Src = 0
		}
	}
}

// either leaves an instruction one of its second operands.
func either(in *bpf.Instruction) (int64, bpf.Register) {
	if in.Op&bpf.SourceX != 0 || in.IsALU() && in.Op.ALU() == bpf.OpNeg {
		if in.IsALU() && in.Op.ALU() == bpf.OpNeg {
			in.Src = 0
		}
		return 0, in.Src
	}
	return in.Imm, 0
}

// TestLanesKeepToFacts wants every state to be one that the facts allow.
func TestLanesKeepToFacts(t *testing.T) {
	narrow := below(0xff0)
	narrow.UMin, narrow.SMin = 0x20, 0x20
	signed := unknown()
	signed.SMin, signed.SMax = -5, 3
	w := window(t, bpf.V3, "r1 += r2\nr3 += r4\nr5 = *(u64 *)(r10 - 8)\n*(u8 *)(r7 + 1) = 1", facts{
		1: narrow, 2: signed, 3: held(9, 4), 4: flow.Const(77), 6: pointer(packet, 8, 14), 7: pointer(packet, 8, 20),
	}, needs{1: all64})
	w.Facts.Stack = []flow.Cell{{Off: -8, Size: 8, Value: held(9, -1)}}
	w.Facts.Written.Add(-8, 8)
	p, ok := newProblem(w, nil, 0)
	if !ok {
		t.Fatal("no problem")
	}
	if n := len(p.lanes) + len(p.extra); n < (numLanes+numExtra)*3/4 {
		t.Errorf("only %d states", n)
	}
	values := map[uint64]bool{}
	for _, l := range append(p.lanes, p.extra...) {
		checkLane(t, l)
		values[l.start.regs[1]] = true
	}
	if len(values) < 20 {
		t.Errorf("r1 has %d values only", len(values))
	}
}

func checkLane(t *testing.T, l *lane) {
	r := l.start.regs
	if r[1]&^0xff0 != 0 || r[1] < 0x20 {
		t.Errorf("r1 is %#x", r[1])
	}
	if n := int64(r[2]); n < -5 || n > 3 {
		t.Errorf("r2 is %d", n)
	}
	if r[4] != 77 {
		t.Errorf("r4 is %d", r[4])
	}
	if r[7]-r[6] != 6 {
		t.Errorf("r6 is %#x, r7 %#x", r[6], r[7])
	}
	at := l.find(r[10]-8, 8)
	if at < 0 || getBytes(l.start.mem[at:at+8], l.big) != r[3]-5 {
		t.Errorf("the stack does not hold r3 - 5")
	}
}

// TestLaneMemory wants candidates kept to the bytes that the window's code
// touches, in the way it does.
func TestLaneMemory(t *testing.T) {
	w := window(t, bpf.V2, "*(u32 *)(r10 - 8) = 1\nr1 = *(u16 *)(r10 - 8)\nr2 = *(u16 *)(r3 + 4)", facts{3: pointer(packet, 3, 0)}, needs{1: all64})
	p, ok := newProblem(w, nil, 0)
	if !ok {
		t.Fatal("no problem")
	}
	for _, tt := range []struct {
		code string
		want bool
	}{
		{"r2 = *(u16 *)(r3 + 4)", true},
		{"r2 = *(u8 *)(r3 + 5)", true},
		{"r2 = *(u32 *)(r3 + 4)", false},
		{"r2 = *(u8 *)(r3 + 3)", false},
		{"*(u8 *)(r3 + 4) = 0", false},
		{"*(u16 *)(r10 - 6) = 0", true},
		{"*(u16 *)(r10 - 10) = 0", false},
		{"r2 = *(u16 *)(r10 - 8)", false}, // nothing is there yet
		{"*(u16 *)(r10 - 8) = 0\nr2 = *(u16 *)(r10 - 8)", true},
		{"*(u16 *)(r10 - 8) = 0\nr2 = *(u32 *)(r10 - 8)", false},
	} {
		code, err := bpf.ParseCode(tt.code)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range p.lanes {
			s := l.start
			if got := l.run(&s, code); got != tt.want {
				t.Errorf("%s: %v", tt.code, got)
			}
		}
	}
}
