package verify

import (
	"context"
	"fmt"
)

// Guilty finds a maximal accepted subset of items, all of which together are
// known to be rejected while none is known to be accepted: adding any one of
// the dropped items to those kept is rejected. Both come in the order of items,
// as do the subsets that accepted is asked about.
//
// Where each of g guilty ones among n is rejected whatever the company, it asks
// at most g·(2·log2(n)+2) times. At worst, when items are accepted only in the
// company of later ones, it asks about n² times. When accepted fails the search
// ends with that error; what is kept then has been accepted, and the rest
// counts as dropped.
func Guilty[T any](ctx context.Context, items []T, accepted func(context.Context, []T) (bool, error)) (keep, dropped []T, err error) {
	s := &search[T]{items: items, accepted: accepted, kept: make([]bool, len(items)), rejectedAt: make([]int, len(items))}
	err = s.add(ctx, 0, len(items), true)
	for err == nil {
		var grown bool
		if grown, err = s.retry(ctx); !grown {
			break
		}
	}
	for i, item := range items {
		if s.kept[i] {
			keep = append(keep, item)
		} else {
			dropped = append(dropped, item)
		}
	}
	return keep, dropped, err
}

type search[T any] struct {
	items      []T
	accepted   func(context.Context, []T) (bool, error)
	kept       []bool
	size       int   // how many are kept
	rejectedAt []int // size when an item was last rejected by itself
}

// add keeps what it can of items[lo:hi], by halves. known says that all of
// them together with those kept are rejected, so that asking would be idle.
func (s *search[T]) add(ctx context.Context, lo, hi int, known bool) error {
	if lo == hi {
		return nil
	}
	if !known {
		ok, err := s.try(ctx, lo, hi)
		if err != nil || ok {
			return err
		}
	}
	if hi-lo == 1 {
		s.rejectedAt[lo] = s.size
		return nil
	}
	mid := lo + (hi-lo)/2
	before := s.size
	if err := s.add(ctx, lo, mid, false); err != nil {
		return err
	}
	// Where the whole first half is kept, the second one with it is the set
	// that has just been rejected.
	return s.add(ctx, mid, hi, s.size-before == mid-lo)
}

// retry offers every dropped item to what has been kept since it was rejected:
// some rewrites are accepted only in company.
func (s *search[T]) retry(ctx context.Context) (grown bool, err error) {
	for i := range s.items {
		if s.kept[i] || s.rejectedAt[i] == s.size {
			continue
		}
		ok, err := s.try(ctx, i, i+1)
		if err != nil {
			return grown, err
		}
		grown = grown || ok
		s.rejectedAt[i] = s.size
	}
	return grown, nil
}

// try asks about items[lo:hi] together with those kept, and keeps them if they
// are accepted.
func (s *search[T]) try(ctx context.Context, lo, hi int) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("find the rewrites at fault: %w", err)
	}
	var subset []T
	for i, item := range s.items {
		if s.kept[i] || lo <= i && i < hi {
			subset = append(subset, item)
		}
	}
	ok, err := s.accepted(ctx, subset)
	if err != nil {
		return false, fmt.Errorf("find the rewrites at fault: %w", err)
	}
	if ok {
		for i := lo; i < hi; i++ {
			s.kept[i] = true
		}
		s.size += hi - lo
	}
	return ok, nil
}
