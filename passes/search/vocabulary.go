package search

import (
	"math"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/windows"
)

// vocabulary is what candidates are made of.
type vocabulary struct {
	imms   []int64 // immediates of the window's code and a few that follow from them
	all    []int64 // many that follow from them
	wide   []int64 // 64-bit immediates
	shifts []int64 // amounts of shifts

	ops   []bpf.Op // arithmetic within a candidate
	last  []bpf.Op // arithmetic that a candidate may end in
	swap  bool     // whether it may also end in a byte swap
	class []bpf.Op // ClassALU64, and ClassALU where the target has it

	// fixed holds instructions that stay as they are, but for their
	// destination where it is a load or move: those with symbols, atomics,
	// accesses to the context.
	fixed []bpf.Instruction
	loads []bpf.Op // opcodes of loads, by size and sign
}

var (
	basicOps = []bpf.Op{bpf.OpMov, bpf.OpAdd, bpf.OpSub, bpf.OpAnd, bpf.OpOr, bpf.OpXor, bpf.OpLsh, bpf.OpRsh}
	moreOps  = []bpf.Op{bpf.OpArsh, bpf.OpNeg, bpf.OpMul}
)

func newVocabulary(w *windows.Window, code []bpf.Instruction) vocabulary {
	v := vocabulary{class: []bpf.Op{bpf.ClassALU64}}
	if w.Level >= bpf.V3 {
		v.class = append(v.class, bpf.ClassALU)
	}
	v.findOps(code)
	v.swap = v.swap || w.Confirmed
	v.findImms(code)
	v.findWhole(w, code)
	for _, size := range [...]bpf.Op{bpf.SizeB, bpf.SizeH, bpf.SizeW, bpf.SizeDW} {
		v.loads = append(v.loads, bpf.ClassLDX|bpf.ModeMem|size)
		if w.Level >= bpf.V4 && size != bpf.SizeDW {
			v.loads = append(v.loads, bpf.ClassLDX|bpf.ModeMemSX|size)
		}
	}
	return v
}

func (v *vocabulary) findOps(code []bpf.Instruction) {
	v.ops = slices.Clone(basicOps)
	v.last = slices.Concat(basicOps, moreOps)
	for i := range code {
		in := &code[i]
		if !in.IsALU() {
			continue
		}
		if op := in.Op.ALU(); !slices.Contains(v.ops, op) {
			v.ops = append(v.ops, op)
		}
		if op := in.Op.ALU(); !slices.Contains(v.last, op) {
			v.last = append(v.last, op)
		}
	}
	// The verifier knows nothing of what a byte swap leaves: where it will not
	// be asked, code that has none gets none.
	v.swap = slices.Contains(v.ops, bpf.OpEnd)
	isSwap := func(op bpf.Op) bool { return op == bpf.OpEnd }
	v.last = slices.DeleteFunc(v.last, isSwap)
}

// findImms collects the code's immediates and what they make: sums,
// differences, masks shifted as the code shifts.
func (v *vocabulary) findImms(code []bpf.Instruction) {
	set := newImms(&v.imms)
	amounts := newImms(&v.shifts)
	for i := range code {
		in := &code[i]
		switch {
		case in.Ref != 0:
		case in.IsALU() && in.UsesSrc(), in.IsCondJump() && in.UsesSrc(), in.IsALU() && in.Op.ALU() == bpf.OpEnd:
		case isShift(in):
			amounts.add(in.Imm)
		case in.Op == bpf.LoadImm64 && in.Src == bpf.PseudoImm:
			set.add(in.Imm)
			v.wide = append(v.wide, in.Imm)
		case in.IsALU(), in.IsCondJump(), in.Op.Class() == bpf.ClassST:
			set.add(in.Imm)
		}
	}
	set.add(1, -1, 0xff)
	direct, by := slices.Clone(v.imms), slices.Clone(v.shifts)
	for i := range code {
		if in := &code[i]; in.IsLoad() {
			amounts.add(8, int64(8*in.Size()))
		}
	}
	for _, a := range by {
		amounts.add(64-a, 32-a)
		for _, b := range by {
			amounts.add(a-b, a+b)
		}
	}
	v.shifts = slices.DeleteFunc(v.shifts, func(n int64) bool { return n <= 0 || n >= 64 })
	v.all = slices.Clone(v.imms)
	set = newImms(&v.all)
	set.add(0, 0xffff, 7, 15)
	set.add(sumOf(code))
	for _, a := range direct {
		set.add(-a, ^a)
		for _, b := range direct {
			set.add(a+b, a-b, a&b, a|b)
		}
	}
	for _, a := range by {
		set.add(1<<a, 1<<a-1, 1<<a+1, 1<<(64-a)-1)
		for _, b := range direct {
			set.add(b<<a, b>>a)
		}
	}
}

// sumOf is what all additions and subtractions of immediates make.
func sumOf(code []bpf.Instruction) int64 {
	var n int64
	for i := range code {
		in := &code[i]
		switch {
		case !in.IsALU() || in.UsesSrc() || in.Ref != 0:
		case in.Op.ALU() == bpf.OpAdd:
			n += in.Imm
		case in.Op.ALU() == bpf.OpSub:
			n -= in.Imm
		}
	}
	return n
}

func isShift(in *bpf.Instruction) bool {
	op := in.Op.ALU()
	return in.IsALU() && (op == bpf.OpLsh || op == bpf.OpRsh || op == bpf.OpArsh)
}

// imms adds to a list without adding twice what is in it, nor what does not
// fit an immediate.
type imms struct{ list *[]int64 }

func newImms(list *[]int64) imms { return imms{list} }

func (s imms) add(ns ...int64) {
	for _, n := range ns {
		if n == int64(int32(n)) && !slices.Contains(*s.list, n) && len(*s.list) < maxImms {
			*s.list = append(*s.list, n)
		}
	}
}

const maxImms = 64

// findWhole collects what can't be taken apart. A CO-RE offset that is moved to
// a register may as well be added: loaders patch the immediate of any
// arithmetic instruction.
func (v *vocabulary) findWhole(w *windows.Window, code []bpf.Instruction) {
	add := func(in bpf.Instruction) {
		in.Pos = 0
		if !slices.Contains(v.fixed, in) {
			v.fixed = append(v.fixed, in)
		}
	}
	for _, in := range code {
		switch {
		case in.IsAtomic():
			add(in)
		case in.Op == bpf.LoadImm64 && (in.Ref != 0 || in.Src != bpf.PseudoImm):
			add(in)
		case in.IsALU() && in.Ref != 0:
			add(in)
			if s := symbol(w, in.Ref); s != nil && s.Kind == bpf.SymbolCore {
				in.Op = bpf.ClassALU64 | bpf.OpAdd
				add(in)
			}
		}
	}
}

func symbol(w *windows.Window, r bpf.Ref) *bpf.Symbol {
	if w.Fn == nil {
		return nil
	}
	return w.Fn.Symbol(r)
}

// fitImm is n as a sign-extended 32-bit immediate, where need says which bits
// matter.
func fitImm(n, need uint64) (int64, bool) {
	if need>>32 == 0 {
		return int64(int32(uint32(n & need))), true
	}
	if need&math.MaxUint32 == 0 && n&need == 0 {
		return 0, true
	}
	v := int64(int32(uint32(n)))
	return v, (uint64(v)^n)&need == 0
}
