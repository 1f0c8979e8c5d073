package flow

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/semantics"
)

// rereadTests say of which loads, by block and index, registers have the values.
var rereadTests = []struct {
	name, context, code, want string
}{
	{"twice", "other", "r2 = *(u32 *)(r1 + 8)\nr3 = *(u32 *)(r1 + 8)\nexit", "0.1 r2"},
	{"in another register's terms", "other", "r4 = r1\nr4 += 4\nr2 = *(u32 *)(r1 + 8)\nr3 = *(u32 *)(r4 + 4)\nexit", "0.3 r2"},
	{"copies have it as well", "other", "r2 = *(u32 *)(r1 + 8)\nr4 = r2\nr3 = *(u32 *)(r1 + 8)\nexit", "0.2 r2 r4"},
	{"the address is lost", "", "r1 = *(u64 *)(r1 + 8)\nr1 = *(u64 *)(r1 + 8)\nexit", ""},
	{"in the address's register", "", "r2 = r1\nr1 = *(u64 *)(r1 + 8)\nr1 = *(u64 *)(r2 + 8)\nexit", "0.2 r1"},
	{"overwritten", "", "r2 = *(u32 *)(r1 + 8)\nr2 *= 3\nr3 = *(u32 *)(r1 + 8)\nexit", "0.2 from 0.0"},
	{"another width", "", "r2 = *(u32 *)(r1 + 8)\nr3 = *(u16 *)(r1 + 8)\nexit", ""},
	{"another extension", "", "r2 = *(u32 *)(r1 + 8)\nr3 = *(s32 *)(r1 + 8)\nexit", ""},
	{"another offset", "", "r2 = *(u32 *)(r1 + 8)\nr3 = *(u32 *)(r1 + 12)\nexit", ""},
	{"another base", "", "r3 = *(u32 *)(r1 + 8)\nr3 = *(u32 *)(r2 + 8)\nexit", ""},
	{"an offset that a loader patches", "", "r2 = *(u32 *)(r1 + @4)\nr3 = *(u32 *)(r1 + @4)\nexit", "0.1 r2"},
	{"one and none that a loader patches", "", "r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + @4)\nexit", ""},
	{"a read of other memory between", "", "r3 = *(u32 *)(r1 + 8)\nr4 = *(u32 *)(r2 + 8)\nr5 = *(u32 *)(r1 + 8)\nexit", ""},
	{"a read of the frame between", "", "r3 = *(u32 *)(r1 + 8)\nr4 = *(u32 *)(r10 - 8)\nr5 = *(u32 *)(r1 + 8)\nexit", "0.2 r3"},
	{"a store between", "", "r3 = *(u32 *)(r1 + 8)\n*(u8 *)(r2 + 0) = 1\nr5 = *(u32 *)(r1 + 8)\nexit", ""},
	{"a store to the frame between", "", "r3 = *(u32 *)(r1 + 8)\n*(u8 *)(r10 - 1) = 1\nr5 = *(u32 *)(r1 + 8)\nexit", "0.2 r3"},
	{"a store to a frame that others know", "", "r6 = r1\nr7 = r10\nr7 += -8\n*(u64 *)(r2 + 0) = r7\nr3 = *(u32 *)(r6 + 8)\n*(u8 *)(r10 - 1) = 1\nr5 = *(u32 *)(r6 + 8)\nexit", ""},
	{"a call between", "", "r6 = r1\nr7 = *(u32 *)(r6 + 8)\ncall 7\nr5 = *(u32 *)(r6 + 8)\nexit", ""},
	{"an atomic between", "", "r3 = *(u32 *)(r1 + 8)\nlock *(u64 *)(r10 - 8) += r3\nr5 = *(u32 *)(r1 + 8)\nexit", ""},
	{"contexts are nobody else's", "other", "r2 = *(u64 *)(r1 + 0)\nr3 = *(u64 *)(r2 + 0)\nr4 = *(u64 *)(r1 + 0)\nexit", "0.2 r2"},
	{"a context behind a call", "other", "r6 = r1\nr7 = *(u64 *)(r6 + 0)\ncall 7\nr4 = *(u64 *)(r6 + 0)\nexit", ""},
	{"a context that is written", "skb", "r2 = *(u32 *)(r1 + 8)\n*(u32 *)(r1 + 8) = r2\nr4 = *(u32 *)(r1 + 8)\nexit", ""},
	{"a context and a pointer to who knows what", "other", "r2 = *(u64 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 8)\n*(u32 *)(r2 + 8) = 0\nr4 = *(u32 *)(r1 + 8)\nexit", ""},
	{"a packet behind a move of packets", "xdp", "r6 = r1\nr7 = *(u32 *)(r6 + 0)\nr8 = *(u32 *)(r7 + 0)\nr1 = r6\nr2 = 0\ncall 44\nr1 = *(u32 *)(r6 + 0)\nexit", ""},
	{"data behind a call", "", "r6 = @11 ll\nr7 = *(u32 *)(r6 + 0)\ncall 7\nr5 = *(u32 *)(r6 + 0)\nexit", ""},
	{"frozen data behind a call", "", "r6 = @13 ll\nr7 = *(u32 *)(r6 + 4)\ncall 7\nr6 = @14 ll\nr5 = *(u32 *)(r6 + 0)\nexit", "0.4 r7"},
	{"frozen data and reads of other memory", "", "r6 = @13 ll\nr7 = *(u32 *)(r6 + 4)\nr1 = *(u32 *)(r1 + 0)\nr5 = *(u32 *)(r6 + 4)\nexit", "0.3 r7"},
	{"frozen data that is written", "", "r6 = @13 ll\nr7 = *(u32 *)(r6 + 4)\n*(u32 *)(r6 + 8) = 0\nr5 = *(u32 *)(r6 + 4)\nexit", ""},
	{"what was written, perhaps a pointer", "", "r1 = @11 ll\n*(u64 *)(r1 + 0) = r2\nr3 = *(u64 *)(r1 + 0)\nexit", ""},
	{"a number that was written", "", "r1 = @11 ll\nw2 = w2\n*(u32 *)(r1 + 0) = r2\nr3 = *(u32 *)(r1 + 0)\nexit", "0.3 r2"},
	{"of which more was in the register", "", "r1 = @11 ll\nr2 = *(u64 *)(r10 - 8)\n*(u32 *)(r1 + 0) = r2\nr3 = *(u32 *)(r1 + 0)\nexit", ""},
	{"in blocks behind", "", "r2 = *(u32 *)(r1 + 8)\nif r2 == 5 goto L2\nr3 = *(u32 *)(r1 + 8)\nL2:\nr4 = *(u32 *)(r1 + 8)\nexit", "1.0 r2"},
	{"a value that became known", "", "r2 = *(u32 *)(r1 + 8)\nif r2 != 5 goto L2\nr3 = *(u32 *)(r1 + 8)\nL2:\nexit", "1.0 r2"},
	{"on both ways", "", "if r2 == 5 goto L2\nr3 = *(u32 *)(r1 + 8)\ngoto L3\nL2:\nr3 = *(u32 *)(r1 + 8)\nL3:\nr4 = *(u32 *)(r1 + 8)\nexit", "3.0 r3"},
	{"on both ways in different registers", "", "if r2 == 5 goto L2\nr3 = *(u32 *)(r1 + 8)\ngoto L3\nL2:\nr5 = *(u32 *)(r1 + 8)\nL3:\nr4 = *(u32 *)(r1 + 8)\nexit", ""},
	{"on one way only", "", "r3 = 0\nif r2 == 5 goto L2\nr3 = *(u32 *)(r1 + 8)\nL2:\nr4 = *(u32 *)(r1 + 8)\nexit", ""},
	{"of different places", "", "if r2 == 5 goto L2\nr3 = *(u32 *)(r1 + 8)\ngoto L3\nL2:\nr3 = *(u32 *)(r1 + 12)\nL3:\nr4 = *(u32 *)(r1 + 8)\nexit", ""},
	{"in different widths", "", "if r2 == 5 goto L2\nr3 = *(u32 *)(r1 + 8)\ngoto L3\nL2:\nr3 = *(u16 *)(r1 + 8)\nL3:\nr4 = *(u32 *)(r1 + 8)\nexit", ""},
	{"until it changes", "", "r3 = *(u32 *)(r1 + 8)\nL2:\nr3 = *(u32 *)(r1 + 8)\nif r3 != 0 goto L2\nexit", ""},
	{"with both in step", "", "r6 = r1\nif r2 == 5 goto L2\nr6 += 4\nL2:\nr3 = *(u32 *)(r6 + 8)\nif r3 == 0 goto L3\nr4 = *(u32 *)(r6 + 8)\nL3:\nexit", "3.0 r3"},
	{"in step behind both", "", "r6 = r1\nr6 += 4\nr3 = *(u32 *)(r6 + 8)\nif r2 == 5 goto L2\nr6 += 4\nr3 = *(u32 *)(r6 + 8)\nL2:\nr4 = *(u32 *)(r6 + 8)\nexit", "2.0 r3"},
	{"a value of which it became known how far it is", "", "r2 = *(u32 *)(r1 + 8)\nr3 = r2\nr3 += 1\nif r3 != 5 goto L2\nr4 = *(u32 *)(r1 + 8)\nL2:\nexit", "1.0 r2"},
	{"round a loop", "", "r3 = *(u32 *)(r1 + 8)\nL2:\nr4 = *(u32 *)(r1 + 8)\nif r4 != 0 goto L2\nexit", ""},
	{"frozen data round a loop", "", "r1 = @13 ll\nr3 = *(u32 *)(r1 + 8)\nL2:\nr4 = *(u32 *)(r1 + 8)\nr2 += 1\nif r2 != 5 goto L2\nexit", "1.0 r3"},
	{"round a loop in a register that changes", "", "r1 = @13 ll\nr3 = *(u32 *)(r1 + 8)\nL2:\nr4 = *(u32 *)(r1 + 8)\nr3 += 1\nif r3 != 5 goto L2\nexit", "1.0 from 0.1"},
	{"round a loop through an address that changes", "", "r1 = @13 ll\nr3 = *(u32 *)(r1 + 8)\nL2:\nr4 = *(u32 *)(r1 + 8)\nr1 += 4\nif r4 != 5 goto L2\nexit", ""},
}

