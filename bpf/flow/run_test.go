package flow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/semantics"
)

// The property that everything rests on: run a random program on concrete
// numbers, and at every point its state is one that the facts allow.

const (
	testFrame   = 0x7000_0000_0200
	testContext = 0x6000_0000_0000
)

// errRefused says that the program does what the verifier lets none do.
var errRefused = errors.New("refused by the verifier")

// pointer tells what a number points to, as far as the test cares.
type pointer uint8

const (
	toFrame pointer = 1 + iota
	toContext
	toPacket
)

// run is a program at work. It follows which numbers are pointers, so that it
// can tell programs that the verifier would refuse.
type run struct {
	*semantics.State
	source  *rand.PCG
	rng     *rand.Rand
	points  [bpf.NumRegisters]pointer
	spilled map[uint64]pointer // by address of eight bytes
	shared  bool               // others hold a pointer into the frame
	written Bytes
	packet  [3]uint64
	context bpf.Context
	// observed is what others can see of the run.
	observed []string
	left     int // how many steps more it may do
}

func newRun(seed uint64, fn *bpf.Function, bigEndian bool) *run {
	r := &run{
		State: &semantics.State{
			Big:    bigEndian,
			Memory: map[uint64]byte{},
			Fill:   func(addr uint64) byte { return byte((addr ^ seed) * 0x9e3779b97f4a7c15 >> 56) },
		},
		source:  rand.NewPCG(seed, 1),
		spilled: map[uint64]pointer{},
		context: fn.Context,
	}
	r.rng = rand.New(r.source)
	for i := range r.Regs {
		r.Regs[i] = interesting(r.rng)
	}
	r.Regs[bpf.R10] = testFrame
	r.points[bpf.R10] = toFrame
	if fn.Context != bpf.ContextNone {
		r.Regs[bpf.R1], r.points[bpf.R1] = testContext, toContext
	}
	r.movePacket()
	return r
}

func (r *run) clone() *run {
	c := *r
	c.State = r.State.Clone()
	source := *r.source
	c.source = &source
	c.rng = rand.New(&source)
	c.spilled = maps.Clone(r.spilled)
	c.observed = slices.Clone(r.observed)
	return &c
}

func (r *run) movePacket() {
	for i := range r.packet {
		r.packet[i] = 0x5000_0000_0000 + uint64(r.rng.IntN(1<<20))*8
	}
}

// interesting is a number near an edge more often than not.
func interesting(rng *rand.Rand) uint64 {
	v := rng.Uint64() >> rng.IntN(64)
	switch rng.IntN(4) {
	case 0:
		return uint64(rng.IntN(16)) - 8
	case 1:
		return uint64(1)<<rng.IntN(64) - uint64(rng.IntN(3))
	case 2:
		return -v
	}
	return v
}

func (r *run) inFrame(addr uint64, size int) bool {
	return addr >= testFrame-StackSize && addr+uint64(size) <= testFrame
}

// access checks an access as the verifier would.
func (r *run) access(in bpf.Instruction, base bpf.Register) (uint64, error) {
	addr, size := r.Address(in, base), in.Size()
	touches := addr+uint64(size) > testFrame-StackSize && addr < testFrame
	if (r.points[base] == toFrame) != r.inFrame(addr, size) || touches != r.inFrame(addr, size) {
		return 0, errRefused
	}
	return addr, nil
}

// Load reads memory, or a field of the context.
func (r *run) Load(in bpf.Instruction, base bpf.Register) (semantics.Word, error) {
	addr, err := r.access(in, base)
	if err != nil {
		return semantics.Word{}, err
	}
	if r.points[base] == toContext {
		if addr < testContext || addr > testContext+8 || in.Size() != 4 || addr%4 != 0 || in.IsAtomic() || in.Op.Mode() == bpf.ModeMemSX {
			return semantics.Word{}, errRefused
		}
		field := []int{0, 2, 1}[(addr-testContext)/4]
		return semantics.Word{Value: r.packet[field], Width: 64}, nil
	}
	return r.State.Load(in, base)
}

// Store writes memory.
func (r *run) Store(in bpf.Instruction, base bpf.Register, v semantics.Word) error {
	addr, err := r.access(in, base)
	if err != nil {
		return err
	}
	r.unspill(addr, in.Size())
	if r.points[base] == toContext {
		return errRefused
	}
	if in.Op.Class() == bpf.ClassSTX && r.points[in.Src] != 0 {
		if in.Size() < 8 || in.IsAtomic() && in.Imm != bpf.AtomicStRel {
			return errRefused
		}
		r.spilled[addr] = r.points[in.Src]
	}
	if r.inFrame(addr, in.Size()) {
		r.written.Add(int(int64(addr-testFrame)), in.Size())
	} else {
		r.observed = append(r.observed, fmt.Sprintf("%#x:%d=%#x", addr, in.Size(), v.Value))
	}
	return r.State.Store(in, base, v)
}

