package local

import (
	"cmp"
	"maps"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
)

// maxGathers bounds how many stores are tried as the first that is gathered.
const maxGathers = 24

// gather copies memory in as few pieces as can be: what several stores put into
// memory that nobody else sees, all from memory, is loaded first and stored then.
// So an exchange of two addresses, done in pieces that read what others write, is
// one of the whole addresses.
func gather(v *view) code {
	var roots []int32
	for i := range v.acc {
		if root := v.acc[i].root; v.copiesMemory(i) && !slices.Contains(roots, root) {
			roots = append(roots, root)
		}
	}
	tries := 0
	for _, root := range roots {
		for from := 0; from < len(v.code) && tries < maxGathers; from++ {
			if !v.copiesMemory(from) || v.acc[from].root != root {
				continue
			}
			tries++
			if c := v.gatherFrom(from); c != nil && v.k.better(c.price(), v.code.price()) {
				return c
			}
		}
	}
	return nil
}

// copiesMemory tells whether instruction i stores bytes that lay in memory.
func (v *view) copiesMemory(i int) bool {
	a := v.acc[i]
	if !a.store || a.barrier || a.vague || v.code[i].hole != 0 || v.code[i].Ref != 0 || !v.k.mayWiden(a.place) || v.k.shared(a.place) {
		return false
	}
	for b := range a.size {
		if byte := v.storedByte(i, b); !byte[0].known() && v.k.t.keys[byte[0].leaf()].kind != keyByte {
			return false
		}
	}
	return true
}

// gatherFrom gathers the stores to places from one root, that of instruction first
// and those behind it.
func (v *view) gatherFrom(first int) code {
	at := v.acc[first].place
	g := gatherer{content: map[int64][8]bit{}}
	rest := slices.Clone(v.code[:first])
	last := first
	for i := first; i < len(v.code); i++ {
		if a := v.acc[i]; a.root != at.root || !v.copiesMemory(i) {
			rest = append(rest, v.code[i])
			continue
		}
		last = i
		for b := range v.acc[i].size {
			g.content[v.acc[i].off+int64(b)] = v.storedByte(i, b)
		}
	}
	if last == first || v.k.skip(v.code[last]) {
		return nil
	}
	g.left, g.at, g.pos = v.k.view(rest), first, v.code[last].Pos
	for ; g.at < len(rest) && v.code.find(rest[g.at].id) < last; g.at++ {
		if g.blocks(g.at, at) {
			return nil
		}
	}
	return g.best(at)
}

// gatherer puts the pieces of a copy into code that lacks it.
type gatherer struct {
	left    *view
	at      int              // the index in left before which the copy is done
	content map[int64][8]bit // what the last store to it puts into a byte
	pieces  []piece
	pos     int32
}

// piece is one load and one store of a copy, with a shift between them perhaps.
type piece struct {
	from, to           place
	load, shift, store bpf.Instruction // but for the register between them
}

// blocks tells whether instruction i of what is left must not come before stores
// that stood before it. The place tells where the stores lead.
func (g *gatherer) blocks(i int, at place) bool {
	a := g.left.acc[i]
	if !a.any() || g.left.dead[i] {
		return false
	}
	if a.barrier || a.vague || a.root != at.root {
		return a.barrier || g.left.k.mayMeet(a.place, at)
	}
	for b := range a.size {
		if _, ok := g.content[a.off+int64(b)]; ok {
			return true
		}
	}
	return false
}

// cut cuts the copy into pieces, as large as possible from the lowest byte on, or
// from the highest one down.
func (g *gatherer) cut(at place, down bool) bool {
	missing := slices.Sorted(maps.Keys(g.content))
	g.pieces = nil
	for len(missing) > 0 {
		p, ok := g.largest(at, missing, down)
		if !ok {
			return false
		}
		g.pieces = append(g.pieces, p)
		missing = slices.DeleteFunc(missing, func(o int64) bool { return o >= p.to.off && o < p.to.off+int64(p.to.size) })
	}
	slices.SortFunc(g.pieces, func(p, q piece) int { return cmp.Compare(p.to.off, q.to.off) })
	return true
}

func (g *gatherer) largest(at place, missing []int64, down bool) (piece, bool) {
	for _, at.size = range []int{8, 4, 2, 1} {
		if at.size > len(missing) {
			continue
		}
		at.off = missing[0]
		if down {
			at.off = missing[len(missing)-1] - int64(at.size) + 1
		}
		if p, ok := g.piece(at); ok {
			return p, true
		}
	}
	return piece{}, false
}

// piece is the load and the store of one place's bytes.
func (g *gatherer) piece(to place) (piece, bool) {
	k := g.left.k
	var value vec
	for b := range to.size {
		bits, ok := g.content[to.off+int64(b)]
		if !ok {
			return piece{}, false
		}
		copy(value[k.t.byteLane(b, to.size):], bits[:])
	}
	low := g.content[to.off][0]
	if low.known() || to.size > 1 && !k.mayWiden(to) {
		return piece{}, false
	}
	name := k.t.keys[low.leaf()]
	from := place{root: name.a, off: name.c, size: to.size}
	var ok bool
	if from.kind, from.null, ok = k.kindOf(name.a); !ok || name.kind != keyByte || k.shared(from) || !g.left.mayLoad(g.at, from, &goal{}) {
		return piece{}, false
	}
	got := g.left.loaded(g.at, from)
	if !agree(&got, &value, below(8*to.size)) {
		return piece{}, false
	}
	p, ok := g.between(from, to)
	// Four bytes are loaded with shorter machine code than two.
	if wide := from; ok && to.size < 4 {
		wide.size = 4
		if k.t.big {
			wide.off -= int64(4 - to.size)
		}
		if q, ok := g.between(wide, to); ok && g.left.mayLoad(g.at, wide, &goal{}) && cost.Bytes(q.load) < cost.Bytes(p.load) {
			return q, true
		}
	}
	return p, ok
}

