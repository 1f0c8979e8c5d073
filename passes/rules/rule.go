package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// Rule says that New does what Old does, as far as Needs reach, wherever Facts
// hold.
type Rule struct {
	Name  string // why
	At    string // file and line
	Facts map[bpf.Register]flow.Value
	Holes map[string]flow.Value // what the facts say of immediates
	Needs flow.Live
	Order Order
	Old   []Pattern
	New   []Pattern

	writes, bases bpf.Registers // of either code
}

// Order is the byte orders in which a rule holds.
type Order string

// The byte orders.
const (
	Both   Order = ""
	Little Order = "little"
	Big    Order = "big"
)

// fits tells whether the rule holds in the byte order.
func (o Order) fits(bigEndian bool) bool { return o == Both || (o == Big) == bigEndian }

// Pattern is an instruction of a rule. Its registers are the rule's own, and its
// offset counts from wherever a match puts it.
type Pattern struct {
	bpf.Instruction
	imm *expr // nil where the immediate is Imm
}

func (p Pattern) String() string {
	text := p.Instruction.String()
	if p.imm == nil {
		return text
	}
	if p.Op == bpf.LoadImm64 {
		return fmt.Sprintf("%v = $%v ll", p.Dst, p.imm)
	}
	// The stand-in is the last number but for a jump's label.
	at := strings.LastIndex(text, standIn)
	return text[:at] + "$" + p.imm.String() + text[at+len(standIn):]
}

// used is the registers that the patterns name.
func used(code []Pattern) (regs bpf.Registers) {
	for _, p := range code {
		regs |= p.Reads() | p.Writes()
	}
	return regs
}

// index notes which registers the codes write and access memory with.
func (r *Rule) index() {
	for _, p := range slices.Concat(r.Old, r.New) {
		r.writes |= p.Writes()
		if b, ok := base(p.Instruction); ok {
			r.bases |= bpf.Set(b)
		}
	}
}

// base is the register from which an access's offset counts.
func base(in bpf.Instruction) (bpf.Register, bool) {
	switch {
	case in.IsLoad():
		return in.Src, true
	case in.IsStore(), in.IsAtomic():
		return in.Dst, true
	}
	return 0, false
}

// hasSrc tells whether an instruction that rules may have names a register as
// its source.
func hasSrc(in bpf.Instruction) bool {
	return in.UsesSrc() || in.IsLoad() || in.IsAtomic() || in.IsStore() && in.Op.Class() == bpf.ClassSTX
}

// String is the rule as Parse reads it.
func (r *Rule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "== %s\n", r.Name)
	var facts []string
	for reg := range bpf.R10 {
		if v, ok := r.Facts[reg]; ok {
			facts = append(facts, fmt.Sprintf("%v = %v", reg, v))
		}
	}
	for name := range r.Holes {
		facts = append(facts, fmt.Sprintf("$%s = %v", name, r.Holes[name]))
	}
	slices.Sort(facts)
	if len(facts) > 0 {
		fmt.Fprintf(&b, "facts: %s\n", strings.Join(facts, "; "))
	}
	if r.Order != Both {
		fmt.Fprintf(&b, "order: %s\n", r.Order)
	}
	fmt.Fprintf(&b, "needs: %v\nold:\n", r.Needs)
	for _, p := range r.Old {
		fmt.Fprintln(&b, p)
	}
	fmt.Fprintln(&b, "new:")
	for _, p := range r.New {
		fmt.Fprintln(&b, p)
	}
	return b.String()
}
