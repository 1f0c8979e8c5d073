// Package search proposes code for windows without knowing what to look for: by
// enumerating short code, one representative for all code that behaves the
// same, and by Markov chains over the window's own code. It judges candidates
// by running them on states that the window's facts allow, and learns from the
// checker's counterexamples.
package search
