package interp

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/semantics"
)

// helper does what a helper does. An error says that the program has called it
// as the verifier would not let it.
type helper func(x *run, args [5]uint64) (uint64, error)

// help calls a helper by its number.
func (x *run) help(id int32, args [5]uint64) (uint64, error) {
	name := "which is unknown"
	if proto, ok := semantics.HelperByID(id); ok {
		name = proto.Name
	}
	h := helperFor(asm.BuiltinFunc(id))
	if h == nil {
		return 0, fmt.Errorf("helper %d, %s, is not modelled", id, name)
	}
	ret, err := h(x, args)
	var tail *tailCall
	if err != nil && !errors.As(err, &tail) {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return ret, err
}

// helperFor finds what is modelled (include/uapi/linux/bpf.h says what each
// helper does).
func helperFor(id asm.BuiltinFunc) helper {
	switch id {
	case asm.FnKtimeGetNs, asm.FnKtimeGetBootNs, asm.FnKtimeGetCoarseNs, asm.FnKtimeGetTaiNs, asm.FnJiffies64:
		return func(x *run, _ [5]uint64) (uint64, error) { return x.in.Now, nil }
	case asm.FnGetPrandomU32:
		return func(x *run, _ [5]uint64) (uint64, error) { return uint64(x.in.Random), nil }
	case asm.FnGetSmpProcessorId:
		return func(*run, [5]uint64) (uint64, error) { return 0, nil }
	case asm.FnGetSocketCookie, asm.FnGetNetnsCookie:
		return func(x *run, _ [5]uint64) (uint64, error) { return x.in.Cookie, nil }
	}
	if h := tableHelper(id); h != nil {
		return h
	}
	if h := taskHelper(id); h != nil {
		return h
	}
	switch id {
	case asm.FnXdpAdjustHead:
		return adjustHead
	case asm.FnSkbLoadBytes:
		return loadBytes
	case asm.FnTailCall:
		return tailTo
	case asm.FnLoop:
		return loop
	case asm.FnSpinLock:
		return lock
	case asm.FnSpinUnlock:
		return unlock
	}
	return nil
}

// table is the map that an argument stands for.
func (x *run) table(handle uint64, kinds ...ebpf.MapType) (*table, error) {
	t := x.handles[handle]
	if t == nil {
		return nil, fmt.Errorf("%#x is no map", handle)
	}
	for _, kind := range kinds {
		if t.Type == kind {
			return t, nil
		}
	}
	if len(kinds) > 0 {
		return nil, fmt.Errorf("map %s is of type %v", t.Name, t.Type)
	}
	if t.Type == ebpf.RingBuf || t.Type == ebpf.PerfEventArray || t.Type == ebpf.ProgramArray || t.Type == ebpf.StackTrace {
		return nil, fmt.Errorf("map %s of type %v has no elements for programs", t.Name, t.Type)
	}
	return t, nil
}

// adjustHead moves the beginning of an XDP program's packet. What it uncovers
// are zeros or what was there before.
func adjustHead(x *run, args [5]uint64) (uint64, error) {
	if x.packet == nil || args[0] != x.context.start {
		return 0, errors.New("not the context of a packet")
	}
	delta := int(int32(args[1]))
	if -delta > x.headroom || delta > x.packet.size-ethLen {
		return eINVAL.result(), nil
	}
	x.headroom += delta
	x.packet.start += uint64(int64(delta))
	x.packet.size -= delta
	x.point(xdpData, xdpDataEnd, xdpDataMeta)
	return 0, nil
}

// loadBytes copies from a packet; where it can't it clears the target.
func loadBytes(x *run, args [5]uint64) (uint64, error) {
	if x.packet == nil || args[0] != x.context.start {
		return 0, errors.New("not the context of a packet")
	}
	off, size := uint64(uint32(args[1])), uint64(uint32(args[3]))
	b, ret := make([]byte, size), uint64(0)
	if off+size <= uint64(x.packet.size) {
		x.memory.state.ReadBytes(x.packet.start+off, b)
	} else {
		ret = eFAULT.result()
	}
	return ret, x.memory.write(args[2], b)
}

// tailTo goes on with another program, if there is one.
func tailTo(x *run, args [5]uint64) (uint64, error) {
	t, err := x.table(args[1], ebpf.ProgramArray)
	switch {
	case err != nil:
		return 0, err
	case args[0] != x.context.start:
		return 0, errors.New("not the context")
	case x.exec.Regs[bpf.R10] != x.memory.top():
		return 0, errors.New("tail calls in subprograms are not modelled")
	}
	const failed = 0xbad // R0 is not to be read
	if x.tails == maxTailCalls {
		return failed, nil
	}
	for _, kv := range t.Contents {
		name, ok := kv.Value.(string)
		if key, isIndex := kv.Key.(uint32); !ok || !isIndex || key != uint32(args[2]) {
			continue
		}
		fn := x.functions[name]
		if fn == nil {
			return 0, fmt.Errorf("no program %q", name)
		}
		x.tails++
		return 0, &tailCall{to: fn}
	}
	return failed, nil
}

// loop calls a function of the program until it returns something else than
// zero.
func loop(x *run, args [5]uint64) (uint64, error) {
	const most = 1 << 23 // BPF_MAX_LOOPS
	fn := x.codes[args[1]]
	switch {
	case fn == nil:
		return 0, fmt.Errorf("%#x is no function", args[1])
	case args[3] != 0:
		return eINVAL.result(), nil
	case uint32(args[0]) > most:
		return e2BIG.result(), nil
	}
	for i := range uint64(uint32(args[0])) {
		ret, err := x.exec.Call(fn, [5]uint64{i, args[2]})
		if err != nil {
			return 0, err
		}
		if ret != 0 {
			return i + 1, nil
		}
	}
	return uint64(uint32(args[0])), nil
}

func lock(x *run, args [5]uint64) (uint64, error) {
	if x.lock != 0 {
		return 0, errors.New("a lock is held already")
	}
	x.lock = args[0]
	return 0, x.memory.check(args[0], 4, true)
}

func unlock(x *run, args [5]uint64) (uint64, error) {
	if x.lock != args[0] {
		return 0, errors.New("that lock is not held")
	}
	x.lock = 0
	return 0, nil
}
