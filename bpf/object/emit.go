package object

import (
	"errors"
	"fmt"
	"math"

	"github.com/k2cc/k2cc/bpf"
)

// emission is the new code of a section, with what describes it.
type emission struct {
	data   []byte
	relocs []reloc
	ext    [extTables][]extRecord
}

// emit writes the code of a section.
func (pl *plan) emit(c *codeSection) (*emission, error) {
	out := &emission{}
	for _, p := range c.pieces {
		var err error
		if p.fn == nil {
			err = pl.emitFrozen(out, p)
		} else {
			err = pl.emitFunction(out, p)
		}
		if err != nil {
			return nil, fmt.Errorf("function %s: %w", p.name, err)
		}
	}
	return out, nil
}

// emitFrozen copies a piece and mends its references.
func (pl *plan) emitFrozen(out *emission, p *piece) error {
	c, order := p.section, pl.f.elf.order
	start := pl.placed[p].start
	out.data = append(out.data, c.data[p.start:p.end]...)
	for _, r := range c.refsIn(p.start, p.end) {
		at := start + r.off - p.start
		if err := pl.patch(out.data, at, r); err != nil {
			return err
		}
	}
	for _, r := range c.relocs {
		if off := int(r.off); off >= p.start && off < p.end {
			r.off = uint64(start + off - p.start)
			out.relocs = append(out.relocs, r)
		}
	}
	for i := range out.ext {
		for _, r := range pl.f.ext.group(i, c).of(p) {
			out.ext[i] = append(out.ext[i], pl.f.recordAt(r, start+r.off(order)-p.start))
		}
	}
	return nil
}

// recordAt is the record for another offset.
func (f *File) recordAt(r extRecord, off int) extRecord {
	out := append(extRecord(nil), r...)
	f.elf.order.PutUint32(out, uint32(off))
	return out
}

// patch writes r's addend to where r stands now.
func (pl *plan) patch(data []byte, at int, r *ref) error {
	order := pl.f.elf.order
	addend := pl.addend(r)
	b := data[at:]
	switch r.form {
	case formImm64:
		order.PutUint32(b[4:], uint32(addend))
		order.PutUint32(b[12:], uint32(uint64(addend)>>32))
	case formCall, formPCRel:
		imm, err := callImm(r, addend, at)
		if err != nil {
			return err
		}
		order.PutUint32(b[4:], uint32(imm))
	case formData64:
		order.PutUint64(b, uint64(addend))
	case formData32:
		if addend < 0 || addend > math.MaxUint32 {
			return fmt.Errorf("address %d does not fit 32 bits", addend)
		}
		order.PutUint32(b, uint32(addend))
	}
	return nil
}

// callImm is the immediate of a call that stands at byte at of its section.
func callImm(r *ref, addend int64, at int) (int64, error) {
	slots := addend / bpf.SlotSize
	if r.form == formPCRel {
		slots -= int64(at / bpf.SlotSize)
	}
	if slots--; slots < math.MinInt32 || slots > math.MaxInt32 {
		return 0, fmt.Errorf("call over %d slots", slots)
	}
	return slots, nil
}

// emitFunction writes the code of a function that is understood.
func (pl *plan) emitFunction(out *emission, p *piece) error {
	n := pl.placed[p]
	for _, in := range n.code {
		at := n.start + in.Slot*bpf.SlotSize
		if err := pl.emitInstruction(out, p, in, at); err != nil {
			return fmt.Errorf("slot %d: %w", in.Slot, err)
		}
	}
	pl.emitLines(out, p)
	for _, r := range pl.f.ext.group(extFunc, p.section).of(p) {
		out.ext[extFunc] = append(out.ext[extFunc], pl.f.recordAt(r, n.start))
	}
	return nil
}

func (pl *plan) emitInstruction(out *emission, p *piece, in bpf.Placed, at int) error {
	var r *ref
	if in.Ref != 0 {
		u, err := p.use(in.Instruction)
		if err != nil {
			return err
		}
		if u.core != nil {
			out.ext[extCore] = append(out.ext[extCore], pl.f.recordAt(u.core, at))
		}
		r = u.ref
	}
	out.data = in.Append(out.data, pl.f.elf.order)
	if r == nil {
		return nil
	}
	if r.form != formPCRel {
		out.relocs = append(out.relocs, reloc{off: uint64(at), typ: r.reloc.typ, sym: r.reloc.sym})
	}
	return pl.patch(out.data, at, r)
}

// use says what to emit for an instruction with a Ref: what the instruction
// that it stands for had, if that had the same symbol.
func (p *piece) use(in bpf.Instruction) (use, error) {
	sym := p.fn.Symbol(in.Ref)
	if sym == nil || sym.Index < 0 || sym.Index >= len(p.records) {
		return use{}, fmt.Errorf("no symbol %d", in.Ref)
	}
	rec := &p.records[sym.Index]
	if rec.core != nil {
		if in.IsCall() || in.IsJump() || in.IsExit() {
			return use{}, errors.New("CO-RE relocation of a jump")
		}
		return use{core: rec.core}, nil
	}
	isCall := in.Op == bpf.ClassJMP|bpf.OpCall && in.Src == bpf.CallLocal
	if !isCall && (in.Op != bpf.LoadImm64 || in.Src != bpf.PseudoImm) {
		return use{}, fmt.Errorf("symbol %s on an instruction that no relocation fits", sym.Name)
	}
	if in.Pos > 0 && int(in.Pos) <= len(p.at) {
		if u := p.at[in.Pos-1]; u.index == sym.Index && (u.ref.form == formImm64) == !isCall {
			return u, nil
		}
	}
	r := *rec.form(in)
	if r == nil {
		return use{}, fmt.Errorf("symbol %s in a form that the object does not have", sym.Name)
	}
	return use{ref: r}, nil
}

// emitLines writes the line records of a function: each instruction is
// governed by the record that governed the one it stands for, an instruction
// that stands for none by the one before.
func (pl *plan) emitLines(out *emission, p *piece) {
	n, order := pl.placed[p], pl.f.elf.order
	records := pl.f.ext.group(extLine, p.section).of(p)
	if len(records) == 0 {
		return
	}
	govern := governing(p, records, order)
	current := -1
	for i, in := range n.code {
		next := current
		if in.Pos > 0 && int(in.Pos) <= len(govern) {
			next = govern[in.Pos-1]
		}
		if i == 0 && next < 0 {
			next = govern[0] // the kernel wants a line for every function
		}
		if next >= 0 && next != current {
			at := n.start + in.Slot*bpf.SlotSize
			out.ext[extLine] = append(out.ext[extLine], pl.f.recordAt(records[next], at))
		}
		if next >= 0 {
			current = next
		}
	}
}
