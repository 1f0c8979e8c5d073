package windows

import (
	"encoding/binary"

	"github.com/k2cc/k2cc/bpf"
)

// EncodeCode is code as bytes, its positions in the input included.
func EncodeCode(code []bpf.Instruction) []byte {
	k := keyer{order: binary.LittleEndian}
	k.code(code)
	return k.out
}

// DecodeCode is the code that EncodeCode made bytes of.
func DecodeCode(text []byte) ([]bpf.Instruction, bool) {
	d := decoder{text: text}
	code := d.code()
	return code, !d.failed && len(d.text) == 0
}

// EncodeBlocks is a function's blocks as bytes.
func EncodeBlocks(blocks []*bpf.Block) []byte {
	k := keyer{order: binary.LittleEndian}
	k.blocks(blocks)
	return k.out
}

// DecodeBlocks is the blocks that EncodeBlocks made bytes of.
func DecodeBlocks(text []byte) ([]*bpf.Block, bool) {
	d := decoder{text: text}
	out := make([]*bpf.Block, d.length())
	for i := range out {
		out[i] = &bpf.Block{Label: bpf.Label(d.signed()), Code: d.code()}
	}
	return out, !d.failed && len(d.text) == 0
}

// decoder reads what keyer wrote.
type decoder struct {
	text   []byte
	failed bool
}

// length is a number of things that take a byte each at least.
func (d *decoder) length() int {
	n, size := binary.Uvarint(d.text)
	if size <= 0 || n > uint64(len(d.text)) {
		d.failed = true
		return 0
	}
	d.text = d.text[size:]
	return int(n)
}

func (d *decoder) signed() int64 {
	n, size := binary.Varint(d.text)
	if size <= 0 {
		d.failed, d.text = true, nil
		return 0
	}
	d.text = d.text[size:]
	return n
}

func (d *decoder) byte() byte {
	if len(d.text) == 0 {
		d.failed = true
		return 0
	}
	b := d.text[0]
	d.text = d.text[1:]
	return b
}

func (d *decoder) code() []bpf.Instruction {
	out := make([]bpf.Instruction, d.length())
	for i := range out {
		in := &out[i]
		in.Op, in.Dst, in.Src = bpf.Op(d.byte()), bpf.Register(d.byte()), bpf.Register(d.byte())
		in.Off, in.Imm = int16(d.signed()), d.signed()
		in.Target, in.Ref, in.Pos = bpf.Label(d.signed()), bpf.Ref(d.signed()), int32(d.signed())
	}
	return out
}
