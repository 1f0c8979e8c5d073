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

func randomReg(rng *rand.Rand) bpf.Register { return bpf.Register(rng.IntN(10)) }

// randomBlocks is a program with forward jumps, the last of which lead to end.
func randomBlocks(rng *rand.Rand) []*bpf.Block {
	n := 1 + rng.IntN(4)
	blocks := make([]*bpf.Block, n)
	for i := range blocks {
		b := &bpf.Block{Label: bpf.Label(i + 1)}
		for range rng.IntN(12) {
			in := randomInstruction(rng)
			b.Code = append(b.Code, in)
			if in.IsAtomic() && in.Imm == bpf.AtomicCmpXchg && in.Size() == 4 {
				// What the upper half of R0 is depends on the kernel: see Vague.
				b.Code = append(b.Code, bpf.Instruction{Op: bpf.ClassALU | bpf.OpMov | bpf.SourceX})
			}
		}
		target := bpf.Label(i + 2 + rng.IntN(n-i))
		if int(target) > n {
			target = end
		}
		b.Code = append(b.Code, randomJump(rng, target))
		blocks[i] = b
	}
	return blocks
}

func randomJump(rng *rand.Rand, target bpf.Label) bpf.Instruction {
	for {
		in := bpf.Instruction{Op: bpf.ClassJMP, Dst: randomReg(rng), Target: target}
		if rng.IntN(2) == 0 {
			in.Op = bpf.ClassJMP32
		}
		in.Op |= bpf.Op(rng.IntN(14)) << 4
		if rng.IntN(2) == 0 {
			in.Op |= bpf.SourceX
			in.Src = randomReg(rng)
		} else {
			in.Imm = randomImm(rng)
		}
		if in.IsCondJump() && in.Valid() == nil {
			return in
		}
	}
}

// randomInstruction is a straight-line instruction whose accesses stay in the
// scratch part of the stack, aligned.
func randomInstruction(rng *rand.Rand) bpf.Instruction {
	for {
		in := bpf.Instruction{Dst: randomReg(rng)}
		switch rng.IntN(8) {
		case 0:
			in.Op, in.Imm = bpf.LoadImm64, int64(randomWord(rng))
		case 1:
			in = randomLoad(rng)
		case 2:
			in = randomStore(rng)
		case 3:
			in = randomAtomic(rng)
		default:
			in = randomALU(rng)
		}
		if in.Valid() == nil {
			return in
		}
	}
}

func randomALU(rng *rand.Rand) bpf.Instruction {
	in := bpf.Instruction{Op: bpf.ClassALU64 | bpf.Op(rng.IntN(14))<<4, Dst: randomReg(rng)}
	if rng.IntN(2) == 0 {
		in.Op ^= bpf.ClassALU64 ^ bpf.ClassALU
	}
	in.Off = []int16{0, 0, 1, 8, 16, 32}[rng.IntN(6)]
	switch {
	case in.Op.ALU() == bpf.OpEnd:
		in.Imm, in.Off = 16<<rng.IntN(3), 0
		in.Op |= bpf.SourceX * bpf.Op(rng.IntN(2))
	case rng.IntN(2) == 0:
		in.Op |= bpf.SourceX
		in.Src = randomReg(rng)
	case in.Op.ALU() == bpf.OpNeg:
	case rng.IntN(2) == 0:
		in.Imm = randomImm(rng)
	default:
		in.Imm = rng.Int64N(64)
	}
	return in
}

func randomSize(rng *rand.Rand) (bpf.Op, int16) {
	n := 1 << rng.IntN(4)
	op, _ := bpf.SizeOp(n)
	return op, int16(scratchLow + n*rng.IntN(scratchSize/n))
}

func randomLoad(rng *rand.Rand) bpf.Instruction {
	size, off := randomSize(rng)
	mode := bpf.ModeMem
	if rng.IntN(3) == 0 {
		mode = bpf.ModeMemSX
	}
	return bpf.Instruction{Op: bpf.ClassLDX | mode | size, Dst: randomReg(rng), Src: bpf.R10, Off: off}
}

func randomStore(rng *rand.Rand) bpf.Instruction {
	size, off := randomSize(rng)
	in := bpf.Instruction{Op: bpf.ClassSTX | bpf.ModeMem | size, Dst: bpf.R10, Src: randomReg(rng), Off: off}
	if rng.IntN(3) == 0 {
		in.Op, in.Src, in.Imm = bpf.ClassST|bpf.ModeMem|size, 0, randomImm(rng)
	}
	return in
}

func randomAtomic(rng *rand.Rand) bpf.Instruction {
	kinds := []int64{bpf.AtomicAdd, bpf.AtomicOr, bpf.AtomicAnd, bpf.AtomicXor,
		bpf.AtomicAdd | bpf.AtomicFetch, bpf.AtomicOr | bpf.AtomicFetch, bpf.AtomicAnd | bpf.AtomicFetch,
		bpf.AtomicXor | bpf.AtomicFetch, bpf.AtomicXchg, bpf.AtomicCmpXchg, bpf.AtomicLoadAcq, bpf.AtomicStRel}
	size, off := randomSize(rng)
	in := bpf.Instruction{Op: bpf.ClassSTX | bpf.ModeAtomic | size, Dst: bpf.R10, Src: randomReg(rng), Off: off}
	in.Imm = kinds[rng.IntN(len(kinds))]
	if in.Imm == bpf.AtomicLoadAcq {
		in.Dst, in.Src = in.Src, in.Dst
	}
	return in
}
