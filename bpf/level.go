package bpf

import "fmt"

// Level is a version of the instruction set as LLVM's -mcpu counts them: v1 to
// v4. What needs more than v4 (load-acquire, may_goto) counts as v4, the level
// at which clang emits it.
type Level int

// The levels. The zero Level is unknown.
const (
	V1 Level = 1 + iota
	V2       // unsigned and signed less-than jumps
	V3       // 32-bit arithmetic and jumps, atomics with fetch
	V4       // sign-extending loads and moves, signed division, bswap, gotol
)

func (l Level) String() string {
	if l < V1 || l > V4 {
		return "unknown"
	}
	return fmt.Sprintf("v%d", int(l))
}

// ParseLevel reads "v1" to "v4".
func ParseLevel(s string) (Level, error) {
	for l := V1; l <= V4; l++ {
		if s == l.String() {
			return l, nil
		}
	}
	return 0, fmt.Errorf("unknown ISA level %q: want v1, v2, v3 or v4", s)
}

// Level is the lowest level at which the instruction exists (LLVM's
// BPFInstrInfo.td; RFC 9669, appendix A for the conformance groups). What is no
// instruction has the zero Level.
func (in Instruction) Level() Level {
	if f := in.form(); f != nil {
		return f.Level
	}
	return 0
}
