package encode

import (
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

// A seed is a wrong rewrite, or what may be one.
type seed struct {
	kind string
	w    *windows.Window
	code []bpf.Instruction
	// never says that the checker has to refuse the rewrite even where no run
	// of the two codes alone would tell them apart: others see the difference.
	never bool
}

// planter makes wrong rewrites of code that is right.
type planter struct {
	w    *windows.Window
	code []bpf.Instruction
	out  []seed
	// shared tells which instructions are accesses that others see; only known
	// for the window's own code.
	shared []bool
}

// plant makes every wrong rewrite that the operators know of.
func plant(w *windows.Window, code []bpf.Instruction) []seed {
	p := &planter{w: w, code: code, shared: make([]bool, len(code))}
	p.findShared()
	for i, in := range code {
		p.drop(i)
		p.swap(i)
		p.twice(i)
		p.immediate(i, in)
		p.registers(i, in)
		switch {
		case isCall(in):
			p.call(i, in)
		case in.IsALU():
			p.arithmetic(i, in)
		case in.IsLoad(), in.IsStore(), in.IsAtomic():
			p.access(i, in)
		case in.IsCondJump():
			p.jump(i, in)
		}
	}
	if !slices.EqualFunc(code, w.Code, bpf.SameCode) {
		p.facts()
	}
	return p.out
}

// findShared notes what others see: accesses to shared memory and atomics.
func (p *planter) findShared() {
	pair, err := newPair(p.w, p.code)
	if err != nil {
		return
	}
	events := pair.new.events
	for i, in := range p.code {
		if in.IsLoad() || in.IsStore() || in.IsAtomic() {
			p.shared[i] = in.IsAtomic() || p.w.Shared[events[0].addr.kind]
			events = events[1:]
		}
		p.shared[i] = p.shared[i] || isCall(in)
	}
}

func (p *planter) add(kind string, never bool, code []bpf.Instruction) {
	if !slices.EqualFunc(code, p.code, bpf.SameCode) {
		p.out = append(p.out, seed{kind, p.w, code, never})
	}
}

// with is the code with one instruction changed.
func (p *planter) with(kind string, i int, in bpf.Instruction) {
	code := slices.Clone(p.code)
	code[i] = in
	p.add(kind, false, code)
}

func (p *planter) drop(i int) {
	kind := "instruction dropped"
	switch in := p.code[i]; {
	case isCall(in):
		kind = "call dropped"
	case in.IsAtomic():
		kind = "atomic dropped"
	case in.IsStore():
		kind = "store dropped"
	case in.IsLoad():
		kind = "load dropped"
	}
	p.add(kind, p.code[i].IsAtomic() || isCall(p.code[i]), slices.Delete(slices.Clone(p.code), i, i+1))
}

func (p *planter) swap(i int) {
	if i+1 >= len(p.code) || p.code[i+1].IsCondJump() {
		return
	}
	code := slices.Clone(p.code)
	code[i], code[i+1] = code[i+1], code[i]
	kind, never := "instructions reordered", p.shared[i] && p.shared[i+1]
	switch {
	case isCall(p.code[i]) || isCall(p.code[i+1]):
		kind = "call reordered"
	case never:
		kind = "shared accesses swapped"
	case p.code[i].IsStore() && p.code[i+1].IsStore():
		kind = "stores reordered"
	case p.code[i].IsStore() != p.code[i+1].IsStore() && p.code[i].IsLoad() != p.code[i+1].IsLoad():
		kind = "load and store reordered"
	}
	p.add(kind, never, code)
}

// twice makes an instruction twice. A shared load made twice, into a register
// that nobody reads, is invented.
func (p *planter) twice(i int) {
	in := p.code[i]
	if in.IsCondJump() {
		return
	}
	kind := "instruction repeated"
	switch {
	case isCall(in):
		kind = "call repeated"
	case p.shared[i]:
		kind = "shared access repeated"
	}
	p.add(kind, p.shared[i], slices.Insert(slices.Clone(p.code), i, in))
}

func (p *planter) immediate(i int, in bpf.Instruction) {
	takes := in.Op == bpf.LoadImm64 || in.Op.Class() == bpf.ClassST ||
		(in.IsALU() || in.IsCondJump()) && in.Op&bpf.SourceX == 0 && in.Op.ALU() != bpf.OpEnd && in.Op.ALU() != bpf.OpNeg
	if !takes || in.Ref != 0 {
		return
	}
	for _, d := range []int64{1, -1, 8, 256} {
		changed := in
		changed.Imm += d
		p.with("constant off by some", i, changed)
	}
	changed := in
	changed.Imm = -in.Imm
	p.with("constant negated", i, changed)
}

// call makes another call, or the same with one argument, or one byte of the
// stack, changed just before it or put back just behind it.
func (p *planter) call(i int, in bpf.Instruction) {
	changed := in
	changed.Imm++
	p.add("another call", true, append(append(slices.Clone(p.code[:i]), changed), p.code[i+1:]...))
	before := func(kind string, add ...bpf.Instruction) {
		p.add(kind, false, slices.Insert(slices.Clone(p.code), i, add...))
	}
	for r := bpf.R1; r <= bpf.R5; r++ {
		before("argument changed", bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpAdd, Dst: r, Imm: 1})
		before("argument lost", bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpMov, Dst: r, Imm: 1})
		p.add("lost register used", false, slices.Insert(slices.Clone(p.code), i+1,
			bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpMov | bpf.SourceX, Dst: bpf.R6, Src: r}))
	}
	for off := int16(-4); off >= -24; off -= 4 {
		before("stack changed before a call", bpf.Instruction{Op: bpf.ClassST | bpf.ModeMem | bpf.SizeW, Dst: bpf.R10, Off: off, Imm: 77})
		p.add("stack changed behind a call", false, slices.Insert(slices.Clone(p.code), i+1,
			bpf.Instruction{Op: bpf.ClassST | bpf.ModeMem | bpf.SizeW, Dst: bpf.R10, Off: off, Imm: 77}))
	}
	for j := range p.code {
		p.across(i, j)
	}
}

