package driver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/object"
	"github.com/k2cc/k2cc/cache"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes"
	"github.com/k2cc/k2cc/toml"
	"github.com/k2cc/k2cc/verify"
	"github.com/k2cc/k2cc/windows"
)

// Options say how one object is to be optimised.
type Options struct {
	Name   string       // the object's or its source's name, for messages
	Config *toml.Config // settings of the whole object; never nil
	Level  int          // ISA level that bounds the output, 1 to 4; 0: what the input uses
	Cache  *cache.Cache // what earlier runs found out; nil for none
	// Wrap is put around each proposer; nil for none.
	Wrap func(passes.Proposer) passes.Proposer
	// Alternative is an object of the same source to start from instead, if it is
	// better than the input.
	Alternative alternative
}

// Optimize returns the object with its functions rewritten. An error means
// that nothing can be said about the object; the caller then keeps the input.
func Optimize(ctx context.Context, in []byte, opts Options) (out []byte, rep *Report, err error) {
	start := time.Now()
	if err := encode.Available(); err != nil {
		return nil, nil, because(noSolver, err)
	}
	file, err := object.Read(in)
	if err != nil {
		return nil, nil, err
	}
	if opts.Cache == nil {
		opts.Cache = cache.New()
	}
	o := &rewriter{
		opts: opts, in: in, file: file,
		kernel:   verify.NewRemembering(opts.Cache),
		deadline: start.Add(opts.Config.Nets().Object),
	}
	o.budget = passes.NewBudget(searchWork(file.Program(), opts.Config))
	if err := o.askKernel(ctx); err != nil {
		return nil, nil, err
	}
	if err := o.choose(ctx); err != nil {
		return nil, nil, err
	}
	for _, fn := range o.file.Program().Functions {
		if err := o.function(ctx, fn); err != nil {
			return nil, nil, err
		}
	}
	if err := o.search(ctx, o.jobs); err != nil {
		return nil, nil, err
	}
	out, err = o.finish(ctx)
	if err != nil {
		return nil, nil, err
	}
	return out, o.report(), nil
}

// rewriter is the work on one object.
type rewriter struct {
	opts     Options
	in       []byte
	file     *object.File
	kernel   *verify.Loader
	deadline time.Time
	before   []verify.ProgramResult // what the kernel says of the input
	thawed   []verify.ProgramResult // the same with constants that may be anything
	unasked  string                 // why the kernel is not asked, if it is not
	jobs     []*work
	budget   *passes.Budget
	pool     encode.Pool
	// inputSlots are those of the input's functions by their names, where the
	// alternative took its place.
	inputSlots map[string]int
}

// work is the work on one function.
type work struct {
	fn      *bpf.Function
	blocks  []*bpf.Block // the input's
	slots   int          // the input's
	manager *passes.Manager
	target  windows.Target
	cache   *cache.Cache
	// jumps tells to simplify control flow, tails to let equal tails be one as
	// well, guards to put operations behind branches, registers to give live ranges
	// other registers, exits to set results at exits.
	jumps, tails, guards, registers, exits bool
	keep                                   int      // how many addresses may be kept in registers
	saved                                  [2]tally // before and after the windows are looked at
	result                                 *passes.Result
	left                                   string // why the function, or a part of what was found, was left alone
	// net is when passes over the whole function are given up, late that they were.
	net  time.Time
	late bool
	// rejected counts the rewrites that the verifier did not accept, dear those
	// that made a program cost more than it may.
	rejected, dear int
}

// askKernel loads the input's programs, so that those that load before can be
// held to load afterwards.
func (o *rewriter) askKernel(ctx context.Context) error {
	mode := o.opts.Config.Kernel
	if mode == toml.KernelOff {
		o.unasked = "the kernel was not asked: kernel = \"off\""
		return nil
	}
	err := verify.Permitted()
	if err == nil {
		o.before, err = o.kernel.Load(ctx, o.in, verify.Options{})
	}
	if err == nil {
		o.thawed, err = o.kernel.Load(ctx, o.in, verify.Options{Thaw: true})
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case mode == toml.KernelRequire:
		return because("kernel not asked", fmt.Errorf("kernel = \"require\", but the kernel can't be asked: %w", err))
	}
	o.unasked = fmt.Sprintf("the kernel was not asked: %v", err)
	o.before = nil
	return nil
}

