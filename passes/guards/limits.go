package guards

import (
	"math"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
)

// limits is the kind of regions in which a number is held to a limit after it was
// computed from another one, and before for the largest of those. There may be a
// bound for the other one from which on the limit is all that comes of it, so that
// what is below needs none:
//
//	w1 = 19                      w1 = 19
//	if r6 > 0xffffffff goto L1   if r6 > 0x7ffff goto L1
//	w1 = … w6 …              →   w1 = … w6 …
//	if w1 < 19 goto L1           L1:
//	w1 = 19
//	L1:
var limits = kind{may: (*finder).mayLimit, region: (*finder).limited}

// limit is a region in which a number is held to a limit.
type limit struct {
	from    int             // the block that ends in the branch on the other number
	end     int             // the block where all come together
	branch  bpf.Instruction // goes to end where the other number is above bound
	bound   uint64
	set     bpf.Instruction // sets the number to the limit
	most    uint64          // the limit
	numbers [bpf.NumRegisters]flow.Value
}

// lastBranch is the conditional jump at a block's end, if there is one.
func (f *finder) lastBranch(block int) (bpf.Instruction, bool) {
	code := f.fn.Blocks[block].Code
	if len(code) == 0 {
		return bpf.Instruction{}, false
	}
	in := code[len(code)-1]
	return in, in.IsCondJump() && in.Ref == 0
}

// mayLimit tells whether a block ends in a branch on a bound, to where another
// branch leads around setting a register to a number, and what is between does
// nothing but compute.
func (f *finder) mayLimit(i int) bool {
	in, ok := f.lastBranch(i)
	if !ok || in.Op.Jump() != bpf.OpJGT || in.Op.Class() != bpf.ClassJMP {
		return false
	}
	end := f.at[in.Target]
	if end < i+3 || end > i+3+2*maxBranches || f.jumped[in.Target] != 2 {
		return false
	}
	over, ok := f.lastBranch(end - 2)
	set := f.fn.Blocks[end-1].Code
	if !ok || over.Target != in.Target || len(set) != 1 || set[0].Op.ALU() != bpf.OpMov || set[0].UsesSrc() || other(set[0]) || over.Dst != set[0].Dst {
		return false
	}
	return f.closed(i+1, end)
}

// closed tells whether blocks from..end, exclusive, only compute, in ways that the
// verifier follows, jump forwards to no other than these and end, and are entered
// at their first alone.
func (f *finder) closed(from, end int) bool {
	inside := map[bpf.Label]int{}
	for i, b := range f.fn.Blocks[from:end] {
		for k, in := range b.Code {
			if k < len(b.Code)-1 || !in.IsJump() {
				if other(in) || lost(in) {
					return false
				}
				continue
			}
			to := f.at[in.Target]
			if in.Ref != 0 || in.IsMayGoto() || to <= from+i || to > end {
				return false
			}
			inside[in.Target]++
		}
	}
	for _, b := range f.fn.Blocks[from:end] {
		if f.jumped[b.Label] != inside[b.Label] {
			return false
		}
	}
	return true
}

// lost tells whether the verifier may know nothing of an instruction's result, even
// where facts do (kernel/bpf/verifier.c, is_safe_to_compute_dst_reg_range
// and adjust_scalar_min_max_vals; newer ones know more).
func lost(in bpf.Instruction) bool {
	if !in.IsALU() {
		return false
	}
	switch in.Op.ALU() {
	case bpf.OpDiv, bpf.OpMod, bpf.OpNeg, bpf.OpEnd:
		return true
	case bpf.OpLsh, bpf.OpRsh, bpf.OpArsh:
		return in.UsesSrc() // the verifier has to know by how much
	case bpf.OpMov:
		return in.Off != 0
	}
	return false
}

// limited is the region that begins with a block of which mayLimit holds, if there
// is such a bound.
func (f *finder) limited(i int) (region, bool) {
	branch, _ := f.lastBranch(i)
	if !f.facts.Reachable(i) {
		return region{}, false
	}
	last := len(f.fn.Blocks[i].Code) - 1
	l := limit{from: i, end: f.at[branch.Target], branch: branch, numbers: f.facts.Before(i, last).Regs}
	l.set = f.fn.Blocks[l.end-1].Code[0]
	l.most = uint64(l.set.Imm)
	if l.set.Op.Class() == bpf.ClassALU {
		l.most = uint64(uint32(l.set.Imm))
	}
	l.bound = uint64(branch.Imm)
	if branch.UsesSrc() {
		v := l.numbers[branch.Src]
		if !isConst(v) {
			return region{}, false
		}
		l.bound = v.Bits
	}
	if v := l.numbers[l.set.Dst]; !isConst(v) || v.Bits != l.most {
		return region{}, false
	}
	bound, ok := f.lowest(l)
	if !ok {
		return region{}, false
	}
	r, bound := f.rebound(l, bound)
	return r, f.pays(r.edits) && f.known(l, bound)
}

// lowest is the bound above which the number is the limit, if the number grows
// with the other one and is not always the limit.
func (f *finder) lowest(l limit) (bound uint64, ok bool) {
	switch {
	case f.atLimit(l, 0):
		return 0, false
	case !f.atLimit(l, l.bound):
		return l.bound, true
	}
	low, high := uint64(0), l.bound // not at the limit, at the limit
	for high-low > 1 {
		if mid := low + (high-low)/2; f.atLimit(l, mid) {
			high = mid
		} else {
			low = mid
		}
	}
	return low, true
}

// atLimit runs the region with the other number x, and tells whether the number
// comes to its limit.
func (f *finder) atLimit(l limit, x uint64) bool {
	var s semantics.State
	for r, v := range l.numbers {
		s.Regs[r] = v.Bits
	}
	s.Regs[l.branch.Dst] = x
	for b := l.from + 1; b != l.end; {
		code := f.fn.Blocks[b].Code
		next := b + 1
		if n := len(code) - 1; n >= 0 && code[n].IsGoto() {
			code, next = code[:n], f.at[code[n].Target]
		}
		taken, err := s.Run(code)
		if err != nil {
			return false
		}
		if taken {
			next = f.at[code[len(code)-1].Target]
		}
		b = next
	}
	return s.Regs[l.set.Dst] == l.most
}

// rebound is the region without a limit at its end, and with another bound if
// that can be an immediate, or in the other's register.
func (f *finder) rebound(l limit, bound uint64) (region, uint64) {
	branch := place{l.from, len(f.fn.Blocks[l.from].Code) - 1}
	r := region{branch, place{l.end, 0}, edits{
		place{l.end - 2, len(f.fn.Blocks[l.end-2].Code) - 1}: nil,
		place{l.end - 1, 0}: nil,
	}}
	def := place{l.from, -1}
	if l.branch.UsesSrc() {
		def.at = f.definition(l.from, l.branch.Src)
	}
	if bound > math.MaxInt32 && def.at < 0 {
		return r, l.bound
	}
	if def.at >= 0 {
		r.from = def
		r.edits[def] = nil
	}
	if bound > math.MaxInt32 {
		wide := bpf.Instruction{Op: bpf.LoadImm64, Dst: l.branch.Src, Imm: int64(bound), Pos: f.code(def).Pos}
		r.edits[def] = []bpf.Instruction{wide}
		return r, bound
	}
	now := l.branch
	now.Op, now.Src, now.Imm = now.Op&^bpf.SourceX, 0, int64(bound)
	r.edits[branch] = []bpf.Instruction{now}
	return r, bound
}
