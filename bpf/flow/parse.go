package flow

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/k2cc/k2cc/bpf"
)

// ParseState reads what State's String writes: items between semicolons, each
// "r1 = value", "[r10-8:4] = value", "written [r10-8:8]" with any number of
// ranges, or "escaped". A register that is not named is not readable, but R10
// is the frame pointer.
func ParseState(text string) (State, error) {
	var s State
	for r := range s.Regs {
		s.Regs[r] = Unknown(KindNone)
	}
	s.Regs[bpf.R10] = frameAddress(0)
	for item := range strings.SplitSeq(text, ";") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		p := parser{left: item}
		if !p.item(&s) {
			return State{}, fmt.Errorf("fact %q: cannot read %q", item, p.left)
		}
	}
	return s, nil
}

// ParseLive reads what Live's String writes.
func ParseLive(text string) (Live, error) {
	var l Live
	p := parser{left: text}
	for p.space(); p.left != ""; p.space() {
		if off, size, ok := p.extent(); ok {
			l.Stack.Add(off, size)
			continue
		}
		r, ok := p.register()
		bits := ^uint64(0)
		if ok && p.skip(":") {
			bits, ok = p.unsigned()
		}
		if !ok {
			return Live{}, fmt.Errorf("needs %q: cannot read %q", text, p.left)
		}
		l.Regs[r] |= bits
	}
	return l, nil
}

// parser reads text from the front; its methods tell whether what they look
// for was there.
type parser struct{ left string }

func (p *parser) space() { p.left = strings.TrimLeft(p.left, " \t\n,") }

func (p *parser) skip(s string) bool {
	rest, ok := strings.CutPrefix(strings.TrimLeft(p.left, " \t"), s)
	if ok {
		p.left = rest
	}
	return ok
}

// word takes characters of a name or number.
func (p *parser) word() string {
	p.left = strings.TrimLeft(p.left, " \t")
	end := strings.IndexFunc(p.left, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && r != '_'
	})
	if end < 0 {
		end = len(p.left)
	}
	w := p.left[:end]
	p.left = p.left[end:]
	return w
}

func (p *parser) unsigned() (uint64, bool) {
	at := *p
	v, err := strconv.ParseUint(p.word(), 0, 64)
	if err != nil {
		*p = at
	}
	return v, err == nil
}

func (p *parser) signed() (int64, bool) {
	at := *p
	sign := ""
	if p.skip("-") {
		sign = "-"
	} else {
		p.skip("+")
	}
	v, err := strconv.ParseInt(sign+p.word(), 0, 64)
	if err != nil {
		*p = at
	}
	return v, err == nil
}

func (p *parser) register() (bpf.Register, bool) {
	at := *p
	digits, ok := strings.CutPrefix(p.word(), "r")
	n, err := strconv.ParseUint(digits, 10, 8)
	if !ok || err != nil || n >= bpf.NumRegisters {
		*p = at
		return 0, false
	}
	return bpf.Register(n), true
}

// extent reads [r10-8:4].
func (p *parser) extent() (off, size int, ok bool) {
	at := *p
	if p.skip("[") && p.skip("r10") {
		o, ok1 := p.signed()
		ok2 := p.skip(":")
		n, ok3 := p.unsigned()
		if ok1 && ok2 && ok3 && p.skip("]") && n > 0 && n <= StackSize && OnStack(o, int(n)) {
			return int(o), int(n), true
		}
	}
	*p = at
	return 0, 0, false
}

func (p *parser) item(s *State) bool {
	switch {
	case p.skip("escaped"):
		s.Escaped = true
	case p.skip("written"):
		for p.space(); p.left != ""; p.space() {
			off, size, ok := p.extent()
			if !ok {
				return false
			}
			s.Written.Add(off, size)
		}
	default:
		return p.fact(s)
	}
	return p.left == ""
}

func (p *parser) fact(s *State) bool {
	off, size, onStack := p.extent()
	var r bpf.Register
	if !onStack {
		var ok bool
		if r, ok = p.register(); !ok {
			return false
		}
	}
	if !p.skip("=") {
		return false
	}
	v, ok := p.value()
	if !ok || p.left != "" {
		return false
	}
	if !onStack {
		s.Regs[r] = v
		return true
	}
	if !slices.Contains([]int{1, 2, 4, 8}, size) {
		return false
	}
	n := number{v, 64}
	if size < 8 && !n.meet(within(0, ones(8*size), 64)) {
		return false
	}
	s.setCell(int64(off), size, n.Value)
	return true
}

func (p *parser) value() (Value, bool) {
	if v, ok := p.signed(); ok {
		return Const(uint64(v)), true
	}
	if v, ok := p.unsigned(); ok {
		return Const(v), true
	}
	name := p.word()
	if name == "fp" {
		if p.left == "" {
			return frameAddress(0), true
		}
		off, ok := p.signed()
		return frameAddress(off), ok
	}
	kind := slices.Index(kindNames[:], name)
	if kind < 0 {
		return Value{}, false
	}
	n := number{Unknown(Kind(kind)), 64}
	n.MaybeNull = p.skip("?")
	ok := p.identity(&n) && p.numbers(&n)
	return n.Value, ok
}

// identity reads (b7)+4 or (b7a8)+4, if there.
func (p *parser) identity(n *number) bool {
	if !p.skip("(") {
		return true
	}
	name, align, found := strings.Cut(strings.TrimPrefix(p.word(), "b"), "a")
	b, err := strconv.ParseInt(name, 10, 32)
	if err != nil || b <= 0 || !p.skip(")") {
		return false
	}
	n.Base = Base(b)
	if found {
		i := slices.Index([]string{"2", "4", "8"}, align)
		if i < 0 {
			return false
		}
		n.Align = 2 << i
	}
	if strings.HasPrefix(p.left, "+") || strings.HasPrefix(p.left, "-") {
		var ok bool
		n.Offset, ok = p.signed()
		return ok
	}
	return true
}

// numbers reads ranges and bits and makes them agree.
func (p *parser) numbers(n *number) bool {
	for p.left != "" {
		var a, b, c bool
		switch {
		case p.skip("["):
			n.UMin, a = p.unsigned()
			b = p.skip(",")
			n.UMax, c = p.unsigned()
			c = c && p.skip("]")
		case p.skip("s["):
			n.SMin, a = p.signed()
			b = p.skip(",")
			n.SMax, c = p.signed()
			c = c && p.skip("]")
		case p.skip("{"):
			n.Bits, a = p.unsigned()
			b = p.skip("/")
			n.Mask, c = p.unsigned()
			c = c && p.skip("}") && n.Bits&n.Mask == 0
		}
		if !a || !b || !c {
			return false
		}
	}
	return n.UMin <= n.UMax && n.SMin <= n.SMax && n.sync()
}
