package cost

import (
	"cmp"
	"math"
)

// Goal says which measure counts first.
type Goal uint8

// The goals. All break ties by slots, then by what code does, then by bytes of
// machine code.
const (
	Size     Goal = iota // slots
	Balanced             // slots, but not at the expense of what the kernel makes of the code
	Latency              // time
	Verifier             // instructions that the verifier walks
)

// Limit is how much worse than before a measure may get. The zero Limit sets
// none.
type Limit struct {
	Set     bool
	Percent float64
}

// Most is how much a measure may come to that was before.
func (l Limit) Most(before int) int {
	if !l.Set {
		return math.MaxInt
	}
	return before + int(l.Percent*float64(before)/100)
}

// Limits are those of all measures.
type Limits struct {
	Slots, Code, Time, Verifier Limit
}

// Model says when code is better than other code. The zero Model wants fewer
// slots at any price.
type Model struct {
	Goal   Goal
	Limits Limits
}

// Compare is negative where a is better than b, positive where it is worse.
func (m Model) Compare(a, b Cost) int {
	slots, bytes := cmp.Compare(a.Slots, b.Slots), cmp.Compare(a.Bytes, b.Bytes)
	ops := cmp.Compare(a.Ops, b.Ops)
	time, walked := cmp.Compare(a.Time, b.Time), cmp.Compare(a.Walked, b.Walked)
	switch m.Goal {
	case Latency:
		return cmp.Or(time, slots, ops, bytes)
	case Verifier:
		return cmp.Or(walked, slots, ops, bytes, time)
	}
	return cmp.Or(slots, ops, bytes, time)
}

// Bounds is what code may cost at most that stands for code that costs before.
func (m Model) Bounds(before Cost) Cost {
	l := m.Limits
	return Cost{
		Slots: l.Slots.Most(before.Slots), Bytes: l.Code.Most(before.Bytes),
		Time: l.Time.Most(before.Time), Walked: l.Verifier.Most(before.Walked),
	}
}

// Within tells whether no measure is above that of the bounds.
func (c Cost) Within(bounds Cost) bool {
	return c.Slots <= bounds.Slots && c.Bytes <= bounds.Bytes && c.Time <= bounds.Time && c.Walked <= bounds.Walked
}
