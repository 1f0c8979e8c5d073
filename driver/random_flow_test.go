package driver

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// sight makes a part of the packet accessible; where it is too short, something
// else is done or the function left.
func (m *asmMaker) sight() {
	if !m.isMain || m.inLoop > 0 {
		return
	}
	p, e := m.target(), m.target()
	c := m.target()
	if p == e || p == c || c == e {
		return
	}
	n := one(m, 14, 20, 34, 40)
	l := m.label()
	m.line("r%d = *(u32 *)(r6 + 76)\nr%d = *(u32 *)(r6 + 80)", p, e)
	m.line("r%d = r%d\nr%d += %d", c, p, c, n)
	m.regs[p], m.regs[e], m.regs[c] = holding{}, holding{}, holding{}
	short := m.clone()
	m.line("if r%d > r%d goto %s", c, e, l)
	m.regs[p] = holding{packet, 0, n}
	m.regs[c] = holding{packet, n, n}
	m.statements(1 + m.IntN(5))
	if m.IntN(2) == 0 {
		m.exit()
		m.asmState = short
		m.start(l)
		return
	}
	m.start(l)
	m.meet(short)
}

// call calls a helper or another function.
func (m *asmMaker) call() {
	switch k := m.IntN(8); {
	case k < 2:
		m.keyed(m.IntN(5))
		m.line("r1 = %s ll\ncall 1", one(m, "array", "hash"))
		l := m.label()
		m.lose()
		m.regs[0] = holding{}
		null := m.clone()
		null.regs[0] = holding{kind: number}
		m.line("if r0 == 0 goto %s", l)
		if m.inLoop == 0 {
			m.regs[0] = holding{value, 0, 16}
		}
		m.statements(1 + m.IntN(4))
		m.start(l)
		m.meet(null)
	case k == 2:
		m.keyed(m.IntN(5))
		m.line("r3 = state ll\nr4 = 0\nr1 = %s ll\ncall 2", one(m, "array", "hash"))
		m.lose()
	case k == 3:
		m.keyed(m.IntN(5))
		m.line("r1 = hash ll\ncall 3")
		m.lose()
	case k == 4 && m.isMain:
		m.line("r1 = r6\nr2 = %d\nr3 = r10\nr3 += %d\nr4 = 8\ncall 26", m.IntN(40), scratchSlot)
		m.lose()
	case k == 5 && m.isMain:
		m.packetLoad()
	case k >= 6 && m.subs > 0:
		for r := 1; r <= 2; r++ {
			if a := m.having("s"); a > r {
				m.line("r%d = r%d", r, a)
			} else {
				m.line("r%d = %d", r, m.imm())
			}
			m.regs[r] = holding{}
		}
		m.line("call %s", one(m, "sub0", "sub1"))
		m.lose()
	}
}

func (m *asmMaker) packetLoad() {
	size := one(m, "u8", "u16", "u32")
	if a := m.having("s"); a >= 0 && m.IntN(2) == 0 {
		m.line("r%d &= 31\nr0 = *(%s *)skb[r%d]", a, size, a)
	} else {
		m.line("r0 = *(%s *)skb[%d]", size, m.IntN(40))
	}
	m.lose()
}

// keyed puts a key where R2 points to.
func (m *asmMaker) keyed(key int) {
	if m.IntN(2) == 0 {
		m.line("*(u32 *)(r10 %+d) = %d", scratchSlot, key)
	} else {
		m.line("r1 = %d\n*(u32 *)(r10 %+d) = r1", key, scratchSlot)
	}
	m.line("r2 = r10\nr2 += %d", scratchSlot)
}

// lose accounts for a call.
func (m *asmMaker) lose() {
	m.regs[0] = holding{kind: number}
	for r := 1; r <= 5; r++ {
		m.regs[r] = holding{}
	}
}

// condition is what a branch compares.
func (m *asmMaker) condition() string {
	r := m.having("s")
	if r < 0 {
		m.line("r0 = %d", m.imm())
		m.regs[0], r = holding{kind: number}, 0
	}
	ops := []string{"==", "!=", ">", ">=", "s>", "s>=", "&"}
	if m.level >= 2 {
		ops = append(ops, "<", "<=", "s<", "s<=")
	}
	if c := m.target(); m.level == 1 && c != r && m.IntN(2) == 0 {
		m.line("r%d = r%d\nr%d ^= -1", c, r, c)
		m.regs[c] = holding{kind: number}
		return fmt.Sprintf("r%d %s %d", c, one(m, ">", ">=", "s>", "s>="), m.imm())
	}
	d := m.w(r)
	if b := m.having("s"); m.IntN(3) == 0 {
		return fmt.Sprintf("%s %s %c%d", d, one(m, ops...), d[0], b)
	}
	return fmt.Sprintf("%s %s %d", d, one(m, ops...), m.imm())
}

// branch goes two ways, both of which may start or end alike.
func (m *asmMaker) branch() {
	other, join := m.label(), m.label()
	m.line("if %s goto %s", m.condition(), other)
	before := m.clone()
	mark := m.Len()
	m.statements(m.IntN(3))
	head := m.String()[mark:]
	if strings.Contains(head, ":") || strings.Contains(head, "exit") {
		head = ""
	}
	same := m.clone()
	if m.IntN(3) == 0 {
		m.statements(1 + m.IntN(3))
	}
	left := m.IntN(4) == 0
	if left {
		m.exit()
	} else {
		m.line("goto %s", join)
	}
	first := m.asmState
	m.start(other)
	m.asmState = before
	if head != "" && m.IntN(2) == 0 {
		m.WriteString(head)
		m.asmState = same
	}
	m.statements(m.IntN(4))
	m.start(join)
	if !left {
		m.meet(first)
	}
}

