package interp

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// reservation is a record of a ring buffer that is not yet submitted.
type reservation struct {
	table  *table
	record *region
}

// tableHelper finds the helpers that work on maps.
func tableHelper(id asm.BuiltinFunc) helper {
	switch id {
	case asm.FnMapLookupElem:
		return lookupElem
	case asm.FnMapUpdateElem:
		return updateElem
	case asm.FnMapDeleteElem:
		return deleteElem
	case asm.FnRingbufReserve:
		return ringReserve
	case asm.FnRingbufSubmit:
		return ringSubmit
	case asm.FnRingbufDiscard:
		return ringDiscard
	case asm.FnRingbufOutput:
		return ringOutput
	case asm.FnPerfEventOutput:
		return perfOutput
	case asm.FnGetStackid:
		return stackID
	}
	return nil
}

// keyed reads the first two arguments: a map and one of its keys.
func (x *run) keyed(args [5]uint64) (*table, []byte, error) {
	t, err := x.table(args[0])
	if err != nil {
		return nil, nil, err
	}
	key, err := x.memory.read(args[1], int(t.KeySize))
	if err != nil {
		return nil, nil, fmt.Errorf("key of map %s: %w", t.Name, err)
	}
	return t, key, nil
}

func lookupElem(x *run, args [5]uint64) (uint64, error) {
	t, key, err := x.keyed(args)
	if err != nil {
		return 0, err
	}
	if value := t.lookup(key); value != nil {
		return value.start, nil
	}
	return 0, nil
}

func updateElem(x *run, args [5]uint64) (uint64, error) {
	t, key, err := x.keyed(args)
	if err != nil {
		return 0, err
	}
	value, err := x.memory.read(args[2], int(t.ValueSize))
	if err != nil {
		return 0, fmt.Errorf("value for map %s: %w", t.Name, err)
	}
	return t.update(key, value, args[3]).result(), nil
}

func deleteElem(x *run, args [5]uint64) (uint64, error) {
	t, key, err := x.keyed(args)
	if err != nil {
		return 0, err
	}
	return t.remove(key).result(), nil
}

func ringReserve(x *run, args [5]uint64) (uint64, error) {
	t, err := x.table(args[0], ebpf.RingBuf)
	if err != nil {
		return 0, err
	}
	if args[2] != 0 || args[1] > uint64(t.MaxEntries) {
		return 0, nil
	}
	record := t.reserve(int(args[1]))
	if record == nil {
		return 0, nil
	}
	x.reserved[record.start] = &reservation{t, record}
	return record.start, nil
}

func ringSubmit(x *run, args [5]uint64) (uint64, error) {
	r := x.reserved[args[0]]
	if r == nil {
		return 0, errors.New("not a reserved record")
	}
	r.table.records = append(r.table.records, x.memory.bytes(r.record))
	return ringDiscard(x, args)
}

// ringDiscard gives a record up. Its room stays taken until it would have been
// read.
func ringDiscard(x *run, args [5]uint64) (uint64, error) {
	r := x.reserved[args[0]]
	if r == nil {
		return 0, errors.New("not a reserved record")
	}
	delete(x.reserved, args[0])
	x.memory.release(r.record)
	return 0, nil
}

func ringOutput(x *run, args [5]uint64) (uint64, error) {
	t, err := x.table(args[0], ebpf.RingBuf)
	if err != nil {
		return 0, err
	}
	const eAGAIN errno = 11
	b, err := x.memory.read(args[1], int(uint32(args[2])))
	if err != nil {
		return 0, err
	}
	record := t.reserve(len(b))
	if record == nil {
		return eAGAIN.result(), nil
	}
	x.memory.release(record)
	t.records = append(t.records, b)
	return 0, nil
}

func perfOutput(x *run, args [5]uint64) (uint64, error) {
	t, err := x.table(args[1], ebpf.PerfEventArray)
	if err != nil {
		return 0, err
	}
	b, err := x.memory.read(args[3], int(uint32(args[4])))
	if err != nil {
		return 0, err
	}
	t.records = append(t.records, b)
	return 0, nil
}

func stackID(x *run, args [5]uint64) (uint64, error) {
	if _, err := x.table(args[1], ebpf.StackTrace); err != nil {
		return 0, err
	}
	if args[0] != x.context.start {
		return 0, errors.New("not the context")
	}
	return x.stackID(args[2]), nil
}
