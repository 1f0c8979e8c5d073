package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// ErrNoTestRun says that the kernel times no test runs of a program's type.
var ErrNoTestRun = errors.New("programs of this type can't be timed by test runs")

// RunOptions say how a program is timed. The zero value has sensible defaults.
type RunOptions struct {
	Inputs [][]byte // packets with their Ethernet headers; nil stands for Packet()
	Repeat int      // runs per packet and round; 0 stands for 20,000 over all packets
	Rounds int      // rounds, of which the middle half counts; 0 stands for 16
	// Shift is how many instructions go ahead of the program that do nothing, and
	// have its machine code lie elsewhere than it would: where branches cross the
	// processor's lines can matter more than what they lead to.
	Shift int
	// Prepare fills a program's maps before its first run; nil leaves them as
	// the object declares them.
	Prepare func(maps map[string]*ebpf.Map) error
}

// Timing is what a program's test runs came to.
type Timing struct {
	// Nanos is the time per run in ns: the mean of the middle half of the
	// rounds, averaged over packets. The kernel tells whole ns for a round.
	Nanos  float64
	Return uint32 // the program's return value for the first packet
	Output []byte // the first packet after its first run
}

// Packet is a minimum-size TCP SYN over IPv4 and Ethernet, 64 bytes long.
func Packet() []byte {
	p := make([]byte, 64)
	copy(p, []byte{
		0x02, 0, 0, 0, 0, 0x01, 0x02, 0, 0, 0, 0, 0x02, 0x08, 0x00, // Ethernet: IPv4
		0x45, 0, 0, 50, 0, 1, 0x40, 0, 64, 6, 0, 0, // version, length, id, flags, TTL, TCP
		192, 0, 2, 1, 198, 51, 100, 2, // RFC 5737 addresses
		0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0,
	})
	const ip, tcp = 14, 34
	sum := checksum(0, p[ip:tcp])
	p[ip+10], p[ip+11] = byte(sum>>8), byte(sum)
	pseudo := uint32(6 + len(p) - tcp) // protocol and length
	sum = checksum(pseudo, slices.Concat(p[ip+12:tcp], p[tcp:]))
	p[tcp+16], p[tcp+17] = byte(sum>>8), byte(sum)
	return p
}

// checksum is the Internet checksum (RFC 1071) of b, of even length.
func checksum(sum uint32, b []byte) uint16 {
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// Run times one program of an object. It fails with ErrNoTestRun where the
// program's type has no test runs.
func Run(ctx context.Context, obj []byte, program string, opts RunOptions) (Timing, error) {
	t, err := race(ctx, program, opts, obj)
	if err != nil {
		return Timing{}, err
	}
	return t[0], nil
}

// Race times one program of two objects in alternating rounds, so that what
// else the machine does falls on both. Each has its own maps.
func Race(ctx context.Context, old, new []byte, program string, opts RunOptions) (before, after Timing, err error) {
	t, err := race(ctx, program, opts, old, new)
	if err != nil {
		return Timing{}, Timing{}, err
	}
	return t[0], t[1], nil
}

func race(ctx context.Context, program string, opts RunOptions, objs ...[]byte) (timings []Timing, err error) {
	if len(opts.Inputs) == 0 {
		opts.Inputs = [][]byte{Packet()}
	}
	opts.Repeat = orDefault(opts.Repeat, max(1, 20_000/len(opts.Inputs)))
	opts.Rounds = orDefault(opts.Rounds, 16)
	var runners []*ebpf.Program
	types := btf.NewCache()
	for _, obj := range objs {
		s, err := openToLoad(obj, types)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.close()) }()
		s.shift(program, opts.Shift)
		p, err := s.runner(program, opts)
		if err != nil {
			return nil, fmt.Errorf("run program %s: %w", program, err)
		}
		runners = append(runners, p)
	}
	err = inOwnNetwork(func() error {
		timings, err = measure(ctx, runners, opts)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("run program %s: %w", program, err)
	}
	return timings, nil
}

func orDefault(n, or int) int {
	if n <= 0 {
		return or
	}
	return n
}

