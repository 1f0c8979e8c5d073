// Package cache keeps what k2cc found out, by the hash of the question: within
// a run in memory, and from one run to the next in a folder that many processes
// share. Whatever is wrong with the folder is a miss and no more.
package cache

import (
	"crypto/sha256"
	"fmt"
	"sync"
)

// Key is the hash of a question. Everything that the answer depends on has to
// be in it, but for k2cc's own code.
type Key [sha256.Size]byte

// KeyOf hashes the parts of a question. kind names the kind of question.
func KeyOf(kind string, parts ...[]byte) Key {
	h := sha256.New()
	for _, p := range append([][]byte{[]byte(kind)}, parts...) {
		fmt.Fprint(h, len(p), ":")
		h.Write(p)
	}
	return Key(h.Sum(nil))
}

// Cache holds answers. It is safe for use by several goroutines. A nil Cache
// holds nothing.
type Cache struct {
	version []byte
	store   *store // nil where answers are kept in memory alone

	mu      sync.Mutex
	known   map[Key][]byte
	pending []entry // for the store
	size    int     // of pending, in bytes
}

// entry is an answer as the store has it.
type entry struct {
	key   Key
	value []byte
}

// New is a cache for one run.
func New() *Cache { return &Cache{known: map[Key][]byte{}} }

// Open is a cache over a folder, for answers of k2cc's code of one version: what
// other versions left there is not found. It fails where others than the user
// could have written to the folder.
func Open(dir string, version []byte) (*Cache, error) {
	s, err := openStore(dir, maxBytes)
	if err != nil {
		return nil, err
	}
	c := New()
	c.store, c.version = s, version
	return c, nil
}

// Get returns the answer to a question, if it is known. It must not be changed.
func (c *Cache) Get(k Key) ([]byte, bool) {
	if c == nil {
		return nil, false
	}
	c.mu.Lock()
	value, ok := c.known[k]
	c.mu.Unlock()
	if ok || c.store == nil {
		return value, ok
	}
	stored := c.salted(k)
	value, old, ok := c.store.get(stored)
	if !ok {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[k] = value
	if old {
		c.keep(entry{stored, value})
	}
	return value, true
}

// Put keeps an answer. It must not be changed afterwards.
func (c *Cache) Put(k Key, value []byte) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.known[k]; ok {
		return
	}
	c.known[k] = value
	if c.store != nil {
		c.keep(entry{c.salted(k), value})
	}
}

// Len is how many answers are in memory.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.known)
}

// flushAt is how many bytes are held back at most: a run that is killed loses
// what it has found since the last were written.
const flushAt = 256 << 10

func (c *Cache) keep(e entry) {
	c.pending = append(c.pending, e)
	if c.size += len(e.value); c.size >= flushAt {
		c.flush()
	}
}

// flush hands what is new to the store. What can't be written is lost, and will
// be found out again.
func (c *Cache) flush() {
	_ = c.store.add(c.pending)
	c.pending, c.size = nil, 0
}

// Close writes what is new.
func (c *Cache) Close() {
	if c == nil || c.store == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flush()
	c.store.close()
	c.store = nil
}

func (c *Cache) salted(k Key) Key { return KeyOf("version", c.version, k[:]) }
