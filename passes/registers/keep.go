package registers

import (
	"maps"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/windows"
)

// keep keeps an address that is wanted several times, in the frame or of a map or
// global data, in a register that nobody uses meanwhile: each time but the first is
// then a copy, in place of what takes two slots, or nothing, where the copy can have
// the same register.
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
	for b := range k.lives {
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
	lives  map[int]bool // blocks at whose start it is still wanted
	saved  int          // slots, as far as that can be told
}

// bestAddress finds the address that saves most.
func (w *webs) bestAddress() (best address, ok bool) {
	order, sites := w.addresses()
	definers, tried := w.definers(), 0
	for _, a := range order {
		places := sites[a]
		if len(places) < 2 {
			continue
		}
		if tried++; tried > maxAddresses {
			break
		}
		for i, first := range places[:min(len(places)-1, maxFirst)] {
			a := address{wanted: a, first: first, behind: w.behind(first.block)}
			a.saved = -w.copyLeft(first, a.length(), definers)
			for _, p := range slices.Backward(places) {
				if a.behind[p.block] || p.block == first.block && p.i > first.i {
					a.uses = append(a.uses, p)
					a.saved += 2 - w.copyLeft(p, a.length(), definers)
				}
			}
			// An address of a symbol takes more machine code than one in the frame.
			equal := a.saved == best.saved && a.load.Ref != 0 && best.load.Ref == 0
			if a.saved > 0 && (a.saved > best.saved || equal) && w.room(&a) {
				best = a
			}
			if len(a.uses) == len(places)-1-i {
				break // a later one reaches fewer
			}
		}
	}
	return best, best.saved > 0
}

// maxAddresses bounds how many addresses are looked at, maxFirst how many places
// as the first one of each.
const (
	maxAddresses = 64
	maxFirst     = 4
)

// definers counts the instructions that define each web.
func (w *webs) definers() map[node]int {
	out := map[node]int{}
	for _, b := range w.graph.Order() {
		for i, in := range w.fn.Blocks[b].Code {
			if dst := w.sites[b][i].dst; dst != none && in.Writes().Has(in.Dst) {
				out[w.find(dst)]++
			}
		}
	}
	return out
}

// copyLeft is 1 where the copy of an address that stands for what computes it, in
// n instructions, can't have the address's own register.
func (w *webs) copyLeft(at place, n int, definers map[node]int) int {
	if web := w.find(w.sites[at.block][at.i].dst); w.fixed[web] || definers[web] > n {
		return 1
	}
	return 0
}

// room finds a register that nobody uses while the address is wanted, and where
// that is. Those that the function uses elsewhere come first: they are saved for
// its caller anyhow.
func (w *webs) room(a *address) bool {
	a.lives = map[int]bool{}
	ends := map[int]int{} // by block, up to where it is wanted
	for _, p := range a.uses {
		ends[p.block] = max(ends[p.block], p.i)
	}
	var work []int
	want := func(b int) {
		if b != a.first.block && !a.lives[b] {
			a.lives[b] = true
			work = append(work, b)
		}
	}
	for b := range ends {
		want(b)
	}
	for len(work) > 0 {
		b := work[len(work)-1]
		work = work[:len(work)-1]
		for _, p := range w.graph.Preds(b) {
			if w.graph.Reachable(p) {
				ends[p] = len(w.fn.Blocks[p].Code)
				want(p)
			}
		}
	}
	var busy bpf.Registers
	for b, end := range ends {
		from := 0
		if b == a.first.block {
			from = a.first.i
		} else {
			busy |= w.liveIn[b]
		}
		for i := from; i < end; i++ {
			busy |= w.sites[b][i].live | w.fn.Blocks[b].Code[i].Writes()
		}
	}
	used := usedRegisters(w.fn)
	for _, want := range []bpf.Registers{used, ^used} {
		for r := range bpf.R10 {
			if want.Has(r) && !busy.Has(r) {
				a.reg = r
				return true
			}
		}
	}
	return false
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
