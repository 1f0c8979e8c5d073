package examples

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
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

// currentTask asks the kernel for the address of the running thread's struct
// task_struct.
func currentTask() (uint64, error) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return 0, fmt.Errorf("find the current task: %w", err)
	}
	defer m.Close()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:    ebpf.RawTracepoint,
		License: "GPL",
		Instructions: asm.Instructions{
			asm.FnGetCurrentTask.Call(),
			asm.LoadMapValue(asm.R1, m.FD(), 0),
			asm.StoreMem(asm.R1, 0, asm.R0, asm.DWord),
			asm.Mov.Imm(asm.R0, 0),
			asm.Return(),
		},
	})
	if err != nil {
		return 0, fmt.Errorf("find the current task: %w", err)
	}
	defer p.Close()
	if _, err := p.Run(&ebpf.RunOptions{}); err != nil {
		return 0, fmt.Errorf("find the current task: %w", err)
	}
	var task uint64
	if err := m.Lookup(uint32(0), &task); err != nil {
		return 0, fmt.Errorf("find the current task: %w", err)
	}
	return task, nil
}
