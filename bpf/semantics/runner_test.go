package semantics

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/k2cc/k2cc/bpf"
)

// windows in which random code has its memory: its stack and two others.
var windowBases = []uint64{frame + scratchLow - 24, 0x10000, 0xffff_ffff_ffff_f000}

func randomFlat(rng *rand.Rand) *Flat {
	f := &Flat{}
	for i := range f.Regs {
		f.Regs[i] = randomWord(rng)
	}
	f.Regs[bpf.R10] = frame
	for i, base := range windowBases {
		w := Window{Addr: base, Data: make([]byte, 88+16*i)}
		for j := range w.Data {
			w.Data[j] = byte(rng.Uint32())
		}
		f.Windows = append(f.Windows, w)
		f.Regs[i+7] = base + uint64(rng.IntN(32))
	}
	for range 3 {
		f.Symbols = append(f.Symbols, randomWord(rng))
	}
	return f
}

// stateOf is the same state for the description's reading.
func stateOf(f *Flat, big bool) *State {
	s := &State{Regs: f.Regs, Big: big, Symbols: map[bpf.Ref]uint64{}}
	for i, v := range f.Symbols {
		s.Symbols[bpf.Ref(i+1)] = v
	}
	windows := f.Windows
	for _, w := range windows {
		s.WriteBytes(w.Addr, w.Data)
	}
	s.Check = func(addr uint64, size int, _ bool) error {
		for _, w := range windows {
			if off := addr - w.Addr; off < uint64(len(w.Data)) && off+uint64(size) <= uint64(len(w.Data)) {
				return nil
			}
		}
		return ErrFault
	}
	return s
}

// randomCode is straight-line code with symbols and memory accesses through
// registers that may lead anywhere.
func randomCode(rng *rand.Rand) []bpf.Instruction {
	var code []bpf.Instruction
	for range 1 + rng.IntN(10) {
		in := randomInstruction(rng)
		moved := in
		switch {
		case (in.IsStore() || in.IsAtomic() && in.Imm != bpf.AtomicLoadAcq) && rng.IntN(2) == 0:
			moved.Dst, moved.Off = bpf.Register(rng.IntN(11)), int16(rng.IntN(64))
		case (in.IsLoad() || in.IsAtomic()) && rng.IntN(2) == 0:
			moved.Src, moved.Off = bpf.Register(rng.IntN(11)), int16(rng.IntN(64))
		}
		if rng.IntN(4) == 0 {
			moved.Ref = bpf.Ref(1 + rng.IntN(5))
		}
		if moved.Valid() == nil {
			in = moved
		}
		code = append(code, in)
	}
	if rng.IntN(2) == 0 {
		code = append(code, randomJump(rng, 1))
	}
	return code
}

// compareRunner runs code both ways and tells what differs.
func compareRunner(t *testing.T, code []bpf.Instruction, in *Flat, big bool) (fault bool) {
	t.Helper()
	r, err := NewRunner(code, big)
	if err != nil {
		t.Fatalf("%v\n%s", err, bpf.Format(code))
	}
	want := stateOf(in, big)
	taken, wantErr := want.Run(code)
	var got Flat
	got.CopyFrom(in)
	got.Taken = true // which Run has to overwrite
	gotErr := r.Run(&got)
	if !errors.Is(wantErr, gotErr) || (wantErr == nil) != (gotErr == nil) {
		t.Fatalf("got error %v, want %v\n%s", gotErr, wantErr, bpf.Format(code))
	}
	if got.Regs != want.Regs || got.Taken != taken {
		t.Fatalf("got %x %v, want %x %v\nfrom %x\n%s", got.Regs, got.Taken, want.Regs, taken, in.Regs, bpf.Format(code))
	}
	for _, w := range got.Windows {
		b := make([]byte, len(w.Data))
		want.ReadBytes(w.Addr, b)
		if !bytes.Equal(b, w.Data) {
			t.Fatalf("at %#x: got %x, want %x\n%s", w.Addr, w.Data, b, bpf.Format(code))
		}
	}
	return gotErr != nil
}

func FuzzRunner(f *testing.F) {
	for seed := range uint64(2000) {
		f.Add(seed, seed%2 == 0)
	}
	f.Fuzz(func(t *testing.T, seed uint64, big bool) {
		rng := rand.New(rand.NewPCG(seed, 1))
		code := randomCode(rng)
		for range 4 {
			compareRunner(t, code, randomFlat(rng), big)
		}
	})
}

