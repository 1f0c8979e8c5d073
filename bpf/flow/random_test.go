package flow

import (
	"math/rand/v2"

	"github.com/k2cc/k2cc/bpf"
)

// randomFunction makes a function that computes with everything there is.
func randomFunction(rng *rand.Rand, loops bool) *bpf.Function {
	fn := &bpf.Function{Name: "random", Context: []bpf.Context{bpf.ContextNone, bpf.ContextXDP}[rng.IntN(2)]}
	n := 2 + rng.IntN(8)
	next := randomInstruction
	if rng.IntN(3) == 0 {
		next = randomCopy
	}
	for b := range n {
		block := &bpf.Block{Label: bpf.Label(b + 1)}
		if b == 0 {
			block.Code = initialise(rng, fn.Context)
		}
		for range rng.IntN(8) {
			block.Code = append(block.Code, next(rng))
		}
		low := b + 1
		if loops {
			low = 0
		}
		switch {
		case b == n-1:
			block.Code = append(block.Code, bpf.Instruction{Op: bpf.ClassJMP | bpf.OpExit})
		case rng.IntN(8) == 0:
			block.Code = append(block.Code, bpf.Instruction{Op: bpf.ClassJMP | bpf.OpJA, Target: bpf.Label(1 + low + rng.IntN(n-low))})
		case rng.IntN(8) > 0:
			block.Code = append(block.Code, randomJump(rng, bpf.Label(1+low+rng.IntN(n-low))))
		}
		fn.Blocks = append(fn.Blocks, block)
	}
	return fn
}

// initialise makes most registers readable.
func initialise(rng *rand.Rand, ctx bpf.Context) []bpf.Instruction {
	var code []bpf.Instruction
	set := func(dst, src bpf.Register) {
		code = append(code, bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpMov | bpf.SourceX, Dst: dst, Src: src})
	}
	set(bpf.R6, bpf.R1)
	from := bpf.R4
	if ctx != bpf.ContextNone {
		code = append(code, bpf.Instruction{Op: bpf.ClassLDX | bpf.ModeMem | bpf.SizeDW, Dst: bpf.R2, Src: bpf.R10, Off: -8})
		code = append(code, bpf.Instruction{Op: bpf.LoadImm64, Dst: bpf.R3, Imm: int64(interesting(rng))})
		from = bpf.R2
	}
	set(bpf.R0, from)
	set(bpf.R7, bpf.R3)
	return code
}

// reads is the set of registers that an instruction of a random program reads.
func reads(in bpf.Instruction) bpf.Registers {
	if in.IsCall() {
		return in.Reads() & (1<<(in.Imm&7+1) - 1)
	}
	return in.Reads()
}

// readable tells whether the verifier lets an instruction read its registers.
func readable(s *State, in bpf.Instruction) bool {
	for reg, v := range s.Regs {
		if reads(in).Has(bpf.Register(reg)) && v.Kind == KindNone {
			return false
		}
	}
	return true
}

func randomJump(rng *rand.Rand, to bpf.Label) bpf.Instruction {
	ops := []bpf.Op{
		bpf.OpJEq, bpf.OpJNE, bpf.OpJGT, bpf.OpJGE, bpf.OpJLT, bpf.OpJLE,
		bpf.OpJSGT, bpf.OpJSGE, bpf.OpJSLT, bpf.OpJSLE, bpf.OpJSet,
	}
	if rng.IntN(20) == 0 {
		return bpf.Instruction{Op: bpf.ClassJMP | bpf.OpJCond, Target: to}
	}
	in := bpf.Instruction{Op: pick(rng, bpf.ClassJMP, bpf.ClassJMP32) | pick(rng, ops...), Target: to}
	in.Dst = randomRegister(rng)
	return withOperand(rng, in)
}

func withOperand(rng *rand.Rand, in bpf.Instruction) bpf.Instruction {
	if rng.IntN(2) == 0 {
		in.Op |= bpf.SourceX
		in.Src = randomRegister(rng)
	} else {
		in.Imm = int64(int32(interesting(rng)))
	}
	return in
}

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

// randomRegister prefers few registers, so that values meet.
func randomRegister(rng *rand.Rand) bpf.Register {
	return pick(rng, bpf.R0, bpf.R1, bpf.R2, bpf.R2, bpf.R3, bpf.R3, bpf.R6, bpf.R7, bpf.R10)
}

func randomInstruction(rng *rand.Rand) bpf.Instruction {
	for {
		in := anyInstruction(rng)
		if in.Valid() == nil {
			return in
		}
	}
}

