package examples

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// tasks are the addresses of the struct task_structs that inputs speak of.
type tasks struct {
	current uint64
	idle    uint64
	name    string   // of the process, as it was
	comm    *os.File // where a process is renamed
}

// findTasks asks the kernel. The thread that calls it is the current task.
func findTasks() (*tasks, error) {
	k, err := newPeeker()
	if err != nil {
		return nil, fmt.Errorf("find tasks: %w", err)
	}
	defer k.close()
	t := &tasks{}
	if t.current, err = k.peek(0); err != nil {
		return nil, fmt.Errorf("find the current task: %w", err)
	}
	if t.idle, err = k.idleThread(t.current); err != nil {
		return nil, fmt.Errorf("find an idle kernel thread: %w", err)
	}
	name, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		return nil, fmt.Errorf("read the process's name: %w", err)
	}
	t.name = strings.TrimSpace(string(name))
	if t.comm, err = os.OpenFile("/proc/self/comm", os.O_WRONLY, 0); err != nil {
		return nil, fmt.Errorf("rename the process: %w", err)
	}
	return t, nil
}

func (t *tasks) rename(name string) error {
	if _, err := t.comm.WriteString(name); err != nil {
		return fmt.Errorf("rename the process: %w", err)
	}
	return nil
}

func (t *tasks) close() {
	// Nobody depends on the name: one that can't be put back stays.
	_ = t.rename(t.name)
	t.comm.Close()
}

// peeker reads kernel memory with a BPF program.
type peeker struct {
	word    *ebpf.Map
	program *ebpf.Program
}

func newPeeker() (*peeker, error) {
	word, err := ebpf.NewMap(&ebpf.MapSpec{
		Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1,
	})
	if err != nil {
		return nil, err
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:    ebpf.RawTracepoint,
		License: "GPL",
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R3, asm.R1, 0, asm.DWord),
			asm.LoadMapValue(asm.R6, word.FD(), 0),
			asm.JEq.Imm(asm.R3, 0, "current"),
			asm.Mov.Reg(asm.R1, asm.R6),
			asm.Mov.Imm(asm.R2, 8),
			asm.FnProbeReadKernel.Call(),
			asm.Return(),
			asm.FnGetCurrentTask.Call().WithSymbol("current"),
			asm.StoreMem(asm.R6, 0, asm.R0, asm.DWord),
			asm.Mov.Imm(asm.R0, 0),
			asm.Return(),
		},
	})
	if err != nil {
		word.Close()
		return nil, err
	}
	return &peeker{word, program}, nil
}

func (k *peeker) close() {
	k.program.Close()
	k.word.Close()
}

// peek returns the word at an address, or for address 0 that of the current
// task.
func (k *peeker) peek(address uint64) (uint64, error) {
	ret, err := k.program.Run(&ebpf.RunOptions{Context: []uint64{address}})
	if err != nil {
		return 0, err
	}
	if ret != 0 {
		return 0, fmt.Errorf("read kernel memory at %#x: error %d", address, int32(ret))
	}
	var word uint64
	return word, k.word.Lookup(uint32(0), &word)
}

// idleThread finds the thread that would help a work queue out of a lack of
// memory: it sleeps all the time.
func (k *peeker) idleThread(from uint64) (uint64, error) {
	offset, err := taskOffsets("tasks", "group_leader", "comm")
	if err != nil {
		return 0, err
	}
	task, err := k.peek(from + offset["group_leader"])
	if err != nil {
		return 0, err
	}
	const most = 1 << 16
	for range most {
		comm, err := k.peek(task + offset["comm"])
		if err != nil {
			return 0, err
		}
		// The rest of "kworker/R-…" is in the next word.
		rest, err := k.peek(task + offset["comm"] + 8)
		if err != nil {
			return 0, err
		}
		if strings.HasPrefix(string(native(comm))+string(native(rest)), "kworker/R-") {
			return task, nil
		}
		next, err := k.peek(task + offset["tasks"])
		if err != nil {
			return 0, err
		}
		task = next - offset["tasks"]
	}
	return 0, errors.New("no work queue's rescuer among the tasks")
}

// taskOffsets returns where fields of struct task_struct are, in bytes.
func taskOffsets(fields ...string) (map[string]uint64, error) {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, err
	}
	var task *btf.Struct
	if err := kernel.TypeByName("task_struct", &task); err != nil {
		return nil, err
	}
	offsets := map[string]uint64{}
	for _, m := range task.Members {
		offsets[m.Name] = uint64(m.Offset.Bytes())
	}
	for _, name := range fields {
		if _, ok := offsets[name]; !ok {
			return nil, fmt.Errorf("struct task_struct has no field %q", name)
		}
	}
	return offsets, nil
}
