package semantics

import "github.com/k2cc/k2cc/bpf"

//go:generate go run ./gen -header /usr/include/linux/bpf.h -helpers gen/helpers.txt -o helpers_gen.go

// ArgKind says what a helper takes an argument for.
type ArgKind uint8

// Kinds of arguments.
const (
	ArgNone     ArgKind = iota // not read
	ArgScalar                  // a number
	ArgMap                     // a map
	ArgMapKey                  // memory of the key size of the map among the arguments before
	ArgMapValue                // memory of that map's value size
	ArgMemory                  // memory of Size bytes, or of as many as SizeReg holds
	ArgContext                 // the program's context, which the helper may read and change
	ArgPointer                 // some other pointer, never to the stack: sockets, tasks, locks, ring buffer memory
	ArgFunc                    // a function of the program that the helper calls
	ArgCallback                // anything: what the called function gets; it may read and write all that is reachable
	ArgUnknown                 // anything: the helper may read and write all that is reachable
)

// Arg describes one argument of a helper. What is a pointer may be null, where
// the helper allows it, and then leads to nothing.
type Arg struct {
	Kind ArgKind
	// Read and Write tell for map keys, map values and memory what the helper
	// may do with it. It may do less: write a part or, when it fails, nothing.
	// Memory that is only read may also be a number, an address of the kernel
	// (bpf_probe_read_kernel).
	Read, Write bool
	// Fill tells of memory that is written whole, even where the helper fails
	// (kernel/trace/bpf_trace.c and net/core/filter.c clear it then).
	Fill    bool
	Size    int          // in bytes, for ArgMemory of fixed size, else zero
	SizeReg bpf.Register // R1 to R5 for ArgMemory whose size is an argument, else R0
}

// ReturnKind says what a helper leaves in R0.
type ReturnKind uint8

// Kinds of results.
const (
	ReturnScalar ReturnKind = iota // a number
	ReturnVoid                     // nothing readable
	// ReturnMapValue is a pointer to the value of the map among the arguments.
	// For maps of maps, of sockets and of AF_XDP sockets it is a pointer to
	// what the map holds.
	ReturnMapValue
	ReturnMapValueOrNull
	ReturnMemoryOrNull // fresh memory, no part of anything else (bpf_ringbuf_reserve)
	ReturnPointer      // some other kernel memory: never stack, context, packet or map value
	ReturnPointerOrNull
	ReturnAny // any pointer or null or number
)

// Helper is the prototype of a helper.
//
// Whatever its arguments, a helper may read and write all memory that is not
// the stack: packet, context, map values.
type Helper struct {
	ID      int32 // enum bpf_func_id
	Name    string
	Args    [5]Arg // of R1 to R5
	NumArgs int
	Returns ReturnKind

	// MovesPacket tells that all packet pointers are lost in the call.
	MovesPacket bool
	// TailCall marks bpf_tail_call, which does not return where it succeeds:
	// the program ends there. Where it fails R0 may be what it was before.
	TailCall bool
	// Callback tells that the helper takes a function of the program, which it
	// calls during the call or later.
	Callback bool
}

// HelperByID finds a helper's prototype. An unknown helper must be taken to
// read R1 to R5 and all memory, to write all memory and to move the packet.
func HelperByID(id int32) (*Helper, bool) {
	if id <= 0 || int(id) >= len(helpers) {
		return nil, false
	}
	return &helpers[id], true
}

// Helpers is the number of helper IDs that are known; they count from one.
func Helpers() int { return len(helpers) - 1 }
