package object

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k2cc/k2cc/bpf"
)

// readSource compiles a source of testdata at -O2 -g for v3 and reads it.
func readSource(t *testing.T, name, target string) *File {
	t.Helper()
	want := "testdata/" + name
	objects := compiled(t, func(j job) bool {
		return j.source == want && some(j) && j.level == "v3" && j.target == target && j.debug != ""
	})
	return read(t, objects[0])
}

func function(t *testing.T, f *File, name string) *bpf.Function {
	t.Helper()
	for _, fn := range f.Program().Functions {
		if fn.Name == name {
			return fn
		}
	}
	t.Fatalf("no function %s", name)
	return nil
}

// describe lists a function's symbols, sorted, one a line.
func describe(fn *bpf.Function) []string {
	var out []string
	for _, s := range fn.Symbols {
		kind := map[bpf.SymbolKind]string{
			bpf.SymbolMap: "map", bpf.SymbolData: "data", bpf.SymbolFunc: "func",
			bpf.SymbolExtern: "extern", bpf.SymbolCore: "core",
		}[s.Kind]
		name := s.Name
		if s.Kind == bpf.SymbolCore {
			name, _, _ = strings.Cut(name, ":") // type indices are clang's
		}
		line := kind + " " + name
		if s.Map != nil {
			line += fmt.Sprintf(" %d/%d/%d", s.Map.Type, s.Map.KeySize, s.Map.ValueSize)
		}
		if s.Func != nil {
			line += " = " + s.Func.Name
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestSymbols(t *testing.T) {
	tests := []struct {
		source, function string
		want             []string
	}{
		{"subprogs.c", "first", []string{"func mix = mix", "func other = other", "func step = step", "map counts 2/4/8"}},
		{"subprogs.c", "second", []string{"func weigh = weigh", "map flows 1/8/16"}},
		{"subprogs.c", "mix", []string{"data .bss+0", "func weigh = weigh"}},
		{"subprogs.c", "weigh", []string{"data .bss+0", "data .bss+32", "data .data+0", "data .rodata+0"}},
		{"legacy.c", "filter", []string{"map table 1/4/24", "map wide 2/4/8"}},
		{"section.c", "caller", []string{"func here = here", "func spare"}},
		{"section.c", "across", []string{"func here = here"}},
		{"core.c", "locked", []string{"extern bpf_rcu_read_lock", "extern bpf_rcu_read_unlock"}},
		{"core.c", "on_switch", []string{
			"core enumval_exists", "core enumval_value", "core field_byte_offset", "core type_size",
			"extern LINUX_KERNEL_VERSION", "extern schedule", "func parent = parent", "map events 27/0/0",
		}},
		{"kfunc.c", "on_new", []string{"core field_byte_offset", "extern bpf_task_acquire", "extern bpf_task_release"}},
		{"structops.c", "start", []string{"map tails 3/4/4"}},
	}
	for _, target := range []string{"bpfel", "bpfeb"} {
		for _, tt := range tests {
			t.Run(tt.source+"/"+tt.function+"/"+target, func(t *testing.T) {
				fn := function(t, readSource(t, tt.source, target), tt.function)
				if diff := cmp.Diff(tt.want, describe(fn)); diff != "" {
					t.Errorf("symbols (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestSymbolsAreDistinct checks what provers build upon: in a function, two
// symbols differ in more than Index, and each that an instruction has exists.
func TestSymbolsAreDistinct(t *testing.T) {
	for _, o := range append(compiled(t, some), shipped(t)...) {
		f := read(t, o)
		for _, fn := range f.Program().Functions {
			seen := map[string]bool{}
			for _, s := range fn.Symbols {
				if seen[s.Name] {
					t.Errorf("%s: %s: two symbols are named %s", o.name, fn.Name, s.Name)
				}
				seen[s.Name] = true
			}
			for _, b := range fn.Blocks {
				for _, in := range b.Code {
					if in.Ref != 0 && fn.Symbol(in.Ref) == nil {
						t.Errorf("%s: %s: no symbol for %v", o.name, fn.Name, in)
					}
				}
			}
		}
	}
}

func TestContext(t *testing.T) {
	tests := []struct {
		section string
		sub     bool
		want    bpf.Context
		half    bool
	}{
		{"xdp", false, bpf.ContextXDP, true},
		{"xdp.frags/devmap", false, bpf.ContextXDP, true},
		{"?xdp/x", false, bpf.ContextXDP, true},
		{"xdp", true, bpf.ContextNone, false},
		{".text", false, bpf.ContextNone, false},
		{"tc", false, bpf.ContextSKB, true},
		{"tcx/ingress", false, bpf.ContextSKB, true},
		{"tcp_congestion", false, bpf.ContextOther, false},
		{"classifier/main", false, bpf.ContextSKB, true},
		{"action", false, bpf.ContextSKB, true},
		{"netkit/primary", false, bpf.ContextSKB, true},
		{"cgroup_skb/egress", false, bpf.ContextSKB, false},
		{"cgroup/skb", false, bpf.ContextSKB, false},
		{"cgroup/connect4", false, bpf.ContextPlain, false},
		{"socket", false, bpf.ContextSKB, true},
		{"socket1", false, bpf.ContextSKB, true},
		{"sockops", false, bpf.ContextPlain, false},
		{"sk_skb/stream_parser", false, bpf.ContextSKB, true},
		{"sk_msg", false, bpf.ContextOther, false},
		{"flow_dissector", false, bpf.ContextSKB, false},
		{"lwt_seg6local", false, bpf.ContextSKB, true},
		{"kprobe/sys_open", false, bpf.ContextPlain, true},
		{"kprobe.multi/x", false, bpf.ContextPlain, true},
		{"kprobe.session/x", false, bpf.ContextPlain, false},
		{"tracepoint/xdp/xdp_exception", false, bpf.ContextPlain, true},
		{"sk_lookup", false, bpf.ContextOther, false},
	}
	for _, tt := range tests {
		if got, half := contextOf(tt.section, tt.sub); got != tt.want || half != tt.half {
			t.Errorf("contextOf(%q, %v) = %v, %v, want %v, %v", tt.section, tt.sub, got, half, tt.want, tt.half)
		}
	}
}

func TestContextOfFunctions(t *testing.T) {
	f := readSource(t, "section.c", "bpfel")
	want := map[string]bpf.Context{
		"here": bpf.ContextNone, "spare": bpf.ContextNone,
		"caller": bpf.ContextXDP, "frags": bpf.ContextXDP, "across": bpf.ContextSKB,
	}
	got := map[string]bpf.Context{}
	for _, fn := range f.Program().Functions {
		got[fn.Name] = fn.Context
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("contexts (-want +got):\n%s", diff)
	}
}

// Of what a program returns nobody takes the upper half, unless a function that
// others call may hand over to it.
func TestHalfResults(t *testing.T) {
	for source, want := range map[string]map[string]bool{
		"section.c": {"here": false, "spare": false, "caller": true, "frags": true, "across": true},
		"tails.c":   {"below": false, "first": false, "second": false},
	} {
		got := map[string]bool{}
		for _, fn := range readSource(t, source, "bpfel").Program().Functions {
			got[fn.Name] = fn.HalfResult
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", source, diff)
		}
	}
}

// TestLevel checks that no object needs more than clang was told, and that
// some objects need as much.
func TestLevel(t *testing.T) {
	highest := map[string]bpf.Level{}
	for _, o := range compiled(t, some) {
		got := read(t, o).Program().Level
		if got.String() > o.job.level {
			t.Errorf("%s: level %v", o.name, got)
		}
		highest[o.job.level] = max(highest[o.job.level], got)
	}
	want := map[string]bpf.Level{"v1": bpf.V1, "v2": bpf.V2, "v3": bpf.V3, "v4": bpf.V4}
	if diff := cmp.Diff(want, highest); diff != "" {
		t.Errorf("highest levels (-want +got):\n%s", diff)
	}
}
