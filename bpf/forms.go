package bpf

// The documents that describe the instructions.
const (
	rfcALU       = "RFC 9669, 4.1"
	rfcSwap      = "RFC 9669, 4.2"
	rfcJump      = "RFC 9669, 4.3"
	rfcHelper    = "RFC 9669, 4.3.1"
	rfcLocal     = "RFC 9669, 4.3.2"
	rfcMemory    = "RFC 9669, 5.1"
	rfcSigned    = "RFC 9669, 5.2"
	rfcAtomic    = "RFC 9669, 5.3"
	rfcImmediate = "RFC 9669, 5.4"
	rfcPacket    = "RFC 9669, 5.5"
	uapi         = "include/uapi/linux/bpf.h"
	verifier     = "kernel/bpf/verifier.c"
	llvm         = "LLVM, BPFInstrInfo.td"
)

func aluForms() []*Form {
	var out []*Form
	for _, class := range []Op{ClassALU64, ClassALU} {
		level, shift := V1, immShift64
		if class == ClassALU {
			level, shift = V3, immShift32
		}
		two := func(op Op, off int16, imm immediate, level Level) {
			out = append(out,
				newForm(Instruction{Op: class | op | SourceX, Off: off}, FieldDst|FieldSrc, immSigned, level, rfcALU),
				newForm(Instruction{Op: class | op, Off: off}, FieldDst|FieldImm, imm, level, rfcALU))
		}
		for _, op := range []Op{OpAdd, OpSub, OpMul, OpOr, OpAnd, OpXor, OpMov} {
			two(op, 0, immSigned, level)
		}
		for _, op := range []Op{OpLsh, OpRsh, OpArsh} {
			two(op, 0, shift, level)
		}
		for _, op := range []Op{OpDiv, OpMod} {
			two(op, 0, immDivisor, level)
			two(op, 1, immDivisor, V4)
		}
		out = append(out, newForm(Instruction{Op: class | OpNeg}, FieldDst, immSigned, level, rfcALU))
	}
	return append(out, moveForms()...)
}

// moveForms are the moves that Off makes of a move, and the byte swaps.
func moveForms() []*Form {
	var out []*Form
	for _, m := range []Instruction{
		{Op: ClassALU64, Off: 8}, {Op: ClassALU64, Off: 16}, {Op: ClassALU64, Off: 32},
		{Op: ClassALU, Off: 8}, {Op: ClassALU, Off: 16},
	} {
		m.Op |= OpMov | SourceX
		out = append(out, newForm(m, FieldDst|FieldSrc, immSigned, V4, rfcALU))
	}
	for _, imm := range []int64{CastToKernel, CastToUser} {
		cast := Instruction{Op: ClassALU64 | OpMov | SourceX, Off: OffCast, Imm: imm}
		out = append(out, newForm(cast, FieldDst|FieldSrc, immSigned, V4, verifier))
	}
	for _, swap := range []struct {
		op    Op
		level Level
	}{{ClassALU, V1}, {ClassALU | SourceX, V1}, {ClassALU64, V4}} {
		for _, bits := range []int64{16, 32, 64} {
			out = append(out, newForm(Instruction{Op: swap.op | OpEnd, Imm: bits}, FieldDst, immSigned, swap.level, rfcSwap))
		}
	}
	return out
}

func jumpForms() []*Form {
	var out []*Form
	for _, class := range []Op{ClassJMP, ClassJMP32} {
		two := func(op Op, level Level) {
			if class == ClassJMP32 {
				level = V3
			}
			out = append(out,
				newForm(Instruction{Op: class | op | SourceX}, FieldDst|FieldSrc|FieldOff|FieldTarget, immSigned, level, rfcJump),
				newForm(Instruction{Op: class | op}, FieldDst|FieldImm|FieldOff|FieldTarget, immSigned, level, rfcJump))
		}
		for _, op := range []Op{OpJEq, OpJNE, OpJSet, OpJGT, OpJGE, OpJSGT, OpJSGE} {
			two(op, V1)
		}
		for _, op := range []Op{OpJLT, OpJLE, OpJSLT, OpJSLE} {
			two(op, V2)
		}
	}
	return append(out,
		newForm(Instruction{Op: ClassJMP | OpJA}, FieldOff|FieldTarget, immSigned, V1, rfcJump),
		newForm(Instruction{Op: ClassJMP32 | OpJA}, FieldImm|FieldTarget, immTarget, V4, rfcJump),
		newForm(Instruction{Op: ClassJMP | OpJCond}, FieldOff|FieldTarget, immSigned, V4, uapi))
}

