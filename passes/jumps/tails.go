package jumps

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// Two places are of one class where the same instructions run from there on,
// whatever way branches go. Classes are found from the ends of the function
// backwards; a place that leads back to where the search has not been is of a
// class of its own, so that equal loops are not seen to be equal.
type class int

// future is what runs from a place on: an instruction, and what is behind it.
type future struct {
	in          bpf.Instruction // without Pos and Target
	next, taken class
}

type classes struct {
	fn     *bpf.Function
	graph  *flow.Graph
	index  map[bpf.Label]int
	known  map[future]class
	places [][]class // by block and instruction; zero where not known yet
}

func newClasses(fn *bpf.Function) (*classes, error) {
	g, err := flow.NewGraph(fn)
	if err != nil {
		return nil, err
	}
	c := &classes{
		fn: fn, graph: g, index: map[bpf.Label]int{}, known: map[future]class{},
		places: make([][]class, len(fn.Blocks)),
	}
	for i, b := range fn.Blocks {
		c.index[b.Label] = i
	}
	order := g.Order()
	for i := len(order) - 1; i >= 0; i-- {
		c.block(order[i])
	}
	return c, nil
}

func (c *classes) block(b int) {
	code := c.fn.Blocks[b].Code
	c.places[b] = make([]class, len(code))
	next := class(0)
	if len(code) == 0 || code[len(code)-1].FallsThrough() {
		next = c.start(b + 1)
	}
	for i := len(code) - 1; i >= 0; i-- {
		in := code[i]
		f := future{in: in, next: next}
		f.in.Pos, f.in.Target = 0, 0
		if in.IsJump() {
			f.taken = c.start(c.index[in.Target])
		}
		switch {
		case in.IsGoto():
			next = f.taken
		default:
			next = c.of(oneWay(f))
		}
		c.places[b][i] = next
	}
}

// oneWay has a branch and its inverse look alike.
func oneWay(f future) future {
	if inv, ok := Inverse(f.in); ok && inv.Op < f.in.Op {
		f.in, f.next, f.taken = inv, f.taken, f.next
	}
	return f
}

func (c *classes) of(f future) class {
	if _, ok := c.known[f]; !ok {
		c.known[f] = class(len(c.known) + 1)
	}
	return c.known[f]
}

// start is the class of a block's first instruction.
func (c *classes) start(b int) class {
	for ; b < len(c.fn.Blocks); b++ {
		switch {
		case c.places[b] == nil:
			return c.of(future{in: bpf.Instruction{Target: c.fn.Blocks[b].Label}})
		case len(c.places[b]) > 0:
			return c.places[b][0]
		}
	}
	return 0
}

// place is an instruction of a function: block index, index in the block.
type place struct{ block, at int }

// merge has a block jump from one place on to another, of the same class.
type merge struct{ from, to place }

// mergeTails lets blocks share what they do at their end: of the places of one
// class, all jump to the one that stands last. That is one that control falls
// into, if there is one: blocks that are only jumped to can go.
func (e *editor) mergeTails() bool {
	c, err := newClasses(e.fn)
	if err != nil {
		return false
	}
	m := merger{
		classes: c, last: map[class]place{}, stays: map[class]place{}, jumper: map[int]int{},
		cut: map[int]int{}, kept: map[int]int{},
	}
	for b, places := range c.places {
		for i, k := range places {
			if c.fn.Blocks[b].Code[i].IsGoto() {
				continue
			}
			m.last[k] = place{b, i}
			if i > 0 || !m.removable(b) {
				m.stays[k] = place{b, i}
			}
		}
		if in := last(c.fn.Blocks[b]); in != nil && in.IsJump() {
			m.jumper[c.index[in.Target]] = b
		}
	}
	for b := range c.places {
		if x, ok := m.worthwhile(b); ok && m.compatible(x) && e.alike(&m, x) && (e.confirmed || e.unasked(&m, x)) {
			m.add(x)
		}
	}
	if len(m.merges) > 0 {
		e.fn.Blocks = m.blocks()
	}
	return len(m.merges) > 0
}

// merger collects what to merge.
type merger struct {
	*classes
	last   map[class]place
	stays  map[class]place // likewise, of those that can't go
	jumper map[int]int     // by block, the last one that jumps to it
	merges []merge
	cut    map[int]int          // by block that will jump away, from where on
	kept   map[int]int          // by block that is jumped into, the last place
	facts  *flow.Facts          // once they are wanted
	needs  *flow.Needs          // likewise
	states map[int][]flow.State // likewise, by block
}

