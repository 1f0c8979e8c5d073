package semantics

import "github.com/k2cc/k2cc/bpf"

// kind is what a decoded instruction does.
type kind uint8

const (
	opMov64 kind = iota
	opAdd64
	opSub64
	opMul64
	opAnd64
	opOr64
	opXor64
	opLsh64
	opRsh64
	opArsh64
	opNeg64
	opMov32
	opAdd32
	opSub32
	opMul32
	opAnd32
	opOr32
	opXor32
	opLsh32
	opRsh32
	opArsh32
	opNeg32
	opSExt64
	opSExt32
	opTruncate // byte swap to the target's own order
	opSwap
	opDiv64
	opMod64
	opSDiv64
	opSMod64
	opDiv32
	opMod32
	opSDiv32
	opSMod32

	opLoad
	opLoadSX
	opStore
	opXchg
	opCmpXchg
	opAtomicAdd
	opAtomicOr
	opAtomicAnd
	opAtomicXor
	opFetchAdd
	opFetchOr
	opFetchAnd
	opFetchXor

	opJEq
	opJNE
	opJGT
	opJGE
	opJLT
	opJLE
	opJSGT
	opJSGE
	opJSLT
	opJSLE
	opJSet

	firstMemory = opLoad
	firstJump   = opJEq
)

// Tables by operation: the upper four bits of the opcode.
var (
	kinds64 = [16]kind{
		bpf.OpMov >> 4: opMov64, bpf.OpAdd >> 4: opAdd64, bpf.OpSub >> 4: opSub64, bpf.OpMul >> 4: opMul64,
		bpf.OpAnd >> 4: opAnd64, bpf.OpOr >> 4: opOr64, bpf.OpXor >> 4: opXor64, bpf.OpLsh >> 4: opLsh64,
		bpf.OpRsh >> 4: opRsh64, bpf.OpArsh >> 4: opArsh64, bpf.OpNeg >> 4: opNeg64, bpf.OpDiv >> 4: opDiv64,
		bpf.OpMod >> 4: opMod64,
	}
	kinds32 = [16]kind{
		bpf.OpMov >> 4: opMov32, bpf.OpAdd >> 4: opAdd32, bpf.OpSub >> 4: opSub32, bpf.OpMul >> 4: opMul32,
		bpf.OpAnd >> 4: opAnd32, bpf.OpOr >> 4: opOr32, bpf.OpXor >> 4: opXor32, bpf.OpLsh >> 4: opLsh32,
		bpf.OpRsh >> 4: opRsh32, bpf.OpArsh >> 4: opArsh32, bpf.OpNeg >> 4: opNeg32, bpf.OpDiv >> 4: opDiv32,
		bpf.OpMod >> 4: opMod32,
	}
	// signedKinds are what Off makes of division, modulo and move.
	signedKinds = [opSMod32 + 1]kind{
		opDiv64: opSDiv64, opMod64: opSMod64, opDiv32: opSDiv32, opMod32: opSMod32,
		opMov64: opSExt64, opMov32: opSExt32,
	}
	jumpKinds = [16]kind{
		bpf.OpJEq >> 4: opJEq, bpf.OpJNE >> 4: opJNE, bpf.OpJGT >> 4: opJGT, bpf.OpJGE >> 4: opJGE,
		bpf.OpJLT >> 4: opJLT, bpf.OpJLE >> 4: opJLE, bpf.OpJSGT >> 4: opJSGT, bpf.OpJSGE >> 4: opJSGE,
		bpf.OpJSLT >> 4: opJSLT, bpf.OpJSLE >> 4: opJSLE, bpf.OpJSet >> 4: opJSet,
	}
	// Atomics by the upper four of the low eight bits of their Imm.
	lockedKinds = [16]kind{
		bpf.AtomicAdd >> 4: opAtomicAdd, bpf.AtomicOr >> 4: opAtomicOr, bpf.AtomicAnd >> 4: opAtomicAnd,
		bpf.AtomicXor >> 4: opAtomicXor,
	}
	fetchKinds = [16]kind{
		bpf.AtomicAdd >> 4: opFetchAdd, bpf.AtomicOr >> 4: opFetchOr, bpf.AtomicAnd >> 4: opFetchAnd,
		bpf.AtomicXor >> 4: opFetchXor, bpf.AtomicXchg >> 4: opXchg, bpf.AtomicCmpXchg >> 4: opCmpXchg,
	}
)

