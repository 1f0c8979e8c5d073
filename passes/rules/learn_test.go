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

// lesson is a window and what it became, in text.
type lesson struct {
	facts, needs, old, new string
	big                    bool
}

func (l lesson) parse(t *testing.T) Lesson {
	t.Helper()
	w := &windows.Window{Fn: &bpf.Function{Context: bpf.ContextXDP}}
	w.Level, w.BigEndian, w.Confirmed = bpf.V3, l.big, true
	var err error
	if w.Facts, err = flow.ParseState("r6 = packet(b1); r7 = packet(b2); " + l.facts); err != nil {
		t.Fatal(err)
	}
	if w.Needs, err = flow.ParseLive(l.needs); err != nil {
		t.Fatal(err)
	}
	code, err := bpf.ParseCode(l.old)
	if err != nil {
		t.Fatal(err)
	}
	if w, err = w.With(code); err != nil {
		t.Fatal(err)
	}
	out := Lesson{From: "a window", Window: w}
	if out.Code, err = bpf.ParseCode(l.new); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLearn makes rules of lessons.
func TestLearn(t *testing.T) {
	tests := []struct {
		name    string
		lessons []lesson
		known   string
		want    string // rules, without their names
	}{
		{
			name:    "registers and immediates are left open",
			lessons: []lesson{{facts: "r4 = scalar; r5 = scalar", needs: "r4", old: "r4 += 3\nr4 += 4", new: "r4 += 7"}},
			want:    "facts: $a = scalar s[-2147483648,2147483647]; $b = scalar s[-2147483648,2147483647]\nneeds: r1\nold:\nr1 += $a\nr1 += $b\nnew:\nr1 += $(a + b)\n",
		},
		{
			name:    "an immediate on which the proof rests stays",
			lessons: []lesson{{facts: "r4 = scalar", needs: "r4", old: "r4 <<= 32\nr4 >>= 32", new: "w4 = w4"}},
			want:    "needs: r1\nold:\nr1 <<= 32\nr1 >>= 32\nnew:\nw1 = w1\n",
		},
		{
			name:    "facts that the proof needs stay",
			lessons: []lesson{{facts: "r4 = scalar[0,255]; r5 = scalar[0,7]", needs: "r4 r5", old: "w4 &= 65535\nr4 += r5", new: "r4 += r5"}},
			want:    "facts: r1 = scalar[0,255]\nneeds: r1\nold:\nw1 &= 65535\nnew:\n",
		},
		{
			name:    "needs that the proof rests on stay",
			lessons: []lesson{{facts: "r4 = scalar", needs: "r4:0xff", old: "w4 &= 65535", new: ""}},
			want:    "needs: r1:0xff\nold:\nw1 &= 65535\nnew:\n",
		},
		{
			name:    "offsets start at zero",
			lessons: []lesson{{facts: "r4 = scalar", needs: "r6", old: "*(u16 *)(r6 + 14) = 1\n*(u16 *)(r6 + 16) = 0", new: "*(u32 *)(r6 + 14) = 1"}},
			want:    "order: little\nneeds: r1\nold:\n*(u16 *)(r1 + 0) = 1\n*(u16 *)(r1 + 2) = 0\nnew:\n*(u32 *)(r1 + 0) = 1\n",
		},
		{
			name: "what a shorter one finds is left out",
			lessons: []lesson{
				{facts: "r4 = scalar; r5 = scalar", needs: "r4", old: "r4 += 9\nr4 += r5\nr4 += 9\nr4 += 9", new: "r4 += r5\nr4 += 27"},
				{facts: "r4 = scalar; r5 = scalar", needs: "r5", old: "r5 += 3\nr5 += 3", new: "r5 += 6"},
			},
			known: "== x\nneeds: r1\nold:\nr1 += $a\nr1 += r2\nr1 += $b\nr1 += $c\nnew:\nr1 += r2\nr1 += $(a + b + c)\n",
			want:  "facts: $a = scalar s[-2147483648,2147483647]\nneeds: r1\nold:\nr1 += $a\nr1 += $a\nnew:\nr1 += $(a + a)\n",
		},
		{
			name:    "what is known is left out",
			lessons: []lesson{{facts: "r4 = scalar; r5 = scalar", needs: "r4", old: "r4 += 3\nr4 += 4", new: "r4 += 7"}},
			known:   sums,
		},
		{
			name:    "the frame pointer's value is no part of a rule",
			lessons: []lesson{{facts: "r4 = scalar", needs: "r4", old: "r4 = r10\nr4 += -8\nr4 += -8", new: "r4 = r10\nr4 += -16"}},
			want:    "facts: $a = scalar s[-2147483648,2147483647]\nneeds: r1\nold:\nr1 += $a\nr1 += $a\nnew:\nr1 += $(a + a)\n",
		},
		{
			name:    "a lesson that is wrong teaches nothing",
			lessons: []lesson{{facts: "r4 = scalar", needs: "r4", old: "r4 += 3\nr4 += 4", new: "r4 += 8"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			known, err := Parse("known", tt.known)
			if err != nil {
				t.Fatal(err)
			}
			var lessons []Lesson
			for _, l := range tt.lessons {
				lessons = append(lessons, l.parse(t))
			}
			got := ""
			for _, r := range Learn(context.Background(), encode.New(encode.Options{}), lessons, known) {
				got += r.String()[len("== from a window\n"):]
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
