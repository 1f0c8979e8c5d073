package examples

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// Runner runs the programs of one object. KernelRunner is one; an interpreter
// can be another, and runs what the kernel does not run on request.
type Runner interface {
	// Runs tells whether the runner can run the program.
	Runs(p Program) bool

	// Run runs the program once. Maps keep what earlier runs left in them.
	Run(p Program, in Input) (Output, error)

	// Snapshot returns what the maps hold now.
	Snapshot() (Snapshot, error)
}

// Output is what one run of a program did, besides its changes to maps.
type Output struct {
	Return  uint32
	Data    []byte // the frame afterwards; nil for a program without a packet
	Context []byte // afterwards; the kernel gives back no other than a struct __sk_buff
}

// KernelRunner runs an object's programs in the kernel, through
// BPF_PROG_TEST_RUN. Its clock and random numbers are the inputs'. While it runs
// tracepoints, the process is named after its inputs: only one comparison
// of such programs can go on in a process at a time.
type KernelRunner struct {
	coll  *ebpf.Collection
	rings map[string]*ringbuf.Reader
	path  []byte // what UserPath stands for
	tasks *tasks // nil before the first raw tracepoint
}

// NewKernelRunner loads the example's object and fills its maps with the
// entries of the seed. The object is loaded as it is as well, so that the
// verifier's word is about it and not about one with another clock.
func NewKernelRunner(e Example, object []byte, seed int64) (*KernelRunner, error) {
	spec, err := e.Spec(object)
	if err != nil {
		return nil, err
	}
	plain, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", e.Name, err)
	}
	plain.Close()

	fixWorld(spec)
	for _, p := range e.Programs {
		ps := spec.Programs[p.Name]
		if ps == nil {
			return nil, fmt.Errorf("load %s: no program %q", e.Name, p.Name)
		}
		if p.Runnable() && p.RunAs != p.Type {
			ps.Type, ps.AttachTo, ps.AttachType = p.RunAs, "", 0
		}
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, fmt.Errorf("load %s with a clock of its own: %w", e.Name, err)
	}
	k := &KernelRunner{coll: coll, path: []byte("/usr/lib/locale/locale-archive\x00")}
	if err := k.start(e, seed); err != nil {
		k.Close()
		return nil, fmt.Errorf("set up %s: %w", e.Name, err)
	}
	return k, nil
}

func (k *KernelRunner) start(e Example, seed int64) error {
	if err := e.Populate(k.coll, seed); err != nil {
		return err
	}
	k.rings = map[string]*ringbuf.Reader{}
	for name, m := range k.coll.Maps {
		if m.Type() != ebpf.RingBuf {
			continue
		}
		r, err := ringbuf.NewReader(m)
		if err != nil {
			return fmt.Errorf("open ring buffer %s: %w", name, err)
		}
		k.rings[name] = r
	}
	return nil
}

// Spec reads an object and sets its read-only variables as a loader would.
func (e Example) Spec(object []byte) (*ebpf.CollectionSpec, error) {
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		return nil, fmt.Errorf("read the object of %s: %w", e.Name, err)
	}
	for name, value := range e.configure {
		v := spec.Variables[name]
		if v == nil {
			return nil, fmt.Errorf("configure %s: no variable %q", e.Name, name)
		}
		if err := v.Set(value); err != nil {
			return nil, fmt.Errorf("configure %s: %w", e.Name, err)
		}
	}
	return spec, nil
}

// Populate puts the entries of the seed into the collection's maps.
func (e Example) Populate(coll *ebpf.Collection, seed int64) error {
	for entry := range e.Entries(seed) {
		m := coll.Maps[entry.Map]
		if m == nil {
			return fmt.Errorf("populate %s: no map %q", e.Name, entry.Map)
		}
		if err := m.Put(entry.Key, entry.Value); err != nil {
			return fmt.Errorf("populate %s: %w", e.Name, err)
		}
	}
	return nil
}

// Close unloads the programs and maps.
func (k *KernelRunner) Close() {
	for _, r := range k.rings {
		r.Close()
	}
	if k.tasks != nil {
		k.tasks.close()
	}
	k.coll.Close()
}

// Runs tells whether the kernel runs the program on request.
func (k *KernelRunner) Runs(p Program) bool { return p.Runnable() }

// Run runs the program once, on the CPU and in the thread of the caller.
func (k *KernelRunner) Run(p Program, in Input) (Output, error) {
	world := native([2]uint64{in.Now, uint64(in.Random)})
	if m := k.coll.Maps[worldMap]; m != nil {
		if err := m.Put(uint32(0), world); err != nil {
			return Output{}, fmt.Errorf("set the clock: %w", err)
		}
	}
	program := k.coll.Programs[p.Name]
	opts := ebpf.RunOptions{Data: in.Data}
	switch p.RunAs {
	case ebpf.RawTracepoint:
		args, err := k.task(in)
		if err != nil {
			return Output{}, fmt.Errorf("run %s: %w", p.Name, err)
		}
		opts.Context = args
	case ebpf.SchedCLS, ebpf.SocketFilter:
		if in.Context != nil {
			opts.Context = in.Context
		}
		opts.ContextOut = make([]byte, 192) // sizeof(struct __sk_buff)
		fallthrough
	default:
		const headroom = 256
		opts.DataOut = make([]byte, len(in.Data)+headroom)
	}
	ret, err := program.Run(&opts)
	if err != nil {
		return Output{}, fmt.Errorf("run %s: %w", p.Name, err)
	}
	out := Output{Return: ret, Data: opts.DataOut}
	out.Context, _ = opts.ContextOut.([]byte)
	return out, nil
}

// task prepares the run of a raw tracepoint: it names the process, and returns
// the arguments, of which the kernel takes twelve, with this process's addresses.
func (k *KernelRunner) task(in Input) ([]byte, error) {
	if k.tasks == nil {
		var err error
		if k.tasks, err = findTasks(); err != nil {
			return nil, err
		}
	}
	if err := k.tasks.rename(fmt.Sprintf("worker-%d", in.Random%256)); err != nil {
		return nil, err
	}
	const most = 12 * 8
	args := bytes.Clone(in.Context[:min(len(in.Context), most)])
	known := map[uint64]uint64{
		CurrentTask:      k.tasks.current,
		IdleKernelThread: k.tasks.idle,
		UserPath:         uint64(uintptr(unsafe.Pointer(&k.path[0]))),
	}
	for i := 0; i+8 <= len(args); i += 8 {
		if address, ok := known[binary.NativeEndian.Uint64(args[i:])]; ok {
			binary.NativeEndian.PutUint64(args[i:], address)
		}
	}
	return args, nil
}

// Snapshot returns what the maps hold, and the records that came out of ring
// buffers since the last time.
func (k *KernelRunner) Snapshot() (Snapshot, error) {
	all := Snapshot{}
	for name, m := range k.coll.Maps {
		var err error
		switch {
		case name == worldMap:
			continue
		case k.rings[name] != nil:
			all[name], err = records(k.rings[name])
		default:
			all[name], err = contents(m)
		}
		if errors.Is(err, errOpaque) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read map %s: %w", name, err)
		}
	}
	return all, nil
}
