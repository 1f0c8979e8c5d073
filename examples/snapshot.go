package examples

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// Snapshot is what maps hold: by name of the map, by key, the value. Values of
// per-CPU maps are those of all CPUs, one after the other. A ring buffer's
// records have their number as key. Maps whose elements mean something in one
// collection alone (programs, stack traces) are left out.
type Snapshot map[string]map[string][]byte

var errOpaque = errors.New("elements mean nothing outside")

func contents(m *ebpf.Map) (map[string][]byte, error) {
	switch m.Type() {
	case ebpf.ProgramArray, ebpf.StackTrace, ebpf.PerfEventArray,
		ebpf.ArrayOfMaps, ebpf.HashOfMaps:
		return nil, errOpaque
	}
	all := map[string][]byte{}
	it := m.Iterate()
	var key []byte
	if perCPU(m.Type()) {
		var values [][]byte
		for it.Next(&key, &values) {
			all[string(key)] = slices.Concat(values...)
		}
		return all, it.Err()
	}
	var value []byte
	for it.Next(&key, &value) {
		all[string(key)] = bytes.Clone(value)
	}
	return all, it.Err()
}

func perCPU(t ebpf.MapType) bool {
	switch t {
	case ebpf.PerCPUHash, ebpf.PerCPUArray, ebpf.LRUCPUHash, ebpf.PerCPUCGroupStorage:
		return true
	}
	return false
}

// records reads what is in a ring buffer now.
func records(r *ringbuf.Reader) (map[string][]byte, error) {
	all := map[string][]byte{}
	r.SetDeadline(time.Now())
	for {
		rec, err := r.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all[fmt.Sprintf("%08d", len(all))] = bytes.Clone(rec.RawSample)
	}
}
