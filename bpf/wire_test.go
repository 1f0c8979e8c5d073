package bpf

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// wireCase is an instruction in both byte orders: opcode, registers (the
// destination in the low nibble, for big endian in the high one), offset,
// immediate.
type wireCase struct {
	name        string
	little, big []byte
	want        Instruction
}

var wireCases = []wireCase{
	{
		"r1 = r6",
		[]byte{0xbf, 0x61, 0, 0, 0, 0, 0, 0},
		[]byte{0xbf, 0x16, 0, 0, 0, 0, 0, 0},
		Instruction{Op: ClassALU64 | OpMov | SourceX, Dst: R1, Src: R6},
	},
	{
		"w2 += -5",
		[]byte{0x04, 0x02, 0, 0, 0xfb, 0xff, 0xff, 0xff},
		[]byte{0x04, 0x20, 0, 0, 0xff, 0xff, 0xff, 0xfb},
		Instruction{Op: ClassALU | OpAdd, Dst: R2, Imm: -5},
	},
	{
		"*(u16 *)(r10 - 4) = r3",
		[]byte{0x6b, 0x3a, 0xfc, 0xff, 0, 0, 0, 0},
		[]byte{0x6b, 0xa3, 0xff, 0xfc, 0, 0, 0, 0},
		Instruction{Op: ClassSTX | ModeMem | SizeH, Dst: R10, Src: R3, Off: -4},
	},
	{
		"if r1 s> r2 goto +258",
		[]byte{0x6d, 0x21, 0x02, 0x01, 0, 0, 0, 0},
		[]byte{0x6d, 0x12, 0x01, 0x02, 0, 0, 0, 0},
		Instruction{Op: ClassJMP | OpJSGT | SourceX, Dst: R1, Src: R2, Off: 258},
	},
	{
		"r2 = 0x8899aabb_44556677 ll",
		[]byte{0x18, 0x02, 0, 0, 0x77, 0x66, 0x55, 0x44, 0, 0, 0, 0, 0xbb, 0xaa, 0x99, 0x88},
		[]byte{0x18, 0x20, 0, 0, 0x44, 0x55, 0x66, 0x77, 0, 0, 0, 0, 0x88, 0x99, 0xaa, 0xbb},
		Instruction{Op: LoadImm64, Dst: R2, Imm: -0x7766_5544_bbaa_9989},
	},
	{
		"r0 = 0x00000000_ffffffff ll", // the low half is not sign-extended
		[]byte{0x18, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0},
		[]byte{0x18, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0},
		Instruction{Op: LoadImm64, Imm: math.MaxUint32},
	},
	{
		"call local +6",
		[]byte{0x85, 0x10, 0, 0, 6, 0, 0, 0},
		[]byte{0x85, 0x01, 0, 0, 0, 0, 0, 6},
		Instruction{Op: ClassJMP | OpCall, Src: CallLocal, Imm: 6},
	},
	{
		"gotol -70000",
		[]byte{0x06, 0, 0, 0, 0x90, 0xee, 0xfe, 0xff},
		[]byte{0x06, 0, 0, 0, 0xff, 0xfe, 0xee, 0x90},
		Instruction{Op: ClassJMP32 | OpJA, Imm: -70000},
	},
}

func TestDecodeAndAppend(t *testing.T) {
	for _, tt := range wireCases {
		for order, wire := range map[binary.ByteOrder][]byte{binary.LittleEndian: tt.little, binary.BigEndian: tt.big} {
			raw, err := Decode(wire, order)
			if err != nil {
				t.Errorf("%s, %v: %v", tt.name, order, err)
				continue
			}
			if diff := cmp.Diff([]Raw{{tt.want, 0}}, raw); diff != "" {
				t.Errorf("%s, %v: decoded (-want +got):\n%s", tt.name, order, diff)
			}
			if got := tt.want.Append([]byte{9}, order); !bytes.Equal(got[1:], wire) || got[0] != 9 {
				t.Errorf("%s, %v: encoded % x, want % x", tt.name, order, got[1:], wire)
			}
		}
	}
}

