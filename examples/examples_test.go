package examples

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
)

// clang is the compiler to test with; a test skips where there is none.
func clang(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"clang-22", "clang"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no clang-22 or clang in the path")
	return ""
}

// needBPF skips a test where the kernel lets nobody load programs.
func needBPF(t *testing.T) {
	t.Helper()
	err := features.HaveProgramType(ebpf.XDP)
	if errors.Is(err, os.ErrPermission) || errors.Is(err, ebpf.ErrNotSupported) {
		t.Skipf("BPF programs cannot be loaded here: %v", err)
	}
	if err != nil {
		t.Fatalf("probe BPF: %v", err)
	}
}

func compile(t *testing.T, e Example, flags ...string) []byte {
	t.Helper()
	object, err := Compile(t.Context(), clang(t), e.Source, flags...)
	if err != nil {
		t.Fatal(err)
	}
	return object
}

func TestSameObject(t *testing.T) {
	needBPF(t)
	for _, e := range All() {
		t.Run(e.Name, func(t *testing.T) {
			object := compile(t, e, "-mcpu=v3")
			result, err := Compare(t.Context(), e, object, object, 1000)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%v", result)
			if !result.Equal() {
				t.Error("an object differs from itself")
			}
			if want := 1000; len(result.Ran) > 0 && result.Ran[0].Runs != want {
				t.Errorf("%d runs, want %d", result.Ran[0].Runs, want)
			}
			wantReached(t, e.Name, result.Maps)
		})
	}
}

// wantReached wants that every counter of an example was counted up: traffic
// reaches its paths.
func wantReached(t *testing.T, example string, maps Snapshot) {
	t.Helper()
	reached := map[string]struct {
		name      string
		n         int   // counters
		unreached []int // those for what cannot be made to happen
	}{
		"xdp_lb":       {"counters", 9, []int{8}}, // a frame without room before it
		"xdp_firewall": {"rule_counters", 8, nil},
		"tc_parser":    {"counters", 7, nil},
		"rate_limit":   {"outcomes", 7, nil},
		"profiler":     {"events", 7, []int{4}}, // samples
	}[example]
	for i := range reached.n {
		value := maps[reached.name][string(native(uint32(i)))]
		counted := bytes.ContainsFunc(value, func(r rune) bool { return r != 0 })
		if want := !slices.Contains(reached.unreached, i); counted != want {
			t.Errorf("counter %d in %s: counted %t, want %t", i, reached.name, counted, want)
		}
	}
}

func TestCanceled(t *testing.T) {
	needBPF(t)
	ctx, cancel := context.WithCancel(t.Context())
	e := All()[len(All())-1]
	object := compile(t, e)
	cancel()
	if _, err := Compare(ctx, e, object, object, 1000); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