// shift puts n instructions that do nothing ahead of a program.
func (s *session) shift(program string, n int) {
	spec := s.spec.Programs[program]
	if spec == nil || n == 0 {
		return
	}
	first := &spec.Instructions[0]
	ahead := slices.Repeat(asm.Instructions{asm.Mov.Imm32(asm.R0, 0)}, n)
	ahead[0] = btf.WithFuncMetadata(ahead[0].WithSymbol(first.Symbol()).WithSource(first.Source()), btf.FuncMetadata(first))
	*first = btf.WithFuncMetadata(first.WithSymbol(""), nil)
	spec.Instructions = append(ahead, spec.Instructions...)
}

// runner loads the program with all that it may reach by tail calls.
func (s *session) runner(program string, opts RunOptions) (*ebpf.Program, error) {
	spec := s.spec.Programs[program]
	if spec != nil && !timed(spec.Type) {
		return nil, fmt.Errorf("%v: %w", spec.Type, ErrNoTestRun)
	}
	p, err := s.load(program, ebpf.ProgramOptions{})
	if err != nil {
		return nil, err
	}
	if err := s.populate(); err != nil {
		return nil, err
	}
	if opts.Prepare != nil {
		if err := opts.Prepare(s.maps); err != nil {
			return nil, fmt.Errorf("prepare maps: %w", err)
		}
	}
	return p, nil
}

// timed tells whether the kernel repeats and times runs of a type on a packet
// (net/bpf/test_run.c).
func timed(t ebpf.ProgramType) bool {
	switch t {
	case ebpf.XDP, ebpf.SchedCLS, ebpf.SchedACT, ebpf.SocketFilter, ebpf.CGroupSKB,
		ebpf.LWTIn, ebpf.LWTOut, ebpf.LWTXmit, ebpf.LWTSeg6Local, ebpf.FlowDissector:
		return true
	}
	return false
}

// inOwnNetwork runs f on a thread with an empty network namespace of its own,
// so that a program that redirects or clones packets reaches nobody.
func inOwnNetwork(f func() error) error {
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("make a network namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// measure times the programs on each packet.
func measure(ctx context.Context, programs []*ebpf.Program, opts RunOptions) ([]Timing, error) {
	timings := make([]Timing, len(programs))
	for i, input := range opts.Inputs {
		onThis, err := measureInput(ctx, programs, input, opts)
		if err != nil {
			return nil, err
		}
		for j, t := range onThis {
			if i == 0 {
				timings[j].Return, timings[j].Output = t.Return, t.Output
			}
			timings[j].Nanos += t.Nanos / float64(len(opts.Inputs))
		}
	}
	return timings, nil
}

// measureInput runs each program once for its result, then all by turns.
func measureInput(ctx context.Context, programs []*ebpf.Program, input []byte, opts RunOptions) ([]Timing, error) {
	timings := make([]Timing, len(programs))
	repeat, rounds := opts.Repeat, opts.Rounds
	for i, p := range programs {
		ret, out, err := p.Test(input)
		if err != nil {
			return nil, err
		}
		timings[i] = Timing{Return: ret, Output: out}
		if !bytes.Equal(out, input) {
			// The kernel hands each run the packet that the last one left. Only
			// single runs see the same packet every time.
			repeat, rounds = 1, max(opts.Rounds, opts.Repeat/10)
		}
	}
	samples := make([][]time.Duration, len(programs))
	for round := range rounds + 1 {
		for k := range programs {
			i := (k + round) % len(programs) // each goes first by turns
			p := programs[i]
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			_, mean, err := p.Benchmark(input, repeat, nil)
			if err != nil {
				return nil, err
			}
			if round > 0 { // the first warms the caches
				samples[i] = append(samples[i], mean)
			}
		}
	}
	for i, s := range samples {
		timings[i].Nanos = middle(s)
	}
	return timings, nil
}

// middle is the mean in ns of the middle half of the samples: steadier than
// their median where all are whole numbers, and as deaf to outliers.
func middle(samples []time.Duration) float64 {
	s := slices.Sorted(slices.Values(samples))
	s = s[len(s)/4 : len(s)-len(s)/4]
	sum := time.Duration(0)
	for _, d := range s {
		sum += d
	}
	return float64(sum.Nanoseconds()) / float64(len(s))
}
