package driver

import (
	"context"

	"github.com/k2cc/k2cc/toml"
)

// Options say how one object is to be optimised.
type Options struct {
	Name   string       // the object's or its source's name, for messages
	Config *toml.Config // settings of the whole object; never nil
	Level  int          // ISA level that bounds the output, 1 to 4; 0: what the input uses
}

// Report says what was done to an object.
type Report struct {
	Functions []FunctionReport
}

// FunctionReport says what was done to one function. Sizes are in 8-byte
// slots; a 64-bit immediate load counts two.
type FunctionReport struct {
	Name, Section           string
	SlotsBefore, SlotsAfter int
	Windows                 int    // windows looked at
	Rewrites                int    // windows replaced
	Skipped                 string // why the function was left alone, if it was
}

// Optimize returns the object with its functions rewritten. An error means
// that nothing can be said about the object; the caller then keeps the input.
func Optimize(ctx context.Context, in []byte, opts Options) (out []byte, rep *Report, err error) {
	return in, &Report{}, ctx.Err()
}