func TestDecodeSlots(t *testing.T) {
	code := append(bytes.Clone(wireCases[4].little), wireCases[0].little...)
	raw, err := Decode(code, binary.LittleEndian)
	if err != nil || len(raw) != 2 || raw[0].Slot != 0 || raw[1].Slot != 2 {
		t.Errorf("decoded %v (%v), want slots 0 and 2", raw, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	imm64 := wireCases[4].little
	dirty := bytes.Clone(imm64)
	dirty[9] = 1 // a register in the second half
	for name, code := range map[string][]byte{
		"not a multiple of 8":         make([]byte, 12),
		"without its second half":     imm64[:8],
		"second half of a 64-bit imm": dirty,
	} {
		if _, err := Decode(code, binary.LittleEndian); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want %q", err, name)
		}
	}
}

// raws places code at a slot.
func raws(slot int, code ...Instruction) []Raw {
	var out []Raw
	for _, in := range code {
		out = append(out, Raw{in, slot})
		slot += in.Slots()
	}
	return out
}

var (
	wireExit = Instruction{Op: ClassJMP | OpExit}
	wireMov  = Instruction{Op: ClassALU64 | OpMov, Imm: 1}
	wireImm  = Instruction{Op: LoadImm64, Dst: R1}
)

func jumpBy(off int16) Instruction  { return Instruction{Op: ClassJMP | OpJEq, Dst: R1, Off: off} }
func gotoBy(off int16) Instruction  { return Instruction{Op: ClassJMP | OpJA, Off: off} }
func gotolBy(off int64) Instruction { return Instruction{Op: ClassJMP32 | OpJA, Imm: off} }

func TestSplit(t *testing.T) {
	tests := []struct {
		name   string
		code   []Instruction
		blocks []int // instructions of each
		target map[int]Label
	}{
		{"straight", []Instruction{wireMov, wireExit}, []int{2}, nil},
		{"forward over a 64-bit immediate", []Instruction{jumpBy(2), wireImm, wireExit}, []int{1, 1, 1}, map[int]Label{0: 3}},
		{"back", []Instruction{wireMov, wireMov, jumpBy(-2), wireExit}, []int{1, 2, 1}, map[int]Label{2: 2}},
		{"gotol", []Instruction{gotolBy(1), wireExit, wireMov, wireExit}, []int{1, 1, 2}, map[int]Label{0: 3}},
		{"to the next", []Instruction{gotoBy(0), wireExit}, []int{1, 1}, map[int]Label{0: 2}},
		{"to the start", []Instruction{wireMov, gotoBy(-2)}, []int{2}, map[int]Label{1: 1}},
	}
	for _, tt := range tests {
		for _, start := range []int{0, 100} {
			blocks, err := Split(raws(start, tt.code...))
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				continue
			}
			var sizes []int
			targets := map[int]Label{}
			pos := int32(0)
			for _, b := range blocks {
				sizes = append(sizes, len(b.Code))
				for _, in := range b.Code {
					if in.Target != 0 {
						targets[int(pos)] = in.Target
					}
					if pos++; in.Pos != pos {
						t.Errorf("%s: Pos %d at %d", tt.name, in.Pos, pos)
					}
				}
			}
			if diff := cmp.Diff(tt.blocks, sizes); diff != "" {
				t.Errorf("%s: blocks (-want +got):\n%s", tt.name, diff)
			}
			if len(tt.target) != len(targets) {
				t.Errorf("%s: targets %v, want %v", tt.name, targets, tt.target)
			}
			for i, l := range tt.target {
				if targets[i] != l {
					t.Errorf("%s: targets %v, want %v", tt.name, targets, tt.target)
				}
			}
		}
	}
}

