package driver

import (
	"context"
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/cache"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes/exits"
	"github.com/k2cc/k2cc/passes/jumps"
	"github.com/k2cc/k2cc/passes/registers"
	"github.com/k2cc/k2cc/passes/turn"
	"github.com/k2cc/k2cc/windows"
)

// simplify is the function with simpler control flow and fewer copies, where that
// is wanted, as it was found and proven earlier or is now.
func (j *work) simplify(ctx context.Context, fn *bpf.Function) (*bpf.Function, error) {
	return j.shape(ctx, fn, false)
}

// finish is the function as it can be when its windows have been looked at.
func (j *work) finish(ctx context.Context, fn *bpf.Function) (*bpf.Function, error) {
	return j.shape(ctx, fn, j.keep)
}

func (j *work) shape(ctx context.Context, fn *bpf.Function, keep bool) (*bpf.Function, error) {
	if !j.jumps && !j.registers && !j.exits && !keep {
		return fn, nil
	}
	settings := fmt.Append(nil, j.jumps, j.tails, j.registers, j.exits, keep)
	key := cache.KeyOf("shape", windows.FunctionKey(fn, &j.target), settings)
	if text, ok := j.cache.Get(key); ok {
		if blocks, ok := windows.DecodeBlocks(text); ok {
			out := *fn
			out.Blocks = blocks
			return &out, nil
		}
	}
	out, err := j.shapeAnew(ctx, fn, keep)
	if err == nil && ctx.Err() == nil {
		j.cache.Put(key, windows.EncodeBlocks(out.Blocks))
	}
	return out, err
}

func (j *work) shapeAnew(ctx context.Context, fn *bpf.Function, keep bool) (*bpf.Function, error) {
	checker := encode.New(encode.Options{Pool: j.manager.Pool})
	fn, err := j.jump(ctx, checker, fn)
	if err == nil && j.jumps {
		fn, err = turn.Simplify(ctx, checker, fn, j.target)
	}
	if err == nil && j.registers {
		fn, err = registers.Simplify(ctx, checker, fn, j.target)
		if err == nil {
			fn, err = j.jump(ctx, checker, fn)
		}
	}
	if err == nil && j.jumps && j.tails && j.exits {
		fn, err = exits.Simplify(ctx, checker, fn, j.target)
	}
	if err == nil && keep {
		fn, err = registers.Take(ctx, checker, fn, j.target, registers.Keep)
	}
	return fn, err
}

// jump is the function with simpler control flow, where that is wanted.
func (j *work) jump(ctx context.Context, checker *encode.Checker, fn *bpf.Function) (*bpf.Function, error) {
	if !j.jumps {
		return fn, nil
	}
	var err error
	for _, tails := range []bool{j.tails, false} {
		out := jumps.Simplify(ctx, fn, j.target, tails)
		if err = checker.SameShape(ctx, fn, out); err == nil {
			return out, nil
		}
	}
	return nil, fmt.Errorf("simplified control flow: %w", err)
}
