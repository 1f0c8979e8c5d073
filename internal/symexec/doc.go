// Package symexec executes Go functions on Z3 terms, so that a test can prove
// something about the code that runs instead of about a copy of it. It knows as
// much of Go as code that computes with integers in structs, arrays and
// pointers needs; what it does not know is an error, never a guess.
//
// Both ways of a branch are followed and merged where they meet again, loops
// are unrolled. What would make the code panic is collected as a condition (see
// Machine.Faults), for the proof to exclude.
package symexec
