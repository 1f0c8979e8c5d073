package flow

import (
	"context"
	"fmt"
	"math"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/semantics"
)

// Needs is what the code behind each point of a function may still read. It is
// safe for use by several goroutines.
type Needs struct {
	fn        *bpf.Function
	graph     *Graph
	bigEndian bool
	effects   [][]effect
	in        []Live // by block, what is live before it
}

// effect is what the needs have to know of an instruction, taken from facts.
type effect struct {
	src      Value         // of the source register
	pointers bpf.Registers // that are pointers for sure
	// reads, all and kills tell of the frame: bytes read, everything read, and
	// bytes that a store or a callee overwrites for sure.
	reads []extent
	all   bool
	kills extent
	args  bpf.Registers // for a call
}

// Liveness finds the needs of a function with the facts f. It takes every edge
// of the graph as one that may be taken, even where the facts exclude it: the
// verifier may see less.
func Liveness(fn *bpf.Function, f *Facts) (*Needs, error) {
	if f.fn != fn {
		return nil, fmt.Errorf("%s: facts are those of %s", fn.Name, f.fn.Name)
	}
	n := &Needs{
		fn: fn, graph: f.graph, bigEndian: f.opts.BigEndian,
		effects: make([][]effect, len(fn.Blocks)), in: make([]Live, len(fn.Blocks)),
	}
	for b := range fn.Blocks {
		var err error
		if n.effects[b], err = f.effects(b); err != nil {
			return nil, err
		}
	}
	return n, n.solve()
}

// Both is the facts and the needs of a function.
func Both(ctx context.Context, fn *bpf.Function, opts Options) (*Facts, *Needs, error) {
	facts, err := Analyze(ctx, fn, opts)
	if err != nil {
		return nil, nil, fmt.Errorf("facts of %s: %w", fn.Name, err)
	}
	needs, err := Liveness(fn, facts)
	if err != nil {
		return nil, nil, fmt.Errorf("needs of %s: %w", fn.Name, err)
	}
	return facts, needs, nil
}

// solve goes round until nothing changes.
func (n *Needs) solve() error {
	order := n.backwards()
	waits := make([]bool, len(n.in))
	for b := range waits {
		waits[b] = true
	}
	for again := true; again; {
		again = false
		for _, b := range order {
			if !waits[b] {
				continue
			}
			waits[b] = false
			live, err := n.walk(b, nil)
			if err != nil {
				return fmt.Errorf("%s: %w", n.fn.Name, err)
			}
			if live == n.in[b] {
				continue
			}
			n.in[b] = live
			for _, p := range n.graph.Preds(b) {
				waits[p] = true
				again = true
			}
		}
	}
	return nil
}

// backwards lists all blocks, those that end the function first as far as there
// is an order.
func (n *Needs) backwards() []int {
	var order []int
	for b := len(n.in) - 1; b >= 0; b-- {
		if !n.graph.Reachable(b) {
			order = append(order, b)
		}
	}
	reachable := n.graph.Order()
	for i := len(reachable) - 1; i >= 0; i-- {
		order = append(order, reachable[i])
	}
	return order
}

// walk calls visit with what is live behind each instruction of a block, from
// the last to the first, and gives what is live before the block.
func (n *Needs) walk(block int, visit func(i int, live *Live)) (Live, error) {
	var live Live
	for _, s := range n.graph.Succs(block) {
		live.addAll(&n.in[s])
	}
	t := &terms{bigEndian: n.bigEndian}
	code := n.fn.Blocks[block].Code
	for i := len(code) - 1; i >= 0; i-- {
		if visit != nil {
			visit(i, &live)
		}
		if code[i].IsExit() {
			live = n.result()
			continue
		}
		if err := live.before(t, code[i], &n.effects[block][i]); err != nil {
			return Live{}, err
		}
	}
	return live, nil
}

// result is what is live before an exit.
func (n *Needs) result() Live {
	var l Live
	l.need(bpf.Set(bpf.R0))
	if n.fn.HalfResult {
		l.Regs[bpf.R0] = math.MaxUint32
	}
	return l
}

// In is what is live before a block.
func (n *Needs) In(block int) Live { return n.in[block] }

// After is what is live behind instruction i of a block; behind the last, what
// is live on any way out.
func (n *Needs) After(block, i int) Live { return n.Block(block)[i] }

// Block is what is live behind each instruction of a block.
func (n *Needs) Block(block int) []Live {
	out := make([]Live, len(n.fn.Blocks[block].Code))
	if _, err := n.walk(block, func(i int, live *Live) { out[i] = *live }); err == nil {
		return out
	}
	for i := range out { // Liveness has walked the block without error
		for r := range out[i].Regs {
			out[i].Regs[r] = ^uint64(0)
		}
		out[i].Stack = allBytes()
	}
	return out
}

func (l *Live) addAll(o *Live) {
	for r := range l.Regs {
		l.Regs[r] |= o.Regs[r]
	}
	l.Stack.AddAll(o.Stack)
}

func (l *Live) need(s bpf.Registers) {
	for r := range bpf.Register(bpf.NumRegisters) {
		if s.Has(r) {
			l.Regs[r] = ^uint64(0)
		}
	}
}

