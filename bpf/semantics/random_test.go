package semantics

import (
	"math/rand/v2"

	"github.com/k2cc/k2cc/bpf"
)

func randomWord(rng *rand.Rand) uint64 {
	switch rng.IntN(4) {
	case 0:
		return rng.Uint64()
	case 1:
		return rng.Uint64() >> rng.IntN(64)
	}
	return corners[rng.IntN(len(corners))] + uint64(rng.IntN(3)) - 1
}

func randomImm(rng *rand.Rand) int64 { return int64(int32(randomWord(rng))) }

// formsOf are the forms that the test wants.
func formsOf(want func(in bpf.Instruction) bool) []bpf.Form {
	var out []bpf.Form
	for f := range bpf.Forms() {
		if want(f.Example) {
			out = append(out, f)
		}
	}
	return out
}

var (
	straightForms = formsOf(func(in bpf.Instruction) bool {
		return in.IsALU() || in.IsLoad() || in.IsStore() || in.IsAtomic() || in.Op == bpf.LoadImm64 && in.Src == bpf.PseudoImm
	})
	jumpForms   = formsOf(bpf.Instruction.IsCondJump)
	packetForms = formsOf(bpf.Instruction.IsPacketLoad)
)

// randomOf is an instruction of one of the forms, on registers other than R10.
func randomOf(rng *rand.Rand, forms []bpf.Form) bpf.Instruction {
	for {
		in := forms[rng.IntN(len(forms))].Random(rng)
		if in.Dst != bpf.R10 && in.Src != bpf.R10 {
			return in
		}
	}
}

func randomJump(rng *rand.Rand, target bpf.Label) bpf.Instruction {
	in := randomOf(rng, jumpForms)
	in.Target = target
	return in
}

// randomInstruction is a straight-line instruction whose accesses stay in the
// scratch part of the stack, aligned.
func randomInstruction(rng *rand.Rand) bpf.Instruction {
	in := randomOf(rng, straightForms)
	switch {
	case in.IsALU() || in.Op == bpf.LoadImm64:
		return in
	case in.IsLoad() || in.IsAtomic() && in.Imm == bpf.AtomicLoadAcq:
		in.Src = bpf.R10
	default:
		in.Dst = bpf.R10
	}
	in.Off = int16(scratchLow + in.Size()*rng.IntN(scratchSize/in.Size()))
	return in
}
