// Package stats counts what was done over all runs of k2cc, in one file that
// many processes share.
package stats

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/k2cc/k2cc/internal/lockfile"
)

// FileName is the file's name in the cache directory.
const FileName = "stats.json"

// Counts is what the file holds.
type Counts struct {
	Since time.Time `json:"since"` // when counting began
	// Objects that were optimised, and those in which there was nothing to gain.
	Optimised int64 `json:"optimised"`
	Unchanged int64 `json:"unchanged"`
	// Failed counts objects that could not be optimised, or not all of them, by
	// the kind of reason.
	Failed map[string]int64 `json:"failed"`
	// Left counts calls that were clang's alone, by the reason.
	Left map[string]int64 `json:"left_to_clang"`
	// OutOfTime counts objects of which a part was not looked at since time ran
	// out, Unsearched those in which the counted budget for search was spent.
	OutOfTime  int64 `json:"out_of_time"`
	Unsearched int64 `json:"unsearched"`
	// Slots of 8 bytes in the objects that were looked at.
	SlotsBefore int64 `json:"slots_before"`
	SlotsAfter  int64 `json:"slots_after"`
}

// Store is the file in a cache directory. Without a directory, nothing is kept.
type Store struct{ Dir string }

// Add changes the counts. It waits for other processes that do.
func (s Store) Add(change func(*Counts)) error {
	if s.Dir == "" {
		return errors.New("keep statistics: no folder for them")
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return fmt.Errorf("keep statistics: %w", err)
	}
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	c, err := s.Read()
	if err != nil {
		return err
	}
	change(&c)
	return s.write(c)
}

// Zero begins to count anew.
func (s Store) Zero() error {
	return s.Add(func(c *Counts) { *c = empty() })
}

// Read returns the counts. A file that is missing or does not hold counts
// stands for none.
func (s Store) Read() (Counts, error) {
	c := empty()
	if s.Dir == "" {
		return c, nil
	}
	text, err := os.ReadFile(filepath.Join(s.Dir, FileName))
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read statistics: %w", err)
	}
	if json.Unmarshal(text, &c) != nil || c.Failed == nil || c.Left == nil {
		return empty(), nil
	}
	return c, nil
}

func empty() Counts {
	return Counts{Since: time.Now().UTC().Truncate(time.Second), Failed: map[string]int64{}, Left: map[string]int64{}}
}

// write replaces the file in one step.
func (s Store) write(c Counts) error {
	text, err := json.MarshalIndent(c, "", "\t")
	if err != nil {
		return fmt.Errorf("keep statistics: %w", err)
	}
	// Only who holds the lock writes, so that the name is free; what a killed
	// process left there is written over.
	temp := filepath.Join(s.Dir, "."+FileName)
	err = os.WriteFile(temp, append(text, '\n'), 0o644)
	if err == nil {
		err = os.Rename(temp, filepath.Join(s.Dir, FileName))
	}
	if err != nil {
		os.Remove(temp)
		return fmt.Errorf("keep statistics: %w", err)
	}
	return nil
}

// lock keeps other processes out.
func (s Store) lock() (unlock func(), err error) {
	unlock, err = lockfile.Lock(filepath.Join(s.Dir, FileName+".lock"))
	if err != nil {
		return nil, fmt.Errorf("lock statistics: %w", err)
	}
	return unlock, nil
}
