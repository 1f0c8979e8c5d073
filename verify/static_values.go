package verify

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// instruction checks one instruction against what holds before it.
func (c *checker) instruction(in bpf.Instruction) {
	for _, v := range c.state.Regs {
		c.deepen(v)
	}
	switch {
	case in.IsALU():
		c.arithmetic(in)
	case in.IsLoad(), in.IsAtomic() && in.Imm == bpf.AtomicLoadAcq:
		c.access(in, in.Src)
	case in.IsStore(), in.IsAtomic():
		c.access(in, in.Dst)
	}
}

// deepen notes how far down a pointer leads into the frame.
func (c *checker) deepen(v flow.Value) {
	if v.Kind == flow.KindStack && v.Base == flow.FrameBase {
		c.depth = min(c.depth, v.Offset)
	}
}

// arithmetic checks what is done to pointers.
func (c *checker) arithmetic(in bpf.Instruction) {
	dst := c.state.Regs[in.Dst].Kind
	src := flow.KindScalar
	if in.UsesSrc() {
		src = c.state.Regs[in.Src].Kind
	}
	wide := in.Op.Class() == bpf.ClassALU64
	switch op := in.Op.ALU(); {
	case op == bpf.OpMov:
		if src.IsPointer() && (!wide || in.Off != 0) {
			c.fail(rulePointerALU, in, "copies part of a pointer")
		}
	case !dst.IsPointer() && !src.IsPointer():
	case op == bpf.OpSub && dst.IsPointer() && src.IsPointer():
		// The distance of two pointers, of either width, is a number.
	case !wide:
		c.fail(rulePointerALU, in, "32-bit arithmetic on a pointer")
	case op != bpf.OpAdd && op != bpf.OpSub:
		c.fail(rulePointerALU, in, "neither adds to a pointer nor subtracts from it")
	case op == bpf.OpAdd && dst.IsPointer() && src.IsPointer():
		c.fail(rulePointerALU, in, "adds two pointers")
	case op == bpf.OpSub && src.IsPointer() && dst == flow.KindScalar:
		c.fail(rulePointerALU, in, "subtracts a pointer from a number")
	case fixed(dst) || fixed(src):
		c.fail(rulePointerALU, in, "moves a pointer that has to stay as it is")
	}
}

// fixed tells whether the verifier lets no pointer of the kind be moved.
func fixed(k flow.Kind) bool { return k == flow.KindPacketEnd || k == flow.KindMap }

// access checks a load, store or atomic through a base register.
func (c *checker) access(in bpf.Instruction, base bpf.Register) {
	p := c.state.Regs[base]
	switch p.Kind {
	case flow.KindScalar:
		c.fail(ruleBase, in, "%v is no pointer", base)
	case flow.KindPacketEnd:
		c.fail(ruleBase, in, "%v is the packet's end", base)
	case flow.KindStack:
		c.stack(in, p)
	case flow.KindContext:
		c.context(in, p)
	case flow.KindPacket:
		if in.IsAtomic() {
			c.fail(ruleAtomic, in, "atomic operation on the packet")
		}
	}
	if in.IsAtomic() && in.Imm != bpf.AtomicLoadAcq && in.Imm != bpf.AtomicStRel && c.state.Regs[in.Src].Kind.IsPointer() {
		c.fail(ruleAtomic, in, "atomic operation with a pointer as its operand")
	}
}

// patched tells whether the offset is unknown before the object is loaded.
func patched(in bpf.Instruction) bool { return in.Ref != 0 && in.PatchesOffset() }

func (c *checker) stack(in bpf.Instruction, p flow.Value) {
	if p.Base != flow.FrameBase || patched(in) {
		return // the offset is not known
	}
	off, size := p.Offset+int64(in.Off), in.Size()
	if !flow.OnStack(off, size) {
		c.fail(ruleBounds, in, "%d bytes at offset %d are not in the frame", size, off)
		return
	}
	c.depth = min(c.depth, off)
	if off%int64(size) != 0 {
		c.fail(ruleAlignment, in, "%d bytes at offset %d of the frame", size, off)
	}
	if in.Op.Class() == bpf.ClassSTX && in.IsStore() && size < 8 && c.state.Regs[in.Src].Kind.IsPointer() {
		c.fail(ruleSpill, in, "stores part of a pointer on the stack")
	}
	if in.IsLoad() {
		c.fill(in, off, size)
	}
}

// fill checks what a load finds on the stack.
func (c *checker) fill(in bpf.Instruction, off int64, size int) {
	for _, cell := range c.state.Stack {
		from, to := int64(cell.Off), int64(cell.Off)+int64(cell.Size)
		if cell.Size == 8 && cell.Value.Kind.IsPointer() && off < to && from < off+int64(size) && size < 8 {
			c.fail(ruleSpill, in, "loads part of a pointer from the stack")
		}
	}
	if c.state.Escaped {
		return // somebody else may have written there
	}
	for b := off; b < off+int64(size); b++ {
		if !c.state.Written.Has(int(b)) {
			c.fail(ruleStackRead, in, "the byte at offset %d of the frame is not written on every path", b)
			return
		}
	}
}

func (c *checker) context(in bpf.Instruction, p flow.Value) {
	if p.Base != flow.ContextBase || p.Offset != 0 {
		c.fail(ruleContext, in, "access through a pointer to the context that was moved")
		return
	}
	switch {
	case in.IsAtomic():
		c.fail(ruleAtomic, in, "atomic operation on the context")
	case in.Op.Class() == bpf.ClassST && c.level < bpf.V4:
		// Linux 6.3 and later let it pass, and clang relies on that for v4.
		c.fail(ruleContext, in, "stores an immediate into the context")
	case !patched(in) && (in.Off < 0 || int(in.Off)%in.Size() != 0):
		c.fail(ruleAlignment, in, "%d bytes at offset %d of the context", in.Size(), in.Off)
	}
	f := field{class: in.Op.Class(), off: int64(in.Off), size: in.Size(), ref: in.Ref}
	c.fields[f] = true
}
