package bpf

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Parse reads blocks from their text form: one instruction a line as String
// writes it, L1: on a line of its own before the block with label 1, comments
// behind ;, # or //. Code that no label stands before, at the start or behind a
// jump, begins a block with the lowest label that is free. Errors name the
// line, which counts from one.
func Parse(src string) ([]*Block, error) {
	p := blockParser{lines: map[Label]int{}}
	for i, line := range strings.Split(src, "\n") {
		if err := p.line(i+1, line); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return p.finish()
}

// ParseCode reads the text form of code without labels. Jumps to labels are
// read, but nothing checks that the labels exist.
func ParseCode(src string) ([]Instruction, error) {
	var code []Instruction
	for i, line := range strings.Split(src, "\n") {
		in, ok, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if ok {
			code = append(code, in)
		}
	}
	return code, nil
}

type blockParser struct {
	blocks []*Block
	lines  map[Label]int // where each label stands
	uses   []labelUse
	cut    bool // the last instruction ended its block
}

type labelUse struct {
	label Label
	line  int
}

func (p *blockParser) line(number int, line string) error {
	if text, ok := strings.CutSuffix(strings.TrimSpace(uncomment(line)), ":"); ok {
		label, ok := parseLabel(text)
		if !ok {
			return fmt.Errorf("%q is no label: want L1, L2, …", text)
		}
		if at, ok := p.lines[label]; ok {
			return fmt.Errorf("label L%d stands on line %d already", label, at)
		}
		p.lines[label] = number
		p.blocks = append(p.blocks, &Block{Label: label})
		p.cut = false
		return nil
	}
	in, ok, err := parseLine(line)
	if err != nil || !ok {
		return err
	}
	if len(p.blocks) == 0 || p.cut {
		p.blocks = append(p.blocks, &Block{})
	}
	last := p.blocks[len(p.blocks)-1]
	last.Code = append(last.Code, in)
	p.cut = in.EndsBlock()
	if in.IsJump() && in.Target != 0 {
		p.uses = append(p.uses, labelUse{in.Target, number})
	}
	return nil
}

// finish labels the blocks without a label and checks the jumps.
func (p *blockParser) finish() ([]*Block, error) {
	for _, use := range p.uses {
		if _, ok := p.lines[use.label]; !ok {
			return nil, fmt.Errorf("line %d: there is no label L%d", use.line, use.label)
		}
	}
	free := Label(1)
	for _, b := range p.blocks {
		if b.Label != 0 {
			continue
		}
		for p.lines[free] != 0 {
			free++
		}
		b.Label = free
		free++
	}
	return p.blocks, nil
}

func parseLabel(word string) (Label, bool) {
	digits, ok := strings.CutPrefix(word, "L")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	return Label(n), err == nil && n > 0 && digits[0] != '+'
}

// parseLine reads a line without label; ok says whether there is an
// instruction on it.
func parseLine(line string) (in Instruction, ok bool, err error) {
	words, err := lex(uncomment(line))
	if err != nil || len(words) == 0 {
		return Instruction{}, false, err
	}
	t := &tokens{left: words}
	literal := t.accept(".insn")
	if literal {
		in = t.fields()
	} else {
		in = t.instruction()
	}
	if t.err == nil && len(t.left) > 0 {
		t.fail("%s where the line should end", found(t.peek(0)))
	}
	if t.err != nil {
		return Instruction{}, false, t.err
	}
	if !literal {
		if err := in.Valid(); err != nil {
			return Instruction{}, false, err
		}
	}
	return in, true, nil
}

// fields reads what Instruction.fields writes.
func (t *tokens) fields() Instruction {
	return Instruction{
		Op:     Op(t.number(0, math.MaxUint8)),
		Dst:    Register(t.number(0, math.MaxUint8)),
		Src:    Register(t.number(0, math.MaxUint8)),
		Off:    int16(t.number(math.MinInt16, math.MaxInt16)),
		Imm:    t.number(math.MinInt64, math.MaxInt64),
		Target: Label(t.number(math.MinInt32, math.MaxInt32)),
		Ref:    Ref(t.number(math.MinInt32, math.MaxInt32)),
	}
}

// number reads a number with its sign.
func (t *tokens) number(low, high int64) int64 {
	sign := ""
	if t.accept("-") {
		sign = "-"
	} else {
		t.accept("+")
	}
	word := t.next()
	n, err := strconv.ParseInt(sign+word, 0, 64)
	if err != nil {
		t.fail("%s where a number should be", found(word))
	} else if n < low || n > high {
		t.fail("%d does not fit: want %d to %d", n, low, high)
	}
	return n
}

func (t *tokens) imm32() int64 { return t.number(math.MinInt32, math.MaxInt32) }

// imm64 reads a 64-bit number, signed or not.
func (t *tokens) imm64() int64 {
	if n, err := strconv.ParseUint(t.peek(0), 0, 64); err == nil {
		t.next()
		return int64(n)
	}
	return t.number(math.MinInt64, math.MaxInt64)
}

// operand reads a number with read, or a symbol with or without a number.
func (t *tokens) operand(read func() int64) (Ref, int64) {
	if !t.accept("@") {
		return 0, read()
	}
	ref := Ref(t.number(1, math.MaxInt32))
	if t.accept(":") {
		return ref, read()
	}
	return ref, 0
}

// isRegister tells what register a word is, and whether its 32-bit form.
func isRegister(word string) (r Register, narrow, ok bool) {
	if len(word) < 2 || len(word) > 3 || word[0] != 'r' && word[0] != 'w' {
		return 0, false, false
	}
	n, err := strconv.ParseUint(word[1:], 10, 8)
	if err != nil || n > uint64(R10) || strconv.FormatUint(n, 10) != word[1:] {
		return 0, false, false
	}
	return Register(n), word[0] == 'w', true
}

func (t *tokens) register() (r Register, narrow bool) {
	word := t.next()
	r, narrow, ok := isRegister(word)
	if !ok {
		t.fail("%s where a register should be", found(word))
	}
	return r, narrow
}

// registerOf reads a register of the given width.
func (t *tokens) registerOf(narrow bool) Register {
	r, is := t.register()
	if is != narrow {
		t.fail("want %s, not %s", reg(r, narrow), reg(r, is))
	}
	return r
}

// wide reads a 64-bit register.
func (t *tokens) wide() Register { return t.registerOf(false) }

// target reads a label, or an offset.
func (t *tokens) target(in *Instruction) {
	if label, ok := parseLabel(t.peek(0)); ok {
		t.next()
		in.Target = label
		return
	}
	if s := t.peek(0); s != "+" && s != "-" {
		t.fail("%s where a label should be", found(s))
		return
	}
	if in.Op == ClassJMP32|OpJA {
		in.Imm = t.imm32()
		return
	}
	in.Off = int16(t.number(math.MinInt16, math.MaxInt16))
}
