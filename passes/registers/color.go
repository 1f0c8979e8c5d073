package registers

import (
	"slices"

	"github.com/k2cc/k2cc/bpf"
)

// coloring gives webs registers: at first those that they have, so that it is
// always one with which the function does what it did.
type coloring struct {
	*webs
	near map[node]map[node]bool // by web, those that it interferes with
}

func (w *webs) coloring() *coloring {
	c := &coloring{webs: w, near: map[node]map[node]bool{}}
	for _, e := range w.edges {
		c.join(w.find(e[0]), w.find(e[1]))
	}
	return c
}

func (c *coloring) join(a, b node) {
	for _, p := range [][2]node{{a, b}, {b, a}} {
		if c.near[p[0]] == nil {
			c.near[p[0]] = map[node]bool{}
		}
		c.near[p[0]][p[1]] = true
	}
}

// depth bounds how far away webs are given other registers to make room for one.
const depth = 2

// move is a change of a web's register that may have to be taken back.
type move struct {
	web node
	was bpf.Register
}

// paint gives a web the register r, and those in its way other ones. It changes
// nothing where that does not work.
func (c *coloring) paint(web node, r bpf.Register, left int, busy map[node]bool, done *[]move) bool {
	switch {
	case c.color[web] == r:
	case c.fixed[web], c.forbid[web].Has(r):
		return false
	}
	if c.forbid[web].Has(r) {
		return false
	}
	mark := len(*done)
	busy[web] = true
	*done = append(*done, move{web, c.color[web]})
	c.color[web] = r
	for _, n := range c.inTheWay(web) {
		if busy[n] || left == 0 || !c.evade(n, left-1, busy, done) {
			c.undo(done, mark)
			delete(busy, web)
			return false
		}
	}
	delete(busy, web)
	return true
}

// inTheWay is the webs with a web's register that it interferes with, in order.
func (c *coloring) inTheWay(web node) []node {
	var out []node
	for n := range c.near[web] {
		if c.color[n] == c.color[web] {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

// evade gives a web another register than it has.
func (c *coloring) evade(web node, left int, busy map[node]bool, done *[]move) bool {
	if c.fixed[web] {
		return false
	}
	was := c.color[web]
	// Registers that cost nothing to use come first.
	for r := range bpf.R10 {
		if r != was && c.free(web, r) {
			*done = append(*done, move{web, was})
			c.color[web] = r
			return true
		}
	}
	for r := range bpf.R10 {
		if r != was && c.paint(web, r, left, busy, done) {
			return true
		}
	}
	return false
}

// free tells whether a web may have a register that none near it has.
func (c *coloring) free(web node, r bpf.Register) bool {
	if c.forbid[web].Has(r) {
		return false
	}
	for n := range c.near[web] {
		if c.color[n] == r {
			return false
		}
	}
	return true
}

// undo takes back the moves behind the first n.
func (c *coloring) undo(done *[]move, n int) {
	for i := len(*done) - 1; i >= n; i-- {
		c.color[(*done)[i].web] = (*done)[i].was
	}
	*done = (*done)[:n]
}

// coalesce makes one web of two that hold copies of one value, where they do not
// interfere and can have one register.
func (c *coloring) coalesce(a, b node) bool {
	a, b = c.find(a), c.find(b)
	if a == b || c.near[a][b] {
		return false
	}
	if c.fixed[b] {
		a, b = b, a
	}
	if c.fixed[a] && c.fixed[b] && c.color[a] != c.color[b] {
		return false
	}
	choices := []bpf.Register{c.color[a]}
	if !c.fixed[a] {
		choices = append(choices, c.color[b])
		for r := range bpf.R10 {
			choices = append(choices, r)
		}
	}
	for _, r := range choices {
		var done []move
		if c.paintBoth(a, b, r, &done) {
			c.merge(a, b)
			return true
		}
		c.undo(&done, 0)
	}
	return false
}

func (c *coloring) paintBoth(a, b node, r bpf.Register, done *[]move) bool {
	busy := map[node]bool{b: true}
	if !c.paint(a, r, depth, busy, done) {
		return false
	}
	busy = map[node]bool{a: true}
	return c.paint(b, r, depth, busy, done) && c.color[a] == r && len(c.inTheWay(a)) == 0
}

// merge makes one web of two that have the same register and do not interfere.
func (c *coloring) merge(a, b node) {
	near := [2]map[node]bool{c.near[a], c.near[b]}
	delete(c.near, a)
	delete(c.near, b)
	m := c.union(a, b)
	for _, set := range near {
		for n := range set {
			delete(c.near[n], a)
			delete(c.near[n], b)
			c.join(m, n)
		}
	}
}
