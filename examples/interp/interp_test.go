package interp

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"github.com/k2cc/k2cc/examples"
)

// compile makes the example's object; a test skips where there is no clang.
func compile(t *testing.T, e examples.Example, flags ...string) []byte {
	t.Helper()
	for _, name := range []string{"clang-22", "clang"} {
		clang, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		obj, err := examples.Compile(t.Context(), clang, e.Source, flags...)
		if err != nil {
			t.Fatal(err)
		}
		return obj
	}
	t.Skip("no clang-22 or clang in the path")
	return nil
}

func find(t *testing.T, name string) examples.Example {
	t.Helper()
	e, err := examples.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// pin keeps the test on one CPU, as comparisons with the kernel need it.
func pin(t *testing.T) (cpu, cpus int) {
	t.Helper()
	var before, one unix.CPUSet
	runtime.LockOSThread()
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	for !before.IsSet(cpu) {
		cpu++
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if unix.SchedSetaffinity(0, &before) == nil {
			runtime.UnlockOSThread()
		}
	})
	return cpu, ebpf.MustPossibleCPU()
}

// oneCPU is a kernel runner with the per-CPU values of one CPU alone.
type oneCPU struct {
	*examples.KernelRunner
	cpu, cpus int
	perCPU    map[string]bool
}

func (o oneCPU) Snapshot() (examples.Snapshot, error) {
	all, err := o.KernelRunner.Snapshot()
	for name, contents := range all {
		for key, value := range contents {
			if o.perCPU[name] {
				size := len(value) / o.cpus
				contents[key] = value[o.cpu*size:][:size]
			}
		}
	}
	return all, err
}

// The interpreter does what the kernel does, in every program that the kernel
// runs and that does not look at the kernel's own memory.
func TestKernelAgrees(t *testing.T) {
	err := features.HaveProgramType(ebpf.XDP)
	if errors.Is(err, os.ErrPermission) || errors.Is(err, ebpf.ErrNotSupported) {
		t.Skipf("BPF programs cannot be loaded here: %v", err)
	}
	for _, name := range []string{"xdp_lb", "xdp_firewall", "rate_limit", "tc_parser", "flow_export", "sock_stats"} {
		t.Run(name, func(t *testing.T) {
			e := find(t, name)
			obj := compile(t, e, "-mcpu=v3")
			kernel := oneCPU{perCPU: map[string]bool{}}
			kernel.cpu, kernel.cpus = pin(t)
			var err error
			if kernel.KernelRunner, err = examples.NewKernelRunner(e, obj, seed); err != nil {
				t.Fatal(err)
			}
			defer kernel.Close()
			own, err := New(e, obj, seed)
			if err != nil {
				t.Fatal(err)
			}
			for name, table := range own.tables {
				switch table.Type {
				case ebpf.PerCPUArray, ebpf.PerCPUHash, ebpf.LRUCPUHash:
					kernel.perCPU[name] = true
				}
			}
			res, err := examples.CompareRunners(t.Context(), e, kernel, own, 300)
			if err != nil {
				t.Fatal(err)
			}
			if !res.Equal() || len(res.Unrun) > 0 {
				t.Errorf("the kernel and the interpreter do not agree:\n%v", res)
			}
		})
	}
}

// Objects that the kernel can't compare are equal to themselves, whatever ISA
// level they are for.
func TestSameObject(t *testing.T) {
	for _, name := range []string{"sock_addr", "profiler"} {
		t.Run(name, func(t *testing.T) {
			e := find(t, name)
			obj, plain := compile(t, e, "-mcpu=v3"), compile(t, e, "-mcpu=v1")
			for what, other := range map[string][]byte{"itself": obj, "one for v1": plain} {
				res, err := Compare(t.Context(), e, obj, other, 1000)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%v", res)
				if !res.Equal() || len(res.Unrun) > 0 || len(res.Ran) != len(e.Programs) {
					t.Errorf("an object is not equal to %s:\n%v", what, res)
				}
			}
		})
	}
}

// TestDifference changes one thing in a source and wants it found.
func TestDifference(t *testing.T) {
	tests := []struct {
		name, example string
		old, new      string
		what          string // in the first difference
	}{
		{"an inverted branch", "sock_addr", "if (ctx->type != SOCK_DGRAM)\n\t\treturn VERDICT_PROCEED;\n\treturn forward4(ctx);",
			"if (ctx->type == SOCK_DGRAM)\n\t\treturn VERDICT_PROCEED;\n\treturn forward4(ctx);", "sendmsg4 run"},
		{"a return value", "sock_addr", "if (!is_mapped_v4(&e.addr))\n\t\treturn VERDICT_REFUSE;",
			"if (!is_mapped_v4(&e.addr))\n\t\treturn VERDICT_PROCEED;", "return value"},
		{"a dropped store to the context", "sock_addr", "ctx->user_ip6[2] = e.addr.ip[2];", "", "context"},
		{"a dropped store to a key", "sock_addr", "a->ip[2] = bpf_htonl(0xffff);", "", ""},
		{"a dropped store to a map", "sock_addr", "known->last_used = now;", "", ""},
		{"a dropped count", "sock_addr", "st->refused += 1;", "", "map stats["},
		{"a family", "sock_addr", "if (ctx->user_family != AF_INET6)", "if (ctx->user_family == AF_INET6)", "connect6 run"},
		{"reading back", "sock_addr", "ctx->user_ip4 = r->addr.ip[3];\n\t\tctx->user_port = r->port;",
			"ctx->user_ip4 = r->addr.ip[3];", "context"},
		{"a dropped sample", "profiler", "__sync_fetch_and_add(&s->samples, 1);", "", "map procs["},
		{"a stack", "profiler", "key.user_stack = bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK);",
			"key.user_stack = bpf_get_stackid(ctx, &stacks, 0);", "map samples["},
		{"a negated test", "profiler", "if (!key.pid)", "if (key.pid)", ""},
		{"what is sampled", "profiler", "count(EVENT_SAMPLE);", "count(EVENT_ERROR);", "map events["},
		{"a field of a task", "profiler", "BPF_CORE_READ(t, prio)", "BPF_CORE_READ(t, static_prio)", "map procs["},
	}
	originals := map[string][]byte{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := find(t, tt.example)
			if originals[e.Name] == nil {
				originals[e.Name] = compile(t, e)
			}
			changed := e
			changed.Source = edit(t, e.Source, tt.old, tt.new)
			res, err := Compare(t.Context(), e, originals[e.Name], compile(t, changed), 300)
			if err != nil {
				t.Fatal(err)
			}
			if res.Equal() {
				t.Fatal("no difference found")
			}
			if got := res.Differences[0].String(); !strings.Contains(got, tt.what) {
				t.Errorf("found %v, want it in %q", got, tt.what)
			}
		})
	}
}

// edit copies a file with one change.
func edit(t *testing.T, src, old, new string) string {
	t.Helper()
	text, err := os.ReadFile(src)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), old) != 1 {
		t.Fatalf("%q is not once in %s", old, src)
	}
	file := filepath.Join(t.TempDir(), filepath.Base(src))
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), old, new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestCanceled(t *testing.T) {
	e := find(t, "sock_addr")
	obj := compile(t, e)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Compare(ctx, e, obj, obj, 1000); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
