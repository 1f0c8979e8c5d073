// Package local re-emits windows: named local transformations turn a window's
// code into shorter code that computes what is needed after it. They rely on
// what the window's facts and needs say bit by bit and byte by byte, and what
// they come to is a proposal like any other, to be proven before it is taken.
package local
