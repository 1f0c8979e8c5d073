package semantics

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/k2cc/k2cc/bpf"
)

// Runner runs one piece of straight-line code on many states, fast: it is for
// searches that try candidates on test vectors. It does what State.Run does,
// which tests check, on memory that consists of few flat windows.
type Runner struct {
	ops     []op
	symbols []symbolUse
	big     bool
}

// Window is a stretch of memory that code may access.
type Window struct {
	Addr uint64
	Data []byte
}

// Flat is a state of registers and memory windows.
type Flat struct {
	Regs    [bpf.NumRegisters]uint64
	Symbols []uint64 // Symbols[r-1] is what the loader puts in for Ref r; a missing one is zero
	Windows []Window // not overlapping
	Taken   bool     // whether the jump at the end is taken; set by Run
}

// ErrFault says that code accessed memory outside the windows.
var ErrFault = errors.New("access outside of memory")

// CopyFrom makes f the same as src. Once f has had src's shape, it does so
// without allocating. Symbols, which do not change, are shared.
func (f *Flat) CopyFrom(src *Flat) {
	f.Regs, f.Symbols, f.Taken = src.Regs, src.Symbols, src.Taken
	if len(f.Windows) != len(src.Windows) {
		f.Windows = make([]Window, len(src.Windows))
	}
	for i := range src.Windows {
		w, from := &f.Windows[i], &src.Windows[i]
		w.Addr = from.Addr
		w.Data = append(w.Data[:0], from.Data...)
	}
}

// op is a decoded instruction. Its second operand is the sum of the register
// src, the register sym and imm, of which at most one is not zero, but for
// memory accesses: there the sum is an address.
type op struct {
	kind     kind
	dst, src uint8
	sym      uint8
	reg      uint8 // the register that a store or atomic takes its value from
	size     uint8 // in bytes; for sign extensions and byte swaps in bits
	value    int32 // what a store adds to reg
	imm      uint64
}

// Registers of a Runner beyond BPF's.
const (
	regZero   = 15 // always zero
	regSymbol = 16 // from here on: symbols as they stand in instructions
	regCount  = 32
)

// symbolUse is a symbol that a register holds, cut as its user needs it.
type symbolUse struct {
	ref  bpf.Ref
	form symbolForm
}

type symbolForm uint8

const (
	symbolWhole  symbolForm = iota // 64-bit immediate loads
	symbolImm                      // 32-bit immediates
	symbolOffset                   // 16-bit offsets
)

func (u symbolUse) value(symbols []uint64) uint64 {
	if int(u.ref) > len(symbols) {
		return 0
	}
	v := symbols[u.ref-1]
	switch u.form {
	case symbolImm:
		return uint64(int64(int32(v)))
	case symbolOffset:
		return uint64(int64(int16(v)))
	}
	return v
}

// NewRunner decodes code: straight-line code whose last instruction may be a
// conditional jump.
func NewRunner(code []bpf.Instruction, bigEndian bool) (*Runner, error) {
	r := &Runner{}
	if err := r.Reset(code, bigEndian); err != nil {
		return nil, err
	}
	return r, nil
}

// Reset decodes other code, reusing the Runner's memory.
func (r *Runner) Reset(code []bpf.Instruction, bigEndian bool) error {
	r.ops, r.symbols, r.big = r.ops[:0], r.symbols[:0], bigEndian
	for i, in := range code {
		if err := Valid(in); err != nil {
			return err
		}
		o, ok := r.decode(in)
		if !ok || in.IsCondJump() && i != len(code)-1 {
			return fmt.Errorf("%v is no straight-line instruction", in)
		}
		if len(r.symbols) > regCount-regSymbol {
			return fmt.Errorf("%v: more than %d different symbols", in, regCount-regSymbol)
		}
		r.ops = append(r.ops, o)
	}
	return nil
}