// across moves an instruction to the other side of a call.
func (p *planter) across(i, j int) {
	in := p.code[j]
	if j == i || isCall(in) || in.IsCondJump() {
		return
	}
	kind := "moved past a call"
	if p.shared[j] {
		kind = "shared access moved past a call"
	}
	code := slices.Delete(slices.Clone(p.code), j, j+1)
	// Behind the call, which is now at i-1, or before it.
	p.add(kind, p.shared[j], slices.Insert(code, i, in))
}

func (p *planter) registers(i int, in bpf.Instruction) {
	for r := range bpf.R9 + 1 {
		if in.UsesSrc() || in.IsLoad() || in.Op.Class() == bpf.ClassSTX {
			changed := in
			changed.Src = r
			p.with("other source", i, changed)
		}
		changed := in
		changed.Dst = r
		p.with("other destination", i, changed)
	}
}

func (p *planter) arithmetic(i int, in bpf.Instruction) {
	for _, op := range []bpf.Op{bpf.OpAdd, bpf.OpSub, bpf.OpMul, bpf.OpDiv, bpf.OpOr, bpf.OpAnd, bpf.OpLsh,
		bpf.OpRsh, bpf.OpMod, bpf.OpXor, bpf.OpMov, bpf.OpArsh} {
		if in.Op.ALU() != bpf.OpEnd && in.Op.ALU() != bpf.OpNeg {
			changed := in
			changed.Op = in.Op&^0xf0 | op
			p.with("other operation", i, changed)
		}
	}
	changed := in
	if in.Op.ALU() == bpf.OpEnd {
		changed.Op ^= bpf.SourceX
		p.with("other byte order", i, changed)
		for _, width := range []int64{16, 32, 64} {
			changed := in
			changed.Imm = width
			p.with("byte swap of another width", i, changed)
		}
		return
	}
	changed.Op ^= bpf.ClassALU ^ bpf.ClassALU64
	p.with("other width of arithmetic", i, changed)
	for _, off := range []int16{1, 8, 16, 32} {
		changed := in
		changed.Off = off
		p.with("wrong sign extension", i, changed)
	}
}

func (p *planter) access(i int, in bpf.Instruction) {
	for _, d := range []int16{1, -1, 2, 4, -8, 64} {
		changed := in
		changed.Off += d
		p.with("wrong offset", i, changed)
	}
	for n := 1; n <= 8; n *= 2 {
		size, _ := bpf.SizeOp(n)
		changed := in
		changed.Op = in.Op&^bpf.SizeDW | size
		p.with("wrong width", i, changed)
	}
	changed := in
	switch {
	case in.IsLoad():
		changed.Op ^= bpf.ModeMem ^ bpf.ModeMemSX
		p.with("wrong sign extension of a load", i, changed)
		p.store(i, in)
	case in.IsAtomic():
		for _, op := range []int64{bpf.AtomicAdd, bpf.AtomicOr, bpf.AtomicAnd, bpf.AtomicXor, bpf.AtomicXchg, bpf.AtomicAdd | bpf.AtomicFetch} {
			changed.Imm = op
			p.with("other atomic", i, changed)
		}
		changed.Op, changed.Imm = in.Op&^bpf.ModeAtomic|bpf.ModeMem, 0
		p.with("atomic made plain", i, changed)
	case in.Op.Class() == bpf.ClassSTX:
		changed.Op, changed.Src, changed.Imm = in.Op^bpf.ClassSTX^bpf.ClassST, 0, 1
		p.with("store of a constant", i, changed)
	}
}

