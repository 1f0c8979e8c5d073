package rules

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes"
	"github.com/k2cc/k2cc/windows"
)

//go:embed *.rules
var shipped embed.FS

// Shipped is the rules that come with k2cc, those that save most first.
func Shipped() ([]*Rule, error) {
	names, err := fs.Glob(shipped, "*.rules")
	if err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	var all []*Rule
	for _, name := range names {
		text, err := shipped.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read rules: %w", err)
		}
		rs, err := Parse(name, string(text))
		if err != nil {
			return nil, fmt.Errorf("read rules: %w", err)
		}
		all = append(all, rs...)
	}
	return all, nil
}

// Proposer proposes what rules make of windows. It may be used by several
// goroutines at once.
type Proposer struct {
	first map[bpf.Op][]*Rule // by the opcode of the first instruction
}

var _ passes.Proposer = (*Proposer)(nil)

// New is a proposer of the rules.
func New(rules []*Rule) *Proposer {
	p := &Proposer{first: map[bpf.Op][]*Rule{}}
	for _, r := range slices.SortedStableFunc(slices.Values(rules), order) {
		op := r.Old[0].Op
		p.first[op] = append(p.first[op], r)
	}
	return p
}

// Name is "rules".
func (p *Proposer) Name() string { return "rules" }

// maxMatches bounds how many rules are applied to one window, one after another.
const maxMatches = 32

// Propose applies one rule after another, each to what the last one left, and
// tries what comes of each. Facts and needs inside the window are those of the
// old code, so that further rules find their places in the windows of the next
// round; here, each goes to instructions that are still the old ones.
func (p *Proposer) Propose(ctx context.Context, w *windows.Window, try passes.Try) int {
	all := p.matches(ctx, w)
	if len(all) == 0 || ctx.Err() != nil || together(w, all, try) || len(all) == 1 {
		return min(len(all), 1)
	}
	var good []match
	for _, m := range all {
		if ctx.Err() != nil {
			break
		}
		if together(w, append(slices.Clone(good), m), try) {
			good = append(good, m)
		}
	}
	return 1 + len(all)
}

// matches is where rules help, no two of them at one place.
func (p *Proposer) matches(ctx context.Context, w *windows.Window) []match {
	done := make([]bool, len(w.Code)) // instructions that a rule has taken
	var all []match
	for i := range w.Code {
		if ctx.Err() != nil || len(all) == maxMatches {
			break
		}
		if m, ok := p.at(w, i, done); ok {
			all = append(all, m)
			for k := m.at[0]; k <= m.at[len(m.at)-1]; k++ {
				done[k] = true
			}
		}
	}
	return all
}

// at is the first rule that helps at instruction i.
func (p *Proposer) at(w *windows.Window, i int, done []bool) (match, bool) {
	for _, r := range p.first[w.Code[i].Op] {
		m, ok := r.find(w, i)
		if !ok || slices.Contains(done[m.at[0]:m.at[len(m.at)-1]+1], true) {
			continue
		}
		c := cost.Of(m.code)
		if c.Within(w.Bounds()) && w.Costs.Compare(c, cost.Of(w.Code)) < 0 {
			return m, true
		}
	}
	return match{}, false
}

// together tries the window with what several rules make of it.
func together(w *windows.Window, ms []match, try passes.Try) bool {
	code := w.Code
	for _, m := range slices.Backward(ms) {
		first, end := m.at[0], m.at[len(m.at)-1]+1
		grown := len(m.code) - len(w.Code)
		code = slices.Concat(code[:first], m.code[first:end+grown], code[end:])
	}
	return try(code).Outcome == encode.Proven
}
