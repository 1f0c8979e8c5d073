package driver

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// cMaker writes random C: what clang makes of it is what the optimiser's passes
// were made for.
type cMaker struct {
	*rand.Rand
	strings.Builder
	depth  int
	vars   int
	isMain bool
	subs   []string
	room   int  // bytes of the packet that were found to be there
	elem   bool // e points to a value
	loops  int
}

func (m *cMaker) pick(of ...string) string { return of[m.IntN(len(of))] }

func (m *cMaker) line(format string, args ...any) {
	m.WriteString(strings.Repeat("\t", m.depth+1))
	fmt.Fprintf(&m.Builder, format+"\n", args...)
}

func (m *cMaker) number() string {
	return m.pick("0", "1", "2", "3", "7", "255", "256", "0xffff", "0x80000000u", "-1", "14", fmt.Sprint(m.IntN(100)), fmt.Sprintf("%#x", m.Uint32()))
}

func (m *cMaker) variable() string { return fmt.Sprintf("v%d", m.IntN(m.vars)) }

// expr is a number.
func (m *cMaker) expr(depth int) string {
	if depth == 0 || m.IntN(4) == 0 {
		return m.leaf()
	}
	a, b := m.expr(depth-1), m.expr(depth-1)
	switch m.IntN(9) {
	case 0:
		return fmt.Sprintf("(%s %s %d)", a, m.pick("<<", ">>"), m.IntN(32))
	case 1:
		return fmt.Sprintf("(%s)(%s)", m.pick("u8", "u16", "u32", "int", "short", "u64"), a)
	case 2:
		return fmt.Sprintf("(%s %s %s)", a, m.pick("==", "<", ">", "!=", "&&", "||"), b)
	case 3:
		return fmt.Sprintf("(%s ? %s : %s)", m.condition(), a, b)
	case 4:
		return fmt.Sprintf("__builtin_bswap%s(%s)", m.pick("16", "32", "64"), a)
	default:
		return fmt.Sprintf("(%s %s %s)", a, m.pick("+", "-", "&", "|", "^", "*"), b)
	}
}

func (m *cMaker) leaf() string {
	switch k := m.IntN(10); {
	case k < 3:
		return m.number()
	case k == 3:
		return fmt.Sprintf("*(u%s *)(state + %d)", m.pick("8", "16", "32", "64"), 8*m.IntN(16))
	case k == 4 && m.isMain:
		return m.pick("skb->mark", "skb->len", "skb->cb[0]", "skb->cb[1]", "skb->protocol")
	case k < 7 && m.room > 0:
		switch at := m.IntN(m.room - 8); m.IntN(4) {
		case 0:
			return fmt.Sprintf("*(u16 *)(p + %d)", at)
		case 1:
			return fmt.Sprintf("*(u32 *)(p + %d)", at)
		case 2:
			return fmt.Sprintf("(p[%d] << 8 | p[%d])", at, at+1)
		default:
			return fmt.Sprintf("p[%d]", at)
		}
	case k == 7 && m.elem:
		return m.pick("e->a", "e->b", "(u32)e->a", "((u8 *)e)[3]")
	}
	return m.variable()
}

func (m *cMaker) condition() string {
	return fmt.Sprintf("%s %s %s", m.expr(1), m.pick("==", "!=", "<", ">", "<=", ">=", "&"), m.pick(m.number(), m.leaf()))
}

func (m *cMaker) block(n int) {
	room, elem := m.room, m.elem
	m.depth++
	for range n {
		m.statement()
	}
	m.depth--
	m.room, m.elem = room, elem
}

func (m *cMaker) statement() {
	k := m.IntN(26)
	if m.depth > 3 || m.Len() > 2500 {
		k = m.IntN(12)
	}
	switch {
	case k < 6:
		m.line("%s %s %s;", m.variable(), m.pick("=", "=", "+=", "^=", "|=", "-="), m.expr(2))
	case k < 8:
		m.line("*(u%s *)(state + %d) %s %s;", m.pick("8", "16", "32", "64"), 8*m.IntN(16), m.pick("=", "=", "+="), m.expr(1))
	case k < 9 && m.isMain:
		m.line("%s = %s;", m.pick("skb->mark", "skb->cb[0]", "skb->cb[1]", "skb->cb[2]", "skb->cb[3]"), m.pick("0", m.expr(1)))
	case k < 10 && m.room > 0:
		m.line("%s = %s;", m.pick(fmt.Sprintf("p[%d]", m.IntN(m.room)), fmt.Sprintf("*(u16 *)(p + %d)", m.IntN(m.room-1)), fmt.Sprintf("*(u32 *)(p + %d)", m.IntN(m.room-3))), m.expr(1))
	case k < 11 && m.elem:
		m.line("%s %s %s;", m.pick("e->a", "e->b"), m.pick("=", "+=", "^="), m.expr(1))
	case k < 12 && m.elem:
		m.line("__sync_fetch_and_add(&e->a, %s);", m.expr(1))
	case k < 17:
		m.branch()
	case k < 19:
		m.line("if (%s) return %s;", m.condition(), m.result())
	case k < 20:
		m.choice()
	case k < 21:
		m.loop()
	case k < 24:
		m.call()
	case k < 25 && m.isMain && m.room == 0 && m.loops == 0:
		m.room = []int{14, 20, 34, 40}[m.IntN(4)]
		m.line("p = (u8 *)(long)skb->data; if (p + %d > (u8 *)(long)skb->data_end) return %s;", m.room, m.result())
	default:
		m.lookup()
	}
}