func (r *run) unspill(addr uint64, size int) {
	for a := addr - 7; a != addr+uint64(size); a++ {
		delete(r.spilled, a)
	}
}

// step executes one instruction that does not end its block.
func (r *run) step(in bpf.Instruction) error {
	if in.IsCall() {
		r.call(int(in.Imm & 7))
		return nil
	}
	p, err := r.pointerResult(in)
	if err != nil {
		return err
	}
	if err := semantics.Step[semantics.Word](r, in); err != nil {
		return err
	}
	for reg := range bpf.R10 {
		if in.Writes().Has(reg) {
			r.points[reg] = p
		}
	}
	return nil
}

// pointerResult tells what in leaves in its register points to. It fails where
// the verifier refuses to compute with pointers.
func (r *run) pointerResult(in bpf.Instruction) (pointer, error) {
	op := in.Op.ALU()
	dst := r.points[in.Dst]
	var src pointer
	if in.UsesSrc() {
		src = r.points[in.Src]
	}
	switch {
	case in.IsLoad() && r.points[in.Src] == toContext:
		return toPacket, nil
	case in.IsLoad() && in.Size() < 8 || in.IsALU() && op == bpf.OpMov && !in.UsesSrc():
		return 0, nil
	case in.IsLoad():
		return r.spilled[r.Address(in, in.Src)], nil
	case in.IsALU() && op == bpf.OpMov:
		if src != 0 && (in.Op.Class() == bpf.ClassALU || in.Off != 0) {
			return 0, errRefused
		}
		return src, nil
	case in.IsALU() && dst|src != 0:
		switch {
		case in.Op.Class() == bpf.ClassALU:
		case op == bpf.OpSub && dst != 0 && src != 0:
			return 0, nil
		case op == bpf.OpAdd && (dst == 0 || src == 0), op == bpf.OpSub && src == 0:
			return dst | src, nil
		}
		return 0, errRefused
	case in.IsAtomic() && in.Imm == bpf.AtomicLoadAcq && in.Size() == 8:
		return r.spilled[r.Address(in, in.Src)], nil
	case in.IsAtomic() && in.Imm != bpf.AtomicStRel && in.Imm != bpf.AtomicLoadAcq:
		if in.Imm&bpf.AtomicFetch != 0 && in.Size() == 8 && r.spilled[r.Address(in, in.Dst)] != 0 {
			return 0, errRefused
		}
	}
	return 0, nil
}

// call does the worst that a function of n arguments can do.
func (r *run) call(n int) {
	args := ""
	for reg := bpf.R1; reg <= bpf.Register(n); reg++ {
		r.shared = r.shared || r.points[reg] == toFrame
		args += fmt.Sprintf(" %#x", r.Regs[reg])
	}
	for addr, p := range r.spilled {
		r.shared = r.shared || p == toFrame && !r.inFrame(addr, 8)
	}
	r.observed = append(r.observed, "call"+args)
	if r.shared {
		var frame [StackSize]byte
		r.ReadBytes(testFrame-StackSize, frame[:])
		r.observed = append(r.observed, fmt.Sprintf("%x", frame))
		for range 8 {
			addr := testFrame - 64 + uint64(r.rng.IntN(64))
			r.unspill(addr, 1)
			r.Write(addr, 1, r.rng.Uint64())
		}
	}
	for reg := bpf.R0; reg <= bpf.R5; reg++ {
		r.Regs[reg], r.points[reg] = interesting(r.rng), 0
	}
	if r.shared && r.rng.IntN(4) == 0 {
		r.Regs[bpf.R0], r.points[bpf.R0] = testFrame-uint64(r.rng.IntN(9))*8, toFrame
	}
	for addr, p := range r.spilled {
		if p == toPacket {
			delete(r.spilled, addr)
		}
	}
	for reg, p := range r.points {
		if p == toPacket {
			r.points[reg] = 0
		}
	}
	r.movePacket()
}

// execute runs fn from its start, with at called before every instruction, for
// at most so many instructions. It tells whether fn came to its end.
func (r *run) execute(fn *bpf.Function, g *Graph, limit int, at func(block, i int) error) (bool, error) {
	r.left = limit
	return r.resume(fn, g, 0, 0, at)
}

// resume is execute from a point inside the function.
func (r *run) resume(fn *bpf.Function, g *Graph, block, from int, at func(block, i int) error) (bool, error) {
	for ; ; from = 0 {
		code := fn.Blocks[block].Code
		succs := g.Succs(block)
		for i := from; i < len(code); i++ {
			in := code[i]
			if err := at(block, i); err != nil {
				return false, err
			}
			if r.left--; r.left < 0 {
				return false, nil
			}
			if in.EndsBlock() {
				break
			}
			if err := r.step(in); err != nil {
				return false, err
			}
		}
		if len(succs) == 0 {
			r.observed = append(r.observed, fmt.Sprintf("exit %#x", r.Regs[bpf.R0]))
			return true, nil
		}
		next := 0
		if len(code) > 0 && code[len(code)-1].IsCondJump() {
			in := code[len(code)-1]
			if r.points[in.Dst] != 0 && in.Op.Class() == bpf.ClassJMP32 {
				return false, errRefused
			}
			taken, err := r.Taken(in)
			if err != nil {
				return false, err
			}
			if !taken {
				next = 1
			}
		} else if len(succs) > 1 {
			next = r.rng.IntN(2)
		}
		if r.left--; r.left < 0 {
			return false, nil
		}
		block = succs[next]
	}
}