// symbol is the register that holds ref's value in the given form.
func (r *Runner) symbol(ref bpf.Ref, form symbolForm) uint8 {
	if ref == 0 {
		return regZero
	}
	use := symbolUse{ref, form}
	for i, u := range r.symbols {
		if u == use {
			return uint8(regSymbol + i)
		}
	}
	r.symbols = append(r.symbols, use)
	return uint8(regSymbol + len(r.symbols) - 1)
}

// Run executes the code on f. It fails with ErrFault at an access outside of
// f's windows; f is then what the instructions before it have made of it.
func (r *Runner) Run(f *Flat) error {
	var regs [regCount]uint64
	copy(regs[:], f.Regs[:])
	for i, u := range r.symbols {
		regs[(regSymbol+i)%regCount] = u.value(f.Symbols)
	}
	f.Taken = false
	done := true
	for i := 0; i < len(r.ops) && done; i++ {
		o := &r.ops[i]
		dst := &regs[o.dst%regCount]
		b := regs[o.src%regCount] + regs[o.sym%regCount] + o.imm
		switch {
		case o.kind < firstMemory:
			*dst = compute(o, *dst, b)
		case o.kind >= firstJump:
			f.Taken = o.compare(*dst, b)
		default:
			done = r.access(f, &regs, o, b)
		}
	}
	copy(f.Regs[:], regs[:bpf.NumRegisters])
	if !done {
		return ErrFault
	}
	return nil
}

// compute is the value that an instruction without memory leaves in its
// destination.
func compute(o *op, a, b uint64) uint64 {
	switch o.kind {
	case opMov64:
		return b
	case opAdd64:
		return a + b
	case opSub64:
		return a - b
	case opMul64:
		return a * b
	case opAnd64:
		return a & b
	case opOr64:
		return a | b
	case opXor64:
		return a ^ b
	case opLsh64:
		return a << (b & 63)
	case opRsh64:
		return a >> (b & 63)
	case opArsh64:
		return uint64(int64(a) >> (b & 63))
	case opNeg64:
		return -a
	case opMov32:
		return uint64(uint32(b))
	case opAdd32:
		return uint64(uint32(a + b))
	case opSub32:
		return uint64(uint32(a - b))
	case opMul32:
		return uint64(uint32(a * b))
	case opAnd32:
		return uint64(uint32(a & b))
	case opOr32:
		return uint64(uint32(a | b))
	case opXor32:
		return uint64(uint32(a ^ b))
	case opLsh32:
		return uint64(uint32(a) << (b & 31))
	case opRsh32:
		return uint64(uint32(a) >> (b & 31))
	case opArsh32:
		return uint64(uint32(int32(a) >> (b & 31)))
	case opNeg32:
		return uint64(uint32(-a))
	}
	return computeRare(o, a, b)
}

func computeRare(o *op, a, b uint64) uint64 {
	shift := 64 - o.size&63
	switch o.kind {
	case opSExt64:
		return uint64(int64(b<<shift) >> shift)
	case opSExt32:
		return uint64(uint32(int64(b<<shift) >> shift))
	case opTruncate:
		return a << (64 - o.size) >> (64 - o.size)
	case opSwap:
		return swapBytes(a, int(o.size)/8)
	case opDiv64, opMod64, opSDiv64, opSMod64:
		return quotient64(o.kind, a, b)
	}
	return quotient32(o.kind, uint32(a), uint32(b))
}

func quotient64(k kind, a, b uint64) uint64 {
	zero := b == 0
	switch {
	case zero && (k == opMod64 || k == opSMod64):
		return a
	case zero:
		return 0
	case k == opDiv64:
		return a / b
	case k == opMod64:
		return a % b
	case k == opSDiv64:
		return uint64(int64(a) / int64(b))
	}
	return uint64(int64(a) % int64(b))
}

