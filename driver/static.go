package driver

import (
	"context"
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/verify"
	"github.com/k2cc/k2cc/windows"
)

// checked is the function with its new code, if the static check has nothing
// against it.
func (j *work) checked(ctx context.Context) (*bpf.Function, error) {
	j.saved[1] = tally{}
	out, err := j.finish(ctx, j.result.Layout.Function(), j.saved[1])
	if err == nil {
		err = j.static(ctx, out)
	}
	return out, err
}

func (j *work) static(ctx context.Context, out *bpf.Function) error {
	return verify.StaticChange(ctx, j.fn, out, max(j.target.Level, j.fn.Level()))
}

// acceptable takes back those rewrites that the static check has something
// against, which cause is, and answers the function without them.
func (j *work) acceptable(ctx context.Context, cause error) (*bpf.Function, error) {
	changed := j.result.Changed()
	codes := map[*windows.Segment][]bpf.Instruction{}
	for _, s := range changed {
		codes[s] = s.New
	}
	accepted := func(ctx context.Context, kept []*windows.Segment) (bool, error) {
		for _, s := range changed {
			s.Revert()
		}
		for _, s := range kept {
			s.New = codes[s]
		}
		err := j.static(ctx, j.result.Layout.Function())
		return err == nil, ctx.Err()
	}
	if ok, err := accepted(ctx, nil); !ok || err != nil {
		return nil, cause
	}
	if ok, err := accepted(ctx, changed); ok || err != nil {
		return nil, cause // what is at fault is no rewrite
	}
	_, dropped, err := verify.Guilty(ctx, changed, accepted)
	if err != nil {
		return nil, err
	}
	drop := map[*windows.Segment]bool{}
	for _, s := range dropped {
		drop[s] = true
	}
	if err := j.result.Without(ctx, drop); err != nil {
		return nil, err
	}
	out, err := j.checked(ctx)
	if err == nil {
		j.left = fmt.Sprintf("%d rewrites taken back: %v", len(dropped), cause)
	}
	return out, err
}
