package windows

import "github.com/k2cc/k2cc/bpf"

// Renaming says, for two functions with the same blocks, where the old one
// holds at a block's start what the new one has in a register.
type Renaming []Registers

// Registers is, by register of the new code, what the old code has there.
type Registers [bpf.NumRegisters]Holder

// Holder is what a register of the old code holds, plus a constant; or where Ref
// is set, the 64-bit value of that symbol, wherever it is; or where Known is not
// set, nothing that the new code may read.
type Holder struct {
	Known  bool
	Reg    bpf.Register
	Offset int64
	Ref    bpf.Ref
}

// Held is what the old code has in a register.
func Held(r bpf.Register) Holder { return Holder{Known: true, Reg: r} }

// Identity is the renaming of as many blocks in which all registers hold what
// they held.
func Identity(blocks int) Renaming {
	out := make(Renaming, blocks)
	for b := range out {
		for r := range out[b] {
			out[b][r] = Held(bpf.Register(r))
		}
	}
	return out
}