// check compares the state of the run with what is claimed of it.
func (r *run) check(s *State) error {
	stack := func(off int) byte { return r.Byte(testFrame + uint64(int64(off))) }
	if err := s.Contains(r.Regs, stack, r.Big); err != nil {
		return err
	}
	for reg, v := range s.Regs {
		if err := r.checkKind(s, v, r.points[reg], r.Regs[reg]); err != nil {
			return fmt.Errorf("r%d: %w", reg, err)
		}
	}
	for _, c := range s.Stack {
		addr := testFrame + uint64(int64(c.Off))
		p := r.spilled[addr]
		if c.Size < 8 {
			p = 0
		}
		if err := r.checkKind(s, c.Value, p, r.Read(addr, int(c.Size))); err != nil {
			return fmt.Errorf("[r10%+d:%d]: %w", c.Off, c.Size, err)
		}
	}
	for addr, p := range r.spilled {
		if p != toFrame {
			continue
		}
		c, ok := s.Cell(int64(addr-testFrame), 8)
		if !s.Escaped && (!ok || c.Kind != KindStack) {
			return fmt.Errorf("the frame's address is at %#x, but escaped nowhere", addr)
		}
	}
	w := s.Written
	w.Keep(r.written)
	if w != s.Written {
		return fmt.Errorf("not all is written of %v", s.Written)
	}
	return nil
}

func (r *run) checkKind(s *State, v Value, p pointer, x uint64) error {
	switch {
	case v.Kind == KindNone:
	case p == toFrame && v.Kind == KindAny && s.Escaped:
	case (p == toFrame) != (v.Kind == KindStack):
		return fmt.Errorf("%v: pointer into the frame is %v", v, p == toFrame)
	case p == toContext && v.Kind != KindContext && v.Kind != KindAny, p != toContext && v.Kind == KindContext:
		return fmt.Errorf("%v: pointer to the context is %v", v, p == toContext)
	case p == toPacket && v.Kind != KindPacket && v.Kind != KindPacketEnd && v.Kind != KindAny,
		p != toPacket && (v.Kind == KindPacket || v.Kind == KindPacketEnd):
		return fmt.Errorf("%v: pointer to the packet is %v", v, p == toPacket)
	case v.Base == ContextBase && x != testContext+uint64(v.Offset):
		return fmt.Errorf("%#x is not %v", x, v)
	}
	return nil
}

// testFacts runs the random program of the seed several times. It tells how
// many points it has looked at.
func testFacts(t testing.TB, seed uint64) int {
	rng := rand.New(rand.NewPCG(seed, 0))
	fn := randomFunction(rng, seed%4 != 0)
	bigEndian := seed%3 == 0
	opts := Options{BigEndian: bigEndian, wideFacts: seed%2 == 0, haste: []int{0, 0, 3, 7, 9, 13}[seed/2%6]}
	facts, err := Analyze(context.Background(), fn, opts)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	states := make([][]State, len(fn.Blocks))
	for b := range fn.Blocks {
		states[b] = facts.Block(b)
	}
	points := 0
	for n := range uint64(6) {
		r := newRun(seed*6+n, fn, bigEndian)
		trace := ""
		_, err := r.execute(fn, facts.Graph(), 120, func(block, i int) error {
			points++
			trace += fmt.Sprintf(" %d.%d", block, i)
			if !facts.Reachable(block) {
				return errors.New("not reachable")
			}
			if !readable(&states[block][i], fn.Blocks[block].Code[i]) {
				return errRefused
			}
			if err := r.check(&states[block][i]); err != nil {
				return fmt.Errorf("%v: %w", states[block][i], err)
			}
			return nil
		})
		if err != nil && !errors.Is(err, errRefused) {
			t.Fatalf("seed %d, run %d:%s: %v\n%s", seed, n, trace, err, bpf.FormatBlocks(fn.Blocks))
		}
	}
	return points
}

func TestFactsHoldInRandomPrograms(t *testing.T) {
	t.Parallel()
	points := 0
	for seed := range uint64(8000) {
		points += testFacts(t, seed)
	}
	t.Logf("%d points", points)
	if points < 500_000 {
		t.Errorf("looked at %d points only", points)
	}
}

func FuzzFacts(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { testFacts(t, seed) })
}
