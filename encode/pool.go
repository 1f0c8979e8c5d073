package encode

import "sync"

// Pool holds solvers that are idle. Making one costs as much as many answers; but
// what a solver was asked before may matter to where it gives up, so that only
// questions on which none gives up are asked of one that had others before. It is
// safe for use by several goroutines.
type Pool struct {
	mu   sync.Mutex
	idle []*solver
}

// lent is a solver for a question that takes no search, to be given back.
func (c *Checker) lent() *solver {
	if c.pool == nil {
		return c.fresh()
	}
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	n := len(c.pool.idle)
	if n == 0 {
		return newSolver(c.resources)
	}
	s := c.pool.idle[n-1]
	c.pool.idle = c.pool.idle[:n-1]
	return s
}

// giveBack takes a solver that was lent. One that was interrupted, or asked often
// enough, is not used again.
func (p *Pool) giveBack(s *solver) {
	if p == nil || s.interrupted || s.asked >= renewAfter {
		return
	}
	s.held = nil
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, s)
}
