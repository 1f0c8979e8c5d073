package driver

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
)

// holding is what a register or a slot of the frame holds in a random program.
type holding struct {
	kind byte // one of the below
	off  int  // of a pointer, from where it started
	size int  // of what may be accessed through a pointer, from where it started
}

const (
	nothing = 0
	number  = 's'
	skb     = 'c'
	packet  = 'p'
	value   = 'm'
	stack   = 'f'
)

// asmState is what registers and slots of the frame hold at one place.
type asmState struct {
	regs  [10]holding
	slots map[int]holding // by offset from the frame pointer, of eight bytes
}

func (s *asmState) clone() *asmState {
	return &asmState{s.regs, maps.Clone(s.slots)}
}

// meet keeps what both hold.
func (s *asmState) meet(o *asmState) {
	for r := range s.regs {
		if s.regs[r] != o.regs[r] {
			s.regs[r] = holding{}
		}
	}
	maps.DeleteFunc(s.slots, func(off int, h holding) bool { return o.slots[off] != h })
}

// asmMaker writes one function of random assembly: what the optimiser's passes
// are for is frequent in it, and all of it is what the verifier takes.
type asmMaker struct {
	*rand.Rand
	strings.Builder
	name   string
	level  int // ISA level, 1 to 4
	labels int
	loops  int
	depth  int
	inLoop int
	isMain bool
	subs   int
	end    string // the label of the one exit, which returns R8; empty: there are many
	*asmState
}

// frameSlots are those of numbers and spilled pointers, scratchSlot is what
// helpers are given keys in.
const (
	frameSlots  = 8
	scratchSlot = -96
	loopSlot    = -104
)

// line writes lines of assembly as a string in C.
func (m *asmMaker) line(format string, args ...any) {
	for line := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		fmt.Fprintf(&m.Builder, "\t\"%s\\n\"\n", line)
	}
}

func (m *asmMaker) label() string { m.labels++; return fmt.Sprintf("%s_%d", m.name, m.labels) }

func (m *asmMaker) start(l string) { m.line("%s:", l) }

// one is an element of a list.
func one[T any](m *asmMaker, of ...T) T { return of[m.IntN(len(of))] }

func (m *asmMaker) imm() int {
	switch m.IntN(6) {
	case 0:
		return int(int32(m.Uint32()))
	case 1:
		return one(m, 0xff, 0xffff, 0x7fffffff, -0x80000000, 0x8000, -256, 64, 31, 32)
	}
	return one(m, 0, 1, 2, 3, -1, 7, 8, 14)
}

// having is a register that holds such a thing, or -1.
func (m *asmMaker) having(kinds string) int {
	var all []int
	for r, h := range m.regs {
		if h.kind != nothing && strings.IndexByte(kinds, h.kind) >= 0 {
			all = append(all, r)
		}
	}
	if len(all) == 0 {
		return -1
	}
	return one(m, all...)
}

// target is a register that may be written.
func (m *asmMaker) target() int {
	for {
		r := m.IntN(10)
		if r == 6 && m.isMain {
			continue // always the context
		}
		if r == 8 && m.end != "" {
			continue
		}
		if m.inLoop > 0 && m.regs[r].kind != nothing && m.regs[r].kind != number {
			continue
		}
		return r
	}
}

func (m *asmMaker) w(r int) string {
	if m.level >= 3 && m.IntN(2) == 0 {
		return fmt.Sprintf("w%d", r)
	}
	return fmt.Sprintf("r%d", r)
}

// alu computes with numbers.
func (m *asmMaker) alu() {
	a := m.having("s")
	if a < 0 {
		m.set()
		return
	}
	d := m.w(a)
	op := one(m, "+=", "-=", "&=", "|=", "^=", "*=", "<<=", ">>=", "s>>=", "/=", "%=")
	b := m.having("s")
	switch {
	case m.IntN(12) == 0 && d[0] == 'r':
		m.line("%s = %s %s", d, one(m, "be16", "be32", "be64", "le16", "le32"), d)
	case m.IntN(16) == 0:
		m.line("%s = -%s", d, d)
	case m.IntN(2) == 0:
		m.line("%s %s %c%d", d, op, d[0], b)
	case op[len(op)-2] == '<' || op[len(op)-2] == '>':
		m.line("%s %s %d", d, op, m.IntN(32))
	default:
		imm := m.imm()
		if imm == 0 && (op == "/=" || op == "%=") {
			imm = 3
		}
		m.line("%s %s %d", d, op, imm)
	}
}

// set gives a register a constant.
func (m *asmMaker) set() {
	r := m.target()
	switch {
	case m.IntN(8) == 0:
		m.line("r%d = %#x ll", r, m.Uint64()>>m.IntN(64))
	default:
		m.line("%s = %d", m.w(r), m.imm())
	}
	m.regs[r] = holding{kind: number}
}

