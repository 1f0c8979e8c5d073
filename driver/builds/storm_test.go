package builds

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/k2cc/k2cc/driver/stats"

	"github.com/k2cc/k2cc/internal/proctest"
)

// small are sources that cost little; the last one the kernel is asked about.
var small = map[string]string{
	"add": "int add(int x, int y) { return x * 2 + y + 1; }\n",
	"mix": "int mix(unsigned char *p) { return p[0] | p[1] << 8 | p[2] << 16 | p[3] << 24; }\n",
	"set": "void set(unsigned *p, unsigned n) { p[0] = n & 7; p[1] = 0; p[2] = 0; }\n",
	"run": `__attribute__((section("socket"), used)) int run(unsigned *skb) { return (skb[0] & 0xff) + 1; }` + "\n",
}

// storm is many builds of the same sources at once.
type storm struct {
	dir         string            // of the sources
	clang, k2cc map[string]string // objects, by source
	env         []string
	usual       atomic.Int64 // nanoseconds that a build takes

	mu       sync.Mutex
	finished int64
	killed   map[syscall.Signal]int // at work
}

// standIn writes in clang's place what clang has written before, as clang does:
// beside the object first, and nothing is left when a signal ends it. It is
// called with -O2 --target=bpf -c NAME.c -o OUT.
const standIn = `#!/bin/sh
for s in INT TERM; do
	trap "trap '' INT TERM; rm -f '$6-$$.tmp'; trap - $s; kill -$s $$" $s
done
sleep 0.05
cp "${4%.c}.clang" "$6-$$.tmp" && mv "$6-$$.tmp" "$6"
`

// TestStorm compiles the same sources 500 times, eight at once, with one
// folder for what k2cc keeps, and kills every second build at some moment.
// Each object has to be whole and right, and so has what k2cc keeps. Clang
// itself, which costs most and cleans up as it likes, is there every fifth time.
func TestStorm(t *testing.T) {
	need(t)
	builds, atOnce := 500, 8
	if testing.Short() {
		builds = 60
	}
	s := newStorm(t)
	numbers := make(chan int)
	var group sync.WaitGroup
	for range atOnce {
		group.Go(func() {
			for i := range numbers {
				if err := s.build(i); err != nil {
					t.Errorf("build %d: %v", i, err)
				}
			}
		})
	}
	for i := range builds {
		numbers <- i
	}
	close(numbers)
	group.Wait()

	t.Logf("of %d builds, killed at work: %v", builds, s.killed)
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		if s.killed[signal] == 0 {
			t.Errorf("no build was at work when it got the signal %v", signal)
		}
	}
	s.checkKept(t, int64(builds))
}

// checkKept wants statistics that missed no build that finished, and objects
// from what k2cc kept that are those from before.
func (s *storm) checkKept(t *testing.T, builds int64) {
	t.Helper()
	var counts stats.Counts
	text := shell(t, s.dir, s.env, "k2cc stats --json")
	if err := json.Unmarshal([]byte(text), &counts); err != nil {
		t.Fatalf("k2cc stats: %v\n%s", err, text)
	}
	if n := counts.Optimised + counts.Unchanged; n < s.finished || n > builds || len(counts.Failed) > 0 {
		t.Errorf("of %d builds %d finished; k2cc stats counts %+v", builds, s.finished, counts)
	}
	for name := range small {
		if object(t, s.dir, s.env, "k2cc", name) != s.k2cc[name] {
			t.Errorf("%s: what k2cc kept leads to another object", name)
		}
	}
}

