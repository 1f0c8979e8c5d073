package llvm

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/k2cc/k2cc/examples"

	"github.com/k2cc/k2cc/internal/proctest"
)

// Programs with packed headers load and do the same on random packets with
// passes on IR as without.
func TestPackedPrograms(t *testing.T) {
	proctest.Need(t, "clang-22")
	proctest.NeedKernel(t)
	files, err := filepath.Glob("packed/*.bpf.c")
	if err != nil || len(files) == 0 {
		t.Fatalf("found no programs: %v", err)
	}
	env := []string{"K2CC_RUNS=clang-22", "K2CC_RUNS_PASSES=k2-merge,k2-widen"}
	for _, file := range files {
		for _, level := range []string{"v1", "v2", "v3", "v4"} {
			if !*all && level != "v1" && level != "v4" {
				continue
			}
			t.Run(file+" "+level, func(t *testing.T) {
				args := append(examples.Flags(), "-Wall", "-Wextra", "-mcpu="+level, "-c", filepath.Base(file))
				clangs := compile(t, filepath.Dir(file), nil, "clang-22", args...)
				ours := compile(t, filepath.Dir(file), env, "clang-22", withPlugin(t, args...)...)
				if len(ours) >= len(clangs) {
					t.Errorf("%d bytes with passes, %d without", len(ours), len(clangs))
				}
				runBoth(t, load(t, clangs), load(t, ours))
			})
		}
	}
}

// load loads an object with one program.
func load(t *testing.T, object string) *ebpf.Collection {
	t.Helper()
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader([]byte(object)))
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(loaded.Close)
	return loaded
}

// runBoth runs two programs on random packets, some of which repeat what others
// hold, and compares what they leave in packets and maps.
func runBoth(t *testing.T, a, b *ebpf.Collection) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		packet := make([]byte, 56+random.IntN(32))
		for i := range packet {
			packet[i] = byte(random.IntN(3)) * byte(random.IntN(256))
		}
		returned, out := runOne(t, a, packet)
		if again, outAgain := runOne(t, b, packet); returned != again || !bytes.Equal(out, outAgain) {
			t.Fatalf("packet %x: returns %d and %d\n%x\n%x", packet, returned, again, out, outAgain)
		}
	}
	for name, m := range a.Maps {
		if x, y := contents(t, m), contents(t, b.Maps[name]); x != y {
			t.Errorf("map %s differs\n%x\n%x", name, x, y)
		}
	}
}

func runOne(t *testing.T, c *ebpf.Collection, packet []byte) (uint32, []byte) {
	t.Helper()
	for _, p := range c.Programs {
		returned, out, err := p.Test(packet)
		if err != nil {
			t.Fatal(err)
		}
		return returned, out
	}
	return 0, nil
}

// contents are a map's keys and values, in the order of its keys as text.
func contents(t *testing.T, m *ebpf.Map) string {
	t.Helper()
	var key, value []byte
	sorted := map[string]string{}
	for entries := m.Iterate(); entries.Next(&key, &value); {
		sorted[string(key)] = string(value)
	}
	return fmt.Sprintf("%x", sorted)
}
