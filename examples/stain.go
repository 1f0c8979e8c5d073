package examples

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// stain is a program that fills the stack that the next program gets with a
// pattern. Without it the stack often holds the zeros, or the values of an
// earlier run, that a missing store should have put there.
func stain(t ebpf.ProgramType) (*ebpf.Program, error) {
	const stackSize, pattern = 512, 0x5a5a5a5a
	var code asm.Instructions
	code = append(code, asm.Mov.Imm(asm.R0, pattern))
	for off := int16(8); off <= stackSize; off += 8 {
		code = append(code, asm.StoreMem(asm.RFP, -off, asm.R0, asm.DWord))
	}
	code = append(code, asm.Mov.Imm(asm.R0, 0), asm.Return())
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: t, License: "GPL", Instructions: code})
	if err != nil {
		return nil, fmt.Errorf("stain the stack of %v: %w", t, err)
	}
	return p, nil
}

// stainFor fills the stack for a program that is run with opts next.
func (k *KernelRunner) stainFor(t ebpf.ProgramType, opts ebpf.RunOptions) error {
	if k.stains[t] == nil {
		p, err := stain(t)
		if err != nil {
			return err
		}
		k.stains[t] = p
	}
	opts.ContextOut, opts.DataOut = nil, nil
	if _, err := k.stains[t].Run(&opts); err != nil {
		return fmt.Errorf("stain the stack of %v: %w", t, err)
	}
	return nil
}
