package verify

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
)

func TestLoad(t *testing.T) {
	needKernel(t)
	results, err := Load(t.Context(), compile(t, "mixed.c"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]ProgramResult{}
	for _, r := range results {
		found[r.Name] = r
		if r.State != Accepted && (r.Reason == "" || strings.Contains(r.Reason, "\n")) {
			t.Errorf("%s: reason %q is not one line", r.Name, r.Reason)
		}
	}
	tests := []struct {
		name   string
		state  State
		reason string
	}{
		{"good", Accepted, ""},
		{"tailcall", Accepted, ""},
		{"packet", Accepted, ""},
		{"open_maps", Accepted, ""},
		{"out_of_bounds", Rejected, "R1 offset is outside of the packet"},
		{"endless", Rejected, "infinite loop detected"},
		{"strange_map", Untried, "create map strange"},
		{"nowhere", Untried, "no_such_function_anywhere"},
		{"kfunc", Untried, "no_such_kfunc"},
		{"core", Untried, "bad CO-RE relocation"},
		{"typeless", Untried, "nonsense/where"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, ok := found[test.name]
			if !ok {
				t.Fatal("no result")
			}
			if got.State != test.state || !strings.Contains(got.Reason, test.reason) {
				t.Errorf("%v (%s), want %v (…%s…)", got.State, got.Reason, test.state, test.reason)
			}
			if stats := got.Processed > 0 && got.Xlated > 0; stats != (test.state == Accepted) {
				t.Errorf("stats %+v of a program that is %v", got.Stats, got.State)
			}
			if got.Slots == 0 {
				t.Error("no size")
			}
		})
	}
}

// Types that a kernel may refuse as such never count as rejected programs.
func TestLoadRefusedTypes(t *testing.T) {
	needKernel(t)
	results, err := Load(t.Context(), compile(t, "mixed.c"), Options{Programs: []string{"traced", "guarded"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 2 {
		t.Fatalf("%d results, want 2", len(results))
	}
	for _, r := range results {
		if r.State == Rejected {
			t.Errorf("%s: %v (%s)", r.Name, r.State, r.Reason)
		}
	}
}

func TestLoadTrace(t *testing.T) {
	needKernel(t)
	obj := compile(t, "mixed.c")
	for _, test := range []struct {
		opts  Options
		most  int // lines
		trace bool
	}{
		{Options{}, 2, false},
		{Options{Trace: true}, 20, true},
		{Options{Trace: true, LogLines: 3}, 3, true},
	} {
		test.opts.Programs = []string{"out_of_bounds"}
		results, err := Load(t.Context(), obj, test.opts)
		if err != nil {
			t.Fatal(err)
		}
		log := strings.Join(results[0].Log, "\n")
		if len(results[0].Log) > test.most || strings.Contains(log, "*(u8 *)") != test.trace {
			t.Errorf("%+v: log of %d lines:\n%s", test.opts, len(results[0].Log), log)
		}
	}
}

// Nothing that Load or Compare did stays in the kernel.
func TestLoadLeavesNothing(t *testing.T) {
	needKernel(t)
	obj := compile(t, "mixed.c")
	if _, err := Compare(t.Context(), obj, obj); err != nil {
		t.Fatal(err)
	}
	for id := ebpf.ProgramID(0); ; {
		next, err := ebpf.ProgramGetNextID(id)
		if err != nil {
			break // no more
		}
		id = next
		p, err := ebpf.NewProgramFromID(id)
		if err != nil {
			continue // gone in between
		}
		name := p.String()
		p.Close()
		if strings.Contains(name, "(tailcall)") {
			t.Errorf("%s is still loaded", name)
		}
	}
}

func TestLoadEnds(t *testing.T) {
	needKernel(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Load(ctx, compile(t, "mixed.c"), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestLoadNoObject(t *testing.T) {
	if _, err := Load(t.Context(), []byte("no ELF at all"), Options{}); err == nil {
		t.Error("no error for what is no object")
	}
}

func TestCompare(t *testing.T) {
	needKernel(t)
	old := compile(t, "mixed.c")
	tests := []struct {
		name string
		new  []byte
		want map[string]Verdict
	}{
		{"same", old, map[string]Verdict{"good": Kept, "packet": Kept, "out_of_bounds": Unknown, "nowhere": Unknown}},
		{"worse", compile(t, "mixed.c", "-DWORSE"), map[string]Verdict{"good": Kept, "packet": Broken, "tailcall": Broken, "out_of_bounds": Unknown}},
		{"no object", []byte("garbage"), map[string]Verdict{"good": Broken, "packet": Broken, "core": Unknown}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			comparisons, err := Compare(t.Context(), old, test.new)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]Comparison{}
			for _, c := range comparisons {
				got[c.Name] = c
				if (c.Verdict == Kept) != (c.Reason == "") {
					t.Errorf("%s: %v with reason %q", c.Name, c.Verdict, c.Reason)
				}
			}
			for name, want := range test.want {
				if got[name].Verdict != want {
					t.Errorf("%s: %v (%s), want %v", name, got[name].Verdict, got[name].Reason, want)
				}
			}
			if c := got["good"]; c.Verdict == Kept && c.Old.Stats != c.New.Stats {
				t.Errorf("the same program has stats %+v and %+v", c.Old.Stats, c.New.Stats)
			}
		})
	}
}
