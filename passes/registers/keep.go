package registers

import (
	"maps"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/windows"
)

// keep keeps an address that is wanted several times, in the frame or of a map or
// global data, in a register that nobody uses and that survives calls: each time
// but the first is then a copy, in place of what takes two slots.
func (w *webs) keep() (*bpf.Function, windows.Renaming) {
	at := windows.Identity(len(w.fn.Blocks))
	k, ok := w.bestAddress()
	if !ok {
		return w.fn, at
	}
	out := w.fn.Clone()
	for _, p := range append(k.uses, k.first) {
		b := out.Blocks[p.block]
		use := bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpMov | bpf.SourceX, Dst: b.Code[p.i].Dst, Src: k.reg, Pos: b.Code[p.i].Pos}
		now := []bpf.Instruction{use}
		if p == k.first {
			now = append(slices.Clone(b.Code[p.i:p.i+k.length()]), use)
			for i := range k.length() {
				now[i].Dst = k.reg
			}
		}
		b.Code = slices.Replace(b.Code, p.i, p.i+k.length(), now...)
	}
	for b := range k.behind {
		at[b][k.reg] = k.holder()
	}
	return out, at
}

// wanted is an address: of a symbol, by the instruction that loads it, or in the
// frame.
type wanted struct {
	load   bpf.Instruction
	offset int64
}

// length is how many instructions it takes.
func (a wanted) length() int {
	if a.load.Ref != 0 {
		return 1
	}
	return 2
}

func (a wanted) holder() windows.Holder {
	if a.load.Ref != 0 {
		return windows.Holder{Known: true, Ref: a.load.Ref}
	}
	return windows.Holder{Known: true, Reg: bpf.R10, Offset: a.offset}
}

// address is an address to keep.
type address struct {
	wanted
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
	order, sites := w.addresses()
	for _, a := range order {
		places := sites[a]
		for i, first := range places[:max(0, min(len(places)-2, maxFirst))] {
			a := address{wanted: a, reg: reg, first: first, behind: w.behind(first.block)}
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

// addresses is the places where addresses are computed, by address and in order,
// and the addresses in the order in which they come.
func (w *webs) addresses() (order []wanted, sites map[wanted][]place) {
	sites = map[wanted][]place{}
	for _, b := range w.graph.Order() {
		code := w.fn.Blocks[b].Code
		for i := range code {
			a, ok := w.addressAt(code[i:])
			if !ok {
				continue
			}
			if sites[a] == nil {
				order = append(order, a)
			}
			sites[a] = append(sites[a], place{b, i})
		}
	}
	return order, sites
}

// addressAt is the address that code begins with computing.
func (w *webs) addressAt(code []bpf.Instruction) (wanted, bool) {
	in := code[0]
	if in.Op == bpf.LoadImm64 {
		s := w.fn.Symbol(in.Ref)
		in.Dst, in.Pos = 0, 0
		return wanted{load: in}, s != nil && (s.Kind == bpf.SymbolMap || s.Kind == bpf.SymbolData)
	}
	if len(code) < 2 || in.Op != bpf.ClassALU64|bpf.OpMov|bpf.SourceX || in.Off != 0 || in.Src != bpf.R10 {
		return wanted{}, false
	}
	imm, ok := addsConstant(code[1])
	return wanted{offset: imm}, ok && code[1].Dst == in.Dst
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
