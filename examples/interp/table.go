package interp

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
)

// errno is an error of the kernel's as helpers return it.
type errno int64

// Errors of helpers (include/uapi/asm-generic/errno-base.h).
const (
	eNOENT errno = 2
	e2BIG  errno = 7
	eFAULT errno = 14
	eEXIST errno = 17
	eINVAL errno = 22
)

// result is the error as a helper returns it.
func (e errno) result() uint64 { return uint64(-int64(e)) }

// Flags of updates (include/uapi/linux/bpf.h).
const (
	updateAny     = 0
	updateNoExist = 1
	updateExist   = 2
	updateLocked  = 4
)

// table is a map.
type table struct {
	*ebpf.MapSpec
	memory   *memory
	handle   *region // what the map's address leads to: nothing
	elements map[string]*element
	clock    uint64 // counts uses, for maps that forget the least recent one
	records  [][]byte
	used     int // bytes of the ring buffer that nobody has read
}

type element struct {
	key   []byte
	value *region
	used  uint64
}

func newTable(spec *ebpf.MapSpec, m *memory) (*table, error) {
	t := &table{MapSpec: spec, memory: m, elements: map[string]*element{}}
	t.handle = m.allocate("map "+spec.Name, 0)
	switch spec.Type {
	case ebpf.Hash, ebpf.LRUHash, ebpf.PerCPUHash, ebpf.LRUCPUHash, ebpf.Array, ebpf.PerCPUArray, ebpf.LPMTrie:
	case ebpf.RingBuf, ebpf.PerfEventArray, ebpf.ProgramArray, ebpf.StackTrace:
		return t, nil // a program array's contents are the runner's to read
	default:
		return nil, fmt.Errorf("map %s: maps of type %v are not modelled", spec.Name, spec.Type)
	}
	for _, kv := range spec.Contents {
		key, ok := kv.Key.(uint32)
		value, isBytes := kv.Value.([]byte)
		if !ok || !isBytes {
			return nil, fmt.Errorf("map %s: contents of type %T at %T", spec.Name, kv.Value, kv.Key)
		}
		if e := t.update(number(key), value, updateAny); e != 0 {
			return nil, fmt.Errorf("map %s: put key %d: error %d", spec.Name, key, e)
		}
	}
	return t, nil
}