// worthwhile finds the earliest place of a block from which on it does what
// another block does that stands behind it, if a jump there saves anything.
func (m *merger) worthwhile(b int) (merge, bool) {
	code := m.fn.Blocks[b].Code
	for i, k := range m.places[b] {
		if code[i].IsGoto() {
			break
		}
		to := m.target(place{b, i}, k)
		if to.block == b {
			continue
		}
		saved := bpf.Slots(code[i:]) - 1 // the jump that comes in
		if i == 0 && m.removable(b) {
			saved++ // who jumps to the block will jump on
		}
		return merge{place{b, i}, to}, saved > 0
	}
	return merge{}, false
}

// removable tells whether nothing falls into a block.
func (m *merger) removable(b int) bool { return b > 0 && !fallsThrough(m.fn.Blocks[b-1]) }

// target is the place of a class that the one at p could jump to. No jump leads
// backwards that did not.
func (m *merger) target(p place, k class) place {
	to, ok := m.stays[k]
	if ok && (to.block > p.block || p.at == 0 && m.removable(p.block) && m.jumper[p.block] <= to.block) {
		return to
	}
	return m.last[k]
}

// compatible tells whether a merge does not cut off what another one leads to.
func (m *merger) compatible(x merge) bool {
	if at, ok := m.cut[x.to.block]; ok && x.to.at >= at {
		return false
	}
	at, ok := m.kept[x.from.block]
	return !ok || at < x.from.at
}

func (m *merger) add(x merge) {
	m.merges = append(m.merges, x)
	m.cut[x.from.block] = x.from.at
	m.kept[x.to.block] = max(m.kept[x.to.block], x.to.at)
}

// alike tells whether registers that are read from there on hold values of the
// same kinds at both places: the verifier wants an instruction that accesses
// memory to have pointers of one kind.
func (e *editor) alike(m *merger, x merge) bool {
	if m.facts == nil {
		facts, err := flow.Analyze(e.ctx, m.fn, flow.Options{BigEndian: e.bigEndian})
		if err != nil {
			return false
		}
		if m.needs, err = flow.Liveness(m.fn, facts); err != nil {
			return false
		}
		m.facts = facts
	}
	a, b := m.facts.Before(x.from.block, x.from.at), m.facts.Before(x.to.block, x.to.at)
	live := m.before(x.to)
	for r := range a.Regs {
		p, q := a.Regs[r].Kind, b.Regs[r].Kind
		if live.Regs[r] != 0 && p != q && p != flow.KindNone && q != flow.KindNone {
			return false
		}
	}
	return true
}

// before is what is read from a place on.
func (m *merger) before(p place) flow.Live {
	if p.at == 0 {
		return m.needs.In(p.block)
	}
	return m.needs.After(p.block, p.at-1)
}

// blocks is the function's blocks with all merges done.
func (m *merger) blocks() []*bpf.Block {
	labels, away := m.labels()
	var out []*bpf.Block
	for b, block := range m.fn.Blocks {
		now := &bpf.Block{Label: block.Label}
		for i, in := range block.Code {
			at := place{b, i}
			if label := labels[at]; label != 0 && label != now.Label {
				out = append(out, now)
				now = &bpf.Block{Label: label}
			}
			if to, ok := away[at]; ok {
				now.Code = append(now.Code, bpf.Instruction{Op: bpf.ClassJMP | bpf.OpJA, Target: labels[to], Pos: in.Pos})
				break
			}
			now.Code = append(now.Code, in)
		}
		out = append(out, now)
	}
	return out
}

// labels is the labels of the places that are jumped to, and where to jump from
// which place.
func (m *merger) labels() (map[place]bpf.Label, map[place]place) {
	labels, away := map[place]bpf.Label{}, map[place]place{}
	free := freeLabel(m.fn)
	for _, x := range m.merges {
		away[x.from] = x.to
		label := m.fn.Blocks[x.to.block].Label
		if labels[x.to] != 0 {
			continue
		}
		if x.to.at > 0 || label == 0 {
			label = free
			free++
		}
		labels[x.to] = label
	}
	return labels, away
}
