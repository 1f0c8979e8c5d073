package interp

import (
	"slices"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/object"
	"github.com/k2cc/k2cc/examples"
)

// negated is an instruction that jumps where in does not; false: in is none that
// compares for equality.
func negated(in bpf.Instruction) (bpf.Instruction, bool) {
	if !in.IsCondJump() || in.Op.Jump() != bpf.OpJEq && in.Op.Jump() != bpf.OpJNE {
		return in, false
	}
	in.Op ^= bpf.OpJEq ^ bpf.OpJNE
	return in, true
}

// undone is an instruction that does nothing instead of a store to what others
// see. Of the stores to the stack many are of zeros that a helper overwrites.
func undone(in bpf.Instruction) (bpf.Instruction, bool) {
	nothing := bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpMov | bpf.SourceX, Pos: in.Pos}
	return nothing, (in.IsStore() || in.IsAtomic()) && in.Dst != bpf.R10
}

// Code with one branch negated, or one store that does nothing, is found out:
// it does something else, or what it must not. What may stay unseen is what
// guards against failures that do not happen.
func TestMutations(t *testing.T) {
	tests := []struct {
		name, example string
		mutate        func(bpf.Instruction) (bpf.Instruction, bool)
		step          int // of the instructions that could be changed, try one in so many
		percent       int // to be found at least
	}{
		{"negated branches", "sock_addr", negated, 7, 85},
		{"dropped stores", "sock_addr", undone, 4, 90},
		{"negated branches", "profiler", negated, 13, 70},
		{"dropped stores", "profiler", undone, 4, 90},
	}
	for _, tt := range tests {
		t.Run(tt.example+" "+tt.name, func(t *testing.T) {
			e := find(t, tt.example)
			obj := compile(t, e, "-mcpu=v3")
			all := mutations(t, obj, tt.mutate)
			tried, found := 0, 0
			for i := 0; i < len(all); i += tt.step {
				tried++
				if differs(t, e, obj, all[i]) {
					found++
				}
			}
			t.Logf("%d of %d found", found, tried)
			if tried < 5 || 100*found < tt.percent*tried {
				t.Errorf("found only %d of %d", found, tried)
			}
		})
	}
}

// mutation is an instruction to be changed.
type mutation struct {
	function, block, index int
	in                     bpf.Instruction
}

func mutations(t *testing.T, obj []byte, mutate func(bpf.Instruction) (bpf.Instruction, bool)) []mutation {
	t.Helper()
	file, err := object.Read(obj)
	if err != nil {
		t.Fatal(err)
	}
	var all []mutation
	for f, fn := range file.Program().Functions {
		for b, block := range fn.Blocks {
			for i, in := range block.Code {
				if changed, ok := mutate(in); ok {
					all = append(all, mutation{f, b, i, changed})
				}
			}
		}
	}
	return all
}

// differs tells whether the object with the mutation is told from the object.
func differs(t *testing.T, e examples.Example, obj []byte, m mutation) bool {
	t.Helper()
	file, err := object.Read(slices.Clone(obj))
	if err != nil {
		t.Fatal(err)
	}
	fn := file.Program().Functions[m.function]
	was := fn.Blocks[m.block].Code[m.index]
	fn.Blocks[m.block].Code[m.index] = m.in
	changed, err := file.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	res, err := Compare(t.Context(), e, obj, changed, 200)
	if err == nil && res.Equal() {
		t.Logf("unseen in %s: %v became %v", fn.Name, was, m.in)
		return false
	}
	return true
}
