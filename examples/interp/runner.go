package interp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/object"
	"github.com/k2cc/k2cc/bpf/semantics"
	"github.com/k2cc/k2cc/examples"
)

// Runner runs an object's programs in the interpreter, on one CPU. A program
// that accesses what is not its own fails. CO-RE relocations keep what the
// compiler recorded, which is what a kernel with the source's own structures
// would give. Kernel memory and the current task are made up.
type Runner struct {
	memory    *memory
	functions map[string]*bpf.Function // entry points
	tables    map[string]*table
	handles   map[uint64]*table        // by the address that stands for it
	codes     map[uint64]*bpf.Function // by the address that stands for it
	core      map[string]uint64
}

var _ examples.Runner = (*Runner)(nil)

// seed is that of the maps' contents, the same as in examples.Compare.
const seed = 1

// Compare has two objects of the example run n inputs of every program, and
// compares them as examples.Compare does, but in the interpreter. An error says
// that one of them did what it must not, or what the interpreter lacks.
func Compare(ctx context.Context, e examples.Example, oldObj, newObj []byte, n int) (examples.Result, error) {
	older, err := New(e, oldObj, seed)
	if err != nil {
		return examples.Result{}, fmt.Errorf("old object: %w", err)
	}
	newer, err := New(e, newObj, seed)
	if err != nil {
		return examples.Result{}, fmt.Errorf("new object: %w", err)
	}
	return examples.CompareRunners(ctx, e, older, newer, n)
}

// New reads the example's object and fills its maps with the entries of the
// seed.
func New(e examples.Example, obj []byte, seed int64) (*Runner, error) {
	spec, err := e.Spec(obj)
	if err != nil {
		return nil, err
	}
	if spec.ByteOrder.Uint16([]byte{0, 1}) != binary.NativeEndian.Uint16([]byte{0, 1}) {
		return nil, fmt.Errorf("interpret %s: its byte order is not this machine's, for which its inputs are", e.Name)
	}
	file, err := object.Read(obj)
	if err != nil {
		return nil, fmt.Errorf("read the object of %s: %w", e.Name, err)
	}
	r := &Runner{
		memory: newMemory(), functions: map[string]*bpf.Function{}, tables: map[string]*table{},
		handles: map[uint64]*table{}, codes: map[uint64]*bpf.Function{}, core: map[string]uint64{},
	}
	r.memory.state.Big = file.Program().BigEndian
	if err := r.load(e, file); err != nil {
		return nil, fmt.Errorf("interpret %s: %w", e.Name, err)
	}
	if err := r.loadMaps(e, spec, seed); err != nil {
		return nil, fmt.Errorf("interpret %s: %w", e.Name, err)
	}
	return r, nil
}

// Runs tells whether the runner can run the program: it has all of them.
func (r *Runner) Runs(p examples.Program) bool { return r.functions[p.Name] != nil }

// maxTailCalls is how many tail calls one run may make (MAX_TAIL_CALL_CNT in
// include/linux/bpf.h).
const maxTailCalls = 33

// Run runs the program once.
func (r *Runner) Run(p examples.Program, in examples.Input) (examples.Output, error) {
	fn := r.functions[p.Name]
	if fn == nil {
		return examples.Output{}, fmt.Errorf("interpret %s: no such program", p.Name)
	}
	r.memory.begin(in.Now ^ uint64(in.Random))
	x, err := r.newRun(p, in)
	if err != nil {
		return examples.Output{}, fmt.Errorf("interpret %s: %w", p.Name, err)
	}
	ret, err := x.run(fn)
	for range maxTailCalls {
		var tail *tailCall
		if !errors.As(err, &tail) {
			break
		}
		ret, err = x.run(tail.to)
	}
	if err == nil {
		err = x.unfinished()
	}
	if err != nil {
		return examples.Output{}, fmt.Errorf("interpret %s: %w", p.Name, err)
	}
	out := x.output()
	out.Return = uint32(ret)
	return out, nil
}

// Snapshot returns what the maps hold, and the records that came out of ring
// buffers since the last time.
func (r *Runner) Snapshot() (examples.Snapshot, error) {
	all := examples.Snapshot{}
	for name, t := range r.tables {
		if contents := t.snapshot(); contents != nil {
			all[name] = contents
		}
	}
	return all, nil
}

// run is one run of a program.
type run struct {
	*Runner
	program examples.Program
	in      examples.Input
	context *region
	packet  *region // nil without a packet
	exec    *semantics.Exec

	headroom int // bytes before the packet that it may still grow by
	reserved map[uint64]*reservation
	lock     uint64 // the address of what is locked
	tails    int
	failure  error // of a callback that can't return one
}

// tailCall is how a successful tail call leaves the program.
type tailCall struct{ to *bpf.Function }

func (t *tailCall) Error() string { return "tail call to " + t.to.Name }

// run executes one function on the context.
func (x *run) run(fn *bpf.Function) (uint64, error) {
	x.exec = &semantics.Exec{State: x.memory.state, Symbol: x.symbol, Helper: x.help, Packet: x.legacy}
	for i := range x.exec.Regs {
		x.exec.Regs[i] = mix(uint64(i)) // nothing that a program could count on
	}
	x.exec.Regs[bpf.R1], x.exec.Regs[bpf.R10] = x.context.start, x.memory.top()
	ret, err := x.exec.Run(fn)
	if err == nil {
		err = x.failure
	}
	return ret, err
}

// unfinished says what a program has left undone that the verifier would have
// refused.
func (x *run) unfinished() error {
	switch {
	case len(x.reserved) > 0:
		return errors.New("a reserved record is left")
	case x.lock != 0:
		return errors.New("a lock is left held")
	}
	return nil
}
