// Package verify asks whether code may run: the running kernel's verifier
// through bpf(), and, where that can't be asked, a static check of the rules
// that the verifier is known to hold code to. It also finds the rewrites at
// fault for a rejection, and times programs by test runs.
package verify
