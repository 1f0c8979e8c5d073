package bpf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// SlotSize is the size in bytes of a slot, the unit of code offsets.
const SlotSize = 8

// Raw is an instruction as the wire has it, with offsets for labels: jump
// offsets are still in Off or Imm, counted in slots from the next slot.
type Raw struct {
	Instruction
	Slot int // where the instruction starts, in slots
}

// Decode reads code from its wire format (RFC 9669, section 3). It checks
// nothing but that 64-bit immediates are whole.
func Decode(code []byte, order binary.ByteOrder) ([]Raw, error) {
	if len(code)%SlotSize != 0 {
		return nil, fmt.Errorf("decode: %d bytes are not a multiple of %d", len(code), SlotSize)
	}
	var out []Raw
	for at := 0; at < len(code); at += SlotSize {
		in := decodeSlot(code[at:], order)
		slot := at / SlotSize
		if in.Op == LoadImm64 {
			at += SlotSize
			if at >= len(code) {
				return nil, fmt.Errorf("decode: slot %d: 64-bit immediate without its second half", slot)
			}
			next := code[at : at+SlotSize]
			if next[0] != 0 || next[1] != 0 || next[2] != 0 || next[3] != 0 {
				return nil, fmt.Errorf("decode: slot %d: second half of a 64-bit immediate is not empty", slot)
			}
			in.Imm = int64(uint64(uint32(in.Imm)) | uint64(order.Uint32(next[4:]))<<32)
		}
		out = append(out, Raw{in, slot})
	}
	return out, nil
}

func decodeSlot(b []byte, order binary.ByteOrder) Instruction {
	dst, src := b[1]&0xf, b[1]>>4
	if order == binary.BigEndian {
		dst, src = src, dst
	}
	return Instruction{
		Op:  Op(b[0]),
		Dst: Register(dst),
		Src: Register(src),
		Off: int16(order.Uint16(b[2:])),
		Imm: int64(int32(order.Uint32(b[4:]))),
	}
}

// JumpTo is the slot to which a raw jump leads.
func (r Raw) JumpTo() int { return r.Slot + r.Slots() + r.jumpOffset() }

// Append encodes one instruction. A jump's Off, or a gotol's Imm, is taken as
// it stands.
func (in Instruction) Append(b []byte, order binary.ByteOrder) []byte {
	var s [2 * SlotSize]byte
	dst, src := byte(in.Dst), byte(in.Src)
	if order == binary.BigEndian {
		dst, src = src, dst
	}
	s[0], s[1] = byte(in.Op), dst|src<<4
	order.PutUint16(s[2:], uint16(in.Off))
	order.PutUint32(s[4:], uint32(in.Imm))
	if in.Op == LoadImm64 {
		order.PutUint32(s[12:], uint32(uint64(in.Imm)>>32))
	}
	return append(b, s[:in.Slots()*SlotSize]...)
}

// jumpOffset is the offset in slots that a raw jump has.
func (in Instruction) jumpOffset() int {
	if in.Op == ClassJMP32|OpJA {
		return int(in.Imm)
	}
	return int(in.Off)
}

// Split cuts raw code, whose first instruction stands at any slot, into blocks
// at jumps and their targets. Labels count from one in layout order, Pos from
// one in instruction order. It fails where a jump leads out of the code or
// into the middle of an instruction, where control runs off the end, where a
// register does not exist, and where a jump leads to an address in a register.
func Split(raw []Raw) ([]*Block, error) {
	if len(raw) == 0 {
		return nil, fmt.Errorf("no code")
	}
	if last := raw[len(raw)-1]; last.FallsThrough() {
		return nil, fmt.Errorf("slot %d: control runs off the end", last.Slot)
	}
	starts, err := blockStarts(raw)
	if err != nil {
		return nil, err
	}
	var blocks []*Block
	for i, r := range raw {
		if starts[r.Slot] {
			blocks = append(blocks, &Block{Label: Label(len(blocks) + 1)})
		}
		b := blocks[len(blocks)-1]
		in := r.Instruction
		in.Pos = int32(i + 1)
		b.Code = append(b.Code, in)
	}
	label(raw, starts, blocks)
	return blocks, nil
}