// confirmed tells whether the kernel's word on the function can be had.
func (o *rewriter) confirmed(fn *bpf.Function) bool {
	if o.unasked != "" {
		return false
	}
	for _, p := range o.before {
		if p.State != verify.Accepted && (fn.Context == bpf.ContextNone || p.Name == fn.Name) {
			return false
		}
	}
	return true
}

// function prepares the work on one function as its settings want it.
func (o *rewriter) function(ctx context.Context, fn *bpf.Function) error {
	cfg := o.opts.Config.For(fn.Name, fn.Section)
	j := &work{fn: fn, blocks: fn.Blocks, slots: fn.Slots(), cache: o.opts.Cache}
	o.jobs = append(o.jobs, j)
	if cfg.Skip {
		j.left = "skipped by k2.toml"
		return nil
	}
	j.target = o.target(fn, cfg)
	pipeline, err := newPipeline(cfg.Passes, cfg.Effort, j.target.Confirmed)
	if err != nil {
		return because("wrong settings", err)
	}
	if o.opts.Wrap != nil {
		for i, p := range pipeline.proposers {
			pipeline.proposers[i] = o.opts.Wrap(p)
		}
	}
	j.jumps, j.tails, j.guards, j.registers, j.exits = pipeline.jumps, true, pipeline.guards, pipeline.registers, pipeline.exits
	j.keep = pipeline.keep
	j.net = o.deadline
	j.manager = &passes.Manager{
		Pipeline:  pipeline.proposers,
		Target:    j.target,
		Size:      cfg.Window.Size,
		Window:    cfg.Nets().Window,
		Deadline:  o.deadline,
		Workers:   runtime.GOMAXPROCS(0),
		Cache:     o.opts.Cache,
		Budget:    o.budget,
		Pool:      &o.pool,
		Resources: solverResources[cfg.Effort],
	}
	return o.begin(ctx, j)
}

// begin starts over with a function's code as it is in the input.
func (o *rewriter) begin(ctx context.Context, j *work) error {
	j.fn.Blocks, j.result = j.blocks, nil
	j.saved[0] = tally{}
	fn, err := j.simplify(ctx, j.fn, j.saved[0])
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		j.left = err.Error()
		return nil
	}
	j.result = j.manager.Begin(fn)
	return nil
}

// search looks for rewrites in functions: first in all of them with what costs
// least, so that no function goes without where time runs out.
func (o *rewriter) search(ctx context.Context, jobs []*work) error {
	for stage, more := 0, true; more; stage++ {
		more = false
		for _, j := range jobs {
			if j.result == nil || stage >= len(j.manager.Pipeline) {
				continue
			}
			more = true
			err := j.result.Search(ctx, stage)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				j.left, j.result = err.Error(), nil
			}
		}
	}
	for _, j := range jobs {
		// Search may have had all the time there was.
		j.net = time.Now().Add(o.opts.Config.Nets().Object)
		if err := o.settle(ctx, j); err != nil {
			return err
		}
	}
	return nil
}

// settle puts the function's new code into the object if the static check has
// nothing against it.
func (o *rewriter) settle(ctx context.Context, j *work) error {
	j.fn.Blocks = j.blocks
	if j.result == nil {
		return nil
	}
	out, err := j.checked(ctx)
	if err != nil && ctx.Err() == nil {
		out, err = j.acceptable(ctx, err)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		j.left, j.result = err.Error(), nil
		return nil
	}
	j.fn.Blocks = out.Blocks
	return nil
}

func (o *rewriter) target(fn *bpf.Function, cfg toml.Config) windows.Target {
	level := o.file.Program().Level
	bound := min(nonZero(o.opts.Level), nonZero(int(cfg.ISA)))
	if bound <= int(bpf.V4) {
		level = bpf.Level(bound)
	}
	shared := map[flow.Kind]bool{}
	for region, kinds := range map[toml.Region][]flow.Kind{
		toml.RegionMap:    {flow.KindMapValue},
		toml.RegionPacket: {flow.KindPacket},
		toml.RegionOther:  {flow.KindOther},
	} {
		for _, k := range kinds {
			shared[k] = cfg.Memory.IsShared(region)
		}
	}
	confirmed, allowed := o.confirmed(fn), 0
	if confirmed {
		allowed = slack
	}
	return windows.Target{
		Level:     level,
		BigEndian: o.file.Program().BigEndian,
		Atomics:   cfg.Goal == toml.GoalSize,
		Shared:    shared,
		Confirmed: confirmed,
		Costs:     costModel(cfg),
		Slack:     allowed,
	}
}