// randomCopy makes values that are equal, or a little apart, more often than
// not.
func randomCopy(rng *rand.Rand) bpf.Instruction {
	reg := func() bpf.Register { return pick(rng, bpf.R2, bpf.R3, bpf.R6, bpf.R7) }
	off := -int16(1+rng.IntN(3)) * 8
	switch rng.IntN(10) {
	case 0:
		return randomInstruction(rng)
	case 1:
		return bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpAdd, Dst: reg(), Imm: int64(rng.IntN(3)) - 1}
	case 2, 3:
		return bpf.Instruction{Op: bpf.ClassSTX | bpf.ModeMem | bpf.SizeDW, Dst: bpf.R10, Src: reg(), Off: off}
	case 4, 5:
		return bpf.Instruction{Op: bpf.ClassLDX | bpf.ModeMem | bpf.SizeDW, Dst: reg(), Src: bpf.R10, Off: off}
	case 6:
		return bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpMul, Dst: reg(), Imm: 3}
	}
	return bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpMov | bpf.SourceX, Dst: reg(), Src: reg()}
}

func anyInstruction(rng *rand.Rand) bpf.Instruction {
	size, _ := bpf.SizeOp(1 << rng.IntN(4))
	off := -int16(1+rng.IntN(6)) * 4
	if rng.IntN(6) == 0 {
		off += int16(rng.IntN(4))
	}
	frame := pick(rng, bpf.R10, bpf.R10, bpf.R10, randomRegister(rng))
	reg := randomRegister(rng)
	switch rng.IntN(20) {
	case 0, 1, 2:
		mode := pick(rng, bpf.ModeMem, bpf.ModeMem, bpf.ModeMemSX)
		return bpf.Instruction{Op: bpf.ClassLDX | mode | size, Dst: reg, Src: frame, Off: off}
	case 3, 4, 5:
		return bpf.Instruction{Op: bpf.ClassSTX | bpf.ModeMem | size, Dst: frame, Src: randomRegister(rng), Off: off}
	case 6:
		return bpf.Instruction{Op: bpf.ClassST | bpf.ModeMem | size, Dst: frame, Off: off, Imm: int64(int32(interesting(rng)))}
	case 7:
		imm := pick[int64](rng, bpf.AtomicAdd, bpf.AtomicAnd|1, bpf.AtomicOr, bpf.AtomicXor|1, bpf.AtomicXchg, bpf.AtomicCmpXchg, bpf.AtomicLoadAcq, bpf.AtomicStRel)
		in := bpf.Instruction{Op: bpf.ClassSTX | bpf.ModeAtomic | size, Dst: frame, Src: reg, Off: off, Imm: imm}
		if imm == bpf.AtomicLoadAcq {
			in.Dst, in.Src = reg, frame
		}
		return in
	case 8:
		return bpf.Instruction{Op: bpf.LoadImm64, Dst: reg, Imm: int64(interesting(rng))}
	case 9:
		return bpf.Instruction{Op: bpf.ClassLDX | bpf.ModeMem | bpf.SizeW, Dst: reg, Src: pick(rng, bpf.R1, bpf.R6), Off: int16(rng.IntN(3) * 4)}
	case 10:
		if rng.IntN(3) == 0 {
			return bpf.Instruction{Op: bpf.ClassJMP | bpf.OpCall, Imm: 1<<30 + int64(rng.IntN(6))}
		}
	}
	return randomALU(rng, reg)
}

func randomALU(rng *rand.Rand, dst bpf.Register) bpf.Instruction {
	ops := []bpf.Op{
		bpf.OpMov, bpf.OpMov, bpf.OpMov, bpf.OpMov, bpf.OpAdd, bpf.OpAdd, bpf.OpAdd, bpf.OpSub, bpf.OpMul, bpf.OpDiv,
		bpf.OpMod, bpf.OpAnd, bpf.OpOr, bpf.OpXor, bpf.OpLsh, bpf.OpRsh, bpf.OpArsh, bpf.OpNeg, bpf.OpEnd,
	}
	in := bpf.Instruction{Op: pick(rng, bpf.ClassALU, bpf.ClassALU64, bpf.ClassALU64) | pick(rng, ops...), Dst: dst}
	switch in.Op.ALU() {
	case bpf.OpNeg:
		return in
	case bpf.OpEnd:
		in.Imm = pick[int64](rng, 16, 32, 64)
		in.Op |= pick(rng, 0, bpf.SourceX)
		return in
	case bpf.OpMov:
		in.Off = pick[int16](rng, 0, 0, 0, 8, 16, 32)
	case bpf.OpDiv, bpf.OpMod:
		in.Off = pick[int16](rng, 0, 1)
	}
	in = withOperand(rng, in)
	if rng.IntN(2) == 0 && in.Op&bpf.SourceX == 0 {
		in.Imm &= 0x1f
	}
	return in
}
