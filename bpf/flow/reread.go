package flow

import (
	"slices"
	"sort"

	"github.com/k2cc/k2cc/bpf"
)

// Reread is a load of a place whose value is in registers already: they hold what
// was last read or written there in the same width, and since then nothing
// happened that others could see, or that could have changed the place but for
// others. That the load yields the same is not known, where others may write
// there at any time: it is what a function may choose that does without it, since
// nobody can tell it from one that read twice in no time.
type Reread struct {
	Index int           // of the load in its block
	Regs  bpf.Registers // what holds the value before it
	// Block and At are the instruction that left the value in its Dst, where that
	// is known; else Block is -1.
	Block, At int
}

// Rereads is the loads of a block that need not be, also those of which a register
// had the value but has no more.
func (f *Facts) Rereads(block int) []Reread {
	if !f.Reachable(block) {
		return nil
	}
	var out []Reread
	m, code := f.machine(block, nil), f.fn.Blocks[block].Code
	_, err := f.walk(block, func(i int, s *state) {
		if i == len(code) || !code[i].IsLoad() {
			return
		}
		m.s = s
		if r, ok := m.reread(code[i]); ok {
			r.Index = i
			out = append(out, r)
		}
	})
	if err != nil {
		return nil // not so: Analyze has walked the block
	}
	return out
}

// reading is a place outside the own frame and what was last read or written
// there, as Reread wants it.
type reading struct {
	address
	value based
}

// address is a place and the way of reading it.
type address struct {
	op   bpf.Op  // of the load: its width, and how it extends
	ref  bpf.Ref // of an offset that a loader patches
	at   based
	kind Kind
	// lasting says that nobody writes to the place while the function may run.
	lasting bool
}

// based is a number as what a Base stands for plus a constant, or as a constant
// where that is constBase; nothing is known of it where the Base is zero.
type based struct {
	base   Base
	offset int64
}

func basedOf(v Value) based {
	if v.Kind == KindNone {
		return based{}
	}
	base, offset := identity(v)
	return based{base, offset}
}

// maxReadings bounds how many places are followed.
const maxReadings = 16

// place is where a load or store leads. It tells whether that is a place to be
// followed.
func (m *machine) place(in bpf.Instruction) (address, bool) {
	base := in.Src
	if in.IsStore() {
		base = in.Dst
		in.Op = in.Op&^(bpf.ClassST|bpf.ClassSTX) | bpf.ClassLDX
	}
	p := m.s.Regs[base]
	a := address{op: in.Op, at: basedOf(p), kind: p.Kind, lasting: m.lasting(p)}
	a.at.offset += int64(in.Off)
	if in.PatchesOffset() {
		a.ref = in.Ref
	}
	return a, a.at.base > 0 && p.Kind != KindStack
}

// lasting tells whether a pointer leads to what nobody writes to any more once a
// program is loaded.
func (m *machine) lasting(p Value) bool {
	ref, ok := SymbolOf(m.facts.fn, p.Base)
	return ok && m.facts.fn.Symbol(ref).Frozen
}

// reread tells what has the value that a load would read, if it need not be.
func (m *machine) reread(in bpf.Instruction) (out Reread, ok bool) {
	a, ok := m.place(in)
	if !ok {
		return out, false
	}
	out.Block, ok = -1, false
	for _, r := range m.s.readings {
		if r.address != a {
			continue
		}
		ok = true
		for reg := range bpf.R10 {
			if basedOf(m.s.Regs[reg]) == r.value {
				out.Regs |= bpf.Set(reg)
			}
		}
		if out.Block < 0 && r.value.offset == 0 {
			out.Block, out.At = m.leftBy(r.value.base)
		}
	}
	return out, ok
}

// leftBy is the instruction that left what b stands for in a register, or -1.
func (n *naming) leftBy(b Base) (block, i int) {
	if b < n.sites || b >= n.phis || (b-n.sites)%sitesPerInstruction != siteRegister {
		return -1, 0
	}
	block = sort.Search(len(n.starts), func(i int) bool { return n.starts[i] > b }) - 1
	return block, int(b-n.starts[block]) / sitesPerInstruction
}