// move copies a register.
func (m *asmMaker) move() {
	a := m.having("sssspmf")
	if a < 0 {
		return
	}
	r := m.target()
	if m.inLoop > 0 && m.regs[a].kind != number && m.regs[r].kind != nothing {
		return
	}
	h := m.regs[a]
	if h.kind == number {
		d := m.w(r)
		if m.level >= 4 && m.IntN(6) == 0 {
			m.line("%s = (%s)%c%d", d, one(m, "s8", "s16"), d[0], a)
		} else {
			m.line("%s = %c%d", d, d[0], a)
		}
	} else {
		m.line("r%d = r%d", r, a)
		if by := m.IntN(4) * 4; m.IntN(2) == 0 && h.off+by < h.size && h.kind != skb {
			m.line("r%d += %d", r, by)
			h.off += by
		}
	}
	m.regs[r] = h
}

// place is an access of some bytes through a pointer.
func (m *asmMaker) place(kinds string, atomic bool) (text string, off int, ok bool) {
	size := one(m, 1, 2, 4, 8)
	if atomic {
		size = one(m, 4, 8)
	}
	r := m.having(kinds)
	if r < 0 {
		return "", 0, false
	}
	h := m.regs[r]
	room := h.size/size - 1
	if room < 0 {
		return "", 0, false
	}
	at := size * m.IntN(room+1)
	return fmt.Sprintf("*(u%d *)(r%d %+d)", 8*size, r, at-h.off), at, true
}

func (m *asmMaker) load() {
	p, _, ok := m.place("ppmmf", false)
	if !ok {
		return
	}
	r := m.target()
	if m.level >= 4 && m.IntN(6) == 0 && !strings.HasPrefix(p, "*(u64") {
		p = strings.Replace(p, "(u", "(s", 1)
	}
	m.line("r%d = %s", r, p)
	m.regs[r] = holding{kind: number}
}

func (m *asmMaker) store() {
	p, _, ok := m.place("ppmmmf", false)
	r := m.having("s")
	if !ok || r < 0 {
		return
	}
	m.line("%s = %s", p, one(m, fmt.Sprintf("r%d", r), fmt.Sprintf("%s%d", map[bool]string{true: "w", false: "r"}[m.level >= 3 && !strings.HasPrefix(p, "*(u64")], r)))
}

func (m *asmMaker) atomic() {
	p, _, ok := m.place("mf", true)
	r := m.having("s")
	if !ok || r < 0 {
		return
	}
	wide := strings.HasPrefix(p, "*(u64")
	if m.level < 3 {
		m.line("lock %s += r%d", p, r)
		return
	}
	reg := fmt.Sprintf("%s%d", map[bool]string{true: "r", false: "w"}[wide], r)
	switch m.IntN(3) {
	case 0:
		m.line("lock %s %s %s", p, one(m, "+=", "|=", "&=", "^="), reg)
	case 1:
		p := strings.Replace(p, "*(", "(", 1)
		m.line("%s = atomic_fetch_%s(%s, %s)", reg, one(m, "add", "or", "and", "xor"), p, reg)
	default:
		p := strings.Replace(p, "*(u64 *)", "", 1)
		if wide {
			m.line("%s = xchg_64%s, %s)", reg, strings.TrimSuffix(p, ")"), reg)
		}
	}
}

// slot spills and fills.
func (m *asmMaker) slot() {
	off := -8 * (1 + m.IntN(frameSlots))
	if h := m.slots[off]; h.kind != nothing && m.IntN(3) > 0 {
		r := m.target()
		if m.inLoop > 0 && h.kind != number && m.regs[r].kind != nothing {
			return
		}
		m.line("r%d = *(u64 *)(r10 %+d)", r, off)
		m.regs[r] = h
		return
	}
	if h := m.slots[off]; m.inLoop > 0 && h.kind != number {
		return
	}
	r := m.having("sssmp")
	if r < 0 || m.inLoop > 0 && m.regs[r].kind != number {
		return
	}
	m.line("*(u64 *)(r10 %+d) = r%d", off, r)
	m.slots[off] = m.regs[r]
}

// context reads and writes the skb.
func (m *asmMaker) context() {
	if !m.isMain {
		return
	}
	const mark, cb = 8, 48
	if m.IntN(2) == 0 {
		r := m.target()
		m.line("r%d = *(u32 *)(r6 + %d)", r, one(m, 0, mark, 16, cb, cb+4, cb+8))
		m.regs[r] = holding{kind: number}
	} else if r := m.having("s"); r >= 0 {
		m.line("*(u32 *)(r6 + %d) = r%d", one(m, mark, cb, cb+4, cb+8, cb+12, cb+16), r)
		if m.IntN(2) == 0 {
			z := m.target()
			m.line("r%d = 0", z)
			m.regs[z] = holding{kind: number}
			at := 4 * m.IntN(4)
			for i := range 2 {
				m.line("*(u32 *)(r6 + %d) = r%d", cb+at+4*i, z)
			}
		}
	}
}
