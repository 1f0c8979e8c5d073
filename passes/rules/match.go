package rules

import (
	"math"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

// maxGap bounds how many instructions that a rule says nothing about may stand
// between two of its own.
const maxGap = 12

// match is a place where a rule applies.
type match struct {
	rule *Rule
	at   []int // index of each old instruction
	code []bpf.Instruction
}

// binding says what the names of a rule stand for.
type binding struct {
	regs   [bpf.NumRegisters]bpf.Register
	taken  bpf.Registers // by any name
	names  bpf.Registers // that stand for something
	deltas [bpf.NumRegisters]int32
	placed bpf.Registers // names whose delta is known
	holes  map[string]int64
	target bpf.Label
}

// find is where the rule applies with its first instruction at i, if it does.
func (r *Rule) find(w *windows.Window, i int) (match, bool) {
	if !r.Order.fits(w.BigEndian) {
		return match{}, false
	}
	b := &binding{holes: map[string]int64{}}
	m := match{rule: r}
	for _, p := range r.Old {
		at := r.next(w, b, m.at, p, i)
		if at < 0 {
			return m, false
		}
		m.at = append(m.at, at)
		i = at + 1
	}
	if !r.needed(w, b, m.at[len(m.at)-1]) {
		return m, false
	}
	var ok bool
	m.code, ok = r.instantiate(w, b, m.at)
	return m, ok
}

// next is the index from i on of the next instruction that the pattern matches,
// or -1. The first one has to be at i.
func (r *Rule) next(w *windows.Window, b *binding, before []int, p Pattern, i int) int {
	for j := i; j < len(w.Code) && j <= i+maxGap; j++ {
		saved, holes := *b, len(b.holes)
		if b.matches(r, p, w.Code[j]) && r.holdsAt(w, b, saved.names, j) {
			return j
		}
		if len(b.holes) != holes { // a hole that was bound on the way
			name, _ := p.imm.hole()
			delete(b.holes, name)
		}
		*b = saved
		if len(before) == 0 || !moves(w.Code, before, j) {
			return -1
		}
	}
	return -1
}

// moves tells whether instruction j can be executed before those of before.
func moves(code []bpf.Instruction, before []int, j int) bool {
	in := code[j]
	if in.IsCall() || in.IsJump() || in.IsAtomic() || in.IsPacketLoad() {
		return false
	}
	for _, k := range before {
		m := code[k]
		if in.Writes()&(m.Reads()|m.Writes()) != 0 || in.Reads()&m.Writes() != 0 {
			return false
		}
		if (in.IsStore() || m.IsStore() || m.IsAtomic()) && touchesMemory(in) && touchesMemory(m) {
			return false
		}
	}
	return true
}

func touchesMemory(in bpf.Instruction) bool { return in.IsLoad() || in.IsStore() || in.IsAtomic() }

// matches tells whether the instruction is one of the pattern's, and binds names.
func (b *binding) matches(r *Rule, p Pattern, in bpf.Instruction) bool {
	if p.Op != in.Op || in.Ref != 0 || !b.immediate(r, p, in) || !b.offset(p, in) {
		return false
	}
	if p.IsJump() {
		b.target = in.Target
	}
	if hasSrc(in) && !b.bind(r, p.Src, in.Src) || !hasSrc(in) && p.Src != in.Src {
		return false
	}
	return b.bind(r, p.Dst, in.Dst)
}

// bind has a rule's register stand for another one.
func (b *binding) bind(r *Rule, name, reg bpf.Register) bool {
	switch {
	case b.names.Has(name):
		return b.regs[name] == reg
	case b.taken.Has(reg), (name == bpf.R10) != (reg == bpf.R10) && (name == bpf.R10 || r.writes.Has(name)):
		return false
	}
	b.regs[name] = reg
	b.names |= bpf.Set(name)
	b.taken |= bpf.Set(reg)
	return true
}

func (b *binding) immediate(r *Rule, p Pattern, in bpf.Instruction) bool {
	if p.imm == nil {
		return p.Imm == in.Imm
	}
	name, ok := p.imm.hole()
	if v, bound := b.holes[name]; ok && !bound {
		f := r.Holes[name]
		if !within(flow.Const(uint64(in.Imm)), f) {
			return false
		}
		b.holes[name] = in.Imm
		return true
	} else if ok {
		return v == in.Imm
	}
	v, err := p.imm.eval(b.hole)
	return err == nil && v == in.Imm
}

func (b *binding) hole(name string) (int64, bool) {
	v, ok := b.holes[name]
	return v, ok
}

// offset compares the offset, which for an access counts from where the first
// one of its base was found.
func (b *binding) offset(p Pattern, in bpf.Instruction) bool {
	name, ok := base(p.Instruction)
	if !ok {
		return p.IsJump() || p.Off == in.Off
	}
	delta := int32(in.Off) - int32(p.Off)
	if b.placed.Has(name) {
		return b.deltas[name] == delta
	}
	b.deltas[name] = delta
	b.placed |= bpf.Set(name)
	return true
}

// holdsAt tells whether what the rule says of registers that came up just now
// holds before instruction j. What kind of value they are is for the proof to say.
func (r *Rule) holdsAt(w *windows.Window, b *binding, before bpf.Registers, j int) bool {
	if len(r.Facts) == 0 {
		return true
	}
	state := w.FactsAt(j)
	for name, want := range r.Facts {
		if b.names.Has(name) && !before.Has(name) && !within(state.Regs[b.regs[name]], want) {
			return false
		}
	}
	return true
}

// within tells whether all numbers that v may be are among those that want
// allows.
func within(v, want flow.Value) bool {
	return v.Mask&^want.Mask == 0 && v.Bits&^want.Mask == want.Bits &&
		v.UMin >= want.UMin && v.UMax <= want.UMax && v.SMin >= want.SMin && v.SMax <= want.SMax
}

// needed tells whether no more is read behind the last instruction than what
// the rule keeps.
func (r *Rule) needed(w *windows.Window, b *binding, last int) bool {
	live := w.NeedsAt(last + 1)
	for name := range bpf.R10 {
		if r.writes.Has(name) && b.names.Has(name) && live.Regs[b.regs[name]]&^r.Needs.Regs[name] != 0 {
			return false
		}
	}
	return true
}

// instantiate is the window's code with what the rule has for the matched
// instructions, in the place of the last one.
func (r *Rule) instantiate(w *windows.Window, b *binding, at []int) ([]bpf.Instruction, bool) {
	var out []bpf.Instruction
	for i, in := range w.Code {
		if !slices.Contains(at, i) {
			out = append(out, in)
		}
		if i != at[len(at)-1] {
			continue
		}
		for k, p := range r.New {
			in, ok := b.instruction(p)
			if !ok || in.Level() > w.Level {
				return nil, false
			}
			in.Pos = w.Code[at[min(k, len(at)-1)]].Pos
			out = append(out, in)
		}
	}
	return out, true
}

// instruction is the pattern with what its names stand for.
func (b *binding) instruction(p Pattern) (bpf.Instruction, bool) {
	in := p.Instruction
	if p.imm != nil {
		v, err := p.imm.eval(b.hole)
		if err != nil {
			return in, false
		}
		if in.Op.Class() == bpf.ClassALU || in.Op.Class() == bpf.ClassJMP32 {
			v = int64(int32(v)) // 32-bit operations read no more
		}
		if in.Imm = v; in.Op != bpf.LoadImm64 && v != int64(int32(v)) {
			return in, false
		}
	}
	if name, ok := base(in); ok {
		off := int32(in.Off) + b.deltas[name]
		if off < math.MinInt16 || off > math.MaxInt16 {
			return in, false
		}
		in.Off = int16(off)
	}
	if in.IsJump() {
		in.Target = b.target
	}
	if hasSrc(in) {
		in.Src = b.regs[in.Src]
	}
	in.Dst = b.regs[in.Dst]
	return in, in.Valid() == nil
}
