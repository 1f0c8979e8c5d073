package driver

import "errors"

// failure is an error with the kind of reason that k2cc stats counts.
type failure struct {
	kind string
	error
}

func (f failure) Unwrap() error { return f.error }

// noSolver is the kind of failure that every object meets on a machine.
const noSolver = "no solver"

// because gives an error, if there is one, its kind.
func because(kind string, err error) error {
	if err == nil {
		return nil
	}
	return failure{kind, err}
}

// kindOf is an error's kind.
func kindOf(err error) string {
	if f := (failure{}); errors.As(err, &f) {
		return f.kind
	}
	return "object not understood"
}
