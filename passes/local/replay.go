package local

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/windows"
)

// ending is how a run of a window's code ends.
type ending struct {
	state *semantics.State
	taken bool
}

// replay runs code from a counterexample's state.
func replay(w *windows.Window, code []bpf.Instruction, from *encode.Counterexample) (ending, bool) {
	s := &semantics.State{Regs: from.Regs, Memory: from.Memory, Big: w.BigEndian, Symbols: make(map[bpf.Ref]uint64)}
	for r, v := range from.Symbols {
		s.Symbols[bpf.Ref(r)] = v
	}
	s = s.Clone()
	taken, err := s.Run(code)
	return ending{s, taken}, err == nil
}

// same tells whether two endings agree in what is needed.
func (e ending) same(f ending, needs *flow.Live) bool {
	if e.taken != f.taken {
		return false
	}
	for r, care := range needs.Regs {
		if (e.state.Regs[r]^f.state.Regs[r])&care != 0 {
			return false
		}
	}
	frame := e.state.Regs[bpf.R10]
	for _, m := range []map[uint64]byte{e.state.Memory, f.state.Memory} {
		for at := range m {
			off := int64(at - frame)
			if off < 0 && off >= -flow.StackSize && !anyByte(&needs.Stack, place{root: frameRoot, off: off, size: 1}) {
				continue
			}
			if e.state.Byte(at) != f.state.Byte(at) {
				return false
			}
		}
	}
	return true
}
