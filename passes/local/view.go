package local

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
	"github.com/k2cc/k2cc/windows"
)

// work is one window that is being rewritten.
type work struct {
	w     *windows.Window
	most  cost.Cost // what the code may cost
	t     *table
	entry [bpf.NumRegisters]ref
	cells []ref // values of w.Facts.Stack
	ids   int32 // the last id given

	// touched holds the bytes that the window's own code accesses, and scalar
	// the values that it treats as numbers.
	touched map[sum]bool
	scalar  map[ref]bool
	whole   map[place]bool       // its accesses
	bases   map[int32]flow.Value // pointers before the window, by root
	answers map[question]answer
	vague   bool // it follows a pointer of unknown kind

	// Where transformations must not be applied, the name of the one that is
	// being applied, and the instruction where.
	banned map[ban]bool
	name   string
	anchor int32
}

// view is what holds in one version of the code.
type view struct {
	k     *work
	code  code
	regs  [][bpf.NumRegisters]ref // before each instruction, and after the last
	acc   []access
	live  []flow.Live // after each instruction
	entry flow.Live   // before the first
	dead  []bool
	cond  bit // the last instruction's condition
}

func newWork(w *windows.Window) *work {
	k := &work{
		w: w, most: w.Bounds(), t: newTable(w.BigEndian),
		touched: make(map[sum]bool), scalar: make(map[ref]bool),
		whole: make(map[place]bool), bases: make(map[int32]flow.Value),
		answers: make(map[question]answer),
	}
	for r := range k.entry {
		k.entry[r] = k.seed(w.Facts.Regs[r], key{kind: keyReg, a: int32(r)})
	}
	for i, c := range w.Facts.Stack {
		r := k.seed(c.Value, key{kind: keyCell, a: int32(i)})
		if r == 0 {
			r = k.t.number(key{kind: keyCell, a: int32(i)}, flow.KindAny)
		}
		k.cells = append(k.cells, r)
	}
	return k
}

// start is the view of the window's own code. It notes what that code accesses
// and which values it treats as numbers.
func (k *work) start() *view {
	var c code
	for _, in := range k.w.Code {
		c = append(c, k.give(in))
	}
	v := k.view(c)
	for i, in := range c {
		if a := v.acc[i]; a.any() && !a.vague {
			k.vague = k.vague || !a.kind.IsPointer()
			k.whole[a.place] = true
			for at := range a.size {
				k.touched[sum{a.root, a.off + int64(at)}] = true
			}
		}
		if in.IsALU() && !mayTakePointer(in.Instruction) {
			k.scalar[v.regs[i][in.Dst]] = true
			if in.UsesSrc() {
				k.scalar[v.regs[i][in.Src]] = true
			}
		}
	}
	return v
}

// mayTakePointer tells whether the verifier lets an arithmetic instruction
// work on pointers.
func mayTakePointer(in bpf.Instruction) bool {
	switch in.Op.ALU() {
	case bpf.OpMov:
		return true
	case bpf.OpAdd, bpf.OpSub:
		return in.Op.Class() == bpf.ClassALU64
	}
	return false
}

// seed is the value that the facts tell of.
func (k *work) seed(f flow.Value, name key) ref {
	if f.Kind == flow.KindNone {
		return 0
	}
	if f.Base != 0 {
		k.bases[-int32(f.Base)] = f
		name = key{kind: keyBase, a: int32(f.Base), c: f.Offset}
		if r, ok := k.t.sums[sum{-int32(f.Base), f.Offset}]; ok {
			return r
		}
	}
	var v vec
	if f.Kind == flow.KindScalar {
		v = constVec(f.Bits)
		v.unknown(k.t.leaf(name), f.Mask)
	} else {
		v.unknown(k.t.leaf(name), ^uint64(0))
	}
	before := len(k.t.values)
	r := k.t.intern(&v)
	if int(r) == before {
		n := k.t.at(r)
		n.kind, n.null = f.Kind, f.MaybeNull
		if f.Base != 0 {
			n.root, n.off = -int32(f.Base), f.Offset
			k.t.sums[sum{n.root, n.off}] = r
		}
	}
	return r
}

// give makes an instruction with an id of its own.
func (k *work) give(in bpf.Instruction) inst {
	k.ids++
	return inst{Instruction: in, id: k.ids}
}

