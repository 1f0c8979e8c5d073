package driver

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/object"
	"github.com/k2cc/k2cc/cache"
	"github.com/k2cc/k2cc/toml"
)

// large is an object with one program of about so many slots: one of the
// project's own again and again. It keeps its context at r10 - 512, and at r10 -
// 504 a number that is another in each part, so that no two parts are the same
// problem.
func large(t testing.TB, small []byte, slots int) []byte {
	t.Helper()
	file, err := object.Read(small)
	if err != nil {
		t.Fatal(err)
	}
	fn := file.Program().Functions[0]
	for _, f := range file.Program().Functions {
		if f.Context != bpf.ContextNone && f.Slots() > fn.Slots() {
			fn = f
		}
	}
	body, stride := fn.Blocks, bpf.Label(0)
	for _, b := range body {
		stride = max(stride, b.Label+1)
	}
	last := bpf.Label(slots/fn.Slots()+1)*stride + 1
	entry := func(part int) bpf.Label { return last + 1 + bpf.Label(part) }
	parts := max(slots/(fn.Slots()+6), 1)
	code := func(text string) []bpf.Instruction {
		c, err := bpf.ParseCode(text)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	fn.Blocks = []*bpf.Block{{Label: last, Code: code("*(u64 *)(r10 - 512) = r1\nr0 = 0\n*(u64 *)(r10 - 504) = r0")}}
	for part := range parts {
		start := code("r1 = *(u64 *)(r10 - 504)\nr1 += " + strconv.Itoa(2*part+1) + "\n*(u64 *)(r10 - 504) = r1\nr1 = *(u64 *)(r10 - 512)")
		fn.Blocks = append(fn.Blocks, &bpf.Block{Label: entry(part), Code: start})
		for _, b := range body {
			out := &bpf.Block{Label: b.Label + bpf.Label(part)*stride}
			for _, in := range b.Code {
				switch {
				case in.IsExit():
					in = bpf.Instruction{Op: bpf.ClassJMP | bpf.OpJA, Target: entry(part + 1), Pos: in.Pos}
				case in.Target != 0:
					in.Target += bpf.Label(part) * stride
				}
				out.Code = append(out.Code, in)
			}
			fn.Blocks = append(fn.Blocks, out)
		}
	}
	fn.Blocks = append(fn.Blocks, &bpf.Block{Label: entry(parts), Code: code("r0 = *(u64 *)(r10 - 504)\nr0 &= 1\nexit")})
	out, err := file.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// peakMemory in bytes is the most that this process has held.
func peakMemory(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmHWM:" {
			n, _ := strconv.Atoi(fields[1])
			return n << 10
		}
	}
	return 0
}

// BenchmarkLinear holds the cost of a large object to about that of many small
// ones: ten times the slots may take twelve times as long.
func BenchmarkLinear(b *testing.B) {
	small := example(b, "xdp_firewall")
	config := toml.Default()
	config.Effort = toml.EffortFast // search has a bound that large objects reach
	config.Budget.Object = 10 * time.Minute
	took := func(slots int) time.Duration {
		in := large(b, small, slots)
		start := time.Now()
		_, rep, err := Optimize(b.Context(), in, Options{Config: config, Cache: cache.New()})
		if err != nil {
			b.Fatal(err)
		}
		before, after := 0, 0
		for _, f := range rep.Functions {
			before, after = before+f.SlotsBefore, after+f.SlotsAfter
		}
		b.Logf("%d slots: %v, %d left; peak memory %d MB; %v", before, time.Since(start).Round(time.Millisecond), after, peakMemory(b)>>20, rep.Kernel)
		return time.Since(start)
	}
	for b.Loop() {
		ten, hundred := took(10_000), took(100_000)
		b.ReportMetric(float64(hundred)/float64(ten), "times")
		b.ReportMetric(float64(peakMemory(b))/(1<<20), "MB")
		if hundred > 12*ten {
			b.Errorf("ten times the slots take %.1f times as long", float64(hundred)/float64(ten))
		}
		if peakMemory(b) > 2<<30 {
			b.Errorf("%d MB of memory", peakMemory(b)>>20)
		}
	}
}
