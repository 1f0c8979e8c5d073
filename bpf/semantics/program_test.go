package semantics

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/k2cc/k2cc/bpf"
)

// Random programs are of type sched_cls: they take R0 to R9 and 64 bytes of
// stack from a map, run segments of random code, and put both back. The
// symbols are what the code under test has besides its registers.
const (
	symState = "state" // the value that holds a machineState
	symArray = "array" // an array of arrayEntries numbers of 16 bytes
	symProgs = "progs" // programs for tail calls, of which only the first is there
)

const (
	arrayEntries = 4
	arrayValue   = 16
	// The frame below the registers: a register, a key, counters of loops.
	keptReg  = savedRegs - 8
	mapKey   = keptReg - 8
	counters = mapKey - 8
)

var programSymbols = []bpf.Symbol{
	{Kind: bpf.SymbolData, Name: symState},
	{Kind: bpf.SymbolMap, Name: symArray},
	{Kind: bpf.SymbolMap, Name: symProgs},
}

// generator makes the code of one function.
type generator struct {
	testing.TB
	*rand.Rand
	fn     *bpf.Function
	labels bpf.Label
	loops  int
	subs   []*bpf.Function // that the function may call
	isMain bool
}

func newGenerator(t testing.TB, rng *rand.Rand, name string) *generator {
	g := &generator{TB: t, Rand: rng, fn: &bpf.Function{Name: name, Symbols: programSymbols}}
	g.start(g.label())
	return g
}

func (g *generator) label() bpf.Label { g.labels++; return g.labels }

// start begins the block with the label.
func (g *generator) start(l bpf.Label) {
	g.fn.Blocks = append(g.fn.Blocks, &bpf.Block{Label: l})
}

func (g *generator) emit(code ...bpf.Instruction) {
	for _, in := range code {
		b := g.fn.Blocks[len(g.fn.Blocks)-1]
		b.Code = append(b.Code, in)
		if in.IsAtomic() && in.Imm == bpf.AtomicCmpXchg && in.Size() == 4 {
			// What the upper half of R0 is depends on the kernel: see Vague.
			b.Code = append(b.Code, bpf.Instruction{Op: bpf.ClassALU | bpf.OpMov | bpf.SourceX})
		}
		if in.EndsBlock() {
			g.start(g.label())
		}
	}
}

func (g *generator) text(format string, args ...any) {
	g.emit(parse(g, fmt.Sprintf(format, args...))...)
}

// randomProgram is a program and the functions that it calls.
func randomProgram(t testing.TB, rng *rand.Rand) []*bpf.Function {
	var subs []*bpf.Function
	for i := range rng.IntN(3) {
		g := newGenerator(t, rng, fmt.Sprintf("sub%d", i))
		for j := range scratchSize / 8 {
			g.text("*(u64 *)(r10 %+d) = %d", scratchLow+8*j, randomImm(rng))
		}
		g.text("r6 = r1\nr7 = r2\nr8 = r3\nr9 = r4\nr0 = r5")
		g.segments(1 + rng.IntN(3))
		g.text("exit")
		subs = append(subs, g.finish())
	}
	g := newGenerator(t, rng, "main")
	g.isMain, g.subs = true, subs
	g.text("*(u64 *)(r10 %+d) = r1\nr6 = @1 ll", savedCtx)
	for i := range scratchSize / 8 {
		g.text("r0 = *(u64 *)(r6 + %d)\n*(u64 *)(r10 %+d) = r0", 80+8*i, scratchLow+8*i)
	}
	for i := range 10 {
		g.text("r%d = *(u64 *)(r6 + %d)", (i+7)%10, 8*((i+7)%10))
	}
	g.segments(1 + rng.IntN(6))
	if rng.IntN(4) == 0 {
		g.text("*(u64 *)(r10 %+d) = r0\nr1 = *(u64 *)(r10 %+d)\nr2 = @3 ll\nr3 = %d\ncall 12\nr0 = *(u64 *)(r10 %+d)",
			keptReg, savedCtx, rng.IntN(3), keptReg)
		g.renew()
	}
	for i := range 10 {
		g.text("*(u64 *)(r10 %+d) = r%d", savedRegs+8*i, i)
	}
	g.text("r6 = @1 ll")
	for i := range 10 {
		g.text("r0 = *(u64 *)(r10 %+d)\n*(u64 *)(r6 + %d) = r0", savedRegs+8*i, 8*i)
	}
	for i := range scratchSize / 8 {
		g.text("r0 = *(u64 *)(r10 %+d)\n*(u64 *)(r6 + %d) = r0", scratchLow+8*i, 80+8*i)
	}
	g.text("r0 = *(u32 *)(r10 %+d)\nexit", savedRegs)
	fns := []*bpf.Function{g.finish()}
	for _, sym := range g.fn.Symbols[len(programSymbols):] {
		fns = append(fns, sym.Func)
	}
	return fns
}

