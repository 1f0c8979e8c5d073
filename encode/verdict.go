// Package encode turns windows into verification conditions in Z3: it proves
// that a replacement does what the old code did under the window's facts, or
// shows a concrete state in which it does not.
package encode

// Outcome is what a check came to.
type Outcome uint8

const (
	Undecided Outcome = iota // the solver gave up, or the code is not understood
	Proven                   // the negated verification condition is unsatisfiable
	Refuted                  // there is a counterexample
	Unsafe                   // the replacement may do what the verifier refuses, or reorders shared memory
)

func (o Outcome) String() string {
	return [...]string{"undecided", "proven", "refuted", "unsafe"}[o]
}

// Verdict is the checker's answer for one replacement.
type Verdict struct {
	Outcome        Outcome
	Reason         string          // why not Proven, in a few words
	Counterexample *Counterexample // for Refuted
}

// Counterexample is a state before the window, allowed by its facts, from which
// old and new code differ in what is needed after it.
type Counterexample struct {
	Regs    [11]uint64
	Memory  map[uint64]byte  // bytes that either code reads before writing; others are zero
	Symbols map[int32]uint64 // values of the symbols, by bpf.Ref
	Fields  map[Field]uint64 // what the context's fields hold, as 64-bit values
	Open    map[int]uint64   // what the n-th atomic leaves where kernels differ (semantics.Vague)
	Calls   []Called         // what the calls do
}

// Called is what a call, or a legacy packet load, leaves behind.
type Called struct {
	R0    uint64
	Keeps bool // R0 is left as it was
	// Memory is the bytes of the own frame that the callee wrote and all other
	// memory as it is afterwards. Bytes that are not in it are zero, but on the
	// own frame as they were.
	Memory map[uint64]byte
}

// Field is an access to the context, Off and Size in bytes, after so many
// stores by the same code that may have been to the context. Pointer tells
// pointers to the context apart of which it is not known that they are equal.
type Field struct{ Pointer, Off, Size, Stores int }