func TestSplitRefuses(t *testing.T) {
	tests := []struct {
		name string
		code []Instruction
		want string
	}{
		{"nothing", nil, "no code"},
		{"off the end", []Instruction{wireMov}, "control runs off the end"},
		{"a branch off the end", []Instruction{jumpBy(-1)}, "control runs off the end"},
		{"out of the function", []Instruction{jumpBy(1), wireExit}, "starts no instruction"},
		{"before the function", []Instruction{jumpBy(-2), wireExit}, "starts no instruction"},
		{"into an instruction", []Instruction{jumpBy(1), wireImm, wireExit}, "starts no instruction"},
		{"no register", []Instruction{{Op: ClassALU64 | OpMov, Dst: 11}, wireExit}, "no such register"},
		{"gotol twice", []Instruction{{Op: ClassJMP32 | OpJA, Off: 1}, wireExit}, "two offsets"},
		{"gotox", []Instruction{{Op: ClassJMP | OpJA | SourceX, Dst: R1}, wireExit}, "address in a register"},
	}
	for _, tt := range tests {
		if _, err := Split(raws(7, tt.code...)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestPlaceRefuses(t *testing.T) {
	long := make([]Instruction, math.MaxInt16+1)
	for i := range long {
		long[i] = wireMov
	}
	tests := []struct {
		name   string
		blocks []*Block
		want   string
	}{
		{"a label twice", []*Block{{Label: 1}, {Label: 1}}, "names two blocks"},
		{"no such label", []*Block{{Label: 1, Code: []Instruction{{Op: ClassJMP | OpJA, Target: 2}}}}, "no block has label 2"},
		{"to an empty end", []*Block{{1, []Instruction{{Op: ClassJMP | OpJA, Target: 2}}}, {Label: 2}}, "no code"},
		{"too far", []*Block{{1, []Instruction{{Op: ClassJMP | OpJA, Target: 3}}}, {2, long}, {3, []Instruction{wireExit}}}, "does not fit 16 bits"},
	}
	for _, tt := range tests {
		if _, err := Place(tt.blocks); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
	far := []*Block{{1, []Instruction{{Op: ClassJMP32 | OpJA, Target: 3}}}, {2, long}, {3, []Instruction{wireExit}}}
	placed, err := Place(far)
	if err != nil || placed[0].Imm != int64(len(long)) {
		t.Errorf("gotol over %d slots: %v", len(long), err)
	}
}

// FuzzWire checks that what Decode and Split take comes back the same.
func FuzzWire(f *testing.F) {
	var all []byte
	for _, c := range wireCases {
		f.Add(c.little, false)
		f.Add(c.big, true)
		all = append(all, c.little...)
	}
	f.Add(wireExit.Append(all, binary.LittleEndian), false)
	loop := gotoBy(-3).Append(jumpBy(1).Append(wireMov.Append(nil, binary.BigEndian), binary.BigEndian), binary.BigEndian)
	f.Add(wireExit.Append(loop, binary.BigEndian), true)
	f.Fuzz(func(t *testing.T, code []byte, big bool) {
		var order binary.ByteOrder = binary.LittleEndian
		if big {
			order = binary.BigEndian
		}
		raw, err := Decode(code, order)
		if err != nil {
			return
		}
		var back []byte
		for _, r := range raw {
			back = r.Append(back, order)
		}
		if !bytes.Equal(back, code) {
			t.Fatalf("encoded % x, want % x", back, code)
		}
		blocks, err := Split(raw)
		if err != nil {
			return
		}
		placed, err := Place(blocks)
		if err != nil {
			t.Fatalf("split code can't be placed: %v", err)
		}
		back = nil
		for i, p := range placed {
			if p.Slot != raw[i].Slot || int(p.Pos) != i+1 {
				t.Fatalf("instruction %d: slot %d, Pos %d, want slot %d", i, p.Slot, p.Pos, raw[i].Slot)
			}
			back = p.Append(back, order)
		}
		if !bytes.Equal(back, code) {
			t.Fatalf("placed % x, want % x", back, code)
		}
	})
}
