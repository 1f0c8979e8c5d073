package driver

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/cache"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes/exits"
	"github.com/k2cc/k2cc/passes/guards"
	"github.com/k2cc/k2cc/passes/jumps"
	"github.com/k2cc/k2cc/passes/loops"
	"github.com/k2cc/k2cc/passes/registers"
	"github.com/k2cc/k2cc/passes/turn"
	"github.com/k2cc/k2cc/windows"
)

// tally counts the slots that passes over whole functions take out.
type tally map[string]int

func (t tally) add(pass string, before, after *bpf.Function) {
	if t != nil && after != nil {
		t[pass] += before.Slots() - after.Slots()
	}
}

// shaped is what the cache has of a function.
type shaped struct {
	Blocks []byte // as windows.EncodeBlocks has them
	Saved  tally
}

// simplify is the function with simpler control flow and fewer copies, where that
// is wanted, as it was found and proven earlier or is now. What passes took out is
// counted in t, if that is not nil.
func (j *work) simplify(ctx context.Context, fn *bpf.Function, t tally) (*bpf.Function, error) {
	return j.shape(ctx, fn, false, t)
}

// finish is the function as it can be when its windows have been looked at.
func (j *work) finish(ctx context.Context, fn *bpf.Function, t tally) (*bpf.Function, error) {
	return j.shape(ctx, fn, j.keep, t)
}

func (j *work) shape(ctx context.Context, fn *bpf.Function, keep bool, t tally) (*bpf.Function, error) {
	if !j.jumps && !j.guards && !j.registers && !j.exits && !keep {
		return fn, nil
	}
	settings := fmt.Append(nil, j.jumps, j.tails, j.guards, j.registers, j.exits, keep)
	key := cache.KeyOf("shape", windows.FunctionKey(fn, &j.target), settings)
	out, saved, ok := j.shapedEarlier(key, fn)
	if !ok {
		var err error
		saved = tally{}
		inTime, cancel := context.WithDeadline(ctx, j.net)
		defer cancel()
		out, err = j.shapeAnew(inTime, fn, keep, saved)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case inTime.Err() != nil:
			j.late = true
			return fn, nil // what is only half done stays as it was
		case err != nil:
			return nil, err
		}
		var text bytes.Buffer
		if gob.NewEncoder(&text).Encode(shaped{windows.EncodeBlocks(out.Blocks), saved}) == nil {
			j.cache.Put(key, text.Bytes())
		}
	}
	if t != nil {
		for name, slots := range saved {
			t[name] += slots
		}
	}
	return out, nil
}

// shapedEarlier is what an earlier run made of the function, if the cache has it.
func (j *work) shapedEarlier(key cache.Key, fn *bpf.Function) (*bpf.Function, tally, bool) {
	text, ok := j.cache.Get(key)
	if !ok {
		return nil, nil, false
	}
	var s shaped
	if gob.NewDecoder(bytes.NewReader(text)).Decode(&s) != nil {
		return nil, nil, false
	}
	out := *fn
	out.Blocks, ok = windows.DecodeBlocks(s.Blocks)
	return &out, s.Saved, ok
}

func (j *work) shapeAnew(ctx context.Context, fn *bpf.Function, keep bool, t tally) (*bpf.Function, error) {
	checker := encode.New(encode.Options{Pool: j.manager.Pool})
	keepValues := func(ctx context.Context, c *encode.Checker, fn *bpf.Function, t windows.Target) (*bpf.Function, error) {
		out, err := registers.Take(ctx, c, fn, t, registers.Gather)
		if err != nil {
			return nil, err
		}
		if out, err = registers.Carry(ctx, c, out, t); err != nil {
			return nil, err
		}
		return registers.Take(ctx, c, out, t, registers.Keep)
	}
	for _, step := range []struct {
		name   string
		wanted bool
		do     func(context.Context, *encode.Checker, *bpf.Function, windows.Target) (*bpf.Function, error)
	}{
		{"jumps", j.jumps, j.jump},
		{"turn", j.jumps, turn.Simplify},
		{"guards", j.guards, guards.Simplify},
		{"registers", j.registers, registers.Simplify},
		{"jumps", j.jumps && j.registers, j.jump},
		{"exits", j.jumps && j.tails && j.exits, exits.Simplify},
		{"loops", j.jumps, loops.Simplify},
		{"registers", keep, keepValues},
	} {
		if !step.wanted {
			continue
		}
		out, err := step.do(ctx, checker, fn, j.target)
		if err != nil {
			return nil, err
		}
		t.add(step.name, fn, out)
		fn = out
	}
	return fn, nil
}

// jump is the function with simpler control flow.
func (j *work) jump(ctx context.Context, checker *encode.Checker, fn *bpf.Function, t windows.Target) (*bpf.Function, error) {
	var err error
	for _, tails := range []bool{j.tails, false} {
		out := jumps.Simplify(ctx, fn, t, tails)
		if err = checker.SameShape(ctx, fn, out); err == nil {
			return out, nil
		}
	}
	return nil, fmt.Errorf("simplified control flow: %w", err)
}
