package cache

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

func question(i int) Key { return KeyOf("test", binary.LittleEndian.AppendUint64(nil, uint64(i))) }

// answer is what question i has for an answer, whoever asks.
func answer(i int) []byte { return bytes.Repeat([]byte{byte(i), byte(i >> 8)}, i%300) }

func open(t *testing.T, dir string) *Cache {
	t.Helper()
	c, err := Open(dir, []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func folder(t *testing.T) string { return filepath.Join(t.TempDir(), "answers") }

// fill answers questions 0 to n-1.
func fill(t *testing.T, dir string, n int) {
	t.Helper()
	c := open(t, dir)
	for i := range n {
		c.Put(question(i), answer(i))
	}
	c.Close()
}

// check wants every answer to be right or missing, and counts those that are
// there.
func check(t *testing.T, dir string, n int) (found int) {
	t.Helper()
	c := open(t, dir)
	defer c.Close()
	for i := range n {
		value, ok := c.Get(question(i))
		if ok && !bytes.Equal(value, answer(i)) {
			t.Fatalf("question %d has the answer %x", i, value)
		}
		if ok {
			found++
		}
	}
	return found
}

func TestAnswersOutliveRuns(t *testing.T) {
	dir := folder(t)
	fill(t, dir, 5000)
	if n := check(t, dir, 5000); n < 4990 {
		t.Errorf("%d of 5000 are there", n)
	}
	other, err := Open(dir, []byte("2"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, ok := other.Get(question(1)); ok {
		t.Error("another version finds it as well")
	}
}

func TestNilAndMemoryAlone(t *testing.T) {
	var none *Cache
	none.Put(question(1), nil)
	if _, ok := none.Get(question(1)); ok {
		t.Error("nothing holds something")
	}
	none.Close()
	c := New()
	c.Put(question(1), answer(1))
	if value, ok := c.Get(question(1)); !ok || !bytes.Equal(value, answer(1)) {
		t.Errorf("got %x, %v", value, ok)
	}
	c.Close()
}

func TestKeysTellPartsApart(t *testing.T) {
	if KeyOf("a", []byte("bc")) == KeyOf("a", []byte("b"), []byte("c")) || KeyOf("a", []byte("b")) == KeyOf("b", []byte("b")) {
		t.Error("two questions have one key")
	}
}

// Damage of any kind is a miss.
func TestDamage(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	damages := map[string]func(path string, size int64) error{
		"cut":   func(path string, size int64) error { return os.Truncate(path, rng.Int64N(size+1)) },
		"empty": func(path string, _ int64) error { return os.Truncate(path, 0) },
		"gone":  func(path string, _ int64) error { return os.Remove(path) },
		"noise": func(path string, size int64) error {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			for range 2000 {
				if err == nil {
					_, err = f.WriteAt([]byte{byte(rng.Uint32())}, rng.Int64N(size))
				}
			}
			f.Close()
			return err
		},
	}
	for _, file := range []string{youngName + logExt, youngName + indexExt} {
		for name, damage := range damages {
			t.Run(file+" "+name, func(t *testing.T) {
				dir := folder(t)
				fill(t, dir, 1000)
				path := filepath.Join(dir, file)
				info, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := damage(path, info.Size()); err != nil {
					t.Fatal(err)
				}
				check(t, dir, 1000)
				fill(t, dir, 1000)
				if n := check(t, dir, 1000); n < 800 {
					t.Errorf("after writing anew, %d of 1000 are there", n)
				}
			})
		}
	}
}

// What was used lately stays; the folder keeps to its bound.
func TestAge(t *testing.T) {
	dir := folder(t)
	const limit = 2*indexBytes + 64<<10
	run := func(from, to int) {
		s, err := openStore(dir, limit)
		if err != nil {
			t.Fatal(err)
		}
		c := New()
		c.store, c.version = s, []byte("1")
		c.Get(question(1)) // a favourite
		for i := from; i < to; i++ {
			c.Put(question(i), answer(i))
		}
		c.Close()
	}
	for n := range 20 {
		run(n*400, (n+1)*400)
	}
	var size int64
	for _, name := range []string{youngName, oldName} {
		info, err := os.Stat(filepath.Join(dir, name+logExt))
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size > 2*(32<<10+flushAt) {
		t.Errorf("the logs have %d bytes", size)
	}
	c := open(t, dir)
	defer c.Close()
	if _, ok := c.Get(question(1)); !ok {
		t.Error("what was used all the time is gone")
	}
	if _, ok := c.Get(question(2)); ok {
		t.Error("what was not used for long is still there")
	}
}

func TestOthersMustNotWrite(t *testing.T) {
	for name, mode := range map[string]os.FileMode{"group": 0o770, "all": 0o707} {
		for _, up := range []string{".", ".."} {
			t.Run(name+up, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "k2cc", "answers")
				fill(t, dir, 1)
				if err := os.Chmod(filepath.Join(dir, up), mode); err != nil {
					t.Fatal(err)
				}
				if _, err := Open(dir, nil); err == nil {
					t.Error("no error")
				}
			})
		}
	}
	t.Run("a file", func(t *testing.T) {
		dir := folder(t)
		fill(t, dir, 1)
		if err := os.Chmod(filepath.Join(dir, youngName+logExt), 0o666); err != nil {
			t.Fatal(err)
		}
		if n := check(t, dir, 1); n != 0 {
			t.Error("it is read all the same")
		}
	})
	if os.Geteuid() != 0 {
		return
	}
	t.Run("another owner", func(t *testing.T) {
		dir := folder(t)
		fill(t, dir, 1)
		if err := os.Chown(dir, 1, 1); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, nil); err == nil {
			t.Error("no error")
		}
	})
}

const storyVariable = "K2CC_TEST_CACHE"

// A child of TestManyProcesses.
func TestChild(t *testing.T) {
	dir := os.Getenv(storyVariable)
	if dir == "" {
		t.Skip("for TestManyProcesses")
	}
	from, _ := strconv.Atoi(filepath.Base(dir))
	dir = filepath.Dir(dir)
	for n := 0; ; n++ {
		c := open(t, dir)
		for i := range 200 {
			k := (from*50 + n*37 + i) % 4000
			if value, ok := c.Get(question(k)); ok && !bytes.Equal(value, answer(k)) {
				t.Fatalf("question %d has the answer %x", k, value)
			}
			c.Put(question(k), answer(k))
		}
		c.Close()
	}
}

// Processes that write at the same time, and are killed at any moment, leave
// nothing that is wrong.
func TestManyProcesses(t *testing.T) {
	dir := folder(t)
	rng := rand.New(rand.NewPCG(3, 4))
	var wg sync.WaitGroup
	for i := range 24 {
		life := time.Duration(100+rng.IntN(400)) * time.Millisecond
		cmd := exec.Command(os.Args[0], "-test.run", "^TestChild$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s/%d", storyVariable, dir, i))
		var out bytes.Buffer
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			time.Sleep(life)
			_ = cmd.Process.Kill()
			if _ = cmd.Wait(); bytes.Contains(out.Bytes(), []byte("FAIL")) {
				t.Errorf("%s", out.String())
			}
		})
	}
	wg.Wait()
	if n := check(t, dir, 4000); n == 0 {
		t.Error("nothing is there")
	}
}
