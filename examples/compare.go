package examples

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Result is the outcome of a comparison.
type Result struct {
	Ran         []Ran
	Unrun       []string // programs that nothing could run
	Differences []Difference

	// Maps is what the maps of the old object held at the end.
	Maps Snapshot
}

// Ran is a program that both objects ran, with how often it returned what in
// the old object.
type Ran struct {
	Program string
	Runs    int
	Returns map[uint32]int
}

// Difference is something that the two objects did not do alike.
type Difference struct {
	Program  string // empty: found in the maps after the last run
	Run      int    // the run's number, from zero
	What     string // "return value", "packet", "context", or a map and its key
	Old, New []byte
}

func (d Difference) String() string {
	where := d.What
	if d.Program != "" {
		where = fmt.Sprintf("%s run %d: %s", d.Program, d.Run, d.What)
	}
	return fmt.Sprintf("%s: %x became %x", where, d.Old, d.New)
}

// Equal tells whether no difference was found. It says nothing about the
// programs in Unrun.
func (r Result) Equal() bool { return len(r.Differences) == 0 }

func (r Result) String() string {
	var b strings.Builder
	for _, p := range r.Ran {
		fmt.Fprintf(&b, "%s: %d runs, returned", p.Program, p.Runs)
		for _, ret := range slices.Sorted(maps.Keys(p.Returns)) {
			fmt.Fprintf(&b, " %d×%d", int32(ret), p.Returns[ret])
		}
		b.WriteString("\n")
	}
	for _, name := range r.Unrun {
		fmt.Fprintf(&b, "%s: not run\n", name)
	}
	for _, d := range r.Differences {
		fmt.Fprintln(&b, d)
	}
	return b.String()
}

// enough is how many differences are worth finding.
const enough = 10

// seed is that of the maps' contents and the traffic in a comparison.
const seed = 1

// Compare loads two objects of the example into the kernel, each with maps of
// its own, runs every program that the kernel runs on request n times in both,
// and compares what they return, the packets and contexts that they leave, and
// at the end the contents of all maps. An error says that something did not
// load or run; the objects may be equal or not.
func Compare(ctx context.Context, e Example, oldObj, newObj []byte, n int) (Result, error) {
	release, err := pin()
	if err != nil {
		return Result{}, err
	}
	defer release()
	older, err := NewKernelRunner(e, oldObj, seed)
	if err != nil {
		return Result{}, fmt.Errorf("old object: %w", err)
	}
	defer older.Close()
	newer, err := NewKernelRunner(e, newObj, seed)
	if err != nil {
		return Result{}, fmt.Errorf("new object: %w", err)
	}
	defer newer.Close()
	return CompareRunners(ctx, e, older, newer, n)
}

// CompareRunners is Compare with runners of one's own, whose maps hold what
// Entries gives. The programs take turns, so that each meets what others leave
// in the maps. The caller keeps to one thread and one CPU.
func CompareRunners(ctx context.Context, e Example, older, newer Runner, n int) (Result, error) {
	c := &comparison{older: older, newer: newer}
	var next []func() (Input, bool)
	var programs []Program
	for _, p := range e.Programs {
		if !older.Runs(p) || !newer.Runs(p) {
			c.result.Unrun = append(c.result.Unrun, p.Name)
			continue
		}
		pull, stop := iter.Pull(e.Inputs(p.Name, seed, n))
		defer stop()
		next = append(next, pull)
		programs = append(programs, p)
		c.result.Ran = append(c.result.Ran, Ran{Program: p.Name, Returns: map[uint32]int{}})
	}
	for run := range n {
		for i, p := range programs {
			in, _ := next[i]()
			if err := c.run(&c.result.Ran[i], p, run, in); err != nil {
				return c.result, fmt.Errorf("compare %s: run %d: %w", e.Name, run, err)
			}
		}
		if err := ctx.Err(); err != nil {
			return c.result, fmt.Errorf("compare %s: run %d: %w", e.Name, run, err)
		}
		if len(c.result.Differences) >= enough {
			return c.result, nil
		}
	}
	if err := c.snapshots(); err != nil {
		return c.result, fmt.Errorf("compare %s: %w", e.Name, err)
	}
	return c.result, nil
}

type comparison struct {
	older, newer Runner
	result       Result
}

func (c *comparison) run(ran *Ran, p Program, run int, in Input) error {
	a, err := c.older.Run(p, in)
	if err != nil {
		return fmt.Errorf("old object: %w", err)
	}
	b, err := c.newer.Run(p, in)
	if err != nil {
		return fmt.Errorf("new object: %w", err)
	}
	ran.Runs++
	ran.Returns[a.Return]++
	c.compare(p.Name, run, "return value", native(a.Return), native(b.Return))
	c.compare(p.Name, run, "packet", a.Data, b.Data)
	c.compare(p.Name, run, "context", a.Context, b.Context)
	return nil
}

func (c *comparison) compare(program string, run int, what string, a, b []byte) {
	if !bytes.Equal(a, b) && len(c.result.Differences) < enough {
		c.result.Differences = append(c.result.Differences, Difference{program, run, what, a, b})
	}
}

// snapshots compares what the maps hold.
func (c *comparison) snapshots() error {
	a, err := c.older.Snapshot()
	if err != nil {
		return fmt.Errorf("old object: %w", err)
	}
	b, err := c.newer.Snapshot()
	if err != nil {
		return fmt.Errorf("new object: %w", err)
	}
	c.result.Maps = a
	for _, name := range union(a, b) {
		for _, key := range union(a[name], b[name]) {
			old, was := a[name][key]
			now, is := b[name][key]
			if was != is {
				old, now = fmt.Append(old, " exists: ", was), fmt.Append(now, " exists: ", is)
			}
			c.compare("", 0, fmt.Sprintf("map %s[%x]", name, key), old, now)
		}
	}
	return nil
}

// union is the sorted keys of both maps.
func union[V any](a, b map[string]V) []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(all)
	return slices.Compact(all)
}

// pin keeps the caller on its thread and on one CPU, so that per-CPU values are
// comparable, until release is called.
func pin() (release func(), err error) {
	runtime.LockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("pin to a CPU: %w", err)
	}
	one.Set(currentCPU())
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("pin to a CPU: %w", err)
	}
	return func() {
		// A thread that can't go back to its CPUs stays locked, and ends with
		// the goroutine.
		if unix.SchedSetaffinity(0, &before) == nil {
			runtime.UnlockOSThread()
		}
	}, nil
}

// currentCPU is the number of a CPU that the caller may run on.
func currentCPU() int {
	var cpu uint32
	_, _, errno := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0)
	if errno != 0 {
		return 0
	}
	return int(cpu)
}
