package verify

import (
	"context"
	"errors"
	"fmt"
)

// Verdict is what a new object makes of a program that the old one had.
type Verdict uint8

// The verdicts on a program.
const (
	Unknown Verdict = iota // not even the old one could be loaded here
	Kept                   // accepted before and after
	Broken                 // accepted before, and no longer
)

func (v Verdict) String() string {
	return [...]string{"unknown", "kept", "broken"}[v]
}

// Comparison is one program before and after.
type Comparison struct {
	Name     string
	Verdict  Verdict
	Reason   string // for Unknown why the old one didn't load, for Broken the new one
	Old, New ProgramResult
}

// Compare is Loader.Compare for a single pair.
func Compare(ctx context.Context, old, new []byte) ([]Comparison, error) {
	return NewLoader().Compare(ctx, old, new)
}

// Compare loads both objects, one after the other, and compares the programs
// of the old one. A program that the old object can't load here says nothing
// about the new one. An error means that the old object couldn't be asked
// about, or that ctx has ended.
func (l *Loader) Compare(ctx context.Context, old, new []byte) ([]Comparison, error) {
	before, err := l.Load(ctx, old, Options{})
	if err != nil {
		return nil, fmt.Errorf("load the old object: %w", err)
	}
	return l.CompareWith(ctx, before, new, Options{})
}

// CompareWith is Compare for an old object whose results are known already, got
// with the same options. It loads only what the old object could load.
func (l *Loader) CompareWith(ctx context.Context, before []ProgramResult, new []byte, opts Options) ([]Comparison, error) {
	names := []string{}
	for _, old := range before {
		if old.State == Accepted {
			names = append(names, old.Name)
		}
	}
	opts.Programs = names
	after, err := l.Load(ctx, new, opts)
	if ctxErr := ctx.Err(); ctxErr != nil {
		return nil, fmt.Errorf("load the new object: %w", errors.Join(ctxErr, err))
	}
	found := map[string]ProgramResult{}
	for _, r := range after {
		found[r.Name] = r
	}
	comparisons := make([]Comparison, 0, len(before))
	for _, old := range before {
		comparisons = append(comparisons, compare(old, found, err))
	}
	return comparisons, nil
}

// compare judges one program. failed is why nothing of the new object loads.
func compare(old ProgramResult, found map[string]ProgramResult, failed error) Comparison {
	c := Comparison{Name: old.Name, Old: old}
	if old.State != Accepted {
		c.Reason = old.Reason
		return c
	}
	var ok bool
	c.New, ok = found[old.Name]
	switch {
	case failed != nil:
		c.Verdict, c.Reason = Broken, oneLine(failed.Error())
	case !ok:
		c.Verdict, c.Reason = Broken, "the new object doesn't have it"
	case c.New.State != Accepted:
		c.Verdict, c.Reason = Broken, c.New.Reason
	default:
		c.Verdict = Kept
	}
	return c
}