func TestRereads(t *testing.T) {
	for _, test := range rereadTests {
		t.Run(test.name, func(t *testing.T) {
			fn := parse(test.code)
			fn.Symbols, fn.Context = testSymbols(), contexts[test.context]
			facts, err := Analyze(context.Background(), fn, Options{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for b := range fn.Blocks {
				for _, r := range facts.Rereads(b) {
					text := fmt.Sprintf("%d.%d", b, r.Index)
					for reg := range bpf.R10 {
						if r.Regs.Has(reg) {
							text += fmt.Sprintf(" r%d", reg)
						}
					}
					if r.Regs == 0 && r.Block >= 0 {
						text += fmt.Sprintf(" from %d.%d", r.Block, r.At)
					}
					got = append(got, text)
				}
			}
			if s := strings.Join(got, "; "); s != test.want {
				t.Errorf("got %q, want %q", s, test.want)
			}
		})
	}
}

// witness follows what a run reads and writes, while others write to all memory
// but the frame between any two instructions.
type witness struct {
	*run
	last map[witnessed]uint64 // what was last read or written where nothing was seen since
}

type witnessed struct {
	addr uint64
	op   bpf.Op
}

func (w *witness) place(in bpf.Instruction) witnessed {
	base := in.Src
	if in.IsStore() {
		base = in.Dst
		in.Op = in.Op&^(bpf.ClassST|bpf.ClassSTX) | bpf.ClassLDX
	}
	return witnessed{w.Address(in, base), in.Op}
}

// step executes an instruction for the run, and notes what it tells.
func (w *witness) step(before [bpf.NumRegisters]uint64, in bpf.Instruction) {
	now := w.Regs
	w.Regs = before
	at := w.place(in)
	w.Regs = now
	outside := func(p witnessed) bool {
		return !w.inFrame(p.addr, 1) && (p.addr < testContext || p.addr > testContext+8)
	}
	switch {
	case in.IsCall(), in.IsAtomic():
		clear(w.last)
	case in.IsLoad() && outside(at), in.IsStore():
		for p := range w.last {
			touched := p.addr < at.addr+8 && at.addr < p.addr+8
			if outside(p) && outside(at) || in.IsStore() && touched {
				delete(w.last, p)
			}
		}
	}
	switch {
	case in.IsLoad():
		w.last[at] = w.Regs[in.Dst]
	case in.IsStore() && in.Op.Class() == bpf.ClassST:
		w.last[at] = uint64(in.Imm) & ones(8*in.Size())
	case in.IsStore():
		w.last[at] = before[in.Src] & ones(8*in.Size())
	}
}

// check holds what is claimed of a load against what was seen.
func (w *witness) check(in bpf.Instruction, regs bpf.Registers) error {
	was, ok := w.last[w.place(in)]
	if !ok {
		return fmt.Errorf("%v: others may have seen something since the place was accessed", in)
	}
	for r := range bpf.R10 {
		if regs.Has(r) && w.Regs[r] != was {
			return fmt.Errorf("%v: r%d is %#x, and %#x was read", in, r, w.Regs[r], was)
		}
	}
	return nil
}

// randomAccesses makes a function access few places, and these often.
func randomAccesses(rng *rand.Rand, fn *bpf.Function) {
	for b, block := range fn.Blocks {
		for i, in := range block.Code {
			if b == 0 && i < 5 || in.EndsBlock() || rng.IntN(5) == 0 {
				continue
			}
			size := pick(rng, bpf.SizeW, bpf.SizeW, bpf.SizeW, bpf.SizeDW, bpf.SizeB)
			base, off := pick(rng, bpf.R6, bpf.R6, bpf.R7, bpf.R2), int16(rng.IntN(2)*4)
			value := pick(rng, bpf.R0, bpf.R2, bpf.R3, bpf.R7)
			switch rng.IntN(16) {
			case 4:
				in = bpf.Instruction{Op: bpf.ClassJMP | bpf.OpCall, Imm: 1<<30 + int64(rng.IntN(3))}
			case 5:
				in = bpf.Instruction{Op: bpf.ClassSTX | bpf.ModeMem | bpf.SizeDW, Dst: bpf.R6, Src: bpf.R10, Off: off}
			case 0:
				in = bpf.Instruction{Op: bpf.ClassSTX | bpf.ModeMem | size, Dst: base, Src: value, Off: off}
			case 1:
				in = bpf.Instruction{Op: bpf.ClassST | bpf.ModeMem | size, Dst: bpf.R10, Imm: 3, Off: -8 + off}
			case 2:
				in = bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpMov | bpf.SourceX, Dst: pick(rng, bpf.R2, bpf.R3, bpf.R7), Src: pick(rng, bpf.R0, bpf.R6)}
			case 3:
				in = bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpAdd, Dst: pick(rng, bpf.R2, bpf.R6, bpf.R7), Imm: pick[int64](rng, 4, -4)}
			default:
				in = bpf.Instruction{Op: bpf.ClassLDX | pick(rng, bpf.ModeMem, bpf.ModeMem, bpf.ModeMem, bpf.ModeMemSX) | size, Dst: value, Src: base, Off: off}
			}
			if in.Valid() == nil {
				block.Code[i] = in
			}
		}
	}
}