// TestRunnerOpcodes runs each opcode on corner operands both ways.
func TestRunnerOpcodes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	seen, faults := map[bpf.Op]bool{}, 0
	for range 20_000 {
		in := randomInstruction(rng)
		if rng.IntN(3) == 0 {
			in = randomJump(rng, 1)
		}
		seen[in.Op] = true
		if compareRunner(t, []bpf.Instruction{in}, randomFlat(rng), rng.IntN(2) == 0) {
			faults++
		}
	}
	if len(seen) < 100 {
		t.Errorf("only %d opcodes tried", len(seen))
	}
	if faults > 0 {
		t.Errorf("%d accesses of the scratch stack fault", faults)
	}
}

func TestRunnerRefuses(t *testing.T) {
	for _, src := range []string{"call 1", "exit", "goto L1", "if r1 > 5 goto L1\nr1 = 5", ".insn 0xff 0 0 0 0 0 0"} {
		if _, err := NewRunner(parse(t, src), false); err == nil {
			t.Errorf("%s: no error", src)
		}
	}
}

func TestRunnerDoesNotAllocate(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	in := randomFlat(rng)
	code := parse(t, "r1 = @1 ll\nr1 += @2\n*(u32 *)(r10 - 80) = 7\nr2 = *(u16 *)(r10 - 80)\nr3 /= r1\nif r1 > r2 goto L1")
	r, err := NewRunner(code, false)
	if err != nil {
		t.Fatal(err)
	}
	var f Flat
	f.CopyFrom(in)
	if n := testing.AllocsPerRun(100, func() {
		f.CopyFrom(in)
		if err := r.Reset(code, false); err != nil {
			t.Fatal(err)
		}
		if err := r.Run(&f); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations a run", n)
	}
}

// benchmarks are windows: one as they mostly are, and a long one that has
// something of all that instructions do.
var benchmarks = map[string]string{
	"short": `
		r1 = *(u8 *)(r10 - 80)
		r2 = *(u8 *)(r10 - 79)
		r2 <<= 8
		r2 |= r1
		w2 &= 4095
		r3 += r2
		*(u16 *)(r10 - 64) = r3
		if r3 > 1500 goto L1
	`,
	"long": `
		r1 = *(u32 *)(r10 - 80)
		r2 = *(u16 *)(r10 - 76)
		r2 = be16 r2
		r3 = r2
		r3 += r1
		w3 >>= 3
		r4 = *(s8 *)(r10 - 70)
		r3 += r4
		w4 = w3
		w4 *= 37
		r5 = 0x9e3779b97f4a7c15 ll
		r5 ^= r4
		r5 s>>= 7
		r6 = r5
		r6 %= 1021
		*(u32 *)(r10 - 64) = r6
		*(u8 *)(r10 - 60) = 6
		r0 = *(u64 *)(r10 - 56)
		r0 += 1
		*(u64 *)(r10 - 56) = r0
		lock *(u64 *)(r10 - 48) += r0
		w6 -= w0
		r6 = (s32)r6
		if w6 s< 64 goto L1
	`,
}

// BenchmarkRunner decodes and runs windows.
func BenchmarkRunner(b *testing.B) {
	for name, src := range benchmarks {
		b.Run(name, func(b *testing.B) { benchmarkRunner(b, parse(b, src)) })
	}
}

func benchmarkRunner(b *testing.B, code []bpf.Instruction) {
	in := randomFlat(rand.New(rand.NewPCG(1, 3)))
	r, err := NewRunner(code, false)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Reset", func(b *testing.B) {
		for b.Loop() {
			if err := r.Reset(code, false); err != nil {
				b.Fatal(err)
			}
		}
		report(b, len(code))
	})
	var f Flat
	f.CopyFrom(in)
	b.Run("CopyFrom", func(b *testing.B) {
		for b.Loop() {
			f.CopyFrom(in)
		}
	})
	b.Run("Run", func(b *testing.B) {
		for b.Loop() {
			if err := r.Run(&f); err != nil {
				b.Fatal(err)
			}
		}
		report(b, len(code))
	})
}

func report(b *testing.B, insns int) {
	b.ReportMetric(float64(b.N)*float64(insns)/b.Elapsed().Seconds()/1e6, "Minsns/s")
}