func quotient32(k kind, a, b uint32) uint64 {
	zero := b == 0
	switch {
	case zero && (k == opMod32 || k == opSMod32):
		return uint64(a)
	case zero:
		return 0
	case k == opDiv32:
		return uint64(a / b)
	case k == opMod32:
		return uint64(a % b)
	case k == opSDiv32:
		return uint64(uint32(int32(a) / int32(b)))
	}
	return uint64(uint32(int32(a) % int32(b)))
}

// compare is the outcome of a conditional jump.
func (o *op) compare(a, b uint64) bool {
	if o.size == 4 {
		// Sign-extending both keeps every order and equality of the low halves.
		a, b = uint64(int64(int32(a))), uint64(int64(int32(b)))
	}
	switch o.kind {
	case opJEq:
		return a == b
	case opJNE:
		return a != b
	case opJGT:
		return a > b
	case opJGE:
		return a >= b
	case opJLT:
		return a < b
	case opJLE:
		return a <= b
	case opJSGT:
		return int64(a) > int64(b)
	case opJSGE:
		return int64(a) >= int64(b)
	case opJSLT:
		return int64(a) < int64(b)
	case opJSLE:
		return int64(a) <= int64(b)
	}
	return a&b != 0
}

// find is the size bytes at addr, nil if they are not in one window.
func (f *Flat) find(addr uint64, size uint8) []byte {
	for i := range f.Windows {
		w := &f.Windows[i]
		off := addr - w.Addr
		if n := uint64(len(w.Data)); off < n && n-off >= uint64(size) {
			return w.Data[off : off+uint64(size)]
		}
	}
	return nil
}

// access does a load, store or atomic at addr.
func (r *Runner) access(f *Flat, regs *[regCount]uint64, o *op, addr uint64) bool {
	mem := f.find(addr, o.size)
	if mem == nil {
		return false
	}
	switch o.kind {
	case opLoad:
		regs[o.dst%regCount] = r.get(mem)
	case opLoadSX:
		shift := 64 - 8*o.size
		regs[o.dst%regCount] = uint64(int64(r.get(mem)<<shift) >> shift)
	case opStore:
		r.put(mem, regs[o.reg%regCount]+uint64(int64(o.value)))
	default:
		r.atomic(mem, regs, o)
	}
	return true
}

func (r *Runner) atomic(mem []byte, regs *[regCount]uint64, o *op) {
	old := r.get(mem)
	src := &regs[o.reg%regCount]
	mask := ^uint64(0) >> (64 - 8*o.size)
	fetch := true
	var v uint64
	switch o.kind {
	case opXchg:
		v = *src
	case opCmpXchg:
		if r0 := &regs[0]; *r0&mask == old {
			r.put(mem, *src)
		}
		regs[0] = old
		return
	case opAtomicAdd, opFetchAdd:
		v, fetch = old+*src, o.kind == opFetchAdd
	case opAtomicOr, opFetchOr:
		v, fetch = old|*src, o.kind == opFetchOr
	case opAtomicAnd, opFetchAnd:
		v, fetch = old&*src, o.kind == opFetchAnd
	default:
		v, fetch = old^*src, o.kind == opFetchXor
	}
	r.put(mem, v)
	if fetch {
		*src = old
	}
}

func (r *Runner) get(mem []byte) uint64 {
	var v uint64
	switch len(mem) {
	case 1:
		return uint64(mem[0])
	case 2:
		v = uint64(binary.LittleEndian.Uint16(mem))
	case 4:
		v = uint64(binary.LittleEndian.Uint32(mem))
	default:
		v = binary.LittleEndian.Uint64(mem)
	}
	if r.big {
		return swapBytes(v, len(mem))
	}
	return v
}

func (r *Runner) put(mem []byte, v uint64) {
	if r.big {
		v = swapBytes(v, len(mem))
	}
	switch len(mem) {
	case 1:
		mem[0] = byte(v)
	case 2:
		binary.LittleEndian.PutUint16(mem, uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(mem, uint32(v))
	default:
		binary.LittleEndian.PutUint64(mem, v)
	}
}
