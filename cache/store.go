package cache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/k2cc/k2cc/internal/lockfile"
)

// maxBytes bounds the folder: two generations of answers, each half of it, with
// their indices.
const maxBytes = 256 << 20

// store is a folder with two generations of files. The young one grows until it
// has half of the room; then it becomes the old one, and what was old goes. What
// is found in the old one is written to the young one again, so that what goes
// was not used for a long time.
//
// A generation is a log of answers, to which is only ever added, and an index: a
// hash table of places in the log. Writers hold a lock; readers need none, since
// a record of the log says whether it is whole and what it answers.
type store struct {
	dir   string
	limit int64 // bytes of one generation's log

	mu     sync.Mutex
	young  *generation
	old    *generation
	closed bool
}

// The files of the folder.
const (
	youngName = "young"
	oldName   = "old"
	lockName  = "lock"
	logExt    = ".log"
	indexExt  = ".index"
)

func openStore(dir string, limit int64) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the cache: %w", err)
	}
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := private(d); err != nil {
			return nil, err
		}
	}
	s := &store{dir: dir, limit: limit/2 - indexBytes}
	s.reopen()
	return s, nil
}

// private tells whether nobody but the user can write to a file or folder.
func private(path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fmt.Errorf("look at the cache: %w", err)
	}
	switch {
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("the cache is not used: %s belongs to somebody else", path)
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		return fmt.Errorf("the cache is not used: %s is a link", path)
	case st.Mode&0o022 != 0:
		return fmt.Errorf("the cache is not used: others may write to %s", path)
	}
	return nil
}

// reopen opens the generations that there are now.
func (s *store) reopen() {
	s.young.close()
	s.old.close()
	s.young = openGeneration(filepath.Join(s.dir, youngName), os.O_RDONLY)
	s.old = openGeneration(filepath.Join(s.dir, oldName), os.O_RDONLY)
}

func (s *store) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.young.close()
	s.old.close()
	s.young, s.old, s.closed = nil, nil, true
}

// get finds an answer, and tells whether it is in the old generation.
func (s *store) get(k Key) (value []byte, old, ok bool) {
	s.mu.Lock()
	young, elder := s.young, s.old
	s.mu.Unlock()
	if value, ok = young.get(k); ok {
		return value, false, true
	}
	value, ok = elder.get(k)
	return value, true, ok
}

// add writes answers.
func (s *store) add(entries []entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(entries) == 0 || s.closed {
		return nil
	}
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	base := filepath.Join(s.dir, youngName)
	g := openGeneration(base, os.O_RDWR|os.O_CREATE)
	if g == nil {
		return errors.New("open the cache's files")
	}
	if g.size() > s.limit {
		g.close()
		s.age()
		if g = openGeneration(base, os.O_RDWR|os.O_CREATE); g == nil {
			return errors.New("open the cache's files")
		}
	}
	err = g.add(entries)
	g.close()
	s.reopen()
	return err
}

// age makes the young generation the old one. A process that ends in between
// leaves a log without its index, or an index with places in another log, which
// are misses.
func (s *store) age() {
	for _, ext := range []string{indexExt, logExt} {
		path := func(name string) string { return filepath.Join(s.dir, name+ext) }
		// Some file systems write a file to the disk when its name replaces another.
		os.Remove(path(oldName))
		if os.Rename(path(youngName), path(oldName)) != nil {
			os.Remove(path(youngName))
		}
	}
}

