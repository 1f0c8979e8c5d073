package search

import (
	"encoding/binary"

	"github.com/k2cc/k2cc/bpf"
)

// env is what stays the same while code runs: where it runs and what it can't
// change.
type env struct {
	big     bool
	context bpf.Context
	ctx     uint64   // address of the context, or 0
	seed    uint64   // decides what the context's fields hold
	syms    []uint64 // by Ref, from index 1
}

// ctxSize is more than any context that a program is given.
const ctxSize = 1 << 12

func (e *env) inContext(addr uint64) bool {
	return e.ctx != 0 && addr-e.ctx < ctxSize
}

// cpu is what code changes besides memory. Stores to the context are kept as a
// hash of all of them in order: code that makes other ones, or in another
// order, is never right.
type cpu struct {
	regs      [bpf.NumRegisters]uint64
	ctxHash   uint64
	ctxStores int
}

// memory is everything but the context. Both methods report false for an
// access that must not happen.
type memory interface {
	load(addr uint64, size int) (uint64, bool)
	store(addr uint64, size int, v uint64) bool
}

// imm is what the immediate of in stands for.
func (e *env) imm(in *bpf.Instruction) uint64 {
	if in.Ref <= 0 || int(in.Ref) >= len(e.syms) {
		return uint64(in.Imm)
	}
	if in.Op == bpf.LoadImm64 {
		return e.syms[in.Ref]
	}
	return signExtend(e.syms[in.Ref], 32)
}

// operand is the second operand of an arithmetic or jump instruction.
func (e *env) operand(c *cpu, in *bpf.Instruction) uint64 {
	if in.Op&bpf.SourceX != 0 {
		return c.regs[in.Src]
	}
	return e.imm(in)
}

// step runs one straight-line instruction; it reports false where the code
// accesses memory that it must not.
func (e *env) step(c *cpu, m memory, in *bpf.Instruction) bool {
	switch in.Op.Class() {
	case bpf.ClassALU, bpf.ClassALU64:
		c.regs[in.Dst] = alu(in, c.regs[in.Dst], e.operand(c, in), e.big)
		return true
	case bpf.ClassLD:
		c.regs[in.Dst] = e.imm(in)
		return true
	case bpf.ClassLDX:
		return e.load(c, m, in, c.regs[in.Src]+uint64(in.Off))
	case bpf.ClassST:
		return e.store(c, m, in, e.imm(in))
	}
	if in.Op.Mode() == bpf.ModeAtomic {
		return e.atomic(c, m, in)
	}
	return e.store(c, m, in, c.regs[in.Src])
}

func (e *env) load(c *cpu, m memory, in *bpf.Instruction, addr uint64) bool {
	size := in.Size()
	if e.inContext(addr) {
		c.regs[in.Dst] = e.field(c, in, addr)
		return true
	}
	v, ok := m.load(addr, size)
	if in.Op.Mode() == bpf.ModeMemSX {
		v = signExtend(v, 8*size)
	}
	c.regs[in.Dst] = v
	return ok
}

func (e *env) store(c *cpu, m memory, in *bpf.Instruction, v uint64) bool {
	size := in.Size()
	addr := c.regs[in.Dst] + uint64(in.Off)
	if e.inContext(addr) {
		v &= ^uint64(0) >> (64 - 8*size)
		c.ctxStores++
		c.ctxHash = mix(c.ctxHash^mix(addr-e.ctx)^uint64(in.Op)) ^ mix(v)
		return true
	}
	return m.store(addr, size, v)
}

// field is what a load from the context yields: the verifier rewrites these
// loads, and one of four bytes may yield a whole pointer.
func (e *env) field(c *cpu, in *bpf.Instruction, addr uint64) uint64 {
	off := addr - e.ctx
	v := mix(e.seed ^ mix(off<<8|uint64(in.Size())) ^ c.ctxHash)
	if mayBePointer(e.context, off, in.Size()) {
		return v
	}
	v &= ^uint64(0) >> (64 - 8*in.Size())
	if in.Op.Mode() == bpf.ModeMemSX {
		v = signExtend(v, 8*in.Size())
	}
	return v
}

// mayBePointer tells whether a context field may yield a pointer: in struct
// xdp_md and struct __sk_buff (include/uapi/linux/bpf.h) the packet's, in
// contexts of unknown layout any of at least four bytes.
func mayBePointer(ctx bpf.Context, off uint64, size int) bool {
	switch {
	case size < 4:
		return false
	case size == 8:
		return true
	case ctx == bpf.ContextXDP:
		return off <= 8
	case ctx == bpf.ContextSKB:
		return off == 76 || off == 80 || off == 140
	case ctx == bpf.ContextPlain:
		return false
	}
	return true
}

func (e *env) atomic(c *cpu, m memory, in *bpf.Instruction) bool {
	size := in.Size()
	low := ^uint64(0) >> (64 - 8*size)
	switch in.Imm {
	case bpf.AtomicLoadAcq:
		v, ok := m.load(c.regs[in.Src]+uint64(in.Off), size)
		c.regs[in.Dst] = v
		return ok
	case bpf.AtomicStRel:
		return m.store(c.regs[in.Dst]+uint64(in.Off), size, c.regs[in.Src])
	}
	addr := c.regs[in.Dst] + uint64(in.Off)
	old, ok := m.load(addr, size)
	if !ok {
		return false
	}
	v := c.regs[in.Src]
	switch in.Imm &^ bpf.AtomicFetch {
	case bpf.AtomicAdd:
		v += old
	case bpf.AtomicOr:
		v |= old
	case bpf.AtomicAnd:
		v &= old
	case bpf.AtomicXor:
		v ^= old
	case bpf.AtomicCmpXchg &^ bpf.AtomicFetch:
		if c.regs[bpf.R0]&low != old {
			v = old
		}
		c.regs[bpf.R0] = old
		return m.store(addr, size, v)
	}
	if in.Imm&bpf.AtomicFetch != 0 {
		c.regs[in.Src] = old
	}
	return m.store(addr, size, v)
}

// mix spreads every bit of v over all bits (the finaliser of MurmurHash3).
func mix(v uint64) uint64 {
	v ^= v >> 33
	v *= 0xff51afd7ed558ccd
	v ^= v >> 33
	v *= 0xc4ceb9fe1a85ec53
	return v ^ v>>33
}

func byteOrder(big bool) binary.ByteOrder {
	if big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// getBytes reads a number of len(b) bytes: 1, 2, 4 or 8.
func getBytes(b []byte, big bool) uint64 {
	order := byteOrder(big)
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(order.Uint16(b))
	case 4:
		return uint64(order.Uint32(b))
	}
	return order.Uint64(b)
}

// putBytes writes the low len(b) bytes of v: 1, 2, 4 or 8.
func putBytes(b []byte, v uint64, big bool) {
	order := byteOrder(big)
	switch len(b) {
	case 1:
		b[0] = byte(v)
	case 2:
		order.PutUint16(b, uint16(v))
	case 4:
		order.PutUint32(b, uint32(v))
	default:
		order.PutUint64(b, v)
	}
}
