package semantics

import (
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/k2cc/k2cc/bpf"
)

// TestValidAgainstKernel tries all opcodes of arithmetic and memory access with
// fields that mean something somewhere: the kernel must take exactly what Valid
// takes.
func TestValidAgainstKernel(t *testing.T) {
	needKernel(t)
	valid := 0
	for op := range 256 {
		in := bpf.Instruction{Op: bpf.Op(op)}
		if in.Op.Class() == bpf.ClassLD || in.Op.Class() == bpf.ClassJMP || in.Op.Class() == bpf.ClassJMP32 {
			continue
		}
		for _, off := range []int16{0, 1, 8, 16, 32} {
			if off == 1 && !in.IsALU() {
				continue // the stack wants aligned accesses
			}
			for _, imm := range []int64{0, 1, 16, 32, 64, 0x41, 0xa0, 0xe0, 0xe1, 0xf1, 0x100, 0x110} {
				for _, second := range []bpf.Register{bpf.R0, bpf.R2} {
					in.Off, in.Imm = off, imm
					in.Dst, in.Src = bpf.R1, second
					if in.Op.Class() == bpf.ClassLDX || in.IsAtomic() && imm == bpf.AtomicLoadAcq {
						in.Dst, in.Src = second, bpf.R1
					}
					if in.IsCast() {
						continue // only programs with an arena may have these
					}
					if in.Valid() == nil {
						valid++
					}
					tryInKernel(t, in)
				}
			}
		}
	}
	if valid < 500 {
		t.Errorf("only %d valid instructions tried", valid)
	}
}

func tryInKernel(t *testing.T, in bpf.Instruction) {
	t.Helper()
	head := "r0 = 0\nr1 = 1\nr2 = 2\n"
	if !in.IsALU() {
		head = "r0 = 0\n*(u64 *)(r10 - 64) = 0\n*(u64 *)(r10 - 56) = 0\n*(u64 *)(r10 - 48) = 0\n*(u64 *)(r10 - 32) = 0\n" +
			"r1 = r10\nr1 += -64\nr2 = 2\n"
	}
	var code []byte
	for _, part := range [][]bpf.Instruction{parse(t, head), {in}, parse(t, "r0 = 0\nexit")} {
		for _, in := range part {
			code = in.Append(code, binary.LittleEndian)
		}
	}
	prog, err := loadSpec(code, ebpf.ProgramSpec{Type: ebpf.Syscall, Flags: sleepable})
	if err == nil {
		prog.Close()
	}
	if valid := in.Valid(); (valid == nil) != (err == nil) {
		t.Errorf("%v: Valid says %v, the kernel %v", in, valid, err)
	}
}

// Random programs have no callx, for the verifier takes none.
func TestCallRegisterIsRefused(t *testing.T) {
	needKernel(t)
	prog, err := loadCode(encode(t, []*bpf.Block{{Label: 1, Code: parse(t, "r1 = 5\ncallx r1\nr0 = 0\nexit")}}))
	if err == nil {
		prog.Close()
		t.Error("the kernel takes callx: compare it")
	}
}
