package registers

import (
	"cmp"
	"math"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/windows"
)

// gather has one register hold the address that several accesses to one section
// of data start from: in
//
//	r1 = .rodata+4 ll
//	w2 = *(u32 *)(r1 + 0)
//	if w2 != w6 goto L
//	r1 = .rodata+12 ll
//	w2 = *(u32 *)(r1 + 0)
//
// the second one can be reached from the first at an offset of 8. Addresses that
// are wanted for more than accesses are copied from that register.
func (w *webs) gather() (*bpf.Function, windows.Renaming) {
	at := windows.Identity(len(w.fn.Blocks))
	g := gatherer{webs: w, uses: w.accesses()}
	best, ok := g.best()
	if !ok {
		return w.fn, at
	}
	for b, s := range best.span {
		if s.from == 0 {
			at[b][best.reg] = windows.Holder{Known: true, Ref: best.first.ref}
		}
	}
	return g.apply(best), at
}

// datum is an instruction that loads an address in a section.
type datum struct {
	place
	ref    bpf.Ref
	offset int64 // in the section
	web    node
	// uses is the accesses that all uses of the address are, if they are.
	uses  []place
	plain bool
}

// gathered is addresses of a section, of which all are gained from the first.
type gathered struct {
	first datum
	rest  []datum
	reg   bpf.Register // that holds the first
	span  span
	saved int // slots
}

// span is where a register has to keep a number, by block.
type span map[int]stretch

// stretch is in front of which instructions of a block: from up to, and with, to.
type stretch struct{ from, to int }

// has tells whether the number is needed in front of an instruction.
func (s span) has(block, i int) bool {
	in, ok := s[block]
	return ok && in.from <= i && i <= in.to
}

type gatherer struct {
	*webs
	uses map[node][]place
}

// accesses is what names each web without being what defines it.
func (w *webs) accesses() map[node][]place {
	out := map[node][]place{}
	for _, b := range w.graph.Order() {
		for i, in := range w.fn.Blocks[b].Code {
			s := w.sites[b][i]
			p := place{b, i}
			if s.src != none {
				out[w.find(s.src)] = append(out[w.find(s.src)], p)
			}
			if s.dst != none && in.Op != bpf.LoadImm64 {
				out[w.find(s.dst)] = append(out[w.find(s.dst)], p)
			}
		}
	}
	return out
}

// sections is the addresses that the function loads, by section and in order.
func (g *gatherer) sections() [][]datum {
	index := map[bpf.Ref]int{}
	var out [][]datum
	defs := map[node]int{}
	for _, b := range g.graph.Order() {
		for i, in := range g.fn.Blocks[b].Code {
			s := g.fn.Symbol(in.Ref)
			if in.Op != bpf.LoadImm64 || g.sites[b][i].dst == none {
				continue
			}
			web := g.find(g.sites[b][i].dst)
			defs[web]++
			if s == nil || s.Anchor == 0 {
				continue
			}
			k, ok := index[s.Anchor]
			if !ok {
				k = len(out)
				index[s.Anchor], out = k, append(out, nil)
			}
			out[k] = append(out[k], datum{place: place{b, i}, ref: in.Ref, offset: s.Offset, web: web})
		}
	}
	for _, data := range out {
		for k := range data {
			d := &data[k]
			d.uses = g.uses[d.web]
			d.plain = defs[d.web] == 1 && !g.fixed[d.web] &&
				!slices.ContainsFunc(d.uses, func(p place) bool { return !g.isAccess(d.web, p) })
		}
	}
	return out
}

// isAccess tells whether an instruction does no more with the address in a web
// than to access what is there.
func (g *gatherer) isAccess(web node, p place) bool {
	in, s := g.fn.Blocks[p.block].Code[p.i], g.sites[p.block][p.i]
	address, other := s.dst, s.src
	switch {
	case in.IsLoad() || in.IsAtomic() && in.Imm == bpf.AtomicLoadAcq:
		address, other = s.src, s.dst
	case !in.IsStore() && !in.IsAtomic():
		return false
	}
	return address != none && g.find(address) == web && (other == none || g.find(other) != web) && in.Ref == 0
}

// reaches tells whether a datum can be accessed from what is delta bytes before it.
func (g *gatherer) reaches(d *datum, delta int64) bool {
	return d.plain && !slices.ContainsFunc(d.uses, func(p place) bool {
		off := int64(g.fn.Blocks[p.block].Code[p.i].Off) + delta
		return off < math.MinInt16 || off > math.MaxInt16
	})
}

// maxGathered bounds how many addresses of a section are looked at together.
const maxGathered = 32

// best finds the addresses that save most.
func (g *gatherer) best() (best gathered, ok bool) {
	for _, data := range g.sections() {
		for i := range data[:min(len(data), maxFirst)] {
			if c, ok := g.from(data, i); ok && c.saved > best.saved {
				best = c
			}
		}
	}
	return best, best.saved > 0
}