// number is a 32-bit number, such as an array's key, in the byte order of this
// machine.
func number(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func (t *table) isArray() bool { return t.Type == ebpf.Array || t.Type == ebpf.PerCPUArray }

func (t *table) isLRU() bool { return t.Type == ebpf.LRUHash || t.Type == ebpf.LRUCPUHash }

// lookup finds the value of a key; nil: there is none.
func (t *table) lookup(key []byte) *region {
	var e *element
	switch {
	case t.isArray():
		e = t.at(key)
	case t.Type == ebpf.LPMTrie:
		e = t.longest(key)
	default:
		e = t.elements[string(key)]
	}
	if e == nil {
		return nil
	}
	t.clock++
	e.used = t.clock
	return e.value
}

// at is an array's element, which is made when first asked for.
func (t *table) at(key []byte) *element {
	index := binary.NativeEndian.Uint32(key)
	if index >= t.MaxEntries {
		return nil
	}
	e := t.elements[string(key)]
	if e == nil {
		value := t.memory.allocate(fmt.Sprintf("%s[%d]", t.Name, index), int(t.ValueSize))
		e = &element{key: slices.Clone(key), value: value}
		t.elements[string(key)] = e
	}
	return e
}

// update puts a value in the map. It returns zero or what went wrong.
func (t *table) update(key, value []byte, flags uint64) errno {
	if flags&^updateLocked > updateExist {
		return eINVAL
	}
	flags &^= updateLocked
	if t.isArray() {
		return t.set(key, value, flags)
	}
	id := string(key)
	if t.Type == ebpf.LPMTrie {
		var ok bool
		if id, ok = prefix(key, int(t.KeySize)); !ok {
			return eINVAL
		}
	}
	old := t.elements[id]
	switch {
	case old == nil && flags == updateExist:
		return eNOENT
	case old != nil && flags == updateNoExist:
		return eEXIST
	case old == nil && len(t.elements) >= int(t.MaxEntries) && !t.forget():
		return e2BIG
	}
	t.clock++
	if old != nil {
		t.memory.release(old.value)
	}
	t.elements[id] = &element{
		key:   slices.Clone(key),
		value: t.memory.holding(fmt.Sprintf("%s[%x]", t.Name, key), value),
		used:  t.clock,
	}
	return 0
}

// set is an array's update, which leaves the value where it is.
func (t *table) set(key, value []byte, flags uint64) errno {
	e := t.at(key)
	switch {
	case e == nil:
		return e2BIG
	case flags == updateNoExist:
		return eEXIST
	}
	t.memory.state.WriteBytes(e.value.start, value)
	return 0
}

// forget makes room by dropping what was not used for longest. The kernel is
// less exact: comparisons with it should not fill a map.
func (t *table) forget() bool {
	if !t.isLRU() {
		return false
	}
	var oldest string
	used := t.clock + 1
	for id, e := range t.elements {
		if e.used < used {
			oldest, used = id, e.used
		}
	}
	t.memory.release(t.elements[oldest].value)
	delete(t.elements, oldest)
	return true
}

// remove deletes an element.
func (t *table) remove(key []byte) errno {
	if t.isArray() {
		return eINVAL
	}
	id := string(key)
	if t.Type == ebpf.LPMTrie {
		var ok bool
		if id, ok = prefix(key, int(t.KeySize)); !ok {
			return eINVAL
		}
	}
	e := t.elements[id]
	if e == nil {
		return eNOENT
	}
	t.memory.release(e.value)
	delete(t.elements, id)
	return 0
}

// prefixHeader is the size of the length before a prefix
// (struct bpf_lpm_trie_key_u8).
const prefixHeader = 4

// prefix is a trie's key without the bits that do not count.
func prefix(key []byte, size int) (string, bool) {
	bits := int(binary.NativeEndian.Uint32(key))
	if bits > 8*(size-prefixHeader) {
		return "", false
	}
	k := slices.Clone(key)
	for i := range k[prefixHeader:] {
		switch have := bits - 8*i; {
		case have <= 0:
			k[prefixHeader+i] = 0
		case have < 8:
			k[prefixHeader+i] &= 0xff << (8 - have)
		}
	}
	return string(k), true
}

// longest is the element with the longest prefix of the key.
func (t *table) longest(key []byte) *element {
	bits := binary.NativeEndian.Uint32(key)
	k := slices.Clone(key)
	for n := int64(bits); n >= 0; n-- {
		binary.NativeEndian.PutUint32(k, uint32(n))
		id, ok := prefix(k, int(t.KeySize))
		if !ok {
			return nil
		}
		if e := t.elements[id]; e != nil {
			return e
		}
	}
	return nil
}

// ringHeader is what every record of a ring buffer costs (BPF_RINGBUF_HDR_SZ).
const ringHeader = 8

// reserve makes a record; nil: it does not fit.
func (t *table) reserve(size int) *region {
	room := (size + ringHeader + 7) &^ 7
	if t.used+room > int(t.MaxEntries)-1 {
		return nil
	}
	t.used += room
	return t.memory.allocate("record of "+t.Name, size)
}

// snapshot is what the map holds, and what came out of it since the last time;
// nil where that means nothing outside.
func (t *table) snapshot() map[string][]byte {
	all := map[string][]byte{}
	switch t.Type {
	case ebpf.ProgramArray, ebpf.StackTrace:
		return nil
	case ebpf.RingBuf, ebpf.PerfEventArray:
		for i, b := range t.records {
			all[fmt.Sprintf("%08d", i)] = b
		}
		t.records, t.used = nil, 0
		return all
	}
	for _, e := range t.elements {
		all[string(e.key)] = t.memory.bytes(e.value)
	}
	if t.isArray() {
		for i := range t.MaxEntries {
			key := string(number(i))
			if all[key] == nil {
				all[key] = make([]byte, t.ValueSize)
			}
		}
	}
	return all
}
