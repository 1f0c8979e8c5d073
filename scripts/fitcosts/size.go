package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
)

// size finds how many bytes of machine code instructions of the sample's form
// take, for each pair of registers that the kernel accepts there. The kernel
// tells where the machine code of each source line begins; here each
// instruction is a line.
func (k *kernel) size(sample bpf.Instruction, e *cost.Entry) error {
	p := program{}
	p.prologue(k.values)
	measured := map[int][2]bpf.Register{} // by index of the instruction
	for dst := range bpf.Register(bpf.NumRegisters) {
		for src := range bpf.Register(bpf.NumRegisters) {
			in, ok := with(sample, dst, src)
			if !ok {
				continue
			}
			p.refill(in)
			measured[len(p.ins)] = [2]bpf.Register{dst, src}
			p.add(in)
		}
	}
	p.epilogue()
	prog, err := k.load(p.ins)
	if err != nil {
		return err
	}
	defer prog.Close()
	info, err := prog.Info()
	if err != nil {
		return fmt.Errorf("ask for program info: %w", err)
	}
	lines, _ := info.JitedLineInfos()
	if len(lines) != len(p.ins) {
		return fmt.Errorf("the kernel names %d lines, want %d", len(lines), len(p.ins))
	}
	for i, regs := range measured {
		n := lines[i+1] - lines[i]
		if n >= uint64(len(cost.Digits)) {
			return fmt.Errorf("%v: %d bytes", sample, n)
		}
		e.Size[regs[0]][regs[1]] = uint8(n)
	}
	return nil
}

// with puts registers into a sample; it reports false where the kernel allows
// none such, and for a second register where the sample has one only.
func with(in bpf.Instruction, dst, src bpf.Register) (bpf.Instruction, bool) {
	access := in.IsLoad() || in.IsStore() || in.IsAtomic()
	in.Dst = dst
	switch {
	case in.IsLoad(), in.Op.Class() == bpf.ClassSTX, in.UsesSrc():
		in.Src = src
	case src != 0:
		return in, false
	}
	base := in.Dst
	if in.IsLoad() {
		base = in.Src
	}
	switch {
	case in.Op.Class() == bpf.ClassSTX && dst == bpf.R10 && src == bpf.R10:
		return in, false
	case access && base == bpf.R10:
		in.Off = -3 * in.Off / near * near // below the frame's end, and aligned
		if in.Off < -512 {
			in.Off = -400
		}
	case in.IsAtomic() && (src == dst || src == bpf.R10 || in.Imm == bpf.AtomicCmpXchg && (dst == bpf.R0 || src == bpf.R0)):
		return in, false
	}
	if in.Valid() != nil || !access && src == bpf.R10 || !access && dst == bpf.R10 {
		return in, false
	}
	return in, true
}

// program is a program for the kernel in the making.
type program struct{ ins []bpf.Instruction }

func (p *program) add(code ...bpf.Instruction) { p.ins = append(p.ins, code...) }

func (p *program) text(format string, args ...any) {
	code, err := bpf.ParseCode(fmt.Sprintf(format, args...))
	if err != nil {
		panic(err) // a text of this file
	}
	p.add(code...)
}

// prologue leaves the packet's length, a number that the verifier does not
// know, in R0 to R8, and the address of a map's value in R9; both are kept in
// the frame as well.
func (p *program) prologue(values *ebpf.Map) {
	p.text("r0 = *(u32 *)(r1 + 0)")
	p.add(bpf.Instruction{Op: bpf.LoadImm64, Dst: bpf.R9, Src: bpf.PseudoMapValue, Imm: int64(values.FD())})
	p.text("*(u64 *)(r10 - 8) = r9\n*(u64 *)(r10 - 16) = r0")
	for r := bpf.R1; r < bpf.R9; r++ {
		p.text("r%d = r0", r)
	}
}

// refill gives the instruction's registers values that it can work on.
func (p *program) refill(in bpf.Instruction) {
	base := bpf.Register(bpf.NumRegisters)
	switch {
	case in.IsLoad():
		base = in.Src
	case in.IsStore(), in.IsAtomic():
		base = in.Dst
	}
	for r := range bpf.R10 {
		switch reads := in.Reads(); {
		case r == base:
			p.text("r%d = *(u64 *)(r10 - 8)", r)
		case reads.Has(r):
			p.text("r%d = *(u64 *)(r10 - 16)", r)
		}
	}
}

func (p *program) epilogue() { p.text("r0 = 0\nexit") }

// load loads code in which each instruction is a line of its own. Jumps lead to
// the next instruction.
func (k *kernel) load(code []bpf.Instruction) (*ebpf.Program, error) {
	var raw []byte
	for _, in := range code {
		in.Off = offset(in)
		raw = in.Append(raw, binary.LittleEndian)
	}
	ins, err := asm.AppendInstructions(nil, bytes.NewReader(raw), binary.LittleEndian, "linux")
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	for i := range ins {
		ins[i] = ins[i].WithSource(asm.Comment("measured"))
	}
	ret := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	ins[0] = btf.WithFuncMetadata(ins[0].WithSymbol("measured"), &btf.Func{Name: "measured", Type: &btf.FuncProto{Return: ret}})
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "measured", Type: ebpf.SchedCLS, License: "GPL", Instructions: ins})
	if v, ok := errors.AsType[*ebpf.VerifierError](err); ok && len(v.Log) > 6 {
		return nil, fmt.Errorf("load: %w: %v", err, v.Log[len(v.Log)-6:])
	}
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	return p, nil
}

func offset(in bpf.Instruction) int16 {
	if in.IsJump() {
		return 0
	}
	return in.Off
}