func (k *work) view(c code) *view {
	v := &view{k: k, code: c}
	v.regs = make([][bpf.NumRegisters]ref, len(c)+1)
	v.acc = make([]access, len(c))
	v.regs[0] = k.entry
	for i := range c {
		v.regs[i+1] = v.regs[i]
		v.acc[i] = v.findAccess(i)
		v.step(i, &v.regs[i+1])
	}
	v.findLive()
	return v
}

// step gives regs the values that they have after instruction i.
func (v *view) step(i int, regs *[bpf.NumRegisters]ref) {
	in, t := v.code[i], v.k.t
	switch {
	case in.hole != 0 && in.to.size != 0:
	case in.hole != 0:
		regs[in.Dst] = in.hole
	case in.IsALU():
		regs[in.Dst] = v.k.alu(in.Instruction, regs[in.Dst], regs[in.Src])
	case in.Op == bpf.LoadImm64:
		regs[in.Dst] = v.k.imm(in)
	case in.IsLoad():
		regs[in.Dst] = v.load(i)
	case in.IsAtomic():
		for r := range regs {
			if in.Writes().Has(bpf.Register(r)) {
				regs[r] = t.number(key{kind: keyInst, a: in.id}, flow.KindAny)
			}
		}
	case in.IsCondJump():
		v.cond = v.k.taken(in.Instruction, regs)
	}
}

// taken is the truth value of a conditional jump's condition.
func (k *work) taken(in bpf.Instruction, regs *[bpf.NumRegisters]ref) bit {
	src := k.imm(inst{Instruction: in})
	if in.UsesSrc() {
		src = regs[in.Src]
	}
	c := semantics.Taken[word](domain{k.t}, in, word{*k.t.vec(regs[in.Dst]), 64}, word{*k.t.vec(src), 64})
	return c.v[0]
}

// imm is the value that the immediate stands for.
func (k *work) imm(in inst) ref {
	if in.Op == bpf.LoadImm64 {
		if in.Ref == 0 && in.Src == bpf.PseudoImm {
			return k.t.constant(uint64(in.Imm))
		}
		if in.Ref != 0 {
			return k.symbol(in)
		}
		return k.t.number(key{keyPseudo, 0, 0, int32(in.Src), in.Imm}, k.symbolKind(in))
	}
	if in.Ref == 0 {
		return k.t.constant(uint64(in.Imm))
	}
	return k.t.number(key{kind: keySymbol3, a: int32(in.Ref), c: in.Imm}, flow.KindScalar)
}

// symbol is the value of a symbol's immediate load, which the facts may know
// registers to hold.
func (k *work) symbol(in inst) ref {
	anchor, off := k.w.Fn.Anchored(in.Ref)
	base := flow.SymbolBase(anchor)
	at := sum{-int32(base), off}
	if r, ok := k.t.sums[at]; ok {
		return r
	}
	kind := k.symbolKind(in)
	if _, ok := k.bases[at.root]; !ok {
		k.bases[at.root] = flow.Value{Kind: kind, Base: base}
	}
	r := k.t.number(key{kind: keyBase, a: int32(base), c: off}, kind)
	n := k.t.at(r)
	n.root, n.off = at.root, at.off
	k.t.sums[at] = r
	return r
}

func (k *work) symbolKind(in inst) flow.Kind {
	switch in.Src {
	case bpf.PseudoMapFD, bpf.PseudoMapIdx:
		return flow.KindMap
	case bpf.PseudoMapValue, bpf.PseudoMapIdxV:
		return flow.KindMapValue
	}
	if s := k.w.Fn.Symbol(in.Ref); s != nil {
		switch s.Kind {
		case bpf.SymbolMap:
			return flow.KindMap
		case bpf.SymbolData:
			return flow.KindMapValue
		}
	}
	return flow.KindAny
}

