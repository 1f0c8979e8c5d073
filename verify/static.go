package verify

import (
	"context"
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// rule is something that the verifier holds code to
// (kernel/bpf/verifier.c; the names of its functions are with each).
type rule uint8

const (
	ruleShape      rule = iota // every instruction exists, every jump leads somewhere, nothing falls off the end
	ruleLevel                  // nothing beyond the target's ISA level
	ruleReachable              // no block without a way to it (check_cfg)
	ruleUnwritten              // no read of a register that no path has written (check_reg_arg)
	ruleBase                   // no access through what is no pointer, or one to no memory (check_mem_access)
	ruleBounds                 // no access beyond the frame (check_stack_access_within_bounds)
	ruleAlignment              // stack and context accesses are aligned (check_ptr_alignment, check_ctx_access)
	ruleSpill                  // pointers go to the stack and back as 8 bytes (check_stack_write_fixed_off)
	ruleContext                // the context is accessed through the pointer that it came in, and below v4 not by ST
	ruleAtomic                 // no atomics on context and packet, none that add a pointer (check_atomic)
	rulePointerALU             // no arithmetic on pointers but 64-bit sums and differences (adjust_ptr_min_max_vals)

	// The verifier follows paths one by one, so that code may break these and
	// be accepted. They are for changed functions only.

	ruleSomeUnwritten // no read of a register that only some paths have written
	ruleStackRead     // no read of stack bytes that some paths have not written
	ruleLoop          // no more loops than before
	ruleFields        // no access to the context that was not there before
	ruleDepth         // no deeper frame than before
)

// relative tells the rules that mean something only in comparison.
func (r rule) relative() bool { return r >= ruleSomeUnwritten }

// problem is a rule that a function breaks.
type problem struct {
	rule rule
	err  error
}

// Static says why the verifier is known to refuse a function, or that it needs
// a higher ISA level. That it finds nothing does not mean that the verifier
// accepts: bounds of packets and map values, and what helpers want, are the
// kernel's to check. It fails as well when ctx ends.
func Static(ctx context.Context, fn *bpf.Function, level bpf.Level) error {
	c, err := check(ctx, fn, level)
	if err != nil {
		return err
	}
	for _, p := range c.problems {
		if !p.rule.relative() {
			return p.err
		}
	}
	return nil
}

// StaticChange says why the verifier may refuse what became of a function,
// given that it accepts the old one: no rule may be broken more often than
// before. On top of Static's rules, it lets nothing in that was not there
// before of loops, kinds of access to the context (an immediate store is one of
// its own), frame space, and reads that are preceded by a write on some paths
// only.
func StaticChange(ctx context.Context, old, new *bpf.Function, level bpf.Level) error {
	before, err := check(ctx, old, level)
	if err != nil {
		return fmt.Errorf("check the old code: %w", err)
	}
	after, err := check(ctx, new, level)
	if err != nil {
		return err
	}
	after.compare(before)
	allowed := map[rule]int{}
	for _, p := range before.problems {
		allowed[p.rule]++
	}
	allowed[ruleLevel] = 0 // the target can't run it, whoever wrote it
	for _, p := range after.problems {
		if allowed[p.rule]--; allowed[p.rule] < 0 {
			return p.err
		}
	}
	return nil
}

// checker collects what is wrong with a function, and what a changed one is
// compared by.
type checker struct {
	fn       *bpf.Function
	level    bpf.Level // of the target
	problems []problem
	loops    int
	fields   map[field]bool
	depth    int64 // the lowest offset from the frame pointer in use

	block, index int // where it is
	state        *flow.State
	written      written
}

// field is a way in which the context is accessed.
type field struct {
	class bpf.Op // load or store
	off   int64
	size  int
	ref   bpf.Ref
}

// fail notes that the present instruction breaks a rule.
func (c *checker) fail(r rule, in bpf.Instruction, format string, args ...any) {
	where := fmt.Sprintf("%s, block %d, instruction %d (%v): ", c.fn.Name, c.block, c.index, in)
	c.problems = append(c.problems, problem{r, fmt.Errorf(where+format, args...)})
}

func check(ctx context.Context, fn *bpf.Function, level bpf.Level) (*checker, error) {
	c := &checker{fn: fn, level: level, fields: map[field]bool{}}
	facts, err := flow.Analyze(ctx, fn, flow.Options{})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		// Nothing else can be said of code that is none.
		c.problems = append(c.problems, problem{ruleShape, err})
		return c, nil
	}
	graph := facts.Graph()
	atStart := writtenAtStarts(fn, graph)
	for b, block := range fn.Blocks {
		c.block, c.index = b, 0
		if !graph.Reachable(b) && len(block.Code) > 0 {
			c.fail(ruleReachable, block.Code[0], "no way leads there")
		}
		if graph.LoopHead(b) {
			c.loops++
		}
		c.written = atStart[b]
		c.walk(block.Code, facts.Block(b), facts.Reachable(b))
	}
	return c, nil
}

// walk checks a block. Where facts say that no path leads there the verifier
// may think otherwise, so what needs no facts is checked all the same.
func (c *checker) walk(code []bpf.Instruction, states []flow.State, known bool) {
	for i, in := range code {
		c.index, c.state = i, &states[i]
		if in.Level() > c.level {
			c.fail(ruleLevel, in, "needs %v, and the target has %v", in.Level(), c.level)
		}
		c.reads(in)
		if known {
			c.instruction(in)
		}
		c.written.step(in)
	}
}

// hasHalves tells whether a store of eight bytes to the control block of an
// sk_buff was there as two of four, which is the same to the verifier
// (net/core/filter.c: bpf_skb_is_valid_access).
func (c *checker) hasHalves(f field) bool {
	lo, hi := f, f
	lo.size, hi.size, hi.off = 4, 4, f.off+4
	const from, to = 48, 68 // cb in struct __sk_buff
	inside := f.off >= from && f.off+8 <= to && f.off%8 == 0
	return c.fn.Context == bpf.ContextSKB && f.class == bpf.ClassSTX && f.size == 8 && inside && c.fields[lo] && c.fields[hi]
}

// compare adds what is worse than it was.
func (c *checker) compare(old *checker) {
	add := func(r rule, format string, args ...any) {
		c.problems = append(c.problems, problem{r, fmt.Errorf(c.fn.Name+": "+format, args...)})
	}
	if c.loops > old.loops {
		add(ruleLoop, "%d loops where there were %d", c.loops, old.loops)
	}
	for f := range c.fields {
		if !old.fields[f] && !old.hasHalves(f) {
			add(ruleFields, "new access to the context: %d bytes at offset %d", f.size, f.off)
		}
	}
	if c.depth < old.depth {
		add(ruleDepth, "frame of %d bytes where there were %d", -c.depth, -old.depth)
	}
}