// between is the load from one place and the store to another.
func (g *gatherer) between(from, to place) (p piece, ok bool) {
	load, _ := bpf.SizeOp(from.size)
	store, _ := bpf.SizeOp(to.size)
	p = piece{from: from, to: to}
	p.load = bpf.Instruction{Op: bpf.ClassLDX | bpf.ModeMem | load}
	p.store = bpf.Instruction{Op: bpf.ClassSTX | bpf.ModeMem | store}
	if p.load.Src, p.load.Off, ok = g.left.baseFor(g.at, from); !ok {
		return p, false
	}
	p.store.Dst, p.store.Off, ok = g.left.baseFor(g.at, to)
	return p, ok
}

// best is the cheapest code with the copy in it that does not take too long.
func (g *gatherer) best(at place) (best code) {
	bounds := g.left.k.w.Bounds()
	offer := func() {
		c := g.code()
		if c == nil || cost.Of(c.instructions()).Time > bounds.Time {
			return
		}
		if best == nil || g.left.k.better(c.price(), best.price()) {
			best = c
		}
	}
	if !g.cut(at, false) {
		return nil
	}
	pieces := g.pieces
	offer()
	for i := range len(pieces) - 1 {
		for _, up := range []bool{false, true} {
			if g.pieces = pieces; g.fuse(i, up) {
				offer()
			}
		}
	}
	if g.cut(at, true) {
		offer()
	}
	return best
}

// fuse makes one piece of the i-th, of four bytes, and the next one, which goes on
// with two: eight bytes are loaded and shifted by two. What is stored with the six
// right before them, or behind if up is set, is overwritten by another piece.
func (g *gatherer) fuse(i int, up bool) bool {
	p, q := g.pieces[i], g.pieces[i+1]
	if g.left.k.t.big {
		q.from.off += int64(q.from.size - q.to.size) // more was loaded in front
	}
	follows := func(a, b place) bool { return a.root == b.root && a.off+4 == b.off }
	if p.to.size != 4 || q.to.size != 2 || !follows(p.to, q.to) || !follows(p.from, q.from) {
		return false
	}
	from, to, extra := p.from, p.to, p.to.off+6
	from.size, to.size = 8, 8
	if up {
		from.off -= 2
	} else {
		to.off -= 2
		extra = to.off
	}
	for b := range int64(2) {
		if _, ok := g.content[extra+b]; !ok {
			return false
		}
	}
	if !g.left.k.mayWiden(to) || !g.left.mayLoad(g.at, from, &goal{}) {
		return false
	}
	wide, ok := g.between(from, to)
	wide.shift = bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpLsh, Imm: 16}
	if up != g.left.k.t.big {
		wide.shift.Op = bpf.ClassALU64 | bpf.OpRsh
	}
	g.pieces = slices.Concat([]piece{wide}, g.pieces[:i], g.pieces[i+2:])
	return ok
}

// code is the code with the copy in it: pieces that overwrite nothing that others
// have to read or will overwrite are done at once, the others are all loaded before
// they are stored.
func (g *gatherer) code() code {
	free := g.free()
	var ins, stores []bpf.Instruction
	var late []piece
	for i, p := range g.pieces {
		if len(free) == 0 {
			return nil
		}
		p.load.Dst, p.shift.Dst, p.store.Src = free[0], free[0], free[0]
		ins = append(ins, p.load)
		if p.shift.Op != 0 {
			ins = append(ins, p.shift)
		}
		inWay := slices.ContainsFunc(g.pieces, func(q piece) bool { return q != g.pieces[i] && g.left.k.mayMeet(p.to, q.from) }) ||
			slices.ContainsFunc(late, func(q piece) bool { return g.left.k.mayMeet(p.to, q.to) })
		if inWay {
			late, stores, free = append(late, p), append(stores, p.store), free[1:]
		} else {
			ins = append(ins, p.store)
		}
	}
	out := g.left.code.insert(g.at, g.left.k.giveAll(append(ins, stores...), g.pos)...)
	return g.left.k.clean(out).code
}

// free is the registers that the copy may use: those that nobody reads, and of
// those that calls preserve the ones that the code uses anyhow.
func (g *gatherer) free() (out []bpf.Register) {
	var used, taken bpf.Registers
	for _, in := range g.left.code {
		used |= in.writes()
	}
	for _, p := range g.pieces {
		taken |= bpf.Set(p.load.Src, p.store.Dst)
	}
	for r := range bpf.R10 {
		if g.left.before(g.at).Regs[r] == 0 && !taken.Has(r) && (r <= bpf.R5 || used.Has(r)) {
			out = append(out, r)
		}
	}
	return out
}