// testRereads runs the random program of the seed several times. It tells how
// many claims it has looked at.
func testRereads(t testing.TB, seed uint64) int {
	rng := rand.New(rand.NewPCG(seed, 3))
	fn := randomFunction(rng, seed%3 != 0)
	randomAccesses(rng, fn)
	facts, err := Analyze(context.Background(), fn, Options{haste: []int{0, 0, 3, 7, 9, 13}[seed%6]})
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	states, claims := make([][]State, len(fn.Blocks)), make([]map[int]bpf.Registers, len(fn.Blocks))
	for b := range fn.Blocks {
		states[b], claims[b] = facts.Block(b), map[int]bpf.Registers{}
		for _, r := range facts.Rereads(b) {
			claims[b][r.Index] = r.Regs
		}
	}
	count := 0
	for n := range uint64(6) {
		w := &witness{run: newRun(seed*6+n, fn, false), last: map[witnessed]uint64{}}
		var before [bpf.NumRegisters]uint64
		var done bpf.Instruction
		_, err := w.execute(fn, facts.Graph(), 120, func(block, i int) error {
			if done.Op != 0 {
				w.step(before, done)
			}
			w.othersWrite()
			in := fn.Blocks[block].Code[i]
			done, before = in, w.Regs
			if !facts.Reachable(block) || !readable(&states[block][i], in) {
				return errRefused
			}
			if regs, ok := claims[block][i]; ok {
				count++
				return w.check(in, regs)
			}
			return nil
		})
		if err != nil && !errors.Is(err, errRefused) {
			t.Fatalf("seed %d, run %d: %v\n%s", seed, n, err, bpf.FormatBlocks(fn.Blocks))
		}
	}
	return count
}

// othersWrite changes all memory but the frame.
func (w *witness) othersWrite() {
	for addr := range w.Memory {
		if !w.inFrame(addr, 1) {
			w.Memory[addr] = byte(w.rng.Uint32())
		}
	}
}

var _ semantics.Machine[semantics.Word] = (*run)(nil)

func TestRereadsInRandomPrograms(t *testing.T) {
	t.Parallel()
	count := 0
	for seed := range uint64(8000) {
		count += testRereads(t, seed)
	}
	t.Logf("%d loads", count)
	if count < 4_000 {
		t.Errorf("looked at %d loads only", count)
	}
}

func FuzzRereads(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { testRereads(t, seed) })
}
