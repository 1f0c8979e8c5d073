package driver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"

	"github.com/k2cc/k2cc/examples"
	"github.com/k2cc/k2cc/examples/interp"
	"github.com/k2cc/k2cc/toml"
	"github.com/k2cc/k2cc/verify"
)

// measurements are the results for all objects.
type measurements struct {
	Goal     toml.Goal           `json:"goal,omitempty"`      // of the settings, where all objects have one
	NoKernel string              `json:"no_kernel,omitempty"` // why nothing was loaded
	Objects  []objectMeasurement `json:"objects"`
	Mean     means               `json:"mean"`
	Failures []string            `json:"failures"` // what ought not to be
	Misses   []string            `json:"misses"`   // what is not as good as it should be
}

// objectMeasurement is the result for one object.
type objectMeasurement struct {
	Name      string               `json:"name"`
	Error     string               `json:"error,omitempty"`    // why it was not optimised
	Seconds   float64              `json:"seconds"`            // spent on optimising, with an empty cache
	Warm      float64              `json:"warm_seconds"`       // spent on doing so once more
	Unsteady  string               `json:"unsteady,omitempty"` // what was not as before then
	Programs  []programMeasurement `json:"programs"`
	Runs      int                  `json:"runs,omitempty"`       // compared runs of each program that can be run
	Unequal   string               `json:"unequal,omitempty"`    // a run that was not alike
	Uncertain string               `json:"uncompared,omitempty"` // why runs were not compared
}

// programMeasurement is the result for one program.
type programMeasurement struct {
	Name    string  `json:"name"`
	Section string  `json:"section"`
	Loads   string  `json:"loads"`            // kept, broken, or unknown
	Reason  string  `json:"reason,omitempty"` // why it does not load
	K2      int     `json:"k2,omitempty"`     // slots that K2 published
	Before  figures `json:"before"`
	After   figures `json:"after"`
}

// figures are the measures of a program. Zero stands for unknown in all but
// Slots.
type figures struct {
	Slots     int     `json:"slots"`
	JITed     int     `json:"jited_bytes,omitempty"`
	Processed int     `json:"verifier_insns,omitempty"`
	Nanos     float64 `json:"ns_per_run,omitempty"`
}

// measure optimises one object and compares before and after.
func (d *driver) measure(ctx context.Context, c candidate, cacheDir string, kernel error) objectMeasurement {
	m := objectMeasurement{Name: c.name}
	if c.err != nil {
		m.Error = c.err.Error()
		return m
	}
	start := time.Now()
	t := task{name: c.name, settings: c.settings, level: c.level, cacheDir: cacheDir}
	better, rep, err := d.optimizeInTime(ctx, c.object, t)
	m.Seconds = time.Since(start).Seconds()
	if err != nil {
		m.Error, better = err.Error(), c.object
	} else {
		m.again(ctx, d, c, t, better, rep.outOfTime())
	}
	if err := m.list(c, better); err != nil {
		m.Error = err.Error()
		return m
	}
	if kernel == nil {
		if err := m.load(ctx, c, better); err != nil {
			m.Error = err.Error()
			return m
		}
	}
	if c.example != nil {
		m.compare(ctx, c, better, kernel)
	}
	return m
}

// again optimises with what is in the cache by now, which has to come to the same
// unless time ran out the first time.
func (m *objectMeasurement) again(ctx context.Context, d *driver, c candidate, t task, better []byte, outOfTime bool) {
	start := time.Now()
	same, _, err := d.optimizeInTime(ctx, c.object, t)
	m.Warm = time.Since(start).Seconds()
	switch {
	case err != nil:
		m.Unsteady = err.Error()
	case !outOfTime && !bytes.Equal(same, better):
		m.Unsteady = "another object"
	}
}

// list fills in what needs no kernel.
func (m *objectMeasurement) list(c candidate, better []byte) error {
	before, err := verify.List(c.object)
	if err != nil {
		return fmt.Errorf("read the object: %w", err)
	}
	after, err := verify.List(better)
	if err != nil {
		return fmt.Errorf("read the optimised object: %w", err)
	}
	slots := map[string]int{}
	for _, p := range after {
		slots[p.Name] = p.Slots
	}
	for _, p := range before {
		m.Programs = append(m.Programs, programMeasurement{
			Name: p.Name, Section: p.Section, Loads: verify.Unknown.String(), K2: c.k2,
			Before: figures{Slots: p.Slots}, After: figures{Slots: slots[p.Name]},
		})
	}
	return nil
}

