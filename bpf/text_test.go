package bpf

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestText(t *testing.T) {
	tests := []struct {
		text string
		in   Instruction
	}{
		{"r1 += 5", Instruction{Op: ClassALU64 | OpAdd, Dst: 1, Imm: 5}},
		{"r1 += r10", Instruction{Op: ClassALU64 | OpAdd | SourceX, Dst: 1, Src: 10}},
		{"w1 s>>= 3", Instruction{Op: ClassALU | OpArsh, Dst: 1, Imm: 3}},
		{"r1 = -r1", Instruction{Op: ClassALU64 | OpNeg, Dst: 1}},
		{"w1 = -w1", Instruction{Op: ClassALU | OpNeg, Dst: 1}},
		{"r2 = be16 r2", Instruction{Op: ClassALU | OpEnd | SourceX, Dst: 2, Imm: 16}},
		{"r2 = le64 r2", Instruction{Op: ClassALU | OpEnd, Dst: 2, Imm: 64}},
		{"r1 = bswap32 r1", Instruction{Op: ClassALU64 | OpEnd, Dst: 1, Imm: 32}},
		{"r1 = (s8)r2", Instruction{Op: ClassALU64 | OpMov | SourceX, Dst: 1, Src: 2, Off: 8}},
		{"r1 = (s32)r2", Instruction{Op: ClassALU64 | OpMov | SourceX, Dst: 1, Src: 2, Off: 32}},
		{"w1 = (s16)w2", Instruction{Op: ClassALU | OpMov | SourceX, Dst: 1, Src: 2, Off: 16}},
		{"r1 = addr_space_cast(r2, 0, 1)", Instruction{Op: ClassALU64 | OpMov | SourceX, Dst: 1, Src: 2, Off: OffCast, Imm: CastToKernel}},
		{"r1 = addr_space_cast(r2, 1, 0)", Instruction{Op: ClassALU64 | OpMov | SourceX, Dst: 1, Src: 2, Off: OffCast, Imm: CastToUser}},
		{"call kfunc 77 btf 2", Instruction{Op: ClassJMP | OpCall, Src: CallKfunc, Off: 2, Imm: 77}},
		{"r1 = r2", Instruction{Op: ClassALU64 | OpMov | SourceX, Dst: 1, Src: 2}},
		{"w1 = -5", Instruction{Op: ClassALU | OpMov, Dst: 1, Imm: -5}},
		{"r1 s/= r2", Instruction{Op: ClassALU64 | OpDiv | SourceX, Dst: 1, Src: 2, Off: 1}},
		{"w1 s%= 7", Instruction{Op: ClassALU | OpMod, Dst: 1, Imm: 7, Off: 1}},
		{"r1 %= 7", Instruction{Op: ClassALU64 | OpMod, Dst: 1, Imm: 7}},
		{"r3 = *(u16 *)(r10 - 4)", Instruction{Op: ClassLDX | ModeMem | SizeH, Dst: 3, Src: 10, Off: -4}},
		{"r3 = *(s8 *)(r1 + 0)", Instruction{Op: ClassLDX | ModeMemSX | SizeB, Dst: 3, Src: 1}},
		{"r3 = *(u32 *)(r1 + @2:24)", Instruction{Op: ClassLDX | ModeMem | SizeW, Dst: 3, Src: 1, Off: 24, Ref: 2}},
		{"*(u32 *)(r1 + 4) = 7", Instruction{Op: ClassST | ModeMem | SizeW, Dst: 1, Off: 4, Imm: 7}},
		{"*(u64 *)(r10 - 8) = r1", Instruction{Op: ClassSTX | ModeMem | SizeDW, Dst: 10, Src: 1, Off: -8}},
		{"lock *(u64 *)(r1 + 0) += r2", Instruction{Op: ClassSTX | ModeAtomic | SizeDW, Dst: 1, Src: 2}},
		{"lock *(u32 *)(r1 + 0) ^= w2", Instruction{Op: ClassSTX | ModeAtomic, Dst: 1, Src: 2, Imm: AtomicXor}},
		{"r2 = atomic_fetch_add((u64 *)(r1 + 0), r2)", Instruction{Op: ClassSTX | ModeAtomic | SizeDW, Dst: 1, Src: 2, Imm: AtomicAdd | AtomicFetch}},
		{"w2 = atomic_fetch_or((u32 *)(r1 - 4), w2)", Instruction{Op: ClassSTX | ModeAtomic, Dst: 1, Src: 2, Off: -4, Imm: AtomicOr | AtomicFetch}},
		{"r2 = xchg_64(r1 + 0, r2)", Instruction{Op: ClassSTX | ModeAtomic | SizeDW, Dst: 1, Src: 2, Imm: AtomicXchg}},
		{"w2 = xchg32_32(r1 + 8, w2)", Instruction{Op: ClassSTX | ModeAtomic, Dst: 1, Src: 2, Off: 8, Imm: AtomicXchg}},
		{"r0 = cmpxchg_64(r1 + 0, r0, r2)", Instruction{Op: ClassSTX | ModeAtomic | SizeDW, Dst: 1, Src: 2, Imm: AtomicCmpXchg}},
		{"w0 = cmpxchg32_32(r1 + 0, w0, w2)", Instruction{Op: ClassSTX | ModeAtomic, Dst: 1, Src: 2, Imm: AtomicCmpXchg}},
		{"r1 = load_acquire((u32 *)(r2 + 4))", Instruction{Op: ClassSTX | ModeAtomic, Dst: 1, Src: 2, Off: 4, Imm: AtomicLoadAcq}},
		{"store_release((u32 *)(r2 + 4), r1)", Instruction{Op: ClassSTX | ModeAtomic, Dst: 2, Src: 1, Off: 4, Imm: AtomicStRel}},
		{"r1 = 0x1234567890 ll", Instruction{Op: LoadImm64, Dst: 1, Imm: 0x1234567890}},
		{"r1 = 0xffffffffffffffff ll", Instruction{Op: LoadImm64, Dst: 1, Imm: -1}},
		{"r1 = @3 ll", Instruction{Op: LoadImm64, Dst: 1, Ref: 3}},
		{"r1 = @3:0x8 ll", Instruction{Op: LoadImm64, Dst: 1, Ref: 3, Imm: 8}},
		{"r1 = map_fd(0x5) ll", Instruction{Op: LoadImm64, Dst: 1, Src: PseudoMapFD, Imm: 5}},
		{"r1 = func(@3:0xffffffff) ll", Instruction{Op: LoadImm64, Dst: 1, Src: PseudoFunc, Ref: 3, Imm: 0xffffffff}},
		{"r1 = map_idx_value(0x100000000) ll", Instruction{Op: LoadImm64, Dst: 1, Src: PseudoMapIdxV, Imm: 1 << 32}},
		{"r1 += @3", Instruction{Op: ClassALU64 | OpAdd, Dst: 1, Ref: 3}},
		{"w1 = @3:-8", Instruction{Op: ClassALU | OpMov, Dst: 1, Ref: 3, Imm: -8}},
		{"call @2", Instruction{Op: ClassJMP | OpCall, Src: CallLocal, Ref: 2}},
		{"call @2:-1", Instruction{Op: ClassJMP | OpCall, Src: CallLocal, Ref: 2, Imm: -1}},
		{"call 1", Instruction{Op: ClassJMP | OpCall, Imm: 1}},
		{"call local 12", Instruction{Op: ClassJMP | OpCall, Src: CallLocal, Imm: 12}},
		{"call kfunc @1", Instruction{Op: ClassJMP | OpCall, Src: CallKfunc, Ref: 1}},
		{"callx r3", Instruction{Op: ClassJMP | OpCall | SourceX, Dst: 3}},
		{"exit", Instruction{Op: ClassJMP | OpExit}},
		{"goto L3", Instruction{Op: ClassJMP | OpJA, Target: 3}},
		{"goto -2", Instruction{Op: ClassJMP | OpJA, Off: -2}},
		{"gotol L3", Instruction{Op: ClassJMP32 | OpJA, Target: 3}},
		{"gotol +70000", Instruction{Op: ClassJMP32 | OpJA, Imm: 70000}},
		{"may_goto L3", Instruction{Op: ClassJMP | OpJCond, Target: 3}},
		{"if r1 s> 5 goto L2", Instruction{Op: ClassJMP | OpJSGT, Dst: 1, Imm: 5, Target: 2}},
		{"if w1 & 4 goto L2", Instruction{Op: ClassJMP32 | OpJSet, Dst: 1, Imm: 4, Target: 2}},
		{"if r1 != r2 goto +0", Instruction{Op: ClassJMP | OpJNE | SourceX, Dst: 1, Src: 2}},
		{"r0 = *(u16 *)skb[12]", Instruction{Op: ClassLD | ModeAbs | SizeH, Imm: 12}},
		{"r0 = *(u8 *)skb[r3 + 2]", Instruction{Op: ClassLD | ModeInd | SizeB, Src: 3, Imm: 2}},
		{"r0 = *(u32 *)skb[r3 - 4096]", Instruction{Op: ClassLD | ModeInd | SizeW, Src: 3, Imm: -4096}},
		{".insn 0x07 10 0 0 5 0 0", Instruction{Op: ClassALU64 | OpAdd, Dst: 10, Imm: 5}},
		{".insn 0xff 200 15 -1 9223372036854775807 -1 -1", Instruction{Op: 0xff, Dst: 200, Src: 15, Off: -1, Imm: math.MaxInt64, Target: -1, Ref: -1}},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			if got := test.in.String(); got != test.text {
				t.Errorf("String() = %q", got)
			}
			code, err := ParseCode(test.text)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff([]Instruction{test.in}, code); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestParseCodeSynonyms(t *testing.T) {
	for text, want := range map[string]string{
		"w3 = *(u16 *)(r10 + -0x4)":          "r3 = *(u16 *)(r10 - 4)",
		"*(u32 *)(r1+4)=w2":                  "*(u32 *)(r1 + 4) = r2",
		"w1 = load_acquire((u8 *)(r2 + 0))":  "r1 = load_acquire((u8 *)(r2 + 0))",
		"store_release((u16 *)(r2 + 0), w1)": "store_release((u16 *)(r2 + 0), r1)",
		"r1 = -7 ll":                         "r1 = 0xfffffffffffffff9 ll",
		"r1 = 7 ll":                          "r1 = 0x7 ll",
		"\tr1 = 0x10 // sixteen":             "r1 = 16",
		"exit # done":                        "exit",
		"exit ; done":                        "exit",
	} {
		code, err := ParseCode("\n" + text + "\n; nothing\n")
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := strings.TrimSpace(Format(code)); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"exit\nexit 5":                    `line 2: "5" where the line should end`,
		"r11 = 5":                         `line 1: "r11" where a register should be`,
		"r1 =":                            `line 1: end of line where a number should be`,
		"r1 ~= 5":                         `line 1: unexpected "~"`,
		"r10 = 5":                         "read-only",
		"r1 = 0x80000000":                 "does not fit",
		"r1 += w2":                        "want r2, not w2",
		"r1 = -r2":                        "want r1, not r2",
		"r1 = be16 r2":                    "want r1, not r2",
		"w1 = be16 w1":                    "want r1, not w1",
		"r1 = be17 r1":                    "no instruction",
		"r1 <<= 64":                       "no instruction",
		"w1 >>= 32":                       "no instruction",
		"r1 /= 0":                         "no instruction",
		"r1 s+= 5":                        "where = or an operation",
		"w1 = *(u64 *)(r2 + 0)":           "want r1, not w1",
		"w1 = *(s8 *)(r2 + 0)":            "want r1, not w1",
		"r1 = *(s64 *)(r2 + 0)":           "no instruction",
		"*(s8 *)(r2 + 0) = r1":            "only loads",
		"*(u64 *)(r2 + 0) = w1":           "want r1, not w1",
		"*(u24 *)(r2 + 0) = r1":           "u8 to u64",
		"r1 = *(u8 *)(r2 + 32768)":        "does not fit",
		"lock *(u8 *)(r1 + 0) += r2":      "no instruction",
		"lock *(u64 *)(r1 + 0) -= r2":     "where +=",
		"r3 = cmpxchg_64(r1 + 0, r0, r2)": "gives its value to r0",
		"r2 = xchg_64(r1 + 0, r3)":        "want r2, not r3",
		"w2 = atomic_fetch_add((u64 *)(r1 + 0), w2)": "want r2, not w2",
		"if r1 > w2 goto L1":                         "want r2, not w2",
		"if r1 =< 5 goto L1":                         "comparison",
		"if r1 > 5 jump L1":                          `"goto"`,
		"goto L0":                                    "where a label should be",
		"call nothing":                               "where a number should be",
		"r1 = frob(r2)":                              "no operation",
		"r1 = @0 ll":                                 "does not fit",
		"r2 = *(u16 *)skb[12]":                       "no instruction",
		"L1: exit":                                   "where",
	} {
		_, err := ParseCode(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestParseBlocks(t *testing.T) {
	blocks, err := Parse(`
		r0 = 0
		if r1 > 5 goto L1	; no label stands behind this jump
		r0 = 1
	L1:	// the end
		exit
	`)
	if err != nil {
		t.Fatal(err)
	}
	want := "L2:\nr0 = 0\nif r1 > 5 goto L1\nL3:\nr0 = 1\nL1:\nexit\n"
	if got := FormatBlocks(blocks); got != want {
		t.Errorf("got\n%s", got)
	}
	again, err := Parse(want)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(blocks, again); d != "" {
		t.Error(d)
	}
}

func TestParseBlocksErrors(t *testing.T) {
	for text, want := range map[string]string{
		"exit\ngoto L7":    "line 2: there is no label L7",
		"L1:\nexit\n\nL1:": "line 4: label L1 stands on line 1 already",
		"loop:\nexit":      `line 1: "loop" is no label`,
	} {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// FuzzText checks that every instruction there can be, valid or not, survives
// its text form.
func FuzzText(f *testing.F) {
	f.Add([]byte{0x07, 1, 0, 0, 5, 0, 0, 0}, int32(0), int32(0), int32(0))
	f.Fuzz(func(t *testing.T, b []byte, high, target, ref int32) {
		if len(b) < SlotSize {
			return
		}
		in := decodeSlot(b, binary.LittleEndian)
		in.Target, in.Ref = Label(target), Ref(ref)
		if in.Op == LoadImm64 {
			in.Imm = int64(uint64(uint32(in.Imm)) | uint64(high)<<32)
		}
		roundTrip(t, in)
	})
}

func roundTrip(t *testing.T, in Instruction) {
	t.Helper()
	code, err := ParseCode(in.String())
	if err != nil {
		t.Fatalf("%#v: %v: %v", in, in, err)
	}
	if in.valid() && in.IsJump() && in.Target != 0 {
		in.Off = 0
		if in.Op == ClassJMP32|OpJA {
			in.Imm = 0
		}
	}
	if len(code) != 1 || code[0] != in {
		t.Fatalf("%v: got %#v, want %#v", in, code, in)
	}
}

// forEveryOpcode calls f with every opcode and fields that occur.
func forEveryOpcode(f func(Instruction)) {
	imms := []int64{0, 1, 16, 32, 64, -1, 0x40, 0x50, 0xa0, 0x41, 0x51, 0xa1, 0xe1, 0xf1, 0x100, 0x110, math.MinInt32}
	for op := range 256 {
		for _, src := range []Register{0, 1, 4, 10} {
			for _, off := range []int16{0, 1, 16, 32, -8} {
				for _, imm := range imms {
					f(Instruction{Op: Op(op), Src: src, Off: off, Imm: imm})
					f(Instruction{Op: Op(op), Dst: 3, Src: src, Off: off, Imm: imm, Target: 9})
					f(Instruction{Op: Op(op), Dst: 3, Src: src, Off: off, Imm: imm, Ref: 7})
				}
			}
		}
	}
}

func TestTextOfEveryOpcode(t *testing.T) {
	valid := 0
	forEveryOpcode(func(in Instruction) {
		if in.valid() {
			valid++
		}
		roundTrip(t, in)
	})
	if valid < 3000 {
		t.Errorf("only %d valid instructions tried", valid)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("L1:\nr1 = @3:0x8 ll\nif w1 & 4 goto L1\nr2 = xchg_64(r1 + 0, r2)\n*(u32 *)(r1 - 4) = 7")
	f.Add("r0 = *(u8 *)skb[r3 + 2]\nstore_release((u32 *)(r2 + 4), r1)\nr1 = be16 r1")
	f.Fuzz(func(t *testing.T, src string) {
		blocks, err := Parse(src)
		if err != nil {
			return
		}
		text := FormatBlocks(blocks)
		again, err := Parse(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if d := cmp.Diff(blocks, again); d != "" {
			t.Fatal(d)
		}
	})
}