// from gathers addresses at the i-th. Where there is no register to keep it for
// all of them, the last ones are left alone.
func (g *gatherer) from(data []datum, i int) (gathered, bool) {
	first := data[i]
	behind := g.behind(first.block)
	var rest []datum
	for _, d := range data {
		later := behind[d.block] || d.block == first.block && d.i > first.i
		if later && len(rest) < maxGathered && (d.offset == first.offset || g.reaches(&d, d.offset-first.offset)) {
			rest = append(rest, d)
		}
	}
	for ; len(rest) > 0; rest = rest[:len(rest)-1] {
		c := gathered{first: first, rest: rest}
		if !first.plain {
			c.saved = -1
		}
		for i := range rest {
			c.saved++
			if rest[i].plain {
				c.saved++
			}
		}
		if c.saved <= 0 {
			break
		}
		if g.register(&c) {
			return c, true
		}
	}
	return gathered{}, false
}

// register finds a register that is free wherever the address is needed.
func (g *gatherer) register(c *gathered) bool {
	gone := map[place]bool{c.first.place: true}
	free := map[bpf.Register][]span{} // where a register holds what will not be needed
	var uses []place
	for _, d := range append([]datum{c.first}, c.rest...) {
		r := g.fn.Blocks[d.block].Code[d.i].Dst
		if !d.plain {
			if d.place != c.first.place {
				uses = append(uses, d.place)
			}
			continue
		}
		gone[d.place] = true
		uses = append(uses, d.uses...)
		free[r] = append(free[r], g.span(d.place, d.uses))
	}
	c.span = g.span(c.first.place, uses)
	for _, r := range g.preferred(g.fn.Blocks[c.first.block].Code[c.first.i].Dst) {
		if g.isFree(r, c.span, free[r], gone) {
			c.reg = r
			return true
		}
	}
	return false
}

// preferred is the registers to try: that which the address is in, those that
// calls change, those that the function has to save anyway, and the others.
func (g *gatherer) preferred(r bpf.Register) []bpf.Register {
	used := usedRegisters(g.fn)
	out := []bpf.Register{r, bpf.R1, bpf.R2, bpf.R3, bpf.R4, bpf.R5, bpf.R0, bpf.R6, bpf.R7, bpf.R8, bpf.R9}
	slices.SortStableFunc(out[1:], func(a, b bpf.Register) int {
		cost := func(r bpf.Register) int {
			if r >= bpf.R6 && !used.Has(r) {
				return 1
			}
			return 0
		}
		return cmp.Compare(cost(a), cost(b))
	})
	return out
}

// span is where a number is needed that one instruction defines, and that is used
// in some places behind it.
func (g *gatherer) span(def place, uses []place) span {
	out := span{}
	var work []int
	extend := func(b, to int) {
		s, ok := out[b]
		if !ok && b == def.block {
			s.from = def.i + 1
		}
		if !ok && b != def.block {
			work = append(work, g.graph.Preds(b)...)
		}
		s.to = max(s.to, to)
		out[b] = s
	}
	for _, p := range uses {
		extend(p.block, p.i)
	}
	for len(work) > 0 {
		b := work[len(work)-1]
		work = work[:len(work)-1]
		if g.graph.Reachable(b) {
			extend(b, len(g.fn.Blocks[b].Code))
		}
	}
	return out
}

// isFree tells whether nothing but what is gone, or was held for it, is in a
// register over a span.
func (g *gatherer) isFree(r bpf.Register, over span, free []span, gone map[place]bool) bool {
	for b, s := range over {
		code := g.fn.Blocks[b].Code
		for k := s.from; k <= s.to; k++ {
			live := g.liveIn[b]
			if k > 0 {
				live = g.sites[b][k-1].live
			}
			if live.Has(r) && !slices.ContainsFunc(free, func(s span) bool { return s.has(b, k) }) {
				return false
			}
			if k < s.to && code[k].Writes().Has(r) && !gone[place{b, k}] {
				return false
			}
		}
	}
	return true
}

// apply is the function with the addresses gathered.
func (g *gatherer) apply(c gathered) *bpf.Function {
	out := g.fn.Clone()
	now := map[place][]bpf.Instruction{}
	for _, d := range append([]datum{c.first}, c.rest...) {
		load := g.fn.Blocks[d.block].Code[d.i]
		use := bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpMov | bpf.SourceX, Dst: load.Dst, Src: c.reg, Pos: load.Pos}
		now[d.place] = nil
		if d.place == c.first.place {
			load.Dst = c.reg
			now[d.place] = append(now[d.place], load)
		}
		if !d.plain {
			now[d.place] = append(now[d.place], use)
			continue
		}
		for _, p := range d.uses {
			in := &out.Blocks[p.block].Code[p.i]
			in.Off += int16(d.offset - c.first.offset)
			if in.IsLoad() || in.IsAtomic() && in.Imm == bpf.AtomicLoadAcq {
				in.Src = c.reg
			} else {
				in.Dst = c.reg
			}
		}
	}
	for b, block := range out.Blocks {
		code := block.Code[:0:0]
		for i, in := range block.Code {
			if with, ok := now[place{b, i}]; ok {
				code = append(code, with...)
			} else {
				code = append(code, in)
			}
		}
		block.Code = code
	}
	return out
}