// atomicKind is the kind of a valid atomic instruction.
func atomicKind(imm int64) kind {
	switch {
	case imm == bpf.AtomicLoadAcq:
		return opLoad
	case imm == bpf.AtomicStRel:
		return opStore
	case imm&bpf.AtomicFetch != 0:
		return fetchKinds[imm>>4&15]
	}
	return lockedKinds[imm>>4&15]
}

// decode makes an op of a valid instruction; ok is false for one that is not
// straight-line code.
func (r *Runner) decode(in bpf.Instruction) (o op, ok bool) {
	switch {
	case in.IsALU():
		return r.decodeALU(in), true
	case in.Op == bpf.LoadImm64 && in.Ref != 0:
		return op{kind: opMov64, dst: uint8(in.Dst), src: regZero, sym: r.symbol(in.Ref, symbolWhole)}, true
	case in.Op == bpf.LoadImm64:
		return op{kind: opMov64, dst: uint8(in.Dst), src: regZero, sym: regZero, imm: uint64(in.Imm)}, true
	case in.IsLoad(), in.IsStore(), in.IsAtomic():
		return r.decodeAccess(in), true
	case in.IsCondJump():
		o = r.operand(in)
		o.kind, o.size = jumpKinds[in.Op.Jump()>>4], 8
		if in.Op.Class() == bpf.ClassJMP32 {
			o.size = 4
		}
		return o, true
	}
	return op{}, false
}

// operand is an op with its operands alone.
func (r *Runner) operand(in bpf.Instruction) op {
	o := op{dst: uint8(in.Dst), src: regZero, sym: regZero}
	switch {
	case in.UsesSrc():
		o.src = uint8(in.Src)
	case in.Ref != 0:
		o.sym = r.symbol(in.Ref, symbolImm)
	default:
		o.imm = uint64(in.Imm)
	}
	return o
}

func (r *Runner) decodeALU(in bpf.Instruction) op {
	o := r.operand(in)
	is64 := in.Op.Class() == bpf.ClassALU64
	if in.Op.ALU() == bpf.OpEnd {
		o.kind, o.size = opSwap, uint8(in.Imm)
		toBig := in.Op&bpf.SourceX != 0
		if !is64 && toBig == r.big {
			o.kind = opTruncate
		}
		return o
	}
	o.kind = kinds32[in.Op.ALU()>>4]
	if is64 {
		o.kind = kinds64[in.Op.ALU()>>4]
	}
	if in.Off != 0 {
		o.kind, o.size = signedKinds[o.kind], uint8(in.Off)
	}
	return o
}

func (r *Runner) decodeAccess(in bpf.Instruction) op {
	base := in.Dst
	o := op{kind: opStore, reg: uint8(in.Src), sym: regZero, size: uint8(in.Size()), imm: uint64(int64(in.Off))}
	switch in.Op.Class() {
	case bpf.ClassLDX:
		base, o.kind = in.Src, opLoad
		if in.Op.Mode() == bpf.ModeMemSX {
			o.kind = opLoadSX
		}
	case bpf.ClassST:
		o.reg, o.value = regZero, int32(in.Imm)
	default:
		if !in.IsAtomic() {
			break
		}
		o.kind = atomicKind(in.Imm)
		if in.Imm == bpf.AtomicLoadAcq {
			base = in.Src
		}
	}
	o.src, o.dst = uint8(base), uint8(in.Dst)
	if in.Ref != 0 {
		o.sym, o.imm = r.symbol(in.Ref, symbolOffset), 0
	}
	return o
}