func (m *cMaker) result() string { return m.pick("0", "0", "1", "2", "-1", m.variable(), m.leaf()) }

func (m *cMaker) branch() {
	m.line("if (%s) {", m.condition())
	m.block(1 + m.IntN(3))
	if m.IntN(2) == 0 {
		m.line("} else {")
		m.block(1 + m.IntN(3))
	}
	m.line("}")
}

func (m *cMaker) choice() {
	m.line("switch (%s) {", m.expr(1))
	for i := range 2 + m.IntN(5) {
		m.line("case %d:", i*3+m.IntN(3))
		m.block(1)
		m.line("\t%s;", m.pick("break", "break", "return "+m.result()))
	}
	m.line("}")
}

func (m *cMaker) loop() {
	if m.loops > 0 {
		return
	}
	m.loops++
	i := fmt.Sprintf("i%d", m.Len())
	m.line("_Pragma(\"clang loop unroll(disable)\")\n\tfor (u32 %s = 0; %s < %d; %s++) {", i, i, 1+m.IntN(4), i)
	m.block(1 + m.IntN(2))
	m.line("\t%s += %s;", m.variable(), i)
	m.line("}")
	m.loops--
}

func (m *cMaker) call() {
	switch k := m.IntN(6); {
	case k < 3 && len(m.subs) > 0:
		m.line("%s = %s(%s, %s);", m.variable(), m.pick(m.subs...), m.expr(1), m.variable())
	case k == 3 && m.isMain && m.loops == 0:
		m.line("{ struct value c = {%s, %s}; loop(%d, each, &c, 0); %s = c.a; %s ^= c.b; }", m.expr(1), m.expr(1), 1+m.IntN(5), m.variable(), m.variable())
	case k == 4:
		m.line("{ u32 k = %d; struct value c = {%s, %s}; update(&%s, &k, &c, 0); }", m.IntN(5), m.expr(1), m.expr(1), m.pick("array", "hash"))
	case k == 5 && m.isMain && m.loops == 0:
		m.line("tail(skb, &progs, %d);", m.IntN(3))
	default:
		m.line("{ u32 k = %s; remove(&hash, &k); }", m.expr(1))
	}
}

func (m *cMaker) lookup() {
	if m.loops > 0 {
		return
	}
	m.line("{ u32 k = %s; e = lookup(&%s, &k); }", m.pick(fmt.Sprint(m.IntN(5)), m.expr(1)+" & 7"), m.pick("array", "hash"))
	if m.IntN(2) == 0 {
		m.line("if (!e) return %s;", m.result())
		m.elem = true
		return
	}
	m.line("if (e) {")
	m.elem = true
	m.block(1 + m.IntN(3))
	m.elem = false
	m.line("}")
}

// cHead is what programs in C have besides.
const cHead = `
static void *(*lookup)(void *, const void *) = (void *)1;
static long (*update)(void *, const void *, const void *, u64) = (void *)2;
static long (*remove)(void *, const void *) = (void *)3;
static long (*tail)(void *, void *, u32) = (void *)12;
static long (*loop)(u32, void *, void *, u64) = (void *)181;
static long each(u32 i, struct value *c)
{
	if (c->a & 1) c->b += i; else c->b ^= c->a;
	c->a = c->a * 3 + i;
	return c->b > 1000;
}
`

// cFunction is a function of random C.
func cFunction(rng *rand.Rand, name string, isMain bool, subs ...string) string {
	m := &cMaker{Rand: rng, isMain: isMain, subs: subs, vars: 4 + rng.IntN(3)}
	head := "__attribute__((noinline)) static u64 " + name + "(u64 a, u32 b)"
	if isMain {
		head = "__attribute__((section(\"tc\"))) int " + name + "(struct __sk_buff *skb)"
	}
	m.WriteString(head + "\n{\n\tu8 *p; struct value *e;\n")
	for i := range m.vars {
		value := m.pick("0", "1", "*(u32 *)(state + 8)", "*(u64 *)(state + 16)")
		if !isMain {
			value = m.pick("a", "b", "1")
		}
		m.line("%s v%d = %s;", m.pick("u32", "u64", "int", "u16"), i, value)
	}
	for range 3 + m.IntN(8) {
		if !isMain && m.Len() > 1200 {
			break
		}
		m.statement()
	}
	m.line("return %s;\n}", m.result())
	return m.String()
}
