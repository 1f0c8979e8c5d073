package driver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/verify"
	"github.com/k2cc/k2cc/windows"
)

// confirm has the kernel load the new object. Where a program is rejected that
// the kernel accepted before, or has more machine code or more for the verifier
// to walk than the settings allow, the rewrites at fault are found by bisection
// and taken back.
func (o *rewriter) confirm(ctx context.Context, out []byte) ([]byte, error) {
	// Rewrites taken back in one program may matter to another that shares a
	// subprogram, so all are asked again until none is at fault.
	for range 3*len(o.before) + 1 {
		bad, opts, err := o.anyBad(ctx, out)
		if err != nil || len(bad) == 0 {
			return out, err
		}
		if out, err = o.repair(ctx, bad[0], opts); err != nil {
			return nil, err
		}
	}
	return o.in, errStillBroken
}

// anyBad asks the kernel about the object as it is, and with constants that
// may be set to anything before it is loaded: the verifier does not walk code
// that it takes to be dead.
func (o *rewriter) anyBad(ctx context.Context, out []byte) ([]verify.Comparison, verify.Options, error) {
	opts := verify.Options{}
	bad, err := o.bad(ctx, out, o.before, opts)
	if err == nil && len(bad) == 0 {
		opts.Thaw = true
		bad, err = o.bad(ctx, out, o.thawed, opts)
	}
	return bad, opts, err
}

// bad is the programs of before that the object makes the kernel reject, or that
// cost more in it than they may.
func (o *rewriter) bad(ctx context.Context, out []byte, before []verify.ProgramResult, opts verify.Options) ([]verify.Comparison, error) {
	all, err := o.kernel.CompareWith(ctx, before, out, opts)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(c verify.Comparison) bool {
		return c.Verdict != verify.Broken && (opts.Thaw || o.affordable(c))
	}), nil
}

// affordable tells whether a program costs no more in the kernel than its
// settings allow. Where constants are not what they will be, nothing is said
// about that.
func (o *rewriter) affordable(c verify.Comparison) bool {
	if c.Verdict != verify.Kept {
		return true
	}
	before := cost.Cost{Slots: c.Old.Slots, Bytes: c.Old.JITed, Walked: c.Old.Processed}
	after := cost.Cost{Slots: c.New.Slots, Bytes: c.New.JITed, Walked: c.New.Processed}
	return after.Within(costModel(o.opts.Config.For(c.Name, c.Old.Section)).Bounds(before))
}

// rewrite is a replaced segment of one of the object's functions.
type rewrite struct {
	job *work
	seg *windows.Segment
	now []bpf.Instruction
}

// maxCostLoads bounds how often a program is loaded to find what makes it cost
// too much: when that is spent, what is not known to be innocent goes.
const maxCostLoads = 64

var errCostLoads = errors.New("loaded often enough")

// repair takes back what makes one program fail to load, or cost too much.
func (o *rewriter) repair(ctx context.Context, c verify.Comparison, opts verify.Options) ([]byte, error) {
	before := []verify.ProgramResult{c.Old}
	if err := o.keepShape(ctx, c.Name, before, opts); err != nil {
		return nil, err
	}
	// What was found anew may be fine as a whole, which Guilty would not ask.
	if out, err := o.bytes(); err != nil {
		return nil, err
	} else if bad, err := o.bad(ctx, out, before, opts); err != nil || len(bad) == 0 {
		return out, err
	}
	if out, ok, err := o.stricter(ctx, c, opts); err != nil || ok {
		return out, err
	}
	items := o.rewritesOf(c.Name)
	loads := 0
	_, dropped, err := verify.Guilty(ctx, items, func(ctx context.Context, kept []rewrite) (bool, error) {
		if loads++; loads > maxCostLoads && c.Verdict == verify.Kept {
			return false, errCostLoads
		}
		out, err := o.with(ctx, items, kept)
		if err != nil {
			return false, err
		}
		bad, err := o.bad(ctx, out, before, opts)
		return len(bad) == 0, err
	})
	if err != nil && !errors.Is(err, errCostLoads) {
		return nil, fmt.Errorf("find what the kernel minds in %s: %w", c.Name, err)
	}
	for _, r := range dropped {
		if c.Verdict == verify.Kept {
			r.job.dear++
		} else {
			r.job.rejected++
		}
	}
	return o.without(ctx, c.Name, dropped)
}

