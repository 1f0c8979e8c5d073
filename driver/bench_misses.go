package driver

import (
	"fmt"

	"github.com/k2cc/k2cc/toml"
)

// aim is what a goal should reach over the programs that K2 published sizes of.
type aim struct {
	percent float64 // mean reduction in slots
	seconds float64 // for all of them together
	warm    float64 // the same once more
}

var aims = map[toml.Goal]aim{
	toml.GoalSize:     {20, 60, 2},
	toml.GoalBalanced: {12, 60, 2},
}

// How much more than clang's a program may take before it is a miss, in percent.
const (
	slackTime     = 3 // noise
	slackVerifier = 5
)

// resolution is what the kernel tells a time to, in ns: a smaller difference
// says nothing.
const resolution = 1

// misses says by program what is not as good as it should be, and what of the
// sums.
func (all measurements) misses(s summary) []string {
	misses := []string{}
	for _, m := range all.Objects {
		for _, p := range m.Programs {
			for _, miss := range p.misses(all.Goal) {
				misses = append(misses, m.programName(p)+": "+miss)
			}
		}
	}
	if a, ok := aims[all.Goal]; ok && s.k2.n > 0 && s.k2.n == s.programs {
		if got := -s.saved.percentage(); got < a.percent {
			misses = append(misses, fmt.Sprintf("mean reduction %.1f%%, should be %.0f%%", got, a.percent))
		}
		if s.seconds > a.seconds {
			misses = append(misses, fmt.Sprintf("%.1f s in all, should be %.0f s", s.seconds, a.seconds))
		}
		if s.warm > a.warm {
			misses = append(misses, fmt.Sprintf("%.1f s in all with a warm cache, should be %.0f s", s.warm, a.warm))
		}
	}
	return misses
}

func (p programMeasurement) misses(goal toml.Goal) (misses []string) {
	miss := func(format string, args ...any) { misses = append(misses, fmt.Sprintf(format, args...)) }
	if goal == toml.GoalSize {
		if p.K2 > 0 && p.After.Slots > p.K2 {
			miss("%d slots, above K2's %d", p.After.Slots, p.K2)
		}
		return misses
	}
	b, a := p.Before, p.After
	if a.JITed > b.JITed {
		miss("%d JITed bytes, above clang's %d", a.JITed, b.JITed)
	}
	if above(b.Nanos, a.Nanos, slackTime) && a.Nanos-b.Nanos > resolution {
		miss("%.1f ns/run, above clang's %.1f by more than %d%%", a.Nanos, b.Nanos, slackTime)
	}
	if above(float64(b.Processed), float64(a.Processed), slackVerifier) {
		miss("%d verifier insns, above clang's %d by more than %d%%", a.Processed, b.Processed, slackVerifier)
	}
	return misses
}

// above tells whether a measure grew by more than that many percent.
func above(before, after float64, percent float64) bool {
	return before > 0 && after > before*(1+percent/100)
}
