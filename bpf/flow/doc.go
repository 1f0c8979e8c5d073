// Package flow says what holds where in a function: its control flow, the facts
// that hold on every path to a point (forward), and the needs, what the code
// behind a point may still read (backward).
package flow