// note makes of the readings before an instruction those behind it, where
// registers are already as they are behind it. It accesses place a, if it is a
// load or a store, which is to be followed if ok.
func (m *machine) note(in bpf.Instruction, a address, ok bool) {
	switch {
	case in.IsCall(), in.IsPacketLoad(), in.IsAtomic():
		m.s.forget(func(r *reading) bool { return !r.lasting })
	case in.IsLoad() && !a.unseen():
		m.s.forget(func(r *reading) bool { return !r.unseen() })
	case in.IsStore():
		m.s.forget(func(r *reading) bool { return m.mayChange(a, r) })
	}
	switch {
	case !ok:
	case in.IsLoad():
		m.s.remember(reading{a, basedOf(m.s.Regs[in.Dst])})
	case in.IsStore() && (a.kind == KindMapValue || a.kind == KindPacket):
		m.s.remember(reading{a, m.stored})
	}
}

// unseen tells whether nobody else can see accesses to the place, or write there.
func (a *address) unseen() bool {
	return a.kind == KindStack || a.kind == KindContext || a.lasting
}

// mayChange tells whether a store to a may change what r says, or others may see
// whether r was read before or after it.
func (m *machine) mayChange(a address, r *reading) bool {
	switch {
	case r.lasting:
		return a.at.base == r.at.base
	case a.kind == KindStack:
		return m.s.Escaped && !r.kind.IsPointer()
	case r.kind == KindContext:
		return a.kind == KindContext || !a.kind.IsPointer()
	}
	return true
}

// forget takes out the readings of which drop is true. Slices of readings are
// shared between states and never changed in place.
func (s *state) forget(drop func(*reading) bool) {
	if !slices.ContainsFunc(s.readings, func(r reading) bool { return drop(&r) }) {
		return
	}
	var kept []reading
	for _, r := range s.readings {
		if !drop(&r) {
			kept = append(kept, r)
		}
	}
	s.readings = kept
}

// remember notes what was last read at a place. What was read there before is the
// same where nobody writes.
func (s *state) remember(r reading) {
	old := s.readings
	s.forget(func(o *reading) bool { return o.address == r.address && !r.lasting || *o == r })
	if r.value.base == 0 {
		return
	}
	if len(s.readings) == maxReadings {
		s.readings = s.readings[1:]
	}
	s.readings = append(slices.Clip(s.readings), r)
	if slices.Equal(old, s.readings) {
		s.readings = old
	}
}

// resolve notes that a number is the constant v.
func (s *state) resolve(n based, v uint64) {
	readings := slices.Clone(s.readings)
	for i, r := range readings {
		if r.value.base == n.base {
			readings[i].value = based{constBase, int64(v) + r.value.offset - n.offset}
		}
	}
	s.readings = readings
}

// readings is what is known where ways come together on which a and b are known.
// Registers and cells have been joined before: places and values that are not in
// one of these are given up. What others may write is read anew each time round a
// loop, which may wait for that.
func (j *joiner) readings(a, b []reading) []reading {
	var out []reading
	for _, x := range a {
		if j.heads != nil && j.heads[j.block] && !x.unseen() {
			continue
		}
		for _, y := range b {
			at, ok := j.renamed(x.at, y.at)
			value, same := j.renamed(x.value, y.value)
			if !ok || !same || x.op != y.op || x.ref != y.ref || x.kind != y.kind || x.lasting != y.lasting {
				continue
			}
			if r := (reading{x.address, value}); j.effort < alone || at == x.at && value == x.value {
				r.at = at
				out = append(out, r)
			}
			break
		}
	}
	if slices.Equal(out, a) {
		return a
	}
	return out
}

// renamed is what is a on one way and b on the other, if that has a name.
func (j *joiner) renamed(a, b based) (based, bool) {
	if a == b && (a.base == constBase || !j.owns(j.block, a.base)) {
		return a, true
	}
	g, ok := j.groups[pair{a.base, b.base, a.offset - b.offset}]
	return based{g.base, a.offset - g.offset}, ok
}