func callForms() []*Form {
	call := Instruction{Op: ClassJMP | OpCall}
	local, kfunc := call, call
	local.Src, kfunc.Src = CallLocal, CallKfunc
	return []*Form{
		newForm(call, FieldImm, immSigned, V1, rfcHelper),
		newForm(local, FieldImm, immSigned, V1, rfcLocal),
		// Off is the module in whose BTF the kfunc is: an index into the
		// descriptors that go with BPF_PROG_LOAD, zero for the kernel's own.
		newForm(kfunc, FieldImm|FieldOff, immSigned, V1, rfcHelper),
		newForm(Instruction{Op: ClassJMP | OpCall | SourceX}, FieldDst, immSigned, V1, llvm),
		newForm(Instruction{Op: ClassJMP | OpExit}, 0, immSigned, V1, rfcJump),
	}
}

var sizes = []Op{SizeB, SizeH, SizeW, SizeDW}

func accessForms() []*Form {
	var out []*Form
	for _, size := range sizes {
		out = append(out,
			newForm(Instruction{Op: ClassLDX | ModeMem | size}, FieldDst|FieldSrc|FieldOff, immSigned, V1, rfcMemory),
			newForm(Instruction{Op: ClassSTX | ModeMem | size}, FieldDst|FieldSrc|FieldOff, immSigned, V1, rfcMemory),
			newForm(Instruction{Op: ClassST | ModeMem | size}, FieldDst|FieldImm|FieldOff, immSigned, V1, rfcMemory))
	}
	for _, size := range sizes[:3] {
		out = append(out, newForm(Instruction{Op: ClassLDX | ModeMemSX | size}, FieldDst|FieldSrc|FieldOff, immSigned, V4, rfcSigned))
	}
	return out
}

func atomicForms() []*Form {
	var out []*Form
	add := func(size Op, imm int64, level Level, source string) {
		in := Instruction{Op: ClassSTX | ModeAtomic | size, Imm: imm}
		out = append(out, newForm(in, FieldDst|FieldSrc|FieldOff, immSigned, level, source))
	}
	for _, size := range []Op{SizeW, SizeDW} {
		add(size, AtomicAdd, V1, rfcAtomic)
		for _, imm := range []int64{AtomicOr, AtomicAnd, AtomicXor, AtomicAdd | AtomicFetch, AtomicOr | AtomicFetch,
			AtomicAnd | AtomicFetch, AtomicXor | AtomicFetch, AtomicXchg, AtomicCmpXchg} {
			add(size, imm, V3, rfcAtomic)
		}
	}
	for _, size := range sizes {
		add(size, AtomicLoadAcq, V4, uapi)
		add(size, AtomicStRel, V4, uapi)
	}
	return out
}

func immediateForms() []*Form {
	var out []*Form
	for kind := PseudoImm; kind <= PseudoMapIdxV; kind++ {
		imm := immWhole
		if kind == PseudoMapFD || kind == PseudoMapIdx {
			imm = immHandle
		}
		out = append(out, newForm(Instruction{Op: LoadImm64, Src: kind}, FieldDst|FieldImm, imm, V1, rfcImmediate))
	}
	return out
}

func packetForms() []*Form {
	var out []*Form
	for _, size := range sizes[:3] {
		out = append(out,
			newForm(Instruction{Op: ClassLD | ModeAbs | size}, FieldImm, immSigned, V1, rfcPacket),
			newForm(Instruction{Op: ClassLD | ModeInd | size}, FieldSrc|FieldImm, immSigned, V1, rfcPacket))
	}
	return out
}
