package rules

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/windows"
)

const (
	testBit = `== test
needs: r2
old:
r1 = r2
r1 &= $a
if r1 != 0 goto L1
new:
if r2 & $a goto L1
`
	twoBytes = `== bytes
order: little
needs: r2 r3
old:
r1 = *(u8 *)(r3 + 0)
r2 = *(u8 *)(r3 + 1)
r2 <<= 8
r2 |= r1
new:
r2 = *(u16 *)(r3 + 0)
`
	shifts = `== shifts
facts: $a = scalar[1,31]; r1 = scalar[0,255]
needs: r1:0xff
old:
r1 <<= $a
r1 >>= $(a + 1)
new:
r1 >>= 1
`
	sums = `== sums
needs: r1
old:
r1 += $a
r1 += $b
new:
r1 += $(a + b)
`
)

// TestMatch applies one rule to a window.
func TestMatch(t *testing.T) {
	const facts = "r1 = scalar; r2 = scalar; r3 = scalar[0,255]; r4 = scalar; r5 = scalar; r6 = packet(b1); r7 = packet(b2)"
	tests := []struct {
		name, rule, needs, code string
		want                    string // "" where the rule does not apply
		level                   bpf.Level
		big                     bool
	}{
		{name: "registers and immediates", rule: testBit, needs: "r4",
			code: "r5 = r4\nr5 &= 64\nif r5 != 0 goto L7", want: "if r4 & 64 goto L7"},
		{name: "a register that is read behind it", rule: testBit, needs: "r4 r5",
			code: "r5 = r4\nr5 &= 64\nif r5 != 0 goto L7"},
		{name: "one register for two names", rule: testBit, needs: "r4",
			code: "r4 = r4\nr4 &= 64\nif r4 != 0 goto L7"},
		{name: "two registers for one name", rule: testBit, needs: "r4",
			code: "r5 = r4\nr3 &= 64\nif r5 != 0 goto L7"},
		{name: "another immediate", rule: testBit, needs: "r4",
			code: "r5 = r4\nr5 &= 64\nif r5 != 1 goto L7"},
		{name: "offsets", rule: twoBytes, needs: "r2 r6",
			code: "r1 = *(u8 *)(r6 + 12)\nr2 = *(u8 *)(r6 + 13)\nr2 <<= 8\nr2 |= r1", want: "r2 = *(u16 *)(r6 + 12)"},
		{name: "offsets that are too far apart", rule: twoBytes, needs: "r2 r6",
			code: "r1 = *(u8 *)(r6 + 12)\nr2 = *(u8 *)(r6 + 14)\nr2 <<= 8\nr2 |= r1"},
		{name: "two bases for one name", rule: twoBytes, needs: "r2 r6 r7",
			code: "r1 = *(u8 *)(r6 + 12)\nr2 = *(u8 *)(r7 + 13)\nr2 <<= 8\nr2 |= r1"},
		{name: "another byte order", rule: twoBytes, needs: "r2 r6", big: true,
			code: "r1 = *(u8 *)(r6 + 12)\nr2 = *(u8 *)(r6 + 13)\nr2 <<= 8\nr2 |= r1"},
		{name: "something else in between", rule: twoBytes, needs: "r2 r4 r5 r6",
			code: "r1 = *(u8 *)(r6 + 12)\nr4 += r5\nr2 = *(u8 *)(r6 + 13)\nr2 <<= 8\nr2 |= r1", want: "r4 += r5\nr2 = *(u16 *)(r6 + 12)"},
		{name: "a read in between", rule: twoBytes, needs: "r2 r4 r6",
			code: "r1 = *(u8 *)(r6 + 12)\nr4 += r1\nr2 = *(u8 *)(r6 + 13)\nr2 <<= 8\nr2 |= r1"},
		{name: "a store in between", rule: twoBytes, needs: "r2 r6",
			code: "r1 = *(u8 *)(r6 + 12)\n*(u8 *)(r7 + 0) = 1\nr2 = *(u8 *)(r6 + 13)\nr2 <<= 8\nr2 |= r1"},
		{name: "computed on both sides", rule: shifts, needs: "r3:0x1",
			code: "r3 <<= 7\nr3 >>= 8", want: "r3 >>= 1"},
		{name: "computed to something else", rule: shifts, needs: "r3:0x1",
			code: "r3 <<= 7\nr3 >>= 9"},
		{name: "facts that do not hold", rule: shifts, needs: "r4:0x1",
			code: "r4 <<= 7\nr4 >>= 8"},
		{name: "bits that are needed", rule: shifts, needs: "r3",
			code: "r3 <<= 7\nr3 >>= 8"},
		{name: "an immediate outside of what is known", rule: shifts, needs: "r3:0x1",
			code: "r3 <<= 40\nr3 >>= 41"},
		{name: "twice", rule: sums, needs: "r1 r4",
			code: "r1 += 1\nr1 += 2\nr4 += 3\nr4 += 4", want: "r1 += 3\nr4 += 7"},
		{name: "a sum that does not fit", rule: sums, needs: "r1",
			code: "r1 += 2147483647\nr1 += 1"},
		{name: "a level that the target has not", rule: "== x\nneeds: r1\nold:\nr1 <<= 32\nr1 s>>= 32\nnew:\nr1 = (s32)r1\n", needs: "r1",
			code: "r1 <<= 32\nr1 s>>= 32", level: bpf.V3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rules, err := Parse("test", tt.rule)
			if err != nil {
				t.Fatal(err)
			}
			got := apply(t, New(rules), facts, tt.needs, tt.code, windows.Target{
				Level: max(tt.level, bpf.V4), BigEndian: tt.big, Confirmed: true,
			}, tt.level)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// apply is what the first proven candidate is, without its last line's end.
func apply(t *testing.T, p *Proposer, facts, needs, code string, target windows.Target, level bpf.Level) string {
	t.Helper()
	if level != 0 {
		target.Level = level
	}
	w := &windows.Window{Fn: &bpf.Function{Context: bpf.ContextXDP}, Target: target}
	var err error
	if w.Facts, err = flow.ParseState(facts); err != nil {
		t.Fatal(err)
	}
	if w.Needs, err = flow.ParseLive(needs); err != nil {
		t.Fatal(err)
	}
	if w.Code, err = bpf.ParseCode(code); err != nil {
		t.Fatal(err)
	}
	out := ""
	c := encode.New(encode.Options{})
	p.Propose(context.Background(), w, func(code []bpf.Instruction) encode.Verdict {
		v := c.Check(context.Background(), w, code)
		if v.Outcome == encode.Proven {
			text := bpf.Format(code)
			out = text[:len(text)-1]
		} else {
			t.Errorf("%v: %s\n%s", v.Outcome, v.Reason, bpf.Format(code))
		}
		return v
	})
	return out
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"no old code", "== x\nneeds: r1\nnew:\nr1 = 0\n", "f:1: there is no old code"},
		{"a hole out of nowhere", "== x\nneeds: r1\nold:\nr1 = 0\nnew:\nr1 = $a\n", "f:1: r1 = $a: no instruction of the old code says what a is"},
		{"no expression", "== x\nneeds: r1\nold:\nr1 = $(a +)\nnew:\n", `f:1: old: "a +": no expression of holes and numbers`},
		{"nothing to be open", "== x\nneeds: r1\nold:\nr1 = $a + r2\nnew:\n", ""},
		{"a symbol", "== x\nneeds: r1\nold:\nr1 += @1\nnew:\n", "f:1: r1 += @1: not what rules can have there"},
		{"a call", "== x\nneeds: r1\nold:\ncall 5\nnew:\n", "f:1: call 5: not what rules can have there"},
		{"a jump in the middle", "== x\nneeds: r1\nold:\nif r1 > 1 goto L1\nr1 = 2\nnew:\n", "f:1: if r1 > 1 goto L1: not what rules can have there"},
		{"a register out of nowhere", "== x\nneeds: r1\nold:\nr1 = 0\nnew:\nr1 = r2\n", "f:1: r1 = r2: the old code says nothing of a register in it"},
		{"a fact about nothing", "== x\nfacts: $b = scalar[0,1]\nneeds: r1\nold:\nr1 = 0\nnew:\n", "f:1: a fact about $b, which is not open"},
		{"an order", "== x\nneeds: r1\norder: middle\nold:\nr1 = 0\nnew:\n", `f:1: order "middle": want little or big`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("f", tt.text)
			if err == nil || tt.want != "" && err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}