// store invents a store of what a load has read.
func (p *planter) store(i int, in bpf.Instruction) {
	back := bpf.Instruction{Op: in.Op&^7 | bpf.ClassSTX, Dst: in.Src, Src: in.Dst, Off: in.Off}
	if in.Src == in.Dst || in.Op.Mode() != bpf.ModeMem {
		return
	}
	p.add("store invented", p.shared[i], slices.Insert(slices.Clone(p.code), i+1, back))
}

func (p *planter) jump(i int, in bpf.Instruction) {
	for _, op := range []bpf.Op{bpf.OpJEq, bpf.OpJGT, bpf.OpJGE, bpf.OpJSet, bpf.OpJNE, bpf.OpJSGT, bpf.OpJSGE,
		bpf.OpJLT, bpf.OpJLE, bpf.OpJSLT, bpf.OpJSLE} {
		changed := in
		changed.Op = in.Op&^0xf0 | op
		p.with("other condition", i, changed)
	}
	changed := in
	changed.Op ^= bpf.ClassJMP ^ bpf.ClassJMP32
	p.with("other width of a comparison", i, changed)
	if in.UsesSrc() {
		changed := in
		changed.Dst, changed.Src = in.Src, in.Dst
		p.with("operands swapped", i, changed)
	}
	changed = in
	changed.Target++
	p.add("other target", true, append(slices.Clone(p.code[:i]), changed))
}

// weaker plants the same code under other facts or needs.
func (p *planter) weaker(kind string, change func(w *windows.Window)) {
	w := *p.w
	w.Facts.Stack = slices.Clone(w.Facts.Stack)
	change(&w)
	p.out = append(p.out, seed{kind, &w, p.code, false})
}

// facts takes away what is known of what the codes read.
func (p *planter) facts() {
	var read, written bpf.Registers
	memory, stack := false, false
	for _, in := range slices.Concat(p.w.Code, p.code) {
		read, written = read|in.Reads(), written|in.Writes()
		isAccess := in.IsLoad() || in.IsStore() || in.IsAtomic()
		memory = memory || isAccess || in.IsALU() && in.Op.ALU() == bpf.OpEnd
		stack = stack || isAccess && in.Reads().Has(bpf.R10)
	}
	for r, v := range p.w.Facts.Regs[:bpf.R10] {
		if read.Has(bpf.Register(r)) {
			p.register(r, v)
		}
		if written.Has(bpf.Register(r)) && p.w.Needs.Regs[r] != ^uint64(0) {
			p.weaker("live register dropped", func(w *windows.Window) { w.Needs.Regs[r] = ^uint64(0) })
		}
	}
	for i := range p.w.Facts.Stack {
		p.weaker("stack value that does not hold", func(w *windows.Window) {
			w.Facts.Stack = slices.Delete(w.Facts.Stack, i, i+1)
		})
	}
	if stack {
		p.weaker("live stack bytes dropped", func(w *windows.Window) { w.Needs.Stack.Add(-flow.StackSize, flow.StackSize) })
		p.weaker("stack not written", func(w *windows.Window) { w.Facts.Written = flow.Bytes{} })
		p.weaker("frame known to others", func(w *windows.Window) { w.Facts.Escaped = true })
	}
	if memory {
		p.weaker("other target byte order", func(w *windows.Window) { w.BigEndian = !w.BigEndian })
	}
	p.weaker("level too high", func(w *windows.Window) { w.Level = bpf.V1 })
}

func (p *planter) register(r int, v flow.Value) {
	u := flow.Unknown(flow.KindScalar)
	u.Base, u.Offset = v.Base, v.Offset
	if v.Kind == flow.KindScalar && v != u {
		p.weaker("number less well known", func(w *windows.Window) { w.Facts.Regs[r] = u })
	}
	if v.Base != 0 {
		p.weaker("equality that does not hold", func(w *windows.Window) {
			w.Facts.Regs[r].Base, w.Facts.Regs[r].Offset = flow.Base(900+r), 0
		})
		p.weaker("offset that does not hold", func(w *windows.Window) { w.Facts.Regs[r].Offset++ })
	}
	u.Kind = flow.KindAny
	if v.Kind != flow.KindAny && v.Kind != flow.KindNone {
		p.weaker("kind that does not hold", func(w *windows.Window) { w.Facts.Regs[r] = u })
	}
	if v.Kind != flow.KindNone {
		p.weaker("register not readable", func(w *windows.Window) { w.Facts.Regs[r] = flow.Unknown(flow.KindNone) })
	}
}
