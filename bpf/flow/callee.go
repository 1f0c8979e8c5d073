package flow

import (
	"sync"

	"github.com/k2cc/k2cc/bpf"
)

const allArguments = bpf.Registers(1<<bpf.R1 | 1<<bpf.R2 | 1<<bpf.R3 | 1<<bpf.R4 | 1<<bpf.R5)

// callees finds which arguments functions read.
type callees struct {
	mu    sync.Mutex
	known map[*bpf.Function]bpf.Registers
}

// arguments is the set of R1 to R5 that fn, or what it calls, may read before
// writing them: all five where fn is recursive or not well formed.
func (c *callees) arguments(fn *bpf.Function) bpf.Registers {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.find(fn)
}

func (c *callees) find(fn *bpf.Function) bpf.Registers {
	if s, ok := c.known[fn]; ok {
		return s
	}
	c.known[fn] = allArguments // while it is being looked at
	g, err := NewGraph(fn)
	if err != nil {
		return allArguments
	}
	in := make([]bpf.Registers, len(fn.Blocks))
	order := g.Order()
	for changed := true; changed; {
		changed = false
		for i := len(order) - 1; i >= 0; i-- {
			b := order[i]
			var live bpf.Registers
			for _, s := range g.Succs(b) {
				live |= in[s]
			}
			live = c.before(fn, fn.Blocks[b].Code, live)
			changed = changed || live != in[b]
			in[b] = live
		}
	}
	c.known[fn] = in[0] & allArguments
	return c.known[fn]
}

// before is what code reads before writing it, or leaves to be read behind it.
func (c *callees) before(fn *bpf.Function, code []bpf.Instruction, live bpf.Registers) bpf.Registers {
	for i := len(code) - 1; i >= 0; i-- {
		in := code[i]
		reads := in.Reads()
		if in.IsCall() {
			reads &^= allArguments
			if sym := fn.Symbol(in.Ref); sym != nil && sym.Func != nil && !sym.Func.Global && in.Src == bpf.CallLocal {
				reads |= c.find(sym.Func)
			} else {
				reads |= ownArguments(in)
			}
		}
		live = live&^in.Writes() | reads
	}
	return live
}