// slack is how many bytes of machine code one rewrite may cost where the kernel
// tells what the program costs: about what it takes to have immediates in a few
// instructions that got them from a register.
const slack = 6

// costModel is what the settings say of costs.
func costModel(cfg toml.Config) cost.Model {
	limit := func(l toml.Limit) cost.Limit { return cost.Limit{Set: l.Set, Percent: l.Percent} }
	m := cost.Model{Limits: cost.Limits{
		Slots: limit(cfg.Limits.Slots), Code: limit(cfg.Limits.Code),
		Time: limit(cfg.Limits.Time), Verifier: limit(cfg.Limits.Verifier),
	}}
	switch cfg.Goal {
	case toml.GoalBalanced:
		m.Goal = cost.Balanced
	case toml.GoalLatency:
		m.Goal = cost.Latency
	case toml.GoalVerifier:
		m.Goal = cost.Verifier
	}
	return m
}

// nonZero is n, or a number above all levels for zero, which stands for none.
func nonZero(n int) int {
	if n == 0 {
		return int(bpf.V4) + 1
	}
	return n
}

// finish writes the object, and takes back what the kernel does not accept.
func (o *rewriter) finish(ctx context.Context) ([]byte, error) {
	out, err := o.bytes()
	if err != nil || o.unasked != "" || !o.changed() {
		return out, err
	}
	return o.confirm(ctx, out)
}

func (o *rewriter) bytes() ([]byte, error) {
	out, err := o.file.Bytes()
	if err != nil {
		return nil, fmt.Errorf("write object: %w", err)
	}
	return out, nil
}

func (o *rewriter) changed() bool {
	for _, j := range o.jobs {
		if j.result != nil && !sameBlocks(j.fn.Blocks, j.blocks) {
			return true
		}
	}
	return false
}

func sameBlocks(a, b []*bpf.Block) bool {
	return slices.EqualFunc(a, b, func(x, y *bpf.Block) bool {
		return x.Label == y.Label && slices.Equal(x.Code, y.Code)
	})
}

// report says what was done.
func (o *rewriter) report() *Report {
	rep := &Report{Kernel: o.unasked, IR: o.opts.Alternative.outcome()}
	for _, j := range o.jobs {
		f := FunctionReport{
			Name: j.fn.Name, Section: j.fn.Section,
			SlotsBefore: o.slotsBefore(j), SlotsAfter: j.fn.Slots(),
			Skipped: j.left,
		}
		if j.result != nil {
			f.Windows, f.Rewrites = j.result.Windows, len(j.result.Changed())
			f.Passes = j.stats()
		}
		if j.rejected > 0 {
			f.Skipped = join(f.Skipped, fmt.Sprintf("%d rewrites that the verifier rejects taken back", j.rejected))
		}
		if j.dear > 0 {
			f.Skipped = join(f.Skipped, fmt.Sprintf("%d rewrites that cost more than they may in the kernel taken back", j.dear))
		}
		if j.result != nil {
			f.OutOfTime, f.Unsearched = j.result.OutOfTime || j.late, j.result.Unsearched
		}
		if f.OutOfTime {
			f.Skipped = join(f.Skipped, "time ran out before all windows were looked at")
		}
		if f.Unsearched > 0 {
			f.Skipped = join(f.Skipped, fmt.Sprintf("%d windows not searched: the budget for search was spent", f.Unsearched))
		}
		rep.Functions = append(rep.Functions, f)
	}
	for _, s := range o.file.Skipped() {
		rep.Functions = append(rep.Functions, FunctionReport{Name: s.Function, Section: s.Section, Skipped: s.Reason})
		if cfg := o.opts.Config.For(s.Function, s.Section); !cfg.Skip {
			rep.Alone = append(rep.Alone, s.String())
		}
	}
	return rep
}

// slotsBefore are those of a function as clang made it.
func (o *rewriter) slotsBefore(j *work) int {
	if o.inputSlots != nil {
		return o.inputSlots[j.fn.Name]
	}
	return j.slots
}

// stats is what each pass did.
func (j *work) stats() map[string]passes.Stats {
	out := maps.Clone(j.result.Stats)
	for _, t := range j.saved {
		for name, slots := range t {
			s := out[name]
			s.Slots += slots
			out[name] = s
		}
	}
	return out
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// errStillBroken says that reverting rewrites did not make a program load
// again, which only a fault of the object's writer can bring about.
var errStillBroken = errors.New("a program that loaded before is rejected even with its code restored")
