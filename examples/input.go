package examples

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math/rand/v2"
)

// Input is what one run of a program sees of the world besides its maps.
type Input struct {
	// Data is the frame, from its Ethernet header on; nil for a program that
	// gets no packet. A socket filter sees it without the first 14 bytes.
	Data []byte

	// Context is the context as the program sees it (struct __sk_buff,
	// struct bpf_sock_addr, a tracepoint's arguments); nil: all zero. Pointers
	// to packet data are not in it. Aligned words that hold CurrentTask and its
	// kin stand for addresses.
	Context []byte

	Now    uint64 // what every clock helper says, in ns
	Random uint32 // what bpf_get_prandom_u32 says; the process is named after it
	Cookie uint64 // of the socket and of its network namespace
}

// Addresses that a Context may hold and that a runner has to put there.
const (
	// CurrentTask stands for the struct task_struct of the running thread.
	CurrentTask = 0xffff_dead_0000_0001

	// IdleKernelThread stands for that of a kernel thread that sleeps.
	IdleKernelThread = 0xffff_dead_0000_0003

	// UserPath stands for a path in user memory, ended by a zero byte.
	UserPath = 0xffff_dead_0000_0002
)

// tick is the longest time between two inputs, in ns.
const tick = 4_000_000

// startTime is when the first input comes, in ns.
const startTime = 1_000_000_000_000

// Inputs yields n inputs for the program. The same arguments give the same
// inputs, always and everywhere. They fit the maps' contents as Entries gives
// them with any seed: some of them hit what is there, some miss it.
func (e Example) Inputs(program string, seed int64, n int) iter.Seq[Input] {
	return func(yield func(Input) bool) {
		t := newTraffic(seed, program)
		now := uint64(startTime)
		for range n {
			in := e.traffic(t, program)
			now += t.r.Uint64N(tick)
			in.Now = now
			in.Random = t.r.Uint32()
			in.Cookie = 1 + t.r.Uint64N(16)
			if !yield(in) {
				return
			}
		}
	}
}

// Packets yields the frames of n inputs of the example's first program. For an
// example whose programs get no packets it yields nothing.
func (e Example) Packets(seed int64, n int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for in := range e.Inputs(e.Programs[0].Name, seed, n) {
			if in.Data == nil || !yield(in.Data) {
				return
			}
		}
	}
}

// traffic is the source of one sequence of inputs.
type traffic struct {
	r     *rand.Rand
	flows []flow // those that most packets belong to
}

func newTraffic(seed int64, stream string) *traffic {
	var h uint64 = 14695981039346656037
	for _, c := range []byte(stream) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return &traffic{r: rand.New(rand.NewPCG(uint64(seed), h))}
}

// chance is true in percent of 100 cases.
func (t *traffic) chance(percent int) bool { return t.r.IntN(100) < percent }

func (t *traffic) byte() byte { return byte(t.r.Uint32()) }

func (t *traffic) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = t.byte()
	}
	return b
}

func pick[T any](t *traffic, from []T) T { return from[t.r.IntN(len(from))] }

// Entry is an element that a map holds before the first run. Key and Value are
// in the byte order of this machine.
type Entry struct {
	Map   string
	Key   []byte
	Value []byte
}

// Entries yields what the maps hold before the first run, the same for the
// same seed.
func (e Example) Entries(seed int64) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		f := &filler{traffic: newTraffic(seed, "maps"), yield: yield}
		e.entries(f)
	}
}

// filler collects a map's elements.
type filler struct {
	*traffic
	yield func(Entry) bool
	done  bool
}

// put adds an element. Key and value are of fixed size, without padding.
func (f *filler) put(name string, key, value any) {
	if !f.done {
		f.done = !f.yield(Entry{name, native(key), native(value)})
	}
}

// native encodes v, which is of fixed size, in the byte order of this machine.
func native(v any) []byte {
	b, err := binary.Append(nil, binary.NativeEndian, v)
	if err != nil {
		// Only a type of this package can be at fault, and every test meets it.
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return b
}
