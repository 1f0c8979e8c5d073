// Package interp runs the examples' programs in this project's own interpreter:
// on memory, maps and helpers that are modelled here, deterministic in their
// inputs. So programs that the kernel does not run on request can be compared
// before and after as well.
package interp