// before makes what is live behind an instruction what is live before it.
func (l *Live) before(t *terms, in bpf.Instruction, e *effect) error {
	switch {
	case in.IsGoto(), in.IsMayGoto():
		return nil
	case in.IsCall():
		l.drop(in.Writes())
		l.need(e.args)
		l.Stack.Remove(int(e.kills.off), e.kills.size)
		l.readStack(e)
		return nil
	case in.IsPacketLoad():
		l.drop(in.Writes())
		l.need(in.Reads())
		return nil
	}
	t.reset(in, e.src)
	if in.IsCondJump() {
		taken := semantics.Taken[ref](t, in, t.Reg(in.Dst), semantics.Operand[ref](t, in))
		t.list[taken].live = 1
	} else if err := semantics.Step[ref](t, in); err != nil {
		return fmt.Errorf("%v: %w", in, err)
	}
	l.throughMemory(t, in, e)
	for _, s := range t.sets {
		t.list[s.v].live |= l.Regs[s.reg] & ones(t.list[s.v].width)
	}
	for _, s := range t.sets {
		l.Regs[s.reg] = 0
	}
	t.spread()
	l.collect(t, in, e)
	return nil
}

func (l *Live) drop(s bpf.Registers) {
	for r := range l.Regs {
		if s.Has(bpf.Register(r)) {
			l.Regs[r] = 0
		}
	}
}

func (l *Live) readStack(e *effect) {
	if e.all {
		l.Stack = allBytes()
	}
	for _, r := range e.reads {
		l.Stack.Add(int(r.off), r.size)
	}
}

// throughMemory says which bits of what is stored are needed, and changes what
// is live of the stack.
func (l *Live) throughMemory(t *terms, in bpf.Instruction, e *effect) {
	if t.store >= 0 {
		live := ^uint64(0)
		if e.kills.size > 0 {
			live = l.storedBits(e.kills, t.bigEndian)
		}
		t.list[t.store].live |= live & ones(t.list[t.store].width)
	}
	l.Stack.Remove(int(e.kills.off), e.kills.size)
	l.readStack(e)
}

// storedBits is which bits of a number stored in an extent are live.
func (l *Live) storedBits(e extent, bigEndian bool) uint64 {
	var live uint64
	for i := range e.size {
		at := i
		if bigEndian {
			at = e.size - 1 - i
		}
		if l.Stack.Has(int(e.off) + at) {
			live |= 0xff << (8 * i)
		}
	}
	return live
}

// collect adds what the instruction needs of registers. Of a pointer all is
// needed or nothing, and all of an address.
func (l *Live) collect(t *terms, in bpf.Instruction, e *effect) {
	for i := range t.list {
		x := &t.list[i]
		switch {
		case x.op != opRegister || x.live == 0:
		case e.pointers.Has(x.reg):
			l.Regs[x.reg] = ^uint64(0)
		default:
			l.Regs[x.reg] |= x.live
		}
	}
	if r, ok := addressRegister(in); ok {
		l.Regs[r] = ^uint64(0)
	}
}

// addressRegister is the register through which an instruction reads or writes
// memory.
func addressRegister(in bpf.Instruction) (bpf.Register, bool) {
	switch {
	case in.IsLoad(), in.IsAtomic() && in.Imm == bpf.AtomicLoadAcq:
		return in.Src, true
	case in.IsStore(), in.IsAtomic():
		return in.Dst, true
	}
	return 0, false
}

// effects takes from the facts what the needs have to know of a block.
func (f *Facts) effects(block int) ([]effect, error) {
	code := f.fn.Blocks[block].Code
	out := make([]effect, len(code))
	note := func(i int, s *State) {
		if i < len(code) {
			out[i] = f.effect(s, code[i])
		}
	}
	from := f.in[block]
	if from == nil {
		// The verifier may find a way to where the facts do not.
		from = f.entry()
		for r := range bpf.R10 {
			from.Regs[r] = Unknown(KindAny)
		}
	}
	if _, err := f.walkFrom(block, from, func(i int, s *state) { note(i, &s.State) }); err != nil {
		return nil, fmt.Errorf("%s: %w", f.fn.Name, err)
	}
	return out, nil
}

func (f *Facts) effect(s *State, in bpf.Instruction) effect {
	e := effect{src: Unknown(KindScalar)}
	for r, v := range s.Regs {
		if v.Kind.IsPointer() {
			e.pointers |= bpf.Set(bpf.Register(r))
		}
	}
	if in.UsesSrc() {
		e.src = s.Regs[in.Src]
	}
	if in.IsCall() {
		f.callEffect(&e, s, in)
		return e
	}
	base, ok := addressRegister(in)
	if !ok {
		return e
	}
	reads := in.IsLoad() || in.IsAtomic() && in.Imm != bpf.AtomicStRel
	p := s.Regs[base]
	off, exact := frameOffset(p, in)
	switch {
	case p.Kind == KindStack && exact && reads:
		e.reads = []extent{{off, in.Size()}}
	case p.Kind == KindStack && exact:
		e.kills = extent{off, in.Size()}
	case p.Kind == KindStack, p.Kind == KindNone, !p.Kind.IsPointer() && s.Escaped:
		e.all = reads
	}
	return e
}

func (f *Facts) callEffect(e *effect, s *State, in bpf.Instruction) {
	u := f.callUse(s, in)
	e.reads, e.all, e.kills = u.reads, u.escape || s.Escaped && u.follows, u.fills
	for r := bpf.R1; r <= bpf.R5; r++ {
		// The verifier lets no callee read what is not readable, of which alone it
		// is not known what it reads.
		if u.args.Has(r) && (u.certain.Has(r) || s.Regs[r].Kind != KindNone) {
			e.args |= bpf.Set(r)
		}
	}
	if in.Op&bpf.SourceX != 0 {
		e.args |= bpf.Set(in.Dst)
	}
}
