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

var kinds64 = map[bpf.Op]kind{
	bpf.OpMov: opMov64, bpf.OpAdd: opAdd64, bpf.OpSub: opSub64, bpf.OpMul: opMul64,
	bpf.OpAnd: opAnd64, bpf.OpOr: opOr64, bpf.OpXor: opXor64, bpf.OpLsh: opLsh64,
	bpf.OpRsh: opRsh64, bpf.OpArsh: opArsh64, bpf.OpNeg: opNeg64, bpf.OpDiv: opDiv64, bpf.OpMod: opMod64,
}

var kinds32 = map[bpf.Op]kind{
	bpf.OpMov: opMov32, bpf.OpAdd: opAdd32, bpf.OpSub: opSub32, bpf.OpMul: opMul32,
	bpf.OpAnd: opAnd32, bpf.OpOr: opOr32, bpf.OpXor: opXor32, bpf.OpLsh: opLsh32,
	bpf.OpRsh: opRsh32, bpf.OpArsh: opArsh32, bpf.OpNeg: opNeg32, bpf.OpDiv: opDiv32, bpf.OpMod: opMod32,
}

// signedKinds are what Off makes of division, modulo and move.
var signedKinds = map[kind]kind{
	opDiv64: opSDiv64, opMod64: opSMod64, opDiv32: opSDiv32, opMod32: opSMod32,
	opMov64: opSExt64, opMov32: opSExt32,
}

var jumpKinds = map[bpf.Op]kind{
	bpf.OpJEq: opJEq, bpf.OpJNE: opJNE, bpf.OpJGT: opJGT, bpf.OpJGE: opJGE, bpf.OpJLT: opJLT, bpf.OpJLE: opJLE,
	bpf.OpJSGT: opJSGT, bpf.OpJSGE: opJSGE, bpf.OpJSLT: opJSLT, bpf.OpJSLE: opJSLE, bpf.OpJSet: opJSet,
}

var atomicKinds = map[int64]kind{
	bpf.AtomicLoadAcq: opLoad, bpf.AtomicStRel: opStore, bpf.AtomicXchg: opXchg, bpf.AtomicCmpXchg: opCmpXchg,
	bpf.AtomicAdd: opAtomicAdd, bpf.AtomicOr: opAtomicOr, bpf.AtomicAnd: opAtomicAnd, bpf.AtomicXor: opAtomicXor,
	bpf.AtomicAdd | bpf.AtomicFetch: opFetchAdd, bpf.AtomicOr | bpf.AtomicFetch: opFetchOr,
	bpf.AtomicAnd | bpf.AtomicFetch: opFetchAnd, bpf.AtomicXor | bpf.AtomicFetch: opFetchXor,
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
		o.kind, o.size = jumpKinds[in.Op.Jump()], 8
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
	o.kind = kinds32[in.Op.ALU()]
	if is64 {
		o.kind = kinds64[in.Op.ALU()]
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
		o.kind = atomicKinds[in.Imm]
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
