package driver

import (
	"context"
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/verify"
	"github.com/k2cc/k2cc/windows"
)

// confirm has the kernel load the new object. Where a program is rejected that
// the kernel accepted before, the rewrites at fault are found by bisection and
// taken back.
func (o *rewriter) confirm(ctx context.Context, out []byte) ([]byte, error) {
	// Rewrites taken back in one program may matter to another that shares a
	// subprogram, so all are asked again until none is rejected.
	for range 2*len(o.before) + 1 {
		broken, opts, err := o.anyBroken(ctx, out)
		if err != nil || len(broken) == 0 {
			return out, err
		}
		if out, err = o.repair(ctx, broken[0], opts); err != nil {
			return nil, err
		}
	}
	return o.in, errStillBroken
}

// anyBroken asks the kernel about the object as it is, and with constants that
// may be set to anything before it is loaded: the verifier does not walk code
// that it takes to be dead.
func (o *rewriter) anyBroken(ctx context.Context, out []byte) ([]verify.Comparison, verify.Options, error) {
	opts := verify.Options{}
	broken, err := o.broken(ctx, out, o.before, opts)
	if err == nil && len(broken) == 0 {
		opts.Thaw = true
		broken, err = o.broken(ctx, out, o.thawed, opts)
	}
	return broken, opts, err
}

// broken is the programs of before that the object makes the kernel reject.
func (o *rewriter) broken(ctx context.Context, out []byte, before []verify.ProgramResult, opts verify.Options) ([]verify.Comparison, error) {
	all, err := o.kernel.CompareWith(ctx, before, out, opts)
	if err != nil {
		return nil, err
	}
	var broken []verify.Comparison
	for _, c := range all {
		if c.Verdict == verify.Broken {
			broken = append(broken, c)
		}
	}
	return broken, nil
}

// rewrite is a replaced segment of one of the object's functions.
type rewrite struct {
	job *work
	seg *windows.Segment
	now []bpf.Instruction
}

// repair takes back what makes one program fail to load.
func (o *rewriter) repair(ctx context.Context, c verify.Comparison, opts verify.Options) ([]byte, error) {
	before := []verify.ProgramResult{c.Old}
	if err := o.keepShape(ctx, c.Name, before, opts); err != nil {
		return nil, err
	}
	items := o.rewritesOf(c.Name)
	_, dropped, err := verify.Guilty(ctx, items, func(ctx context.Context, kept []rewrite) (bool, error) {
		out, err := o.with(ctx, items, kept)
		if err != nil {
			return false, err
		}
		broken, err := o.broken(ctx, out, before, opts)
		return len(broken) == 0, err
	})
	if err != nil {
		return nil, fmt.Errorf("find what the verifier rejects in %s: %w", c.Name, err)
	}
	return o.without(ctx, c.Name, dropped)
}

// keepShape looks for rewrites anew without simpler control flow, where that
// alone makes the program fail to load.
func (o *rewriter) keepShape(ctx context.Context, program string, before []verify.ProgramResult, opts verify.Options) error {
	items := o.rewritesOf(program)
	out, err := o.with(ctx, items, nil)
	if err != nil {
		return err
	}
	broken, err := o.broken(ctx, out, before, opts)
	if err != nil {
		return err
	}
	if len(broken) == 0 {
		_, err = o.with(ctx, items, items)
		return err
	}
	jobs := o.jobsOf(program)
	for _, j := range jobs {
		j.jumps, j.registers = false, false
		j.left = "simpler control flow is rejected by the verifier"
		if err := o.begin(ctx, j); err != nil {
			return err
		}
	}
	return o.search(ctx, jobs)
}

// jobsOf is the work on a program's own function and on all subprograms.
func (o *rewriter) jobsOf(program string) []*work {
	var out []*work
	for _, j := range o.jobs {
		if j.result != nil && (j.fn.Name == program || j.fn.Context == bpf.ContextNone) {
			out = append(out, j)
		}
	}
	return out
}

// rewritesOf is the rewrites that a program may contain: its own, and those of
// all subprograms.
func (o *rewriter) rewritesOf(program string) []rewrite {
	var out []rewrite
	for _, j := range o.jobsOf(program) {
		for _, seg := range j.result.Changed() {
			out = append(out, rewrite{j, seg, seg.New})
		}
	}
	return out
}

// with writes the object with only the kept ones of the rewrites in it, proven
// or not: it is for the verifier to look at, not to be used.
func (o *rewriter) with(ctx context.Context, items, kept []rewrite) ([]byte, error) {
	touched := map[*work]bool{}
	for _, r := range items {
		r.seg.Revert()
		touched[r.job] = true
	}
	for _, r := range kept {
		r.seg.New = r.now
	}
	for j := range touched {
		out, err := j.simplify(ctx, j.result.Layout.Function())
		if err != nil {
			return nil, err
		}
		j.fn.Blocks = out.Blocks
	}
	return o.bytes()
}

// without redoes the rewrites of a program, dropped ones excepted, with their
// proofs.
func (o *rewriter) without(ctx context.Context, program string, dropped []rewrite) ([]byte, error) {
	drop := map[*windows.Segment]bool{}
	for _, r := range dropped {
		drop[r.seg] = true
		r.job.rejected++
	}
	for _, j := range o.jobsOf(program) {
		if err := j.result.Without(ctx, drop); err != nil {
			return nil, err
		}
		if err := o.settle(ctx, j); err != nil {
			return nil, err
		}
	}
	return o.bytes()
}