// choice compares a number with several constants.
func (m *asmMaker) choice() {
	r := m.having("s")
	if r < 0 {
		return
	}
	join := m.label()
	var labels []string
	before := m.clone()
	for i := range 2 + m.IntN(4) {
		labels = append(labels, m.label())
		m.line("if r%d == %d goto %s", r, i*one(m, 1, 2, 8), labels[i])
	}
	m.line("goto %s", join)
	result := before.clone()
	for _, l := range labels {
		m.asmState = before.clone()
		m.start(l)
		m.statements(m.IntN(2))
		if m.IntN(2) == 0 {
			m.exit()
			continue
		}
		m.line("goto %s", join)
		result.meet(m.asmState)
	}
	m.start(join)
	m.asmState = result
}

// loop goes round a few times.
func (m *asmMaker) loop() {
	if m.loops == 2 || m.inLoop > 0 || m.depth > 3 {
		return
	}
	at := loopSlot - 8*m.loops
	m.loops++
	head, out := m.label(), m.label()
	m.line("*(u64 *)(r10 %+d) = %d", at, 1+m.IntN(4))
	m.lose()
	m.regs[0] = holding{}
	before := m.clone()
	m.start(head)
	m.inLoop++
	m.statements(2 + m.IntN(4))
	m.inLoop--
	r := m.IntN(6)
	m.line("r%d = *(u64 *)(r10 %+d)\nr%d += -1\n*(u64 *)(r10 %+d) = r%d\nif r%d != 0 goto %s", r, at, r, at, r, r, head)
	m.regs[r] = holding{}
	m.start(out)
	m.meet(before)
}

// exit leaves the function with a result.
func (m *asmMaker) exit() {
	for range max(0, m.IntN(5)-1) {
		if r := m.having("s"); r >= 0 && r != 7 && m.regs[7].kind == value {
			m.line("*(u64 *)(r7 %+d) = r%d", 8*m.IntN(16)-m.regs[7].off, r)
		}
	}
	if m.isMain && m.IntN(12) == 0 {
		m.line("r1 = r6\nr2 = progs ll\nr3 = %d\ncall 12", m.IntN(3))
		m.lose()
	}
	result, leave := 0, "exit"
	if m.end != "" {
		result, leave = 8, "goto "+m.end
	}
	if r := m.having("s"); r >= 0 && m.IntN(3) == 0 {
		m.line("r%d = r%d\n%s", result, r, leave)
		return
	}
	if m.end != "" && m.IntN(3) == 0 {
		m.line("goto %s", m.end) // with what was set before
		return
	}
	m.line("%s = %d\n%s", m.w(result), one(m, 0, 1, 2, -1), leave)
}

func (m *asmMaker) statements(n int) {
	m.depth++
	defer func() { m.depth-- }()
	for range n {
		m.statement()
	}
}

func (m *asmMaker) statement() {
	if m.end != "" && m.IntN(20) == 0 {
		m.line("%s = %d", m.w(8), one(m, 0, 1, 2, -1))
		return
	}
	k := m.IntN(34)
	if m.depth > 5 || m.Len() > 6000 {
		k = m.IntN(24)
	}
	switch {
	case k < 6:
		m.alu()
	case k < 10:
		m.set()
	case k < 14:
		m.move()
	case k < 17:
		m.load()
	case k < 20:
		m.store()
	case k < 21:
		m.atomic()
	case k < 23:
		m.slot()
	case k < 24:
		m.context()
	case k < 28:
		m.branch()
	case k < 29:
		m.choice()
	case k < 30:
		m.loop()
	case k < 31:
		m.sight()
	default:
		m.call()
	}
}

// asmFunction is the C text of one function of random assembly.
func asmFunction(rng *rand.Rand, name string, level int, isMain bool) string {
	m := &asmMaker{Rand: rng, name: name, level: level, isMain: isMain, asmState: &asmState{slots: map[int]holding{}}}
	m.line("*(u64 *)(r10 %+d) = 0", scratchSlot)
	for i := range frameSlots {
		m.line("*(u64 *)(r10 %+d) = %d", -8*(i+1), m.imm())
		m.slots[-8*(i+1)] = holding{kind: number}
	}
	if isMain {
		m.subs = 2
		m.line("r6 = r1\nr7 = state ll")
		m.regs[6], m.regs[7] = holding{kind: skb}, holding{value, 0, 128}
		for _, r := range []int{0, 1, 2, 3, 8, 9} {
			m.line("r%d = *(u%d *)(r7 + %d)", r, one(m, 8, 16, 32, 64), 8*m.IntN(16))
			m.regs[r] = holding{kind: number}
		}
	} else {
		m.regs[1], m.regs[2] = holding{kind: number}, holding{kind: number}
		m.line("r7 = state ll")
		m.regs[7] = holding{value, 0, 128}
	}
	if m.IntN(2) == 0 {
		m.end = m.label()
		m.line("r8 = %d", one(m, 0, 1, 2))
		m.regs[8] = holding{kind: number}
	}
	m.statements(4 + m.IntN(12))
	m.exit()
	if m.end != "" {
		m.start(m.end)
		m.line("r0 = r8\nexit")
	}
	head := "__attribute__((naked, noinline, used)) static unsigned long " + name + "(void)"
	if isMain {
		head = "__attribute__((naked, section(\"tc\"))) int " + name + "(void)"
	}
	return head + "\n{\n\tasm volatile(\n" + m.String() + "\t);\n}\n"
}