// alu is the value of an arithmetic instruction's destination.
func (k *work) alu(in bpf.Instruction, dst, src ref) ref {
	op, wide := in.Op.ALU(), in.Op.Class() == bpf.ClassALU64
	if !in.UsesSrc() {
		src = k.imm(inst{Instruction: in})
	}
	if src == 0 || dst == 0 && op != bpf.OpMov {
		return 0
	}
	if wide && op == bpf.OpMov && in.Off == 0 {
		return src
	}
	kind := flow.KindScalar
	if wide && (op == bpf.OpAdd || op == bpf.OpSub) {
		kind = k.sumKind(op, dst, src)
		if c, ok := k.t.vec(src).constant(); ok {
			if op == bpf.OpSub {
				c = -c
			}
			return k.t.plus(dst, int64(c))
		}
	}
	d := domain{k.t}
	var old word
	if dst != 0 {
		old = word{*k.t.vec(dst), 64}
	} else {
		old = d.Const(0, 64)
	}
	out := semantics.ALU[word](d, k.t.big, in, old, word{*k.t.vec(src), 64})
	before := len(k.t.values)
	r := k.t.intern(&out.v)
	if int(r) == before {
		k.t.at(r).kind = kind
	}
	return r
}

// sumKind is the kind of a sum or difference of 64 bits.
func (k *work) sumKind(op bpf.Op, a, b ref) flow.Kind {
	ka, kb := k.t.at(a).kind, k.t.at(b).kind
	switch {
	case ka == flow.KindScalar && kb == flow.KindScalar:
		return flow.KindScalar
	case op == bpf.OpSub && ka.IsPointer() && kb.IsPointer():
		return flow.KindScalar
	case ka.IsPointer() && kb == flow.KindScalar:
		return ka
	case op == bpf.OpAdd && kb.IsPointer() && ka == flow.KindScalar:
		return kb
	}
	return flow.KindAny
}

func (v *view) load(i int) ref {
	in, p, t := v.code[i], v.acc[i].place, v.k.t
	if v.regs[i][in.Src] == 0 {
		return 0
	}
	if p.vague {
		var out vec
		out.unknown(t.leaf(key{kind: keyInst, a: in.id}), below(8*p.size))
		return v.extended(in, out)
	}
	if p.kind == flow.KindContext {
		return v.field(i, in, p)
	}
	out := v.loaded(i, p)
	before := len(t.values)
	r := v.extended(in, out)
	// Four bytes may be a pointer where the place may be a field of a context.
	wide := p.size == 8 && p.kind != flow.KindPacket || p.size == 4 && !p.kind.IsPointer()
	if int(r) == before && wide {
		t.at(r).kind = flow.KindAny
	}
	return r
}

func (v *view) extended(in inst, out vec) ref {
	if in.Op.Mode() == bpf.ModeMemSX {
		out = domain{v.k.t}.SExt(word{out, 8 * in.Size()}, 64).v
	}
	return v.k.t.intern(&out)
}

// field is a load from the context, whose value the kernel makes up: it has
// nothing to do with loads of other widths.
func (v *view) field(i int, in inst, p place) ref {
	last := int32(0)
	for j := range i {
		if a := v.acc[j]; a.store && v.k.mayMeet(a.place, p) {
			last = v.code[j].id
		}
	}
	name := key{kind: keyField, a: p.root, b: last, c: p.off<<8 | int64(p.size)}
	kind := v.k.fieldKind(p)
	var out vec
	if kind == flow.KindScalar {
		out.unknown(v.k.t.leaf(name), below(8*p.size))
		return v.extended(in, out)
	}
	return v.k.t.number(name, kind)
}

// fieldKind is what a context field may hold: the packet's pointers, in 4
// bytes, are struct xdp_md's and __sk_buff's (include/uapi/linux/bpf.h).
func (k *work) fieldKind(p place) flow.Kind {
	if p.size == 8 {
		return flow.KindAny
	}
	if p.size < 4 {
		return flow.KindScalar
	}
	switch k.w.Fn.Context {
	case bpf.ContextOther, bpf.ContextPlain:
		return flow.KindScalar
	case bpf.ContextXDP:
		return fieldOf(p.off, map[int64]flow.Kind{0: flow.KindPacket, 4: flow.KindPacketEnd, 8: flow.KindPacket})
	case bpf.ContextSKB:
		return fieldOf(p.off, map[int64]flow.Kind{76: flow.KindPacket, 80: flow.KindPacketEnd, 140: flow.KindPacket})
	}
	return flow.KindAny
}

func fieldOf(off int64, kinds map[int64]flow.Kind) flow.Kind {
	if k, ok := kinds[off]; ok {
		return k
	}
	return flow.KindScalar
}
