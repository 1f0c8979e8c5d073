package rules

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// standIn stands for an open immediate where code is read and written as text.
// It is valid in every instruction.
const (
	standIn      = "17"
	standInValue = 17
)

var sections = []string{"facts", "needs", "order", "old", "new"}

// Parse reads the rules of a file; errors name the file and the line.
func Parse(file, text string) ([]*Rule, error) {
	var out []*Rule
	line := 1
	for i, part := range strings.Split("\n"+text, "\n== ") {
		at := fmt.Sprintf("%s:%d", file, line)
		if i > 0 {
			r, err := parseRule(part)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", at, err)
			}
			r.At = at
			out = append(out, r)
		}
		line += strings.Count(part, "\n") + min(i, 1)
	}
	return out, nil
}

func parseRule(text string) (*Rule, error) {
	name, rest, _ := strings.Cut(text, "\n")
	parts := map[string]string{}
	var section string
	for l := range strings.SplitSeq(rest, "\n") {
		if strings.HasPrefix(l, "#") {
			continue
		}
		if head, tail, ok := strings.Cut(l, ":"); ok && slices.Contains(sections, head) {
			section, l = head, tail
		}
		parts[section] += l + "\n"
	}
	r := &Rule{Name: strings.TrimSpace(name), Facts: map[bpf.Register]flow.Value{}, Holes: map[string]flow.Value{}}
	var err error
	if r.Old, err = parseCode(parts["old"]); err != nil {
		return nil, fmt.Errorf("old: %w", err)
	}
	if r.New, err = parseCode(parts["new"]); err != nil {
		return nil, fmt.Errorf("new: %w", err)
	}
	if r.Needs, err = flow.ParseLive(parts["needs"]); err != nil {
		return nil, err
	}
	switch r.Order = Order(strings.TrimSpace(strings.TrimPrefix(parts["order"], ":"))); r.Order {
	case Both, Little, Big:
	default:
		return nil, fmt.Errorf("order %q: want little or big", r.Order)
	}
	r.index()
	if err := r.parseFacts(parts["facts"]); err != nil {
		return nil, err
	}
	return r, r.check()
}

// parseCode reads code in which immediates may be open.
func parseCode(text string) ([]Pattern, error) {
	var out []Pattern
	for l := range strings.SplitSeq(text, "\n") {
		p, ok, err := parsePattern(l)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, p)
		}
	}
	return out, nil
}

func parsePattern(line string) (p Pattern, ok bool, err error) {
	before, after, open := strings.Cut(line, "$")
	if open {
		var text string
		text, after = cutHole(after)
		if p.imm, err = parseExpr(text); err != nil {
			return p, false, err
		}
		line = before + standIn + after
	}
	code, err := bpf.ParseCode(line)
	if err != nil || len(code) == 0 {
		return p, false, err
	}
	p.Instruction = code[0]
	if open && !p.open() {
		return p, false, fmt.Errorf("%v: no immediate that can be open", p.Instruction)
	}
	return p, true, nil
}

// cutHole takes what follows a dollar sign: a name, or all in parentheses.
func cutHole(text string) (hole, rest string) {
	depth := 0
	for i, c := range text {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
			if depth == 0 {
				return text[1:i], text[i+1:]
			}
		case depth == 0 && (c < 'a' || c > 'z'):
			return text[:i], text[i:]
		}
	}
	return text, ""
}

// open tells whether the instruction has an immediate that is an operand.
func (p Pattern) open() bool {
	in := p.Instruction
	switch {
	case in.Op == bpf.LoadImm64:
		return in.Src == bpf.PseudoImm
	case in.IsALU():
		return in.Op&bpf.SourceX == 0 && in.Op.ALU() != bpf.OpNeg && in.Op.ALU() != bpf.OpEnd
	case in.IsCondJump():
		return in.Op&bpf.SourceX == 0
	}
	return in.IsStore() && in.Op.Class() == bpf.ClassST
}

