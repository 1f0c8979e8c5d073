package local

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// dropStores takes out stores that write what is there already.
func dropStores(v *view) code {
	for i, a := range v.acc {
		if !a.store || a.barrier || a.vague || v.code[i].Ref != 0 || v.code[i].hole != 0 || v.k.skip(v.code[i]) {
			continue
		}
		if a.kind == flow.KindContext || v.k.shared(a.place) {
			continue
		}
		there := v.loaded(i, a.place)
		if agree(&there, v.stored(i), below(8*a.size)) {
			return v.k.clean(v.code.without(i)).code
		}
	}
	return nil
}

// atomicAdd turns load, addition and store of one map value into an atomic
// addition, where the target allows it.
func atomicAdd(v *view) code {
	if !v.k.w.Atomics {
		return nil
	}
	for i := range v.code {
		if v.k.skip(v.code[i]) {
			continue
		}
		if c := v.atomicAt(i); c != nil && c.price().slots < v.code.price().slots && v.k.better(c.price(), v.code.price()) {
			return c
		}
	}
	return nil
}

// atomicAt makes the atomic addition of the store i.
func (v *view) atomicAt(i int) code {
	in, a := v.code[i], v.acc[i]
	if !in.IsStore() || in.Op.Class() != bpf.ClassSTX || in.Ref != 0 || a.size < 4 || a.kind != flow.KindMapValue || a.null {
		return nil
	}
	r := in.Src
	add := v.lastTouch(i, r)
	load := v.lastTouch(add, r)
	if load < 0 || !v.isAddition(add, a.size) || !v.loadsPlace(load, a.place) || v.before(i + 1).Regs[r] != 0 {
		return nil
	}
	for j := load + 1; j < i; j++ {
		if b := v.acc[j]; b.any() && (b.barrier || v.k.shared(b.place) || v.k.mayMeet(b.place, a.place)) {
			return nil
		}
	}
	now := in
	now.Op = bpf.ClassSTX | bpf.ModeAtomic | in.Op&bpf.SizeDW
	now.Imm = bpf.AtomicAdd
	out := v.code.with(i, now)
	what := v.code[add]
	if !what.UsesSrc() {
		out[add].Op = bpf.ClassALU64 | bpf.OpMov
		return out.without(load)
	}
	if what.Src == r || v.regs[add][what.Src] != v.regs[i][what.Src] || !v.k.isScalar(v.regs[i][what.Src]) {
		return nil
	}
	out[i].Src = what.Src
	return out.without(add).without(load)
}

// lastTouch is the last instruction before i that reads or writes r, or -1.
func (v *view) lastTouch(i int, r bpf.Register) int {
	for i--; i >= 0 && !v.code[i].touches(r); i-- {
	}
	return i
}

// isAddition tells whether instruction i adds to its destination as an atomic
// addition of size bytes does.
func (v *view) isAddition(i, size int) bool {
	in := v.code[i]
	return i >= 0 && in.IsALU() && in.Ref == 0 && in.Op.ALU() == bpf.OpAdd &&
		(size == 4 || in.Op.Class() == bpf.ClassALU64)
}

func (v *view) loadsPlace(i int, p place) bool {
	return v.code[i].IsLoad() && v.code[i].Op.Mode() == bpf.ModeMem && v.code[i].Ref == 0 && v.acc[i].place == p
}
