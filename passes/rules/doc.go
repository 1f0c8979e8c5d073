// Package rules rewrites windows by rules that are written as text: stretches of
// code with symbolic registers, immediates and offsets, and what has to hold
// before and may be read after them. Each rule is proven for all operands by the
// package's tests; what it makes of a window is a proposal like any other.
//
// A rule is a section of a .rules file:
//
//	== why the new code does
//	facts: r1 = scalar[0,255]; $a = scalar[0,7]
//	needs: r1
//	old:
//	r1 <<= $a
//	r1 &= $(255 << a)
//	new:
//	r1 <<= $a
//
// Registers r0 to r9 stand for any registers, each for another one. $a is an
// immediate, $(…) one that is computed from others, with the operators of Go
// and the meaning of BPF's 64-bit instructions. Offsets count from wherever a
// match puts them: a rule about r1 + 0 and r1 + 1 is one about any two bytes in a
// row. What is not among the needs is dead behind the rule, as long as either
// code writes it. A register that is the base of an access points to memory of
// the rule's own unless the facts say otherwise.
package rules
