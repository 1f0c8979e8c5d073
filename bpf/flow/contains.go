package flow

import (
	"fmt"

	"github.com/k2cc/k2cc/bpf"
)

// Contains says where a concrete state, its registers and the bytes of its
// stack by offset from the frame pointer, is none that s allows. Kinds are not
// looked at, but that pointers which cannot be null are not zero.
func (s *State) Contains(regs [bpf.NumRegisters]uint64, stack func(off int) byte, bigEndian bool) error {
	bases := map[Base]uint64{FrameBase: regs[bpf.R10]}
	for r, v := range s.Regs {
		if v.Kind == KindNone {
			continue
		}
		if err := v.contains(regs[r], bases); err != nil {
			return fmt.Errorf("%v: %w", bpf.Register(r), err)
		}
	}
	for _, c := range s.Stack {
		var x uint64
		for i := range int(c.Size) {
			at := int(c.Size) - 1 - i
			if bigEndian {
				at = i
			}
			x = x<<8 | uint64(stack(int(c.Off)+at))
		}
		if err := c.Value.contains(x, bases); err != nil {
			return fmt.Errorf("[r10%+d:%d]: %w", c.Off, c.Size, err)
		}
	}
	return nil
}

func (v Value) contains(x uint64, bases map[Base]uint64) error {
	switch {
	case x&^v.Mask != v.Bits:
		return fmt.Errorf("%#x does not have the known bits of %v", x, v)
	case x < v.UMin || x > v.UMax || int64(x) < v.SMin || int64(x) > v.SMax:
		return fmt.Errorf("%#x is not in the range of %v", x, v)
	case x == 0 && v.Kind.IsPointer() && !v.MaybeNull:
		return fmt.Errorf("null is no %v", v)
	case v.Base == 0:
		return nil
	}
	stands := x - uint64(v.Offset)
	if other, ok := bases[v.Base]; ok && other != stands {
		return fmt.Errorf("%#x is %v, whose base stands for %#x elsewhere", x, v, other)
	}
	bases[v.Base] = stands
	if v.Align != 0 && stands%uint64(v.Align) != 0 {
		return fmt.Errorf("%#x is %v, whose base is misaligned", x, v)
	}
	return nil
}
