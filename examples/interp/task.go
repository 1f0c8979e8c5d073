package interp

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// The kernel's memory is made up: what is at an address depends on nothing but
// the address, and one that holds a pointer leads on to such memory.
const (
	kernelMemory = 0xffff_9000_0000_0000
	objectBits   = 12 // of the addresses inside a structure
	objects      = 64 // that pointers lead to
	idleTask     = kernelMemory + objects<<objectBits
	userPath     = 0x7f00_0000_1000
)

// path is what is at userPath.
const path = "/usr/lib/locale/locale-archive\x00"

// currentTask is the address of the running thread's struct task_struct. A few
// threads take turns, so that maps meet them again.
func (x *run) currentTask() uint64 {
	return kernelMemory + uint64(x.in.Random%16)<<objectBits
}

// pidTgid is the running thread's numbers; there is the idle thread among them,
// which has zeros.
func (x *run) pidTgid() uint64 {
	pid := uint64(x.in.Random % 16)
	return (pid&^3)<<32 | pid
}

// comm is the running thread's name, as BPF_PROG_TEST_RUN meets it.
func (x *run) comm() []byte { return fmt.Appendf(nil, "worker-%d\x00", x.in.Random%256) }

// peek reads memory as a helper does that may read any. A pointer is one that
// fills the eight bytes that are asked for; other numbers have few bits set,
// so that they are often equal and often zero.
func (x *run) peek(addr uint64, size int) ([]byte, bool) {
	if b, err := x.memory.read(addr, size); err == nil {
		return b, true
	}
	if addr-kernelMemory > 2*objects<<objectBits {
		return nil, false
	}
	if size == 8 {
		h := mix(addr)
		if h%8 == 0 {
			return make([]byte, 8), true
		}
		return binary.NativeEndian.AppendUint64(nil, kernelMemory+h>>8%objects<<objectBits), true
	}
	b := make([]byte, size)
	for i := range b {
		h := mix(addr + uint64(i))
		b[i] = byte(h & (h >> 8) & (h >> 16))
	}
	return b, true
}

// peekString reads a string with its final zero, of at most size bytes.
func (x *run) peekString(addr uint64, size int) ([]byte, bool) {
	var s []byte
	switch addr {
	case userPath:
		s = []byte(path)
	default:
		first, ok := x.peek(addr, 1)
		if !ok {
			return nil, false
		}
		s = first
		if addr-kernelMemory <= 2*objects<<objectBits {
			s = fmt.Appendf(nil, "task-%d\x00", mix(addr)%100)
		}
		for bytes.IndexByte(s, 0) < 0 && len(s) < size {
			next, ok := x.peek(addr+uint64(len(s)), 1)
			if !ok {
				return nil, false
			}
			s = append(s, next...)
		}
	}
	if len(s) > size {
		s = append(s[:size-1:size-1], 0)
	}
	return s, true
}

// stackID is the number of the running thread's stack, or an error.
func (x *run) stackID(flags uint64) uint64 {
	h := mix(uint64(x.in.Random) ^ flags<<32)
	if h%8 == 0 {
		return eFAULT.result()
	}
	return h >> 8 % 16
}
