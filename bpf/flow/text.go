package flow

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/k2cc/k2cc/bpf"
)

var kindNames = [...]string{
	KindNone: "none", KindAny: "any", KindScalar: "scalar", KindStack: "stack", KindContext: "context",
	KindPacket: "packet", KindPacketEnd: "packet_end", KindMapValue: "map_value", KindMap: "map", KindOther: "other",
}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// String is the value as ParseState reads it: a constant as its number, an
// address in the own frame as fp-8, others as their kind with ? where it may be
// null, (b7)+4 for Base and Offset, (b7a8)+4 for them and Align, [0,255] for the unsigned range, s[-1,1] for
// the signed one and {0x1/0xff00} for known and unknown bits, as far as one does
// not follow from the others.
func (v Value) String() string {
	switch {
	case v.Kind == KindScalar && v == Const(v.Bits):
		return fmt.Sprint(int64(v.Bits))
	case v == frameAddress(v.Offset):
		return "fp" + signedOffset(v.Offset)
	}
	var s strings.Builder
	s.WriteString(v.Kind.String())
	if v.MaybeNull {
		s.WriteByte('?')
	}
	if v.Base != 0 {
		align := ""
		if v.Align != 0 {
			align = fmt.Sprintf("a%d", v.Align)
		}
		fmt.Fprintf(&s, "(b%d%s)%s", v.Base, align, signedOffset(v.Offset))
	}
	s.WriteString(v.numbers())
	return s.String()
}

func frameAddress(off int64) Value {
	v := Unknown(KindStack)
	v.Base, v.Offset = FrameBase, off
	return v
}

func signedOffset(off int64) string {
	if off == 0 {
		return ""
	}
	return fmt.Sprintf("%+d", off)
}

// numbers writes the fewest of range and bits from which sync makes the rest.
func (v Value) numbers() string {
	u := fmt.Sprintf("[%d,%d]", v.UMin, v.UMax)
	s := fmt.Sprintf(" s[%d,%d]", v.SMin, v.SMax)
	b := fmt.Sprintf("{%#x/%#x}", v.Bits, v.Mask)
	for _, text := range []string{"", u, s, b, u + s, u + b, s + b} {
		n := number{Unknown(v.Kind), 64}
		n.MaybeNull, n.Base, n.Offset, n.Align = v.MaybeNull, v.Base, v.Offset, v.Align
		p := parser{left: text}
		if p.numbers(&n) && n.Value == v {
			return text
		}
	}
	return u + s + b
}

// String is the state as ParseState reads it.
func (s State) String() string {
	var out []string
	for r, v := range s.Regs {
		r := bpf.Register(r)
		if v.Kind != KindNone && (r != bpf.R10 || v != frameAddress(0)) {
			out = append(out, fmt.Sprintf("%v = %v", r, v))
		}
	}
	for _, c := range s.Stack {
		out = append(out, fmt.Sprintf("[r10%+d:%d] = %v", c.Off, c.Size, c.Value))
	}
	if w := s.Written.String(); w != "" {
		out = append(out, "written "+w)
	}
	if s.Escaped {
		out = append(out, "escaped")
	}
	return strings.Join(out, "; ")
}

// String lists the ranges of bytes in the set, each as its offset from the
// frame pointer and its size.
func (b Bytes) String() string {
	var out []string
	for off := -StackSize; off < 0; off++ {
		size := 0
		for b.Has(off + size) {
			size++
		}
		if size > 0 {
			out = append(out, fmt.Sprintf("[r10%+d:%d]", off, size))
			off += size
		}
	}
	return strings.Join(out, " ")
}

// String is what is live as ParseLive reads it: r1 for all bits of a register,
// r1:0xff for some, [r10-8:4] for bytes of the stack.
func (l Live) String() string {
	var out []string
	for r, live := range l.Regs {
		switch r := bpf.Register(r); {
		case bits.OnesCount64(live) == 64:
			out = append(out, r.String())
		case live != 0:
			out = append(out, fmt.Sprintf("%v:%#x", r, live))
		}
	}
	if s := l.Stack.String(); s != "" {
		out = append(out, s)
	}
	return strings.Join(out, " ")
}
