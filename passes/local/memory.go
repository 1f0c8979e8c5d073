package local

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// place is a stretch of memory: size bytes at what root stands for plus off.
type place struct {
	root int32
	off  int64
	size int
	kind flow.Kind
	null bool
	// vague places may lie anywhere in what the pointer leads into.
	vague bool
}

const frameRoot = -int32(flow.FrameBase)

func (t *table) place(base ref, off int64, size int) place {
	v := t.at(base)
	return place{root: v.root, off: v.off + off, size: size, kind: v.kind, null: v.null}
}

// isFrame tells whether the place is at a known offset of the own frame.
func (p place) isFrame() bool { return p.root == frameRoot && !p.vague }

// has tells whether q's bytes are all among p's.
func (p place) has(q place) bool {
	return p.root == q.root && !p.vague && !q.vague &&
		p.off <= q.off && q.off+int64(q.size) <= p.off+int64(p.size)
}

// mayMeet tells whether two places may share a byte.
func (k *work) mayMeet(p, q place) bool {
	if p.root == q.root && !p.vague && !q.vague {
		return p.off < q.off+int64(q.size) && q.off < p.off+int64(p.size)
	}
	if p.kind.IsPointer() && q.kind.IsPointer() {
		return p.kind == q.kind
	}
	if !k.w.Facts.Escaped && (p.kind == flow.KindStack || q.kind == flow.KindStack) {
		return false
	}
	return true
}

// shared tells whether others may see or change the place's memory at any time.
func (k *work) shared(p place) bool {
	switch {
	case p.kind == flow.KindContext:
		return false
	case p.kind == flow.KindStack:
		return k.vague && k.w.Facts.Escaped
	}
	return !p.kind.IsPointer() || k.w.Shared[p.kind] || k.vague
}

// access is what one instruction does to memory.
type access struct {
	place
	load, store bool
	barrier     bool // an atomic: ordered with everything
}

func (a access) any() bool { return a.load || a.store }

func (v *view) findAccess(i int) access {
	in := v.code[i]
	if in.hole != 0 {
		return access{place: in.to, store: in.to.size != 0}
	}
	a := access{load: in.IsLoad(), store: in.IsStore()}
	base := in.Src
	switch {
	case a.store:
		base = in.Dst
	case in.IsAtomic():
		a.load, a.store, a.barrier = true, true, true
		if in.Imm != bpf.AtomicLoadAcq {
			base = in.Dst
		}
	case !a.load:
		return access{}
	}
	a.place = v.k.t.place(v.regs[i][base], int64(in.Off), in.Size())
	a.vague = in.Ref != 0 || v.regs[i][base] == 0
	return a
}

// byteAt is the byte at an offset from p's start as it is before instruction i.
func (v *view) byteAt(i int, p place, at int64) (out [8]bit) {
	p.off, p.size = p.off+at, 1
	last := int32(0)
	for j := i - 1; j >= 0; j-- {
		a := v.acc[j]
		if !a.store || !v.k.mayMeet(a.place, p) {
			continue
		}
		if a.has(p) && !a.barrier && p.kind != flow.KindContext {
			return v.storedByte(j, int(p.off-a.off))
		}
		last = v.code[j].id
		break
	}
	if last == 0 && p.root == frameRoot {
		if b, ok := v.k.cellByte(p.off); ok {
			return b
		}
	}
	leaf := v.k.t.leaf(key{kind: keyByte, a: p.root, b: last, c: p.off})
	for b := range out {
		out[b] = leafBit(leaf, b)
	}
	return out
}

// byteLane is the lowest bit that byte at of a number of size bytes in memory
// has.
func (t *table) byteLane(at, size int) int {
	if t.big {
		return 8 * (size - 1 - at)
	}
	return 8 * at
}

func (v *view) storedByte(j, at int) (out [8]bit) {
	stored := v.stored(j)
	copy(out[:], stored[v.k.t.byteLane(at, v.acc[j].size):][:8])
	return out
}

// stored is the value of which a store writes the low bytes.
func (v *view) stored(j int) *vec {
	in := v.code[j]
	if in.hole != 0 {
		return v.k.t.vec(in.hole)
	}
	if in.Op.Class() == bpf.ClassST {
		return v.k.t.vec(v.k.imm(in))
	}
	return v.k.t.vec(v.regs[j][in.Src])
}

// cellByte is a byte of a stack cell that the facts tell of.
func (k *work) cellByte(off int64) (out [8]bit, ok bool) {
	for i, c := range k.w.Facts.Stack {
		at := off - int64(c.Off)
		if at < 0 || at >= int64(c.Size) {
			continue
		}
		v := k.t.vec(k.cells[i])
		copy(out[:], v[k.t.byteLane(int(at), int(c.Size)):][:8])
		return out, true
	}
	return out, false
}

// loaded is the zero-extended number of p's bytes before instruction i.
func (v *view) loaded(i int, p place) vec {
	var out vec
	for at := range p.size {
		b := v.byteAt(i, p, int64(at))
		copy(out[v.k.t.byteLane(at, p.size):], b[:])
	}
	return out
}
