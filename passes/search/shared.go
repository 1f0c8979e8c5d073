package search

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// touch is an access to memory that others may access.
type touch struct {
	at, size    int // bytes of the lane
	load, store bool
	atomic      bpf.Instruction // zero for what is none
}

// ordered tells whether a candidate's accesses to shared memory stand, in
// order, for accesses of the window's code: left out, merged or narrowed, but
// never multiplied or swapped. Atomics stay.
func (p *problem) ordered(body []bpf.Instruction) bool {
	old, ok := p.touches(p.body)
	if !ok {
		return false
	}
	if len(old) == 0 {
		return true
	}
	from := 0
	now, ok := p.touches(body)
	for i := range now {
		if from = stand(old, from, &now[i]); from < 0 {
			return false
		}
	}
	for _, t := range old[from:] {
		if t.atomic.Op != 0 {
			return false
		}
	}
	return ok
}

// touches is the accesses that code makes to memory that others may access.
func (p *problem) touches(body []bpf.Instruction) ([]touch, bool) {
	l := p.rules.lane
	s := l.start
	var out []touch
	for i := range body {
		in := &body[i]
		if t, ok := p.touch(&s, in); ok {
			out = append(out, t)
		}
		if !l.exec(&s, in) {
			return nil, false
		}
	}
	return out, true
}

func (p *problem) touch(s *state, in *bpf.Instruction) (touch, bool) {
	at, size := p.rules.lane.bytesOf(s, in)
	if at < 0 {
		return touch{}, false
	}
	t := touch{at: at, size: size, load: in.IsLoad(), store: in.IsStore()}
	if in.IsAtomic() {
		t.load, t.store, t.atomic = true, true, *in
		t.atomic.Pos = 0
		return t, true
	}
	kind := p.rules.region[t.at]
	return t, kind != flow.KindStack && (p.w.Shared[kind] || !kind.IsPointer())
}

// stand finds the fewest of the old accesses from index from on that t can
// stand for, and returns the index behind them, or -1.
func stand(old []touch, from int, t *touch) int {
	var loads, stores mask
	for i := from; i < len(old); i++ {
		o := &old[i]
		if o.atomic.Op != 0 {
			if o.at == t.at && o.atomic.Op == t.atomic.Op && o.atomic.Imm == t.atomic.Imm {
				return i + 1
			}
			return -1
		}
		if o.load {
			loads.add(o.at, o.size)
		}
		if o.store {
			stores.add(o.at, o.size)
		}
		if (!t.load || contains(&loads, &loads, t.at, t.size)) && (!t.store || contains(&stores, &stores, t.at, t.size)) {
			return i + 1
		}
	}
	return -1
}