// load fills in what the kernel says of the programs.
func (m *objectMeasurement) load(ctx context.Context, c candidate, better []byte) error {
	comparisons, err := verify.Compare(ctx, c.object, better)
	if err != nil {
		return err
	}
	byName := map[string]verify.Comparison{}
	for _, cmp := range comparisons {
		byName[cmp.Name] = cmp
	}
	for i := range m.Programs {
		p := &m.Programs[i]
		cmp := byName[p.Name]
		p.Loads, p.Reason = cmp.Verdict.String(), cmp.Reason
		p.Before.JITed, p.Before.Processed = cmp.Old.JITed, cmp.Old.Processed
		p.After.JITed, p.After.Processed = cmp.New.JITed, cmp.New.Processed
		if cmp.Verdict != verify.Kept {
			continue
		}
		p.Before.Nanos, p.After.Nanos, err = c.race(ctx, better, p.Name)
		if err != nil && !errors.Is(err, verify.ErrNoTestRun) {
			p.Reason = fmt.Sprintf("not timed: %v", err)
		}
	}
	return nil
}

// Programs are loaded timedLoads times to be timed, each time with timedShift more
// instructions in front of them that do nothing (of two bytes each on x86), since
// where their machine code comes to lie can matter more than what is in it: one
// and the same program of k2bench takes 15 to 23 ns. Each time they run in rounds,
// on timedPackets packets of an example in timedRounds rounds. For XDP the kernel
// patches its dispatcher before and after a round, which takes some 30 ms.
const (
	timedLoads   = 9
	timedShift   = 3
	timedPackets = 4
	timedRounds  = 2
	plainRounds  = 4 // where only one packet is known
)

// race is the median times per run, in ns, of a program before and after.
func (c candidate) race(ctx context.Context, better []byte, program string) (before, after float64, err error) {
	var befores, afters []float64
	opts := c.runOptions(program)
	for k := range timedLoads {
		opts.Shift = k * timedShift
		b, a, err := verify.Race(ctx, c.object, better, program, opts)
		if err != nil {
			return 0, 0, err
		}
		befores, afters = append(befores, b.Nanos), append(afters, a.Nanos)
	}
	slices.Sort(befores)
	slices.Sort(afters)
	return befores[timedLoads/2], afters[timedLoads/2], nil
}

// runOptions give a program the maps and packets that it was written for, where
// they are known.
func (c candidate) runOptions(program string) verify.RunOptions {
	if c.example == nil {
		return verify.RunOptions{Rounds: plainRounds}
	}
	opts := verify.RunOptions{Rounds: timedRounds, Prepare: func(maps map[string]*ebpf.Map) error {
		for entry := range c.example.Entries(1) {
			m := maps[entry.Map]
			if m == nil {
				continue // another program's
			}
			if err := m.Put(entry.Key, entry.Value); err != nil {
				return fmt.Errorf("fill map %s: %w", entry.Map, err)
			}
		}
		return nil
	}}
	for in := range c.example.Inputs(program, 1, timedPackets) {
		if in.Data != nil {
			opts.Inputs = append(opts.Inputs, in.Data)
		}
	}
	return opts
}

// comparedRuns is how many inputs both objects of an example get.
const comparedRuns = 10_000

// compare has both objects do the same work and compares what they did.
func (m *objectMeasurement) compare(ctx context.Context, c candidate, better []byte, kernel error) {
	result, err := compareRuns(ctx, *c.example, c.object, better, comparedRuns, kernel)
	switch {
	case err != nil:
		m.Uncertain = err.Error()
	case !result.Equal():
		m.Unequal = result.Differences[0].String()
	case len(result.Ran) == 0:
		m.Uncertain = "nothing runs its programs"
	default:
		m.Runs = comparedRuns
	}
}

// compareRuns compares two objects of an example over n inputs of every program:
// in the kernel, and where that permits nothing or does not run one of the
// programs on request, in the interpreter.
func compareRuns(ctx context.Context, e examples.Example, oldObj, newObj []byte, n int, kernel error) (examples.Result, error) {
	if kernel == nil {
		result, err := examples.Compare(ctx, e, oldObj, newObj, n)
		if err != nil || !result.Equal() || len(result.Unrun) == 0 {
			return result, err
		}
	}
	return interp.Compare(ctx, e, oldObj, newObj, n)
}

// failures says what an optimiser must not do.
func (all measurements) failures() []string {
	failures := []string{}
	for _, m := range all.Objects {
		if m.Error != "" {
			failures = append(failures, fmt.Sprintf("%s: not optimised: %s", m.Name, m.Error))
		}
		if m.Unsteady != "" {
			failures = append(failures, fmt.Sprintf("%s: with a warm cache: %s", m.Name, m.Unsteady))
		}
		if m.Unequal != "" {
			failures = append(failures, fmt.Sprintf("%s: behaves differently: %s", m.Name, m.Unequal))
		}
		for _, p := range m.Programs {
			name := m.programName(p)
			if p.Loads == verify.Broken.String() {
				failures = append(failures, fmt.Sprintf("%s: no longer loads: %s", name, p.Reason))
			}
			if p.After.Slots > p.Before.Slots {
				failures = append(failures, fmt.Sprintf("%s: grew from %d to %d slots", name, p.Before.Slots, p.After.Slots))
			}
		}
	}
	return failures
}

// programName is the program's name, with its object's unless that says enough.
func (m objectMeasurement) programName(p programMeasurement) string {
	if len(m.Programs) == 1 {
		return m.Name
	}
	return m.Name + "/" + p.Name
}
