package interp

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/semantics"
	"github.com/k2cc/k2cc/examples"
)

// one is a runner of a single program with a hash map, a trie and read-only
// data, whose symbols are @1, @2 and @3.
func one(t *testing.T, src string) *Runner {
	t.Helper()
	blocks, err := bpf.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	r := &Runner{
		memory: newMemory(), tables: map[string]*table{}, handles: map[uint64]*table{},
		codes: map[uint64]*bpf.Function{}, core: map[string]uint64{},
	}
	r.functions = map[string]*bpf.Function{"test": {Name: "test", Blocks: blocks, Symbols: []bpf.Symbol{
		{Kind: bpf.SymbolMap, Name: "hash"}, {Kind: bpf.SymbolMap, Name: "trie"}, {Kind: bpf.SymbolData, Name: ".rodata+4"},
	}}}
	err = r.loadMaps(find(t, "profiler"), &ebpf.CollectionSpec{Maps: map[string]*ebpf.MapSpec{
		"hash":    {Name: "hash", Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 2},
		"trie":    {Name: "trie", Type: ebpf.LPMTrie, KeySize: 8, ValueSize: 4, MaxEntries: 9},
		".rodata": {Name: ".rodata", Type: ebpf.Array, KeySize: 4, ValueSize: 12, MaxEntries: 1},
	}}, seed)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *Runner) runTest(kind ebpf.ProgramType) (examples.Output, error) {
	in := examples.Input{Data: make([]byte, 20), Context: make([]byte, 72)}
	return r.Run(examples.Program{Name: "test", Type: kind}, in)
}

