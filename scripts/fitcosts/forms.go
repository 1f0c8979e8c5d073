package main

import (
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
)

// An immediate of each kind.
var (
	shifts     = []int64{1, 17}
	immediates = []int64{0, 1, 17, -17, 1_000_000, -1_000_000}
	wide       = append(immediates, 0x9000_0000, 0x1234_5678_9abc)
)

// near and far are offsets that fit in 8 bits, and that don't.
const near, far = 8, 1000

// samples is one instruction of each form.
func samples() ([]bpf.Instruction, error) {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, r := range []string{"r", "w"} {
		arithmetic(add, r)
		for _, op := range []string{"==", "!=", ">", ">=", "<", "<=", "s>", "s>=", "s<", "s<=", "&"} {
			add("if %s1 %s %[1]s2 goto L1", r, op)
			for _, imm := range immediates {
				add("if %s1 %s %d goto L1", r, op, imm)
			}
		}
	}
	for _, width := range []int{16, 32, 64} {
		for _, op := range []string{"be", "le", "bswap"} {
			add("r1 = %s%d r1", op, width)
		}
	}
	for _, imm := range wide {
		add("r1 = %d ll", imm)
	}
	for _, off := range []int{near, far} {
		memory(add, off)
	}
	var out []bpf.Instruction
	for _, line := range lines {
		code, err := bpf.ParseCode(line)
		if err != nil {
			return nil, fmt.Errorf("sample: %w", err)
		}
		out = append(out, code...)
	}
	return out, distinct(out)
}

func distinct(code []bpf.Instruction) error {
	seen := map[cost.Form]bpf.Instruction{}
	for _, in := range code {
		f := cost.FormOf(in)
		if o, ok := seen[f]; ok {
			return fmt.Errorf("%v and %v have one form", o, in)
		}
		seen[f] = in
	}
	return nil
}

func arithmetic(add func(string, ...any), r string) {
	for _, op := range []string{"+=", "-=", "*=", "|=", "&=", "^=", "=", "/=", "%=", "s/=", "s%=", "<<=", ">>=", "s>>="} {
		add("%s1 %s %[1]s2", r, op)
		values := immediates
		switch op {
		case "<<=", ">>=", "s>>=":
			values = shifts
		case "/=", "%=", "s/=", "s%=":
			values = immediates[1:]
		}
		for _, imm := range values {
			add("%s1 %s %d", r, op, imm)
		}
	}
	add("%s1 = -%[1]s1", r)
	for _, width := range []int{8, 16, 32} {
		if r == "r" || width < 32 {
			add("%s1 = (s%d)%[1]s2", r, width)
		}
	}
}

func memory(add func(string, ...any), off int) {
	for _, width := range []int{8, 16, 32, 64} {
		add("r1 = *(u%d *)(r2 + %d)", width, off)
		if width < 64 {
			add("r1 = *(s%d *)(r2 + %d)", width, off)
		}
		add("*(u%d *)(r1 + %d) = r2", width, off)
		add("*(u%d *)(r1 + %d) = 17", width, off)
	}
	for _, width := range []int{32, 64} {
		r := map[int]string{32: "w", 64: "r"}[width]
		for _, op := range []string{"+=", "|=", "&=", "^="} {
			add("lock *(u%d *)(r1 + %d) %s %s2", width, off, op, r)
		}
		for _, op := range []string{"add", "or", "and", "xor"} {
			add("%s2 = atomic_fetch_%s((u%d *)(r1 + %d), %[1]s2)", r, op, width, off)
		}
		add("%s2 = xchg%s(r1 + %d, %[1]s2)", r, map[int]string{32: "32_32", 64: "_64"}[width], off)
		add("%s0 = cmpxchg%s(r1 + %d, %[1]s0, %[1]s2)", r, map[int]string{32: "32_32", 64: "_64"}[width], off)
	}
}