// lock keeps other processes from writing.
func (s *store) lock() (unlock func(), err error) {
	unlock, err = lockfile.Lock(filepath.Join(s.dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("lock the cache: %w", err)
	}
	return unlock, nil
}

// generation is a log and its index, open. A nil generation holds nothing.
type generation struct{ log, index *os.File }

// openGeneration is nil where the files can't be had, or are not the user's own.
func openGeneration(base string, flags int) *generation {
	log, err := os.OpenFile(base+logExt, flags|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil
	}
	index, err := os.OpenFile(base+indexExt, flags|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		log.Close()
		return nil
	}
	g := &generation{log, index}
	if private(log.Name()) != nil || private(index.Name()) != nil {
		g.close()
		return nil
	}
	return g
}

func (g *generation) close() {
	if g != nil {
		g.log.Close()
		g.index.Close()
	}
}

func (g *generation) size() int64 {
	info, err := g.log.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// The index is buckets of slots. A slot holds one more than an answer's place in
// the log; zero is none. A key's first bytes tell its bucket, so that slots need
// no more than the place: with so few slots in use there is little to read in
// vain.
const (
	numBuckets  = 1 << 18
	bucketSlots = 8
	slotBytes   = 8
	bucketBytes = bucketSlots * slotBytes
	indexBytes  = numBuckets * bucketBytes
	placeBits   = 40 // of a slot; those above are from the key
)

func bucketOf(k Key) int64 {
	return int64(binary.LittleEndian.Uint64(k[:])%numBuckets) * bucketBytes
}

// tag is what a slot has of its key.
func tag(k Key) uint64 { return binary.LittleEndian.Uint64(k[8:]) >> placeBits << placeBits }

// record is an answer in the log: its length, a checksum of key and value, the
// key, the value.
const (
	headerBytes = 4 + 4 + len(Key{})
	maxValue    = 16 << 20 // of a value; a longer length is damage
)

var crcTable = crc32.MakeTable(crc32.Castagnoli)

func checksum(k Key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(k[:], crcTable), crcTable, value)
}

func (g *generation) get(k Key) ([]byte, bool) {
	if g == nil {
		return nil, false
	}
	var bucket [bucketBytes]byte
	if _, err := g.index.ReadAt(bucket[:], bucketOf(k)); err != nil {
		return nil, false
	}
	for i := range bucketSlots {
		slot := binary.LittleEndian.Uint64(bucket[i*slotBytes:])
		if slot == 0 || (slot^tag(k))>>placeBits != 0 {
			continue
		}
		if value, ok := g.read(k, int64(slot&(1<<placeBits-1))-1); ok {
			return value, true
		}
	}
	return nil, false
}

// read reads the answer at a place of the log, if it is whole and k's.
func (g *generation) read(k Key, at int64) ([]byte, bool) {
	var header [headerBytes]byte
	if _, err := g.log.ReadAt(header[:], at); err != nil {
		return nil, false
	}
	n := binary.LittleEndian.Uint32(header[:])
	if n > maxValue || !bytes.Equal(header[8:], k[:]) {
		return nil, false
	}
	value := make([]byte, n)
	if _, err := g.log.ReadAt(value, at+int64(headerBytes)); err != nil {
		return nil, false
	}
	return value, checksum(k, value) == binary.LittleEndian.Uint32(header[4:])
}

// add appends answers that are new to the log, and then tells the index of them.
func (g *generation) add(entries []entry) error {
	end := g.size()
	var text []byte
	places := make([]int64, len(entries))
	for i, e := range entries {
		places[i] = -1
		if _, known := g.get(e.key); known || len(e.value) > maxValue {
			continue
		}
		places[i] = end + int64(len(text))
		text = binary.LittleEndian.AppendUint32(text, uint32(len(e.value)))
		text = binary.LittleEndian.AppendUint32(text, checksum(e.key, e.value))
		text = append(append(text, e.key[:]...), e.value...)
	}
	if _, err := g.log.WriteAt(text, end); err != nil {
		return fmt.Errorf("write to the cache: %w", err)
	}
	for i, e := range entries {
		if places[i] < 0 {
			continue
		}
		if err := g.enter(e.key, places[i]); err != nil {
			return fmt.Errorf("write to the cache: %w", err)
		}
	}
	return nil
}

// enter puts a place into the key's bucket. Where that is full, it takes the
// place of another.
func (g *generation) enter(k Key, at int64) error {
	var bucket [bucketBytes]byte
	start := bucketOf(k)
	if info, err := g.index.Stat(); err != nil {
		return err
	} else if info.Size() < indexBytes {
		if err := g.index.Truncate(indexBytes); err != nil {
			return err
		}
	}
	if _, err := g.index.ReadAt(bucket[:], start); err != nil {
		return err
	}
	free := int(k[31]) % bucketSlots
	for i := range bucketSlots {
		if binary.LittleEndian.Uint64(bucket[i*slotBytes:]) == 0 {
			free = i
			break
		}
	}
	var slot [slotBytes]byte
	binary.LittleEndian.PutUint64(slot[:], tag(k)|uint64(at+1))
	_, err := g.index.WriteAt(slot[:], start+int64(free*slotBytes))
	return err
}
