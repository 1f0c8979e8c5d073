package interp

import "github.com/cilium/ebpf/asm"

// taskHelper finds the helpers that speak of the running thread and of memory
// that is not the program's.
func taskHelper(id asm.BuiltinFunc) helper {
	switch id {
	case asm.FnGetCurrentPidTgid:
		return func(x *run, _ [5]uint64) (uint64, error) { return x.pidTgid(), nil }
	case asm.FnGetCurrentUidGid:
		return func(*run, [5]uint64) (uint64, error) { return 0, nil }
	case asm.FnGetCurrentTask:
		return func(x *run, _ [5]uint64) (uint64, error) { return x.currentTask(), nil }
	case asm.FnGetCurrentComm:
		return currentComm
	case asm.FnProbeRead, asm.FnProbeReadKernel, asm.FnProbeReadUser:
		return probeRead
	case asm.FnProbeReadStr, asm.FnProbeReadKernelStr, asm.FnProbeReadUserStr:
		return probeReadStr
	}
	return nil
}

// currentComm writes the thread's name and fills the rest with zeros.
func currentComm(x *run, args [5]uint64) (uint64, error) {
	b := make([]byte, uint32(args[1]))
	if len(b) == 0 {
		return eINVAL.result(), nil
	}
	copy(b[:len(b)-1], x.comm())
	return 0, x.memory.write(args[0], b)
}

// probeRead copies from anywhere; where it can't it clears the target.
func probeRead(x *run, args [5]uint64) (uint64, error) {
	size := int(uint32(args[1]))
	b, ok := x.peek(args[2], size)
	if !ok {
		return eFAULT.result(), x.memory.write(args[0], make([]byte, size))
	}
	return 0, x.memory.write(args[0], b)
}

// probeReadStr copies a string and leaves what is behind it; where it can't it
// clears the target.
func probeReadStr(x *run, args [5]uint64) (uint64, error) {
	size := int(uint32(args[1]))
	if size == 0 {
		return 0, nil
	}
	// All of the target must be the program's, whatever the string's length.
	if err := x.memory.check(args[0], size, true); err != nil {
		return 0, err
	}
	s, ok := x.peekString(args[2], size)
	if !ok {
		return eFAULT.result(), x.memory.write(args[0], make([]byte, size))
	}
	return uint64(len(s)), x.memory.write(args[0], s)
}