// finish drops the empty block behind the last instruction.
func (g *generator) finish() *bpf.Function {
	g.fn.Blocks = g.fn.Blocks[:len(g.fn.Blocks)-1]
	return g.fn
}

func (g *generator) segments(n int) {
	for range n {
		g.segment()
	}
}

func (g *generator) segment() {
	switch g.IntN(10) {
	case 0:
		g.diamond()
	case 1:
		g.loop()
	case 2:
		g.lookup()
	case 3:
		g.update()
	case 4:
		g.packet()
	case 5:
		g.call()
	case 6, 7:
		over := g.label()
		g.emit(randomJump(g.Rand, over))
		g.straight()
		g.start(over)
	default:
		g.straight()
	}
}

func (g *generator) straight() {
	for range 1 + g.IntN(10) {
		g.emit(randomInstruction(g.Rand))
	}
}

// renew gives the registers that a call has lost numbers again.
func (g *generator) renew() {
	for r := 1; r <= 5; r++ {
		if g.IntN(2) == 0 {
			g.text("r%d = r%d", r, []int{0, 6, 7, 8, 9}[g.IntN(5)])
		} else {
			g.text("r%d = %#x ll", r, randomWord(g.Rand))
		}
	}
}

func (g *generator) diamond() {
	other, join := g.label(), g.label()
	g.emit(randomJump(g.Rand, other))
	g.straight()
	g.text("%s L%d", []string{"goto", "gotol"}[g.IntN(2)], join)
	g.start(other)
	g.straight()
	g.start(join)
}

// loop counts on the stack; half of the loops may end early, which the kernel
// makes none do so soon.
func (g *generator) loop() {
	if g.loops == 2 {
		return
	}
	counter := counters - 8*g.loops
	g.loops++
	head, out := g.label(), g.label()
	g.text("*(u64 *)(r10 %+d) = %d", counter, 1+g.IntN(4))
	g.start(head)
	if g.IntN(2) == 0 {
		g.text("may_goto L%d", out)
	}
	g.straight()
	if g.IntN(2) == 0 {
		g.diamond()
	}
	r := g.IntN(10)
	g.text("r%d = *(u64 *)(r10 %+d)\nr%d += -1\n*(u64 *)(r10 %+d) = r%d\nif r%d != 0 goto L%d",
		r, counter, r, counter, r, r, head)
	g.start(out)
}

// lookup exchanges a register and a number in the array.
func (g *generator) lookup() {
	none := g.label()
	r := 6 + g.IntN(4)
	g.text("*(u32 *)(r10 %+d) = %d\nr2 = r10\nr2 += %d\nr1 = @2 ll\ncall 1\nr1 = 3\nif r0 == 0 goto L%d",
		mapKey, g.IntN(arrayEntries+1), mapKey, none)
	g.text("r1 = *(u64 *)(r0 + 8)\n*(u64 *)(r0 + 8) = r%d\nlock *(u64 *)(r0 + 0) += r%d", r, r)
	g.start(none)
	g.text("r0 = r1")
	g.renew()
}

// update puts a part of the scratch bytes into the array.
func (g *generator) update() {
	g.text("*(u32 *)(r10 %+d) = %d\nr2 = r10\nr2 += %d\nr3 = r10\nr3 += %d\nr4 = 0\nr1 = @2 ll\ncall 2",
		mapKey, g.IntN(arrayEntries+1), mapKey, scratchLow+8*g.IntN(7))
	g.renew()
}

// packet loads from the packet, of which some offsets are outside.
func (g *generator) packet() {
	if !g.isMain {
		return
	}
	in := randomOf(g.Rand, packetForms)
	in.Imm = int64(g.IntN(20))
	g.text("*(u64 *)(r10 %+d) = r6\nr6 = *(u64 *)(r10 %+d)", keptReg, savedCtx)
	if in.Op.Mode() == bpf.ModeInd {
		in.Src = bpf.R7
		g.text("r7 &= 63")
	}
	g.emit(in)
	g.text("r6 = *(u64 *)(r10 %+d)", keptReg)
	g.renew()
}

func (g *generator) call() {
	if len(g.subs) == 0 {
		return
	}
	callee := g.subs[g.IntN(len(g.subs))]
	ref := bpf.Ref(0)
	for i := range g.fn.Symbols {
		if g.fn.Symbols[i].Func == callee {
			ref = bpf.Ref(i + 1)
		}
	}
	if ref == 0 {
		g.fn.Symbols = append(g.fn.Symbols[:len(g.fn.Symbols):len(g.fn.Symbols)],
			bpf.Symbol{Kind: bpf.SymbolFunc, Name: callee.Name, Func: callee})
		ref = bpf.Ref(len(g.fn.Symbols))
	}
	g.emit(bpf.Instruction{Op: bpf.ClassJMP | bpf.OpCall, Src: bpf.CallLocal, Ref: ref})
	g.renew()
}
