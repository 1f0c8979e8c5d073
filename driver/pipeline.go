package driver

import (
	"fmt"
	"slices"
	"strings"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/passes"
	"github.com/k2cc/k2cc/passes/fields"
	"github.com/k2cc/k2cc/passes/local"
	"github.com/k2cc/k2cc/passes/rules"
	"github.com/k2cc/k2cc/passes/search"
	"github.com/k2cc/k2cc/toml"
)

// defaultPipeline goes from the cheapest to the dearest: rules first, then
// rewriting by what values are, so that search gets what they leave.
const defaultPipeline = "jumps,guards,registers,exits,rules,local,fields,enumerate,mcmc"

// What search may try for one window with normal effort. Markov chains find
// little that enumeration has not found, and nothing in short windows.
const (
	windowCandidates = 400_000
	chainSteps       = 24_000
	shortestChain    = 10 // instructions
)

// What search may do for one object with normal effort, counted in candidates
// (passes.Budget): some for each slot, so that time grows as the object does, up
// to some seconds' worth.
const (
	workOfSlot = 20_000
	leastWork  = 5_000_000
	mostWork   = 60_000_000
)

// solverResources bounds queries about proposals, in Z3's units. A million are
// some tenths of a second; what is proven at all mostly is with far fewer.
var solverResources = map[toml.Effort]uint{
	toml.EffortFast:   30_000,
	toml.EffortNormal: 300_000,
	toml.EffortHigh:   3_000_000,
}

// searchWork is the budget for an object.
func searchWork(p *bpf.Program, config *toml.Config) int {
	work, most := 0, 0
	for _, fn := range p.Functions {
		cfg := config.For(fn.Name, fn.Section)
		work += fn.Slots() * workOfSlot * cfg.Effort.Work()
		most = max(most, cfg.Effort.Work())
	}
	return min(max(work, leastWork*most), mostWork*most)
}

// mostKept is how many addresses may be kept in registers.
const mostKept = 8

// pipeline is what a pipeline string names.
type pipeline struct {
	// jumps tells to simplify control flow, before and after the windows are
	// looked at, wherever in the string it stands.
	jumps bool
	// guards tells to put operations behind branches, at the same times.
	guards bool
	// registers tells to give live ranges other registers, likewise, and to leave
	// out loads of what registers have.
	registers bool
	// keep is how many addresses may be kept in registers, once all else is done.
	keep int
	// exits tells to set what functions return at their exits, likewise.
	exits     bool
	proposers []passes.Proposer // in the string's order
}

// newPipeline reads a pipeline string: names with commas between them. Where no
// kernel will be asked about the result, rules, search, exits and most of what is
// done about registers are left out: nobody knows beforehand whether the verifier
// follows. The least effort leaves search out as well.
func newPipeline(s string, effort toml.Effort, confirmed bool) (pipeline, error) {
	if s == "" {
		s = defaultPipeline
	}
	shipped, err := rules.Shipped()
	if err != nil {
		return pipeline{}, err
	}
	n := effort.Work()
	known := []passes.Proposer{
		rules.New(shipped), local.New(), fields.New(),
		search.Enumerate(search.EnumerateOptions{Budget: n * windowCandidates}),
		search.MCMC(search.MCMCOptions{Steps: n * chainSteps, MinLength: shortestChain}),
	}
	var out pipeline
	for name := range strings.SplitSeq(s, ",") {
		name = strings.TrimSpace(name)
		switch name {
		case "jumps":
			out.jumps = true
			continue
		case "guards":
			out.guards = true
			continue
		case "registers":
			out.registers, out.keep = true, mostKept
			continue
		case "exits":
			out.exits = confirmed
			continue
		}
		i := slices.IndexFunc(known, func(p passes.Proposer) bool { return p.Name() == name })
		if i < 0 {
			return pipeline{}, fmt.Errorf("passes = %q: no pass is called %q", s, name)
		}
		_, searches := known[i].(passes.Searcher)
		if confirmed && (!searches || n > 0) || name == "local" || name == "fields" {
			out.proposers = append(out.proposers, known[i])
		}
	}
	return out, nil
}