// maxAnew is how many slots a program may have for all of its rewrites to be
// looked for anew because one is too dear.
const maxAnew = 256

// stricter looks for the rewrites of a small program anew where they cost too
// much together, and lets none cost more than what it replaces.
func (o *rewriter) stricter(ctx context.Context, c verify.Comparison, opts verify.Options) ([]byte, bool, error) {
	jobs := o.jobsOf(c.Name)
	slots, slack := 0, 0
	for _, j := range jobs {
		slots += j.slots
		slack += j.target.Slack
	}
	if c.Verdict != verify.Kept || slack == 0 || slots > maxAnew {
		return nil, false, nil
	}
	for _, j := range jobs {
		j.target.Slack, j.manager.Target.Slack = 0, 0
		if err := o.begin(ctx, j); err != nil {
			return nil, false, err
		}
	}
	if err := o.search(ctx, jobs); err != nil {
		return nil, false, err
	}
	out, err := o.bytes()
	if err != nil {
		return nil, false, err
	}
	bad, err := o.bad(ctx, out, []verify.ProgramResult{c.Old}, opts)
	return out, len(bad) == 0, err
}

// keepShape looks for rewrites anew without those changes of control flow and
// registers that alone make the program fail to load or cost too much. Operations
// behind branches go first, and come back where that does not help.
func (o *rewriter) keepShape(ctx context.Context, program string, before []verify.ProgramResult, opts verify.Options) error {
	items, jobs := o.rewritesOf(program), o.jobsOf(program)
	if ok, err := o.keepFewer(ctx, jobs, items, before, opts); ok || err != nil {
		return err
	}
	had := map[*work]bool{}
	for _, j := range jobs {
		had[j] = j.guards
	}
	gave := false
	for _, give := range []func(j *work){
		func(j *work) { j.guards = false },
		func(j *work) { j.guards, j.keep = had[j], 0 },
		func(j *work) { j.exits = false },
		func(j *work) { j.registers = false },
		func(j *work) { j.guards = false },
		func(j *work) { j.tails = false },
		func(j *work) { j.jumps = false },
	} {
		out, err := o.shape(ctx, jobs)
		if err != nil {
			return err
		}
		bad, err := o.bad(ctx, out, before, opts)
		if err != nil {
			return err
		}
		if len(bad) == 0 {
			break
		}
		gave = true
		for _, j := range jobs {
			give(j)
			j.left = "simpler control flow is rejected by the verifier, or costs more than it may"
		}
	}
	if !gave {
		_, err := o.with(ctx, items, items)
		return err
	}
	for _, j := range jobs {
		if err := o.begin(ctx, j); err != nil {
			return err
		}
	}
	return o.search(ctx, jobs)
}

// keepFewer keeps fewer addresses in registers, if that alone makes the program
// load and cost no more than it may.
func (o *rewriter) keepFewer(ctx context.Context, jobs []*work, items []rewrite, before []verify.ProgramResult, opts verify.Options) (bool, error) {
	was := map[*work]int{}
	for _, j := range jobs {
		was[j] = j.keep
	}
	for _, n := range []int{2, 1, 0} {
		for _, j := range jobs {
			j.keep = min(j.keep, n)
		}
		out, err := o.with(ctx, items, items)
		if err != nil {
			return false, err
		}
		if bad, err := o.bad(ctx, out, before, opts); err != nil || len(bad) == 0 {
			return err == nil, err
		}
	}
	for _, j := range jobs {
		j.keep = was[j]
	}
	return false, nil
}

// shape writes the object with nothing but control flow and registers changed in
// the functions.
func (o *rewriter) shape(ctx context.Context, jobs []*work) ([]byte, error) {
	for _, j := range jobs {
		j.fn.Blocks = j.blocks
		out, err := j.finish(ctx, j.fn, nil)
		if err != nil {
			return nil, err
		}
		j.fn.Blocks = out.Blocks
	}
	return o.bytes()
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
		out, err := j.finish(ctx, j.result.Layout.Function(), nil)
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
