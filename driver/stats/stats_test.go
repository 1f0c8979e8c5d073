package stats

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// TestMain adds to the statistics if it is told to, for tests with processes.
func TestMain(m *testing.M) {
	if dir := os.Getenv("STATS_TEST_DIR"); dir != "" {
		for range 50 {
			if err := (Store{dir}).Add(func(c *Counts) { c.Optimised++; c.Left["x"]++ }); err != nil {
				panic(err)
			}
		}
		return
	}
	os.Exit(m.Run())
}

func TestManyProcesses(t *testing.T) {
	s := Store{filepath.Join(t.TempDir(), "new")}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "STATS_TEST_DIR="+s.Dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	all.Wait()
	c, err := s.Read()
	if err != nil || c.Optimised != 400 || c.Left["x"] != 400 {
		t.Errorf("got %+v, %v", c, err)
	}
	if err := s.Zero(); err != nil {
		t.Fatal(err)
	}
	if c, err := s.Read(); err != nil || c.Optimised != 0 || len(c.Left) != 0 || c.Since.IsZero() {
		t.Errorf("zeroed: got %+v, %v", c, err)
	}
}

func TestBrokenFileCountsAsNone(t *testing.T) {
	s := Store{t.TempDir()}
	for _, text := range []string{"", "{", "null", `{"optimised": "x"}`} {
		if err := os.WriteFile(filepath.Join(s.Dir, FileName), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := s.Add(func(c *Counts) { c.Unchanged++ }); err != nil {
			t.Fatal(err)
		}
		if c, err := s.Read(); err != nil || c.Unchanged != 1 {
			t.Errorf("%q: got %+v, %v", text, c, err)
		}
	}
}

func TestNoPlaceToKeep(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := (Store{filepath.Join(file, "x")}).Add(func(*Counts) {}); err == nil {
		t.Error("no error below a file")
	}
}
