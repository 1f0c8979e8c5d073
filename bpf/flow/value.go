package flow

// Kind says what a value is as the verifier's types see it.
type Kind uint8

const (
	KindNone      Kind = iota // not readable: never written, or lost in a call
	KindAny                   // a scalar or a pointer of any kind but to the own frame (see State.Escaped)
	KindScalar                // no pointer
	KindStack                 // into the own stack frame
	KindContext               // into the program's context
	KindPacket                // into the packet or its metadata
	KindPacketEnd             // the end of the packet
	KindMapValue              // into a map's value or global data, or null where MaybeNull
	KindMap                   // a map itself
	KindOther                 // some other kernel memory, or null where MaybeNull: never stack, context, packet, map value
)

// IsPointer tells whether every value of the kind is a pointer (or null).
func (k Kind) IsPointer() bool { return k >= KindStack }

// Base identifies an unknown 64-bit number for as long as it is held: where two
// places of one State have the same Base, their values differ by exactly the
// difference of their Offsets. The zero Base identifies nothing.
type Base int32

// FrameBase is the Base of the frame pointer R10.
const FrameBase Base = 1

// Value is what is known of a 64-bit value on every path. For a scalar the
// known bits and ranges are those of the value itself; for a pointer they say
// nothing and are Unknown's. A constant scalar has Mask zero.
type Value struct {
	Kind      Kind
	MaybeNull bool
	Base      Base
	Offset    int64 // value = what Base stands for + Offset, modulo 2^64
	// Align is a power of two of which what Base stands for is known to be a
	// multiple; zero where nothing is known.
	Align uint8

	Bits uint64 // known bits: value &^ Mask == Bits
	Mask uint64 // unknown bits (kernel/bpf/tnum.c's mask)

	UMin, UMax uint64
	SMin, SMax int64
}

// Cell is what is known of the bytes [Off, Off+Size) of the stack, read as one
// number of that size in the target's byte order and zero-extended. It may also
// stem from a load of what was there unknown.
type Cell struct {
	Off   int16 // from the frame pointer, negative
	Size  uint8 // 1, 2, 4 or 8
	Value Value
}

// StackSize is the size in bytes of a frame (MAX_BPF_STACK, include/linux/filter.h).
const StackSize = 512

// Bytes is a set of stack bytes. Offset o from the frame pointer, -512 to -1,
// is bit (o+512)%64 of word (o+512)/64.
type Bytes [StackSize / 64]uint64

// State is what holds at a point of a function on every path that reaches it.
type State struct {
	Regs    [11]Value
	Stack   []Cell // sorted by Off, not overlapping
	Written Bytes  // stack bytes that on every path are written, or given to a helper to write
	// Escaped says that a pointer to the own frame may be held by others, so
	// that a KindAny pointer may lead into it.
	Escaped bool
}

// Live is what may still be read after a point.
type Live struct {
	Regs  [11]uint64 // live bits
	Stack Bytes
}
