package object

import (
	"math/rand/v2"

	"github.com/k2cc/k2cc/bpf"
)

// insertNoOps puts moves of a register to itself and jumps to the next
// instruction in front of about half of fn's instructions. Both are no-ops
// that the verifier follows.
func insertNoOps(fn *bpf.Function, rng *rand.Rand) {
	next := bpf.Label(0)
	for _, b := range fn.Blocks {
		next = max(next, b.Label)
	}
	var out []*bpf.Block
	for _, b := range fn.Blocks {
		cur := &bpf.Block{Label: b.Label}
		out = append(out, cur)
		for i, in := range b.Code {
			if i > 0 && rng.IntN(2) == 0 {
				if r, ok := justWritten(b.Code[i-1]); ok {
					cur.Code = append(cur.Code, selfMove(r))
				}
			}
			if rng.IntN(8) == 0 {
				next++
				cur.Code = append(cur.Code, bpf.Instruction{Op: bpf.ClassJMP | bpf.OpJA, Target: next})
				cur = &bpf.Block{Label: next}
				out = append(out, cur)
			}
			cur.Code = append(cur.Code, in)
		}
	}
	fn.Blocks = out
}

func selfMove(r bpf.Register) bpf.Instruction {
	return bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpMov | bpf.SourceX, Dst: r, Src: r}
}

// justWritten is the register that in, a plain instruction, gave a value.
func justWritten(in bpf.Instruction) (bpf.Register, bool) {
	if in.IsALU() || in.IsLoad() || in.Op == bpf.LoadImm64 {
		return in.Dst, true
	}
	return 0, false
}

// removeNoOps undoes insertNoOps and returns how many it removed.
func removeNoOps(fn *bpf.Function) int {
	n := 0
	for i, b := range fn.Blocks {
		var kept []bpf.Instruction
		for _, in := range b.Code {
			last := i+1 == len(fn.Blocks)
			jump := in.Op == bpf.ClassJMP|bpf.OpJA && !last && in.Target == fn.Blocks[i+1].Label
			move := in.Op == bpf.ClassALU64|bpf.OpMov|bpf.SourceX && in.Dst == in.Src && in.Off == 0
			if jump || move {
				n++
				continue
			}
			kept = append(kept, in)
		}
		b.Code = kept
	}
	return n
}

// withNoOps is the object with no-ops in all functions, and their number.
func withNoOps(f *File, seed uint64) ([]byte, int, error) {
	rng := rand.New(rand.NewPCG(seed, 1))
	n := 0
	for _, fn := range f.Program().Functions {
		n -= fn.Slots()
		insertNoOps(fn, rng)
		n += fn.Slots()
	}
	data, err := f.Bytes()
	return data, n, err
}
