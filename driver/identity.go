package driver

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/k2cc/k2cc/cache"
)

// openCache opens the cache in the folder for what outlives a run. Where that
// can't be used it says why, and the cache is for this run alone.
func openCache(dir string) (*cache.Cache, string) {
	if dir == "" {
		return cache.New(), ""
	}
	version, err := identity()
	if err != nil {
		return cache.New(), fmt.Sprintf("the cache is not used: %v", err)
	}
	c, err := cache.Open(filepath.Join(dir, "answers"), version)
	if err != nil {
		return cache.New(), err.Error()
	}
	return c, ""
}

// identity tells this k2cc from all others: no answer of one that has other code,
// or another prover, may be taken for its own.
func identity() ([]byte, error) {
	files := []string{"/proc/self/exe"}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, fmt.Errorf("find the libraries in use: %w", err)
	}
	last := ""
	for line := range strings.Lines(string(maps)) {
		fields := strings.Fields(line)
		if len(fields) == 6 && fields[5] != last && strings.Contains(filepath.Base(fields[5]), "libz3") {
			last = fields[5]
			files = append(files, last)
		}
	}
	var out []byte
	for _, name := range files {
		id, err := buildID(name)
		if err != nil {
			return nil, fmt.Errorf("identify %s: %w", name, err)
		}
		out = fmt.Appendf(out, "%x\n", id)
	}
	return out, nil
}

// buildID is what tells a program or library from others: the identity that its
// linker gave it, or else the hash of the file.
func buildID(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if e, err := elf.NewFile(f); err == nil {
		// Go's identity is a hash of all that went into the program; the other
		// one is a part of it at best.
		for _, section := range []string{".note.go.buildid", ".note.gnu.build-id"} {
			s := e.Section(section)
			if s == nil {
				continue
			}
			if id, err := s.Data(); err == nil && len(id) > noteHeader && bytes.Trim(id[noteHeader:], "\x00") != nil {
				return id, nil
			}
		}
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, 1<<62)); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}

// noteHeader is the size of an ELF note's header with its owner's name, "Go" or
// "GNU".
const noteHeader = 16
