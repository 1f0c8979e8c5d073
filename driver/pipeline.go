package driver

import (
	"fmt"
	"slices"
	"strings"

	"github.com/k2cc/k2cc/passes"
	"github.com/k2cc/k2cc/passes/fields"
	"github.com/k2cc/k2cc/passes/local"
	"github.com/k2cc/k2cc/passes/rules"
	"github.com/k2cc/k2cc/passes/search"
)

// defaultPipeline goes from the cheapest to the dearest: rules first, then
// rewriting by what values are, so that search gets what they leave.
const defaultPipeline = "jumps,registers,exits,rules,local,fields,enumerate,mcmc"

// chainSteps is what Markov chains may try for one window. They find little that
// enumeration has not found, so they get no more time than that takes.
const chainSteps = 8000

// pipeline is what a pipeline string names.
type pipeline struct {
	// jumps tells to simplify control flow, before and after the windows are
	// looked at, wherever in the string it stands.
	jumps bool
	// registers tells to give live ranges other registers, at the same times.
	registers bool
	// exits tells to set what functions return at their exits, likewise.
	exits     bool
	proposers []passes.Proposer // in the string's order
}

// newPipeline reads a pipeline string: names with commas between them. Where no
// kernel will be asked about the result, rules, search and other registers are left
// out: nobody knows beforehand whether the verifier follows.
func newPipeline(s string, confirmed bool) (pipeline, error) {
	if s == "" {
		s = defaultPipeline
	}
	shipped, err := rules.Shipped()
	if err != nil {
		return pipeline{}, err
	}
	known := []passes.Proposer{rules.New(shipped), local.New(), fields.New(), search.Enumerate(search.EnumerateOptions{}), search.MCMC(search.MCMCOptions{Steps: chainSteps})}
	var out pipeline
	for name := range strings.SplitSeq(s, ",") {
		name = strings.TrimSpace(name)
		switch name {
		case "jumps":
			out.jumps = true
			continue
		case "registers":
			out.registers = confirmed
			continue
		case "exits":
			out.exits = confirmed
			continue
		}
		i := slices.IndexFunc(known, func(p passes.Proposer) bool { return p.Name() == name })
		if i < 0 {
			return pipeline{}, fmt.Errorf("passes = %q: no pass is called %q", s, name)
		}
		if confirmed || name == "local" || name == "fields" {
			out.proposers = append(out.proposers, known[i])
		}
	}
	return out, nil
}
