package passes

import (
	"cmp"
	"context"
	"slices"

	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/cache"
	"github.com/k2cc/k2cc/windows"
)

// Searcher is a proposer that looks at many candidates for each that it has
// proven. It has a share of a budget.
type Searcher interface {
	Proposer
	// Settings is the same for searchers that propose the same.
	Settings() string
}

// Budget is work that searchers may do. It counts candidates, and what proofs
// take in their place: so what is found depends on no machine's speed. What was
// found earlier costs what it cost then.
type Budget struct {
	left int
	paid map[cache.Key]bool // what is asked twice in one run costs nothing the second time
}

// NewBudget is a budget of so many candidates.
func NewBudget(work int) *Budget { return &Budget{left: work, paid: map[cache.Key]bool{}} }

// workOfAnswer is what an answer of the checker takes, counted in candidates of a
// search. One that does not come takes all of the solver's resources, of which a
// unit is about a candidate.
const workOfAnswer = 50_000

// charge is what one question cost.
type charge struct {
	key  cache.Key
	work int
}

func (m *Manager) chargeOf(a answer) charge {
	s := a.stats
	return charge{a.key, s.Work + s.Tried*workOfAnswer + s.Undecided*int(m.Resources)}
}

func (b *Budget) pay(charges []charge) {
	for _, c := range charges {
		if b != nil && !b.paid[c.key] {
			b.paid[c.key] = true
			b.left -= c.work
		}
	}
}

func (b *Budget) spent() bool { return b != nil && b.left <= 0 }

// batch is how many windows are looked at before the budget is looked at. It does
// not depend on the number of workers, so that neither does what is found.
const batch = 32

// look has the pipeline look at those windows that todo lists, and puts what it
// finds into found. Once the budget is spent, the rest goes without searchers; it
// returns how many windows that are.
func (m *Manager) look(ctx context.Context, pipeline []Proposer, ws []*windows.Window, todo []int, found []proposal) (unsearched int) {
	plain := slices.DeleteFunc(slices.Clone(pipeline), func(p Proposer) bool {
		_, ok := p.(Searcher)
		return ok
	})
	if len(plain) == len(pipeline) {
		m.each(len(todo), func(i int) { found[todo[i]] = m.improve(ctx, pipeline, ws[todo[i]]) })
		return 0
	}
	for some := range slices.Chunk(todo, batch) {
		if m.Budget.spent() {
			pipeline = plain
			unsearched += len(some)
		}
		m.each(len(some), func(i int) { found[some[i]] = m.improve(ctx, pipeline, ws[some[i]]) })
		for _, i := range some {
			m.Budget.pay(found[i].charges)
		}
	}
	return unsearched
}

// hottestFirst orders windows by how often they probably run, and then by how
// much there is to gain: those in most loops first, of these the longest.
func hottestFirst(g *flow.Graph, ws []*windows.Window, todo []int) {
	depth := loopDepths(g)
	slices.SortStableFunc(todo, func(i, j int) int {
		a, b := ws[i], ws[j]
		return cmp.Or(cmp.Compare(depth[b.Block], depth[a.Block]), cmp.Compare(len(b.Code), len(a.Code)))
	})
}

// loopDepths is, by block, about how many loops it is in: how many edges lead
// back over it in the order of the graph.
func loopDepths(g *flow.Graph) map[int]int {
	order := g.Order()
	rank := make(map[int]int, len(order))
	for i, b := range order {
		rank[b] = i
	}
	change := make([]int, len(order)+1) // where loops begin and end
	for i, b := range order {
		for _, to := range g.Succs(b) {
			if rank[to] <= i {
				change[rank[to]]++
				change[i+1]--
			}
		}
	}
	depths, now := make(map[int]int, len(order)), 0
	for i, b := range order {
		now += change[i]
		depths[b] = now
	}
	return depths
}