// newStorm writes the sources and compiles them in peace.
func newStorm(t *testing.T) *storm {
	t.Helper()
	s := &storm{
		dir:    t.TempDir(),
		clang:  map[string]string{},
		k2cc:   map[string]string{},
		env:    []string{"K2CC_CACHE_DIR=" + t.TempDir()},
		killed: map[syscall.Signal]int{},
	}
	if err := os.WriteFile(filepath.Join(s.dir, "stand-in"), []byte(standIn), 0o755); err != nil {
		t.Fatal(err)
	}
	peace := []string{"K2CC_CACHE_DIR=" + t.TempDir()}
	for name, text := range small {
		put(t, filepath.Join(s.dir, name+".c"), text)
		s.clang[name] = object(t, s.dir, peace, "clang", name)
		put(t, filepath.Join(s.dir, name+".clang"), s.clang[name])
		begin := time.Now()
		s.k2cc[name] = object(t, s.dir, peace, "k2cc", name)
		s.usual.Store(int64(time.Since(begin)))
		if err := os.Mkdir(filepath.Join(s.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// object returns the object that a compiler makes of one of the sources.
func object(t *testing.T, dir string, env []string, compiler, name string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.o")
	if got := proctest.Run(t, dir, env, compiler, "-O2", "--target=bpf", "-c", name+".c", "-o", out); got != (proctest.Result{}) {
		t.Fatalf("%s: %+v", compiler, got)
	}
	return get(t, out)
}

// attempt is one of the builds, and how it is to end.
type attempt struct {
	source string
	dir    string         // of the object
	shared bool           // the folder is that of other builds too
	clang  bool           // and no stand-in
	signal syscall.Signal // 0: none
	group  bool           // the signal is for all of its processes
	delay  time.Duration
}

// plan draws a build. Half of them write to a file of their own, the others to
// one for all of the same source. A terminal or a build system sends signals
// to all processes of a build, others to one.
func (s *storm) plan(i int) attempt {
	random := rand.New(rand.NewPCG(5, uint64(i)))
	a := attempt{source: []string{"add", "mix", "set", "run"}[random.IntN(4)]}
	a.shared = random.IntN(2) == 0
	a.clang = i%5 == 0
	a.dir = filepath.Join(s.dir, fmt.Sprint(i))
	if a.shared {
		a.dir = filepath.Join(s.dir, a.source)
	}
	if random.IntN(2) == 0 {
		a.signal = []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL}[random.IntN(3)]
		a.group = random.IntN(2) == 0
		a.delay = time.Duration(random.Float64() * float64(s.usual.Load()))
	}
	return a
}

// build does one of the builds.
func (s *storm) build(i int) error {
	a := s.plan(i)
	if err := os.MkdirAll(a.dir, 0o755); err != nil {
		return err
	}
	cmd := exec.Command("k2cc", "-O2", "--target=bpf", "-c", a.source+".c", "-o", filepath.Join(a.dir, "out.o"))
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), s.env...)
	if !a.clang {
		cmd.Env = append(cmd.Env, "K2CC_CLANG=./stand-in")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	if a.signal != 0 {
		time.AfterFunc(a.delay, func() {
			if !a.group {
				cmd.Process.Signal(a.signal) // knows when the process is gone
			} else if cmd.ProcessState == nil {
				syscall.Kill(-cmd.Process.Pid, a.signal)
			}
		})
	}
	err := cmd.Wait()
	if outlived(cmd) {
		return fmt.Errorf("%+v: processes outlive it", a)
	}
	if err == nil && a.signal == 0 {
		s.usual.Store(int64(time.Since(begin)))
	}
	if err != nil && a.signal == 0 || err == nil && said.Len() > 0 {
		return fmt.Errorf("%+v: %w, said %q", a, err, said.String())
	}
	s.mu.Lock()
	if err != nil {
		s.killed[a.signal]++
	} else {
		s.finished++
	}
	s.mu.Unlock()
	return s.check(a, err == nil)
}

// check looks at what a build left behind.
func (s *storm) check(a attempt, finished bool) error {
	text, err := os.ReadFile(filepath.Join(a.dir, "out.o"))
	// Who is killed after clang was done leaves clang's object.
	clangs := !finished || a.shared
	switch got := string(text); {
	case os.IsNotExist(err) && !finished, err == nil && got == s.k2cc[a.source]:
	case err == nil && got == s.clang[a.source] && clangs:
	case err != nil:
		return fmt.Errorf("%+v, finished: %v: %w", a, finished, err)
	default:
		return fmt.Errorf("%+v, finished: %v: wrong object of %d bytes (clang's: %v)",
			a, finished, len(got), got == s.clang[a.source])
	}
	entries, err := os.ReadDir(a.dir)
	for _, entry := range entries {
		name := entry.Name()
		// A killed process can't clean up, but what it leaves is no object.
		mayStay := a.shared || a.signal == syscall.SIGKILL || a.clang && ofClang(name)
		if name != "out.o" && (!mayStay || strings.HasSuffix(name, ".o")) {
			return fmt.Errorf("%+v: left %s behind", a, name)
		}
	}
	return err
}