// parseFacts reads what holds of registers and of open immediates.
func (r *Rule) parseFacts(text string) error {
	for item := range strings.SplitSeq(strings.ReplaceAll(text, "\n", ";"), ";") {
		item = strings.TrimSpace(item)
		name, value, ok := strings.Cut(item, " = ")
		name, hole := strings.CutPrefix(name, "$")
		switch {
		case item == "":
			continue
		case !ok:
			return fmt.Errorf("fact %q: want a register or an open immediate, and its value", item)
		case hole:
			item = "r0 = " + value
		}
		s, err := flow.ParseState(item)
		if err != nil {
			return err
		}
		if hole {
			r.Holes[name] = s.Regs[0]
			continue
		}
		for reg := range bpf.R10 {
			if s.Regs[reg].Kind != flow.KindNone {
				r.Facts[reg] = s.Regs[reg]
			}
		}
	}
	return nil
}

// check is what a rule has to keep to beyond its grammar.
func (r *Rule) check() error {
	if len(r.Old) == 0 {
		return errors.New("there is no old code")
	}
	names := used(r.Old)
	for _, code := range [][]Pattern{r.Old, r.New} {
		for i, p := range code {
			if !allowed(p.Instruction, i == len(code)-1) {
				return fmt.Errorf("%v: not what rules can have there", p)
			}
			if more := (p.Reads() | p.Writes()) &^ names; more != 0 {
				return fmt.Errorf("%v: the old code says nothing of a register in it", p)
			}
		}
	}
	return r.checkHoles()
}

// allowed tells whether rules can have such an instruction.
func allowed(in bpf.Instruction, last bool) bool {
	switch {
	case in.Ref != 0, in.IsCast(), in.IsPacketLoad():
		return false
	case in.Op == bpf.LoadImm64:
		return in.Src == bpf.PseudoImm
	case in.IsAtomic():
		return in.Imm != bpf.AtomicCmpXchg
	case in.IsCondJump():
		return last && !in.IsMayGoto()
	}
	return in.IsALU() || in.IsLoad() || in.IsStore()
}

// checkHoles gives holes the range that their instructions allow, and wants all
// of them to be known.
func (r *Rule) checkHoles() error {
	known := map[string]bool{}
	for _, p := range r.Old {
		if p.imm == nil {
			continue
		}
		if name, ok := p.imm.hole(); ok {
			known[name] = true
			r.narrow(name, p.Instruction)
		}
	}
	for _, p := range slices.Concat(r.Old, r.New) {
		if p.imm == nil {
			continue
		}
		for _, name := range p.imm.holes() {
			if !known[name] {
				return fmt.Errorf("%v: no instruction of the old code says what %s is", p, name)
			}
		}
	}
	for name := range r.Holes {
		if !known[name] {
			return fmt.Errorf("a fact about $%s, which is not open", name)
		}
	}
	return nil
}

// narrow has a hole be what an instruction can hold.
func (r *Rule) narrow(name string, in bpf.Instruction) {
	v, ok := r.Holes[name]
	if !ok {
		v = flow.Unknown(flow.KindScalar)
	}
	low, high := int64(math.MinInt32), int64(math.MaxInt32)
	switch {
	case in.Op == bpf.LoadImm64:
		low, high = math.MinInt64, math.MaxInt64
	case !in.IsALU():
	case slices.Contains([]bpf.Op{bpf.OpLsh, bpf.OpRsh, bpf.OpArsh}, in.Op.ALU()):
		low, high = 0, 31
		if in.Op.Class() == bpf.ClassALU64 {
			high = 63
		}
	case slices.Contains([]bpf.Op{bpf.OpDiv, bpf.OpMod}, in.Op.ALU()):
		low = 1
	}
	v.SMin, v.SMax = max(v.SMin, low), min(v.SMax, high)
	if v.SMin >= 0 {
		v.UMin, v.UMax = max(v.UMin, uint64(v.SMin)), min(v.UMax, uint64(v.SMax))
	}
	r.Holes[name] = v
}

// order sorts rules so that those that save most come first, and the longest of
// these.
func order(a, b *Rule) int {
	save := func(r *Rule) int { return len(r.Old) - len(r.New) }
	return cmp.Or(cmp.Compare(save(b), save(a)), cmp.Compare(len(b.Old), len(a.Old)), strings.Compare(a.At, b.At))
}