// A program that goes where it must not fails with the instruction at fault.
func TestFaults(t *testing.T) {
	tests := []struct{ name, src, instruction, want string }{
		{"above the stack", "*(u64 *)(r10 - 4) = r1", "*(u64 *)(r10 - 4) = r1", "of stack"},
		{"below the stack", "*(u8 *)(r10 - 513) = r1", "*(u8 *)(r10 - 513) = r1", "of stack"},
		{"behind the context", "r0 = *(u32 *)(r1 + 70)", "r0 = *(u32 *)(r1 + 70)", "of context"},
		{"nowhere", "r2 = 0\nr0 = *(u32 *)(r2 + 0)", "r0 = *(u32 *)(r2 + 0)", "0x0"},
		{"a map's address", "r2 = @1 ll\nr0 = *(u32 *)(r2 + 0)", "r0 = *(u32 *)(r2 + 0)", "of map hash"},
		{"behind data", "r2 = @3 ll\nr0 = *(u64 *)(r2 + 4)", "r0 = *(u64 *)(r2 + 4)", "of .rodata"},
		{"read-only data", "r2 = @3 ll\n*(u32 *)(r2 + 0) = r1", "*(u32 *)(r2 + 0) = r1", "read-only"},
		{"a key outside", "r1 = @1 ll\nr2 = r10\nr2 += -3\ncall 1", "call 1", "key of map hash"},
		{"a value outside", "r1 = @1 ll\nr2 = r10\nr2 += -4\nr3 = r2\nr4 = 0\ncall 2", "call 2", "value for map hash"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := one(t, tt.src+"\nr0 = 0\nexit")
			_, err := r.runTest(ebpf.CGroupSockAddr)
			if !errors.Is(err, semantics.ErrFault) {
				t.Fatalf("got %v, want %v", err, semantics.ErrFault)
			}
			for _, want := range []string{tt.instruction, tt.want} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

// What is not modelled, and what the verifier would refuse, is an error.
func TestErrors(t *testing.T) {
	tests := []struct{ name, src, want string }{
		{"an unknown helper", "call 9999", "helper 9999, which is unknown, is not modelled"},
		{"a helper that is not modelled", "call 51", "helper 51, redirect_map, is not modelled"},
		{"no map", "r1 = 5\ncall 1", "0x5 is no map"},
		{"a lock left held", "r1 = r10\nr1 += -4\ncall 93", "a lock is left held"},
		{"no record", "r1 = r10\nr2 = 0\ncall 132", "not a reserved record"},
		{"no function", "r1 = 1\nr2 = 7\nr3 = 0\nr4 = 0\ncall 181", "no function"},
		{"a kfunc", "r0 = 0\n.insn 0x85 0 2 0 5 0 0", "nothing answers this call"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := one(t, tt.src+"\nr0 = 0\nexit").runTest(ebpf.CGroupSockAddr)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestHelpers wants what a helper returns.
func TestHelpers(t *testing.T) {
	const update = "r1 = @1 ll\nr2 = r10\nr2 += -8\nr3 = r10\nr3 += -16\n"
	tests := []struct {
		name, src string
		want      int32
	}{
		{"delete what is not there", "*(u32 *)(r10 - 8) = 1\nr1 = @1 ll\nr2 = r10\nr2 += -8\ncall 3", -2},
		{"update only what is there", "*(u64 *)(r10 - 8) = 1\n" + update + "r4 = 2\ncall 2", -2},
		{"insert only what is not there", "*(u64 *)(r10 - 8) = 1\n" + update + "r4 = 0\ncall 2\n" + update + "r4 = 1\ncall 2", -17},
		{"flags that there are not", "*(u64 *)(r10 - 8) = 1\n" + update + "r4 = 3\ncall 2", -22},
		{"a full map", "*(u64 *)(r10 - 8) = 1\n" + update + "r4 = 0\ncall 2\n*(u64 *)(r10 - 8) = 2\n" + update +
			"r4 = 0\ncall 2\n*(u64 *)(r10 - 8) = 3\n" + update + "r4 = 0\ncall 2", -7},
		{"a value that was put", "*(u64 *)(r10 - 8) = 1\n*(u64 *)(r10 - 16) = 77\n" + update +
			"r4 = 0\ncall 2\nr1 = @1 ll\nr2 = r10\nr2 += -8\ncall 1\nr0 = *(u64 *)(r0 + 0)", 77},
		{"reading from nowhere", "*(u32 *)(r10 - 8) = 1\nr1 = r10\nr1 += -8\nr2 = 4\nr3 = 64\ncall 113\nr0 = *(u32 *)(r10 - 8)", 0},
		{"reading from nowhere fails", "r1 = r10\nr1 += -8\nr2 = 4\nr3 = 64\ncall 113", -14},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := one(t, tt.src+"\nexit").runTest(ebpf.CGroupSockAddr)
			if err != nil || int32(out.Return) != tt.want {
				t.Errorf("got %d, %v, want %d", int32(out.Return), err, tt.want)
			}
		})
	}
}

// A packet may grow into its headroom and no further, and be cut down to an
// Ethernet header.
func TestAdjustHead(t *testing.T) {
	for delta, want := range map[int]int32{-216: 0, -217: -22, 6: 0, 7: -22} {
		r := one(t, "r2 = "+strconv.Itoa(delta)+"\ncall 44\nexit")
		out, err := r.runTest(ebpf.XDP)
		if err != nil || int32(out.Return) != want {
			t.Errorf("by %d: got %d, %v, want %d", delta, int32(out.Return), err, want)
		}
		if want == 0 && len(out.Data) != 20-delta {
			t.Errorf("by %d: %d bytes", delta, len(out.Data))
		}
	}
}

// Nothing that one run leaves on the stack, or reads there unwritten, is what
// the next one finds.
func TestStackIsForgotten(t *testing.T) {
	r := one(t, "r0 = *(u32 *)(r10 - 8)\n*(u32 *)(r10 - 8) = 7\nexit")
	p := examples.Program{Name: "test", Type: ebpf.CGroupSockAddr}
	seen := map[uint32]bool{}
	for i := range uint32(4) {
		out, err := r.Run(p, examples.Input{Random: i})
		if err != nil {
			t.Fatal(err)
		}
		seen[out.Return] = true
	}
	if len(seen) != 4 || seen[7] {
		t.Errorf("saw %v", seen)
	}
}

// A trie finds the longest prefix, whatever bits follow it in the key.
func TestLongestPrefix(t *testing.T) {
	r := one(t, "r0 = 0\nexit")
	trie := r.tables["trie"]
	key := func(bits uint32, addr ...byte) []byte { return append(number(bits), addr...) }
	for _, p := range []struct {
		key   []byte
		value byte
	}{{key(8, 10, 9, 9, 9), 1}, {key(12, 10, 0x1f, 9, 9), 2}, {key(32, 10, 16, 0, 1), 3}} {
		if e := trie.update(p.key, []byte{p.value, 0, 0, 0}, updateAny); e != 0 {
			t.Fatal(e)
		}
	}
	for _, tt := range []struct {
		key  []byte
		want byte
	}{
		{key(32, 10, 16, 0, 1), 3}, {key(32, 10, 16, 0, 2), 2}, {key(32, 10, 32, 0, 1), 1},
		{key(31, 10, 16, 0, 1), 2}, {key(32, 11, 0, 0, 0), 0},
	} {
		var got byte
		if value := trie.lookup(tt.key); value != nil {
			got = r.memory.bytes(value)[0]
		}
		if got != tt.want {
			t.Errorf("%x: got %d, want %d", tt.key, got, tt.want)
		}
	}
	if e := trie.update(key(33, 0, 0, 0, 0), make([]byte, 4), updateAny); e != eINVAL {
		t.Errorf("a prefix that is too long: %d", e)
	}
}

// An LRU map that is full forgets what was not used for longest.
func TestForget(t *testing.T) {
	table, err := newTable(&ebpf.MapSpec{Name: "m", Type: ebpf.LRUHash, KeySize: 1, ValueSize: 1, MaxEntries: 2}, newMemory())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range "abac" {
		if table.lookup([]byte{byte(key)}) == nil {
			table.update([]byte{byte(key)}, []byte{0}, updateAny)
		}
	}
	if len(table.elements) != 2 || table.elements["b"] != nil {
		t.Errorf("left are %v", table.elements)
	}
}

// What is modelled of a ring buffer's size is what the kernel makes of it.
func TestFullRing(t *testing.T) {
	ring, err := newTable(&ebpf.MapSpec{Name: "r", Type: ebpf.RingBuf, MaxEntries: 4096}, newMemory())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ring.reserve(120) != nil {
		n++
	}
	if n != 31 {
		t.Errorf("%d records of 128 bytes in 4096, want 31", n)
	}
}
