// Package guards has branches lead around what would do nothing. Where a register
// is set to one of two numbers, one of which leaves what it is combined with as it
// is, the operations go to where the other number is known:
//
//	w2 = 8
//	if w6 > 0xff goto L1         if w6 <= 0xff goto L1
//	w2 = 0                       w6 >>= 8
//	L1:                    →     w1 |= 8
//	w6 >>= w2                    L1:
//	…                            …
//	w1 |= w2
//
// Such code is what compilers make of logarithms, of flags that are put together,
// and of other arithmetic with conditions in it. Next to that, the package takes
// out limits that a bound before them makes superfluous, and flags that are tested
// where it is clear what they are.
package guards

import (
	"context"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/windows"
)

// maxRounds bounds how often regions that were not proven are left out and the
// others proven anew.
const maxRounds = 3

// Simplify is the function with all that, where it makes the function or its
// machine code smaller and is proven. It fails only where ctx ends.
func Simplify(ctx context.Context, c *encode.Checker, fn *bpf.Function, t windows.Target) (*bpf.Function, error) {
	w := &work{ctx: ctx, checker: c, target: t}
	for _, simplify := range []func(*work, *bpf.Function) (*bpf.Function, error){choices.simplify, limits.simplify, straight} {
		out, err := simplify(w, fn)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil:
			fn = out
		}
	}
	return fn, nil
}

// work is the work on one function.
type work struct {
	ctx     context.Context // of the one call that the work is for
	checker *encode.Checker
	target  windows.Target
	latest  *finder
}

// look is a finder for the function as it is now.
func (w *work) look(fn *bpf.Function) *finder {
	if w.latest == nil || w.latest.fn != fn {
		w.latest = newFinder(w.ctx, fn, w.target)
	}
	return w.latest
}

// simplify is the function with regions of one kind made smaller.
func (k kind) simplify(w *work, fn *bpf.Function) (*bpf.Function, error) {
	all, err := k.find(w.look(fn))
	for range maxRounds {
		if err != nil || len(all) == 0 {
			break
		}
		e := apply(fn, all)
		var wrong []int
		if wrong, err = e.prove(w); err == nil && len(wrong) == 0 {
			out := e.joined()
			return out, w.checker.SameShape(w.ctx, e.new, out)
		}
		all = without(all, wrong)
	}
	return fn, err
}

// place is an instruction of a function: block index, index in the block.
type place struct{ block, at int }

func (p place) before(q place) bool {
	return p.block < q.block || p.block == q.block && p.at < q.at
}

// region is a stretch of code over several blocks, in the order of the layout, and
// what becomes of its instructions. It is entered at its start alone.
type region struct {
	from, to place // to is behind the last that changes
	edits    edits
}

// edits is what is to be in an instruction's place.
type edits map[place][]bpf.Instruction
