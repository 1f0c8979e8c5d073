package registers

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// immediates takes the constant out of the registers that hold it for nothing
// but instructions that could have it in them: those that define it are then of
// no use.
func (w *webs) immediates(facts *flow.Facts, level bpf.Level) *bpf.Function {
	s := &constants{webs: w, facts: facts, level: level, hold: map[node]int{}, keep: map[node]bool{}}
	s.each(s.judge)
	out := w.fn.Clone()
	gone := map[node]bool{}
	for n, uses := range s.hold {
		if uses > 0 && !s.keep[n] && !w.fixed[n] {
			gone[n] = true
		}
	}
	for b := range out.Blocks {
		out.Blocks[b].Code = out.Blocks[b].Code[:0:0]
		if !w.graph.Reachable(b) {
			out.Blocks[b].Code = w.fn.Blocks[b].Code
		}
	}
	s.each(func(b, i int, in bpf.Instruction, st *flow.State) {
		dst, src := s.web(b, i)
		code := &out.Blocks[b].Code
		switch {
		case definesConstant(in) && gone[dst]:
			return
		case gone[src]:
			in, _ = s.withImmediate(in, st)
		}
		*code = append(*code, in)
	})
	return out
}

// constants is what is known of webs that may hold nothing but constants.
type constants struct {
	*webs
	facts *flow.Facts
	level bpf.Level
	hold  map[node]int  // by web, the reads that an immediate can stand for
	keep  map[node]bool // webs that something else is done with
}

// each calls f with all instructions that control may get to, and the state
// before them.
func (s *constants) each(f func(b, i int, in bpf.Instruction, st *flow.State)) {
	for _, b := range s.graph.Order() {
		states := s.facts.Block(b)
		for i, in := range s.fn.Blocks[b].Code {
			f(b, i, in, &states[i])
		}
	}
}

// web is the webs of an instruction's destination and source.
func (s *constants) web(b, i int) (dst, src node) {
	at := s.sites[b][i]
	dst, src = none, none
	if at.dst != none {
		dst = s.find(at.dst)
	}
	if at.src != none {
		src = s.find(at.src)
	}
	return dst, src
}

// judge notes what an instruction does with its webs.
func (s *constants) judge(b, i int, in bpf.Instruction, st *flow.State) {
	dst, src := s.web(b, i)
	if src != none {
		if _, ok := s.withImmediate(in, st); ok && s.facts.Reachable(b) {
			s.hold[src]++
		} else {
			s.keep[src] = true
		}
	}
	if dst != none && !definesConstant(in) {
		s.keep[dst] = true
	}
}

// definesConstant tells whether an instruction gives a register a number.
func definesConstant(in bpf.Instruction) bool {
	return in.Ref == 0 && (in.IsALU() && in.Op.ALU() == bpf.OpMov && !in.UsesSrc() ||
		in.Op == bpf.LoadImm64 && in.Src == bpf.PseudoImm)
}

// withImmediate is the instruction with the number that its source register is
// known to hold in it.
func (s *constants) withImmediate(in bpf.Instruction, st *flow.State) (bpf.Instruction, bool) {
	v := st.Regs[in.Src]
	if v.Kind != flow.KindScalar || v.Mask != 0 {
		return in, false
	}
	imm, whole := int64(int32(v.Bits)), v.Bits == uint64(int64(int32(v.Bits)))
	out := in
	out.Src, out.Imm = 0, imm
	switch {
	case in.IsStore():
		k := st.Regs[in.Dst].Kind
		if k != flow.KindStack && k != flow.KindMapValue && k != flow.KindPacket || in.Size() == 8 && !whole {
			return in, false
		}
		out.Op = in.Op&^bpf.ClassSTX | bpf.ClassST
	case in.IsALU() && (in.Off == 0 || in.Op.ALU() != bpf.OpMov), in.IsCondJump():
		wide := in.Op.Class() == bpf.ClassALU64 || in.Op.Class() == bpf.ClassJMP
		if wide && !whole {
			return in, false
		}
		out.Op &^= bpf.SourceX
	default:
		return in, false
	}
	return out, out.Valid() == nil && out.Level() <= max(s.level, in.Level())
}
