package examples

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDifference changes one thing in an example's source and wants Compare to
// find it where it shows.
func TestDifference(t *testing.T) {
	needBPF(t)
	tests := []struct {
		name, example string
		old, new      string // in the source
		what          string // the beginning of the first difference's What
	}{
		{"a packet", "xdp_lb", "ip->ttl -= 1;", "ip->ttl -= 2;", "packet"},
		{"a packet moved", "rate_limit", "tag->tpid = bpf_htons(ETH_P_8021AD)",
			"tag->tpid = bpf_htons(ETH_P_8021Q)", "packet"},
		{"a return value", "xdp_firewall", "hlen < sizeof(*ip)",
			"hlen <= sizeof(*ip)", "return value"},
		{"the context", "tc_parser", "p.key.outer_vid << 16", "p.key.outer_vid << 17", "context"},
		{"a map's value", "tc_parser", "s->tcp_flags |= ", "s->tcp_flags ^= ", "map flows["},
		{"a map's key", "sock_stats", ".port = sport,", ".port = dport,", "map resets["},
		{"an LRU map's value", "xdp_lb", "known->packets += 1", "known->packets += 2", "map conns["},
		{"a per-CPU value", "sock_stats", "s->packets += 1", "s->packets += 2", "map protos["},
		{"a locked value", "rate_limit", "t->dropped += 1", "t->dropped += 2", "map tenants["},
		{"global data", "flow_export", "len > longest_options", "len < longest_options", "map .bss["},
		{"a record", "flow_export", "r->time = now;", "r->time = now + 1;", "map records["},
		{"time", "xdp_firewall", "b->until < bpf_ktime_get_ns()",
			"b->until < bpf_ktime_get_ns() + 500000000", ""},
		{"CO-RE", "profiler", "BPF_CORE_READ(t, prio)", "BPF_CORE_READ(t, static_prio) + 1", "map procs["},
		{"a tracepoint's argument", "profiler", "r->flags = ctx->args[2]",
			"r->flags = ctx->args[3]", "map last_open["},
	}
	originals := map[string][]byte{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Find(tt.example)
			if err != nil {
				t.Fatal(err)
			}
			if originals[e.Name] == nil {
				originals[e.Name] = compile(t, e)
			}
			changed := e
			changed.Source = edit(t, e.Source, tt.old, tt.new)
			result, err := Compare(t.Context(), e, originals[e.Name], compile(t, changed), 1000)
			if err != nil {
				t.Fatal(err)
			}
			if result.Equal() {
				t.Fatal("no difference found")
			}
			if got := result.Differences[0]; !strings.HasPrefix(got.What, tt.what) {
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

// TestOtherMaps wants an error that names what is missing where an object is not
// the example's.
func TestOtherMaps(t *testing.T) {
	needBPF(t)
	lb, err := Find("xdp_lb")
	if err != nil {
		t.Fatal(err)
	}
	firewall, err := Find("xdp_firewall")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Compare(t.Context(), lb, compile(t, lb), compile(t, firewall), 1)
	if err == nil || !strings.Contains(err.Error(), `new object: load xdp_lb: no program "xdp_lb"`) {
		t.Errorf("got %v", err)
	}
}
