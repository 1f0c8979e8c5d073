package driver

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/k2cc/k2cc/examples"
	"github.com/k2cc/k2cc/toml"
)

// example is the object of one of the project's own programs.
func example(t testing.TB, name string) []byte {
	t.Helper()
	clang := needClang(t)
	out := filepath.Join(t.TempDir(), name+".o")
	source := filepath.Join("..", "examples", name, name+".bpf.c")
	if r := runIn(t, ".", clang, append(examples.Flags(), "-c", source, "-o", out)...); r.code != 0 {
		t.Fatal(r.errors)
	}
	return []byte(get(t, out))
}

// The same object comes out whatever the cache holds, and however many windows
// are looked at at once.
func TestSameObjectWhateverTheCacheHolds(t *testing.T) {
	object := example(t, "rate_limit")
	dir := filepath.Join(t.TempDir(), "k2cc")
	config := toml.Default()
	optimise := func(dir string, workers int) []byte {
		t.Helper()
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(workers))
		c, unusable := openCache(dir)
		if unusable != "" {
			t.Fatal(unusable)
		}
		defer c.Close()
		out, rep, err := Optimize(t.Context(), object, Options{Config: config, Cache: c})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range rep.Functions {
			if f.OutOfTime {
				t.Skip("this machine is too slow to tell")
			}
		}
		return out
	}
	cold := optimise(dir, 1)
	if bytes.Equal(cold, object) {
		t.Error("nothing was made better")
	}
	if !bytes.Equal(cold, optimise(dir, 2)) {
		t.Error("another object with what the first run found")
	}
	log := filepath.Join(dir, "answers", "young.log")
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3 {
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		for range 60 {
			text[rng.IntN(len(text))] ^= 0x55
		}
		if err := os.WriteFile(log, text[:len(text)-rng.IntN(len(text)/4)], 0o600); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(cold, optimise(dir, 2)) {
			t.Error("another object with a part of what was found")
		}
	}
	if !bytes.Equal(cold, optimise(filepath.Join(t.TempDir(), "k2cc"), 8)) {
		t.Error("another object with eight workers")
	}
}

// A cache that answers wrongly is seen: the test above can fail.
func TestCacheIsUsed(t *testing.T) {
	object := example(t, "rate_limit")
	config := toml.Default()
	config.Effort = toml.EffortFast
	c, _ := openCache("")
	out, _, err := Optimize(t.Context(), object, Options{Config: config, Cache: c})
	if err != nil {
		t.Fatal(err)
	}
	fresh, _ := openCache("")
	if c.Len() == 0 || fresh.Len() != 0 {
		t.Errorf("%d answers kept, %d before any question", c.Len(), fresh.Len())
	}
	n := c.Len()
	again, _, err := Optimize(t.Context(), object, Options{Config: config, Cache: c})
	if err != nil || !bytes.Equal(out, again) || c.Len() != n {
		t.Errorf("%v: %d answers after the same questions, %d before", err, c.Len(), n)
	}
}

// Settings that change what is found are part of the question.
func TestEffort(t *testing.T) {
	object := example(t, "rate_limit")
	c, _ := openCache("")
	tried := map[toml.Effort]bool{}
	for _, effort := range []toml.Effort{toml.EffortFast, toml.EffortNormal} {
		config := toml.Default()
		config.Effort = effort
		_, rep, err := Optimize(t.Context(), object, Options{Config: config, Cache: c})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range rep.Functions {
			if f.Passes["enumerate"].Work > 0 {
				tried[effort] = true
			}
		}
		if rep.Kernel != "" {
			t.Skip(rep.Kernel) // and nothing is searched
		}
	}
	if tried[toml.EffortFast] || !tried[toml.EffortNormal] {
		t.Errorf("searched with %v", tried)
	}
}
