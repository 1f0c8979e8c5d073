package flow

import (
	"fmt"

	"github.com/k2cc/k2cc/bpf"
)

// Graph is the control flow between a function's blocks, which it names by
// their index in the function's layout.
type Graph struct {
	succs, preds [][]int
	order        []int // reachable blocks in reverse postorder
	rank         []int // index in order, or -1 for an unreachable block
	head         []bool
}

// NewGraph reads the control flow off a function. It fails for a function that
// is not well formed: without blocks, with two blocks of one label, with a jump
// that leads to no block or stands before the end of its block, or with an end
// that is neither jump nor exit.
func NewGraph(fn *bpf.Function) (*Graph, error) {
	if len(fn.Blocks) == 0 {
		return nil, fmt.Errorf("%s: function without blocks", fn.Name)
	}
	index, err := labels(fn)
	if err != nil {
		return nil, err
	}
	g := &Graph{succs: make([][]int, len(fn.Blocks)), preds: make([][]int, len(fn.Blocks))}
	for b := range fn.Blocks {
		if g.succs[b], err = successors(fn, b, index); err != nil {
			return nil, err
		}
		for _, s := range g.succs[b] {
			g.preds[s] = append(g.preds[s], b)
		}
	}
	g.walk()
	return g, nil
}

func labels(fn *bpf.Function) (map[bpf.Label]int, error) {
	index := make(map[bpf.Label]int, len(fn.Blocks))
	for i, b := range fn.Blocks {
		if b.Label == 0 {
			continue // no jump can lead there
		}
		if _, ok := index[b.Label]; ok {
			return nil, fmt.Errorf("%s: two blocks with label %d", fn.Name, b.Label)
		}
		index[b.Label] = i
	}
	return index, nil
}

// successors has the target of a block's jump first.
func successors(fn *bpf.Function, b int, index map[bpf.Label]int) ([]int, error) {
	var succs []int
	falls := true
	code := fn.Blocks[b].Code
	for i, in := range code {
		if !in.EndsBlock() {
			continue
		}
		if i < len(code)-1 {
			return nil, fmt.Errorf("%s: %v inside block %d", fn.Name, in, b)
		}
		falls = in.FallsThrough()
		if in.IsJump() {
			target, ok := index[in.Target]
			if !ok {
				return nil, fmt.Errorf("%s: %v: no such block", fn.Name, in)
			}
			succs = append(succs, target)
		}
	}
	if falls {
		if b == len(fn.Blocks)-1 {
			return nil, fmt.Errorf("%s: control falls off the end", fn.Name)
		}
		succs = append(succs, b+1)
	}
	return succs, nil
}

// walk visits the reachable blocks depth first.
func (g *Graph) walk() {
	type visit struct{ block, next int }
	n := len(g.succs)
	seen, post := make([]bool, n), make([]int, 0, n)
	seen[0] = true
	for stack := []visit{{}}; len(stack) > 0; {
		top := &stack[len(stack)-1]
		if top.next == len(g.succs[top.block]) {
			post = append(post, top.block)
			stack = stack[:len(stack)-1]
			continue
		}
		s := g.succs[top.block][top.next]
		top.next++
		if !seen[s] {
			seen[s] = true
			stack = append(stack, visit{block: s})
		}
	}
	g.rank, g.head = make([]int, n), make([]bool, n)
	for b := range g.rank {
		g.rank[b] = -1
	}
	for i := len(post) - 1; i >= 0; i-- {
		g.rank[post[i]] = len(g.order)
		g.order = append(g.order, post[i])
	}
	for _, b := range g.order {
		for _, s := range g.succs[b] {
			if g.retreats(b, s) {
				g.head[s] = true
			}
		}
	}
}

// retreats tells whether the edge leads to a block that is no later in reverse
// postorder. Every cycle has such an edge.
func (g *Graph) retreats(from, to int) bool { return g.rank[to] <= g.rank[from] }

// Succs lists the blocks that control may go to behind a block: where its last
// instruction is a conditional jump, first its target, then the block that it
// falls through to, which may be the same.
func (g *Graph) Succs(block int) []int { return g.succs[block] }

// Preds lists the blocks that control may come from, one entry for each edge.
func (g *Graph) Preds(block int) []int { return g.preds[block] }

// Order lists the reachable blocks in reverse postorder.
func (g *Graph) Order() []int { return g.order }

// Reachable tells whether a path of edges leads to the block.
func (g *Graph) Reachable(block int) bool { return g.rank[block] >= 0 }

// LoopHead tells whether the block is where an edge leads back to. Every cycle
// goes through a loop head.
func (g *Graph) LoopHead(block int) bool { return g.head[block] }
