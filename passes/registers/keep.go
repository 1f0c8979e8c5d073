package registers

import (
	"maps"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/windows"
)

// keep keeps an address in the frame that is wanted several times in a register
// that nobody uses and that survives calls: each time but the first is then a
// copy, in place of a copy and an addition.
func (w *webs) keep() (*bpf.Function, windows.Renaming) {
	at := windows.Identity(len(w.fn.Blocks))
	k, ok := w.bestAddress()
	if !ok {
		return w.fn, at
	}
	out := w.fn.Clone()
	for _, p := range k.uses {
		code := out.Blocks[p.block].Code
		code[p.i].Src = k.reg
		out.Blocks[p.block].Code = slices.Delete(code, p.i+1, p.i+2)
	}
	code := out.Blocks[k.first.block].Code
	base, sum := code[k.first.i], code[k.first.i+1]
	use := base
	base.Dst, sum.Dst, use.Src = k.reg, k.reg, k.reg
	out.Blocks[k.first.block].Code = slices.Replace(code, k.first.i, k.first.i+2, base, sum, use)
	for b := range k.behind {
		at[b][k.reg] = windows.Holder{Known: true, Reg: bpf.R10, Offset: k.offset}
	}
	return out, at
}

// address is an address in the frame to keep.
type address struct {
	offset int64
	reg    bpf.Register
	first  place        // where it is computed
	uses   []place      // where it is computed again, from the last to the first of each block
	behind map[int]bool // blocks that control only gets to through that of first
}

// bestAddress finds the address that saves most.
func (w *webs) bestAddress() (best address, ok bool) {
	reg, ok := w.spare()
	if !ok {
		return best, false
	}
	sites := w.addresses()
	for _, off := range slices.Sorted(maps.Keys(sites)) {
		places := sites[off]
		for i, first := range places[:max(0, min(len(places)-2, maxFirst))] {
			a := address{offset: off, reg: reg, first: first, behind: w.behind(first.block)}
			for _, p := range slices.Backward(places) {
				if a.behind[p.block] || p.block == first.block && p.i > first.i {
					a.uses = append(a.uses, p)
				}
			}
			if len(a.uses) >= 2 && len(a.uses) > len(best.uses) {
				best = a
			}
			if len(a.uses) == len(places)-1-i {
				break // a later one reaches fewer
			}
		}
	}
	return best, len(best.uses) > 0
}

// maxFirst bounds how many places are looked at as the first one.
const maxFirst = 4

// spare is a register that survives calls and that nobody names.
func (w *webs) spare() (bpf.Register, bool) {
	var used bpf.Registers
	for _, b := range w.fn.Blocks {
		for _, in := range b.Code {
			used |= in.Reads() | in.Writes()
		}
	}
	for r := bpf.R6; r < bpf.R10; r++ {
		if !used.Has(r) {
			return r, true
		}
	}
	return 0, false
}

// addresses is the places where addresses in the frame are computed, by offset
// and in order.
func (w *webs) addresses() map[int64][]place {
	out := map[int64][]place{}
	for _, b := range w.graph.Order() {
		code := w.fn.Blocks[b].Code
		for i := 0; i+1 < len(code); i++ {
			in := code[i]
			copied := in.Op == bpf.ClassALU64|bpf.OpMov|bpf.SourceX && in.Off == 0 && in.Src == bpf.R10
			if imm, ok := addsConstant(code[i+1]); ok && copied && code[i+1].Dst == in.Dst {
				out[imm] = append(out[imm], place{b, i})
			}
		}
	}
	return out
}

// behind is the blocks that control gets to only through the given one.
func (w *webs) behind(block int) map[int]bool {
	out := map[int]bool{}
	for _, b := range w.graph.Order() {
		out[b] = true
	}
	work := []int{0}
	for len(work) > 0 {
		b := work[len(work)-1]
		work = work[:len(work)-1]
		if b == block || !out[b] {
			continue
		}
		out[b] = false
		work = append(work, w.graph.Succs(b)...)
	}
	delete(out, block)
	maps.DeleteFunc(out, func(_ int, behind bool) bool { return !behind })
	return out
}
