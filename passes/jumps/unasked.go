package jumps

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
)

// Bytes of machine code (arch/x86/net/bpf_jit_comp.c): an unconditional jump takes
// two or five, and so does an exit that is not the function's first.
const (
	shortGoto = 2
	longGoto  = 5
)

// maxFollowed bounds the instructions that are compared to find out whether merges
// are safe without asking the kernel.
const maxFollowed = 1 << 15

// unasked tells whether a merge will do where nobody asks the kernel: whether it
// takes no more machine code, and the verifier is sure to let each instruction
// that will be one stand for both. It walks all paths through the one as it did
// through the two, but refuses some instructions that do not deal with the same
// types on all of them.
func (e *editor) unasked(m *merger, x merge) bool {
	if machineCode(m.fn.Blocks[x.from.block].Code[x.from.at:]) < longGoto {
		return false
	}
	type pair struct{ a, b place }
	seen := map[pair]bool{}
	for work := []pair{{x.from, x.to}}; len(work) > 0; {
		p := work[len(work)-1]
		work = work[:len(work)-1]
		p.a, p.b = m.settled(p.a), m.settled(p.b)
		if p.a == p.b || seen[p] {
			continue
		}
		seen[p] = true
		if e.followed++; e.followed > maxFollowed || !m.standsFor(p.a, p.b) {
			return false
		}
		next, taken := m.ways(p.a)
		next2, taken2 := m.ways(p.b)
		if m.at(p.a).Op != m.at(p.b).Op { // one branch is the other's inverse
			next2, taken2 = taken2, next2
		}
		if m.at(p.a).FallsThrough() {
			work = append(work, pair{next, next2})
		}
		if m.at(p.a).IsJump() {
			work = append(work, pair{taken, taken2})
		}
	}
	return true
}

// machineCode is how many bytes of it code takes at least.
func machineCode(code []bpf.Instruction) (size int) {
	for _, in := range code {
		switch {
		case in.IsExit(), in.IsGoto():
			size += shortGoto
		case in.IsCall():
			size += longGoto
		default:
			size += cost.Bytes(in)
		}
	}
	return size
}

func (c *classes) at(p place) bpf.Instruction { return c.fn.Blocks[p.block].Code[p.at] }

// ways is where control goes on from an instruction: behind it, and to a jump's
// target.
func (c *classes) ways(p place) (next, taken place) {
	return place{p.block, p.at + 1}, place{c.index[c.at(p).Target], 0}
}

// settled is the instruction that runs first from a place on, but for
// unconditional jumps.
func (c *classes) settled(p place) place {
	for range 2 * len(c.fn.Blocks) {
		switch code := c.fn.Blocks[p.block].Code; {
		case p.at == len(code):
			p = place{p.block + 1, 0}
		case code[p.at].IsGoto():
			p = place{c.index[code[p.at].Target], 0}
		default:
			return p
		}
	}
	return p
}

// standsFor tells whether one instruction may stand for both of two equal ones.
// The kernel keeps notes for each instruction (struct bpf_insn_aux_data): the type
// of the pointer through which it accesses memory, the bounds of what it adds to a
// pointer, the map that a helper is called with.
func (m *merger) standsFor(a, b place) bool {
	in := m.at(a)
	s, t := m.state(a), m.state(b)
	same := func(r bpf.Register, kinds ...flow.Kind) bool {
		for _, k := range kinds {
			if s.Regs[r].Kind == k && t.Regs[r].Kind == k {
				return true
			}
		}
		return false
	}
	base := in.Dst
	switch {
	case in.IsLoad():
		base = in.Src
	case in.IsCall():
		return m.callsAlike(in, &s.Regs[bpf.R1], &t.Regs[bpf.R1])
	case in.IsALU() && in.UsesSrc() && (in.Op.ALU() == bpf.OpAdd || in.Op.ALU() == bpf.OpSub):
		return same(in.Dst, flow.KindScalar, flow.KindAny) && same(in.Src, flow.KindScalar, flow.KindAny)
	case !in.IsStore() && !in.IsAtomic():
		return true
	}
	return same(base, flow.KindStack, flow.KindContext, flow.KindPacket, flow.KindMapValue)
}

// callsAlike tells whether a call may stand for two. The values are those of R1.
func (m *merger) callsAlike(in bpf.Instruction, s, t *flow.Value) bool {
	if in.Src == bpf.CallKfunc {
		return false
	}
	if in.Src == bpf.CallHelper {
		h, ok := semantics.HelperByID(int32(in.Imm))
		if !ok || h.TailCall {
			return false
		}
	}
	if s.Kind == flow.KindMap || t.Kind == flow.KindMap {
		return s.Kind == t.Kind && s.Base != 0 && s.Base == t.Base && s.Offset == t.Offset
	}
	return true
}

// state is what holds before an instruction.
func (m *merger) state(p place) *flow.State {
	if m.states == nil {
		m.states = map[int][]flow.State{}
	}
	if m.states[p.block] == nil {
		m.states[p.block] = m.facts.Block(p.block)
	}
	return &m.states[p.block][p.at]
}