// blockStarts finds the slots at which a block begins.
func blockStarts(raw []Raw) (map[int]bool, error) {
	known := make(map[int]bool, len(raw))
	for _, r := range raw {
		known[r.Slot] = true
		switch {
		case r.Dst > R10 || r.Src > R10:
			return nil, fmt.Errorf("slot %d: no such register", r.Slot)
		case r.IsJump() && !r.IsCondJump() && r.Op&SourceX != 0:
			return nil, fmt.Errorf("slot %d: jump to an address in a register", r.Slot)
		case r.Op == ClassJMP32|OpJA && r.Off != 0:
			return nil, fmt.Errorf("slot %d: gotol with two offsets", r.Slot)
		}
	}
	starts := map[int]bool{raw[0].Slot: true}
	for _, r := range raw {
		next := r.Slot + r.Slots()
		if r.EndsBlock() && known[next] {
			starts[next] = true
		}
		if !r.IsJump() {
			continue
		}
		to := r.JumpTo()
		if !known[to] {
			return nil, fmt.Errorf("slot %d: jump to slot %d, which starts no instruction of the function", r.Slot, to)
		}
		starts[to] = true
	}
	return starts, nil
}

// label puts block labels into the jumps of blocks, whose code is raw's.
func label(raw []Raw, starts map[int]bool, blocks []*Block) {
	labels := make(map[int]Label, len(blocks))
	for _, r := range raw {
		if starts[r.Slot] {
			labels[r.Slot] = Label(len(labels) + 1)
		}
	}
	i := 0
	for _, b := range blocks {
		for j := range b.Code {
			in, r := &b.Code[j], raw[i]
			i++
			if !in.IsJump() {
				continue
			}
			in.Target = labels[r.JumpTo()]
			in.Off = 0
			if in.Op == ClassJMP32|OpJA {
				in.Imm = 0
			}
		}
	}
}

// Placed is an instruction of a laid-out function.
type Placed struct {
	Instruction
	Slot int // where it starts, in slots from the function's start
}

// Place lays the blocks out one behind the other and gives every jump its
// offset. It fails where an offset does not fit its field, and where a jump
// leads to no code.
func Place(blocks []*Block) ([]Placed, error) {
	at := make(map[Label]int, len(blocks))
	slot := 0
	for _, b := range blocks {
		if _, ok := at[b.Label]; ok {
			return nil, fmt.Errorf("place: label %d names two blocks", b.Label)
		}
		at[b.Label] = slot
		slot += Slots(b.Code)
	}
	end := slot
	var out []Placed
	slot = 0
	for _, b := range blocks {
		for _, in := range b.Code {
			p := Placed{in, slot}
			slot += in.Slots()
			if in.IsJump() {
				to, ok := at[in.Target]
				if !ok {
					return nil, fmt.Errorf("place: slot %d: no block has label %d", p.Slot, in.Target)
				}
				if to == end {
					return nil, fmt.Errorf("place: slot %d: jump to label %d, behind which there is no code", p.Slot, in.Target)
				}
				if err := p.setJumpOffset(to - slot); err != nil {
					return nil, fmt.Errorf("place: slot %d: %w", p.Slot, err)
				}
			}
			out = append(out, p)
		}
	}
	return out, nil
}

func (p *Placed) setJumpOffset(off int) error {
	switch {
	case p.Op == ClassJMP32|OpJA:
		p.Imm = int64(off)
	case off < math.MinInt16 || off > math.MaxInt16:
		return fmt.Errorf("jump over %d slots does not fit 16 bits", off)
	default:
		p.Off = int16(off)
	}
	return nil
}
