package driver

import (
	"fmt"
	"math"

	"github.com/k2cc/k2cc/verify"
)

// mean is the average of relative changes.
type mean struct {
	sum float64
	n   int
}

// add counts the change from before to after, unless one of them is unknown.
func (m *mean) add(before, after float64) {
	if before > 0 && after > 0 {
		m.sum += (after - before) / before
		m.n++
	}
}

// change is the mean with its sign: negative for less than before.
func (m mean) change() string {
	if m.n == 0 {
		return unknown
	}
	return fmt.Sprintf("%+.1f%%", m.percentage())
}

// percent is the mean reduction.
func (m mean) percent() string {
	if m.n == 0 {
		return unknown
	}
	return fmt.Sprintf("%.1f%%", 0-m.percentage())
}

// percentage is rounded, so that there is no negative zero.
func (m mean) percentage() float64 {
	return math.Round(1000*m.sum/float64(m.n))/10 + 0
}

// summary is the last line of a table.
type summary struct {
	programs, kept                     int
	before, after                      int // slots
	saved, k2, jited, processed, nanos mean
	seconds, warm                      float64
}

func (all measurements) summary() summary {
	var s summary
	for _, m := range all.Objects {
		s.seconds += m.Seconds
		s.warm += m.Warm
		for _, p := range m.Programs {
			s.programs++
			if p.Loads == verify.Kept.String() {
				s.kept++
			}
			s.before += p.Before.Slots
			s.after += p.After.Slots
			s.saved.add(float64(p.Before.Slots), float64(p.After.Slots))
			s.k2.add(float64(p.Before.Slots), float64(p.K2))
			s.jited.add(float64(p.Before.JITed), float64(p.After.JITed))
			s.processed.add(float64(p.Before.Processed), float64(p.After.Processed))
			s.nanos.add(p.Before.Nanos, p.After.Nanos)
		}
	}
	return s
}

// loads is how many programs are known to load.
func (s summary) loads(noKernel string) string {
	if noKernel != "" {
		return unknown
	}
	return fmt.Sprintf("%d/%d", s.kept, s.programs)
}

// means are a summary in JSON: mean changes in percent, negative for less than
// before, null where nothing is known.
type means struct {
	Programs  int      `json:"programs"`
	Kept      int      `json:"kept"`
	Slots     *float64 `json:"slots"`
	K2Slots   *float64 `json:"k2_slots"`
	JITed     *float64 `json:"jited_bytes"`
	Processed *float64 `json:"verifier_insns"`
	Nanos     *float64 `json:"ns_per_run"`
	Seconds   float64  `json:"seconds"`
	Warm      float64  `json:"warm_seconds"`
}

// conclude fills in what follows from the objects' measurements.
func (all *measurements) conclude() {
	s := all.summary()
	all.Mean = means{
		Programs: s.programs, Kept: s.kept, Slots: s.saved.number(), K2Slots: s.k2.number(),
		JITed: s.jited.number(), Processed: s.processed.number(), Nanos: s.nanos.number(),
		Seconds: s.seconds, Warm: s.warm,
	}
	all.Failures = all.failures()
	all.Misses = all.misses(s)
}

func (m mean) number() *float64 {
	if m.n == 0 {
		return nil
	}
	p := m.percentage()
	return &p
}
