package object

import (
	"errors"
	"fmt"
	"slices"

	"github.com/k2cc/k2cc/bpf"
)

// plan says where everything stands once the functions have their new code.
type plan struct {
	f      *File
	placed map[*piece]*placement
}

// placement is a piece's new place.
type placement struct {
	start, size int // bytes, from the section's start
	code        []bpf.Placed
	moved       bool  // another start, size or code
	label       []int // see labels; nil until it is needed
}

// plan lays out the functions' current blocks.
func (f *File) plan() (*plan, error) {
	pl := &plan{f: f, placed: map[*piece]*placement{}}
	if f.alone != "" {
		return pl, nil
	}
	for _, c := range f.order {
		at := 0
		for _, p := range c.pieces {
			n := &placement{start: at, size: p.end - p.start}
			if p.fn != nil {
				code, err := placeFunction(p.fn)
				if err != nil {
					return nil, fmt.Errorf("function %s: %w", p.name, err)
				}
				n.code = code
				n.size = codeSize(code)
				n.moved = !sameCode(code, p.original)
			}
			n.moved = n.moved || n.start != p.start || n.size != p.end-p.start
			at += n.size
			pl.placed[p] = n
		}
	}
	return pl, nil
}

func placeFunction(fn *bpf.Function) ([]bpf.Placed, error) {
	for _, b := range fn.Blocks {
		for _, in := range b.Code {
			if err := in.Valid(); err != nil {
				return nil, err
			}
			if in.Op == bpf.ClassJMP|bpf.OpCall && in.Src == bpf.CallLocal && in.Ref == 0 {
				return nil, errors.New("local call without a symbol")
			}
		}
	}
	code, err := bpf.Place(fn.Blocks)
	if err != nil {
		return nil, err
	}
	if len(code) == 0 {
		return nil, errors.New("no code")
	}
	if last := code[len(code)-1]; last.FallsThrough() {
		return nil, errors.New("control runs off its end")
	}
	return code, nil
}

func codeSize(code []bpf.Placed) int {
	last := code[len(code)-1]
	return (last.Slot + last.Slots()) * bpf.SlotSize
}

// sameCode compares laid-out code: labels may differ where offsets agree.
func sameCode(a, b []bpf.Placed) bool {
	return slices.EqualFunc(a, b, func(x, y bpf.Placed) bool {
		x.Target, y.Target = 0, 0
		return x == y
	})
}

// changed tells whether anything in the object changes.
func (pl *plan) changed() bool {
	for _, n := range pl.placed {
		if n.moved {
			return true
		}
	}
	return false
}

// move says where what stood at an offset of a section stands now.
func (pl *plan) move(section int, off int64) int64 {
	c := pl.f.code[section]
	if c == nil {
		return off
	}
	p := c.pieceAt(off)
	if p == nil {
		last := c.pieces[len(c.pieces)-1]
		n := pl.placed[last]
		return off - int64(last.end) + int64(n.start+n.size)
	}
	n := pl.placed[p]
	if p.fn == nil || off == int64(p.start) {
		return off - int64(p.start) + int64(n.start)
	}
	// A label inside a function that nothing refers to: keep it before the
	// same instruction, or the next one that is left.
	if n.label == nil {
		n.label = labels(n.code, len(p.raw))
	}
	return int64(n.start + n.label[p.after(int(off))]*bpf.SlotSize)
}

// labels gives for each instruction of the input, and for its end, the first
// slot of the new code that stands for it or for a later one.
func labels(code []bpf.Placed, instructions int) []int {
	last := code[len(code)-1]
	out := make([]int, instructions+1)
	for i := range out {
		out[i] = last.Slot + last.Slots()
	}
	for _, in := range code {
		if in.Pos > 0 && int(in.Pos) <= instructions {
			out[in.Pos-1] = min(out[in.Pos-1], in.Slot)
		}
	}
	for i := instructions - 1; i >= 0; i-- {
		out[i] = min(out[i], out[i+1])
	}
	return out
}

// addend is what has to stand in r's place, in bytes from the start of its
// section for a reference without a relocation.
func (pl *plan) addend(r *ref) int64 {
	section, off, ok := pl.f.target(r)
	if !ok || pl.f.code[section] == nil || r.form == formOther {
		return r.addend
	}
	to := pl.move(section, off)
	if r.form == formPCRel {
		return to
	}
	return to - pl.move(section, int64(pl.f.elf.symbols[r.reloc.sym].Value))
}
