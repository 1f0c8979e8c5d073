package registers

import (
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// constants is what is known of webs that may hold nothing but constants: where
// instructions could have the constant in them, those that define it are of no
// use.
type constants struct {
	*webs
	facts *flow.Facts
	level bpf.Level
	hold  map[node]int  // by web, the reads that an immediate can stand for
	ends  map[node]int  // by web, the exits that return it
	keep  map[node]bool // webs that something else is done with
	// copied is the webs that are copied where they are known.
	copied map[node]bool
}

func (w *webs) constants(facts *flow.Facts, level bpf.Level) *constants {
	s := &constants{webs: w, facts: facts, level: level, hold: map[node]int{}, ends: map[node]int{}, keep: map[node]bool{}, copied: map[node]bool{}}
	s.each(s.judge)
	return s
}

// immediates takes the constant out of the registers that hold it for nothing
// but instructions that could have it in them.
func (w *webs) immediates(facts *flow.Facts, level bpf.Level) *bpf.Function {
	s := w.constants(facts, level)
	gone := map[node]bool{}
	for n := range s.hold {
		if !s.keep[n] && !w.fixed[n] {
			gone[n] = true
		}
	}
	return s.without(gone, nil)
}

// sinkable is the webs of constants that instructions could have in them, and
// exits that return them right before, in order; and likewise those that are used
// otherwise as well, of which copies could be immediates.
func (s *constants) sinkable() (whole, part []node) {
	for _, uses := range []map[node]int{s.hold, s.ends} {
		for n := range uses {
			if !s.keep[n] && !s.bound[n] && !slices.Contains(whole, n) {
				whole = append(whole, n)
			}
		}
	}
	for n := range s.copied {
		if s.keep[n] {
			part = append(part, n)
		}
	}
	slices.Sort(whole)
	slices.Sort(part)
	return whole, part
}

// without is the function without webs of constants: instructions have them in
// them, and exits right before. Of the webs in part, only copies are immediates.
func (s *constants) without(gone, part map[node]bool) *bpf.Function {
	out := s.fn.Clone()
	for b := range out.Blocks {
		out.Blocks[b].Code = out.Blocks[b].Code[:0:0]
		if !s.graph.Reachable(b) {
			out.Blocks[b].Code = s.fn.Blocks[b].Code
		}
	}
	s.each(func(b, i int, in bpf.Instruction, st *flow.State) {
		dst, src, result := s.web(b, i)
		code := &out.Blocks[b].Code
		switch {
		case definesConstant(in) && gone[dst]:
			return
		case gone[src], part[src] && isMove(in):
			if now, ok := s.withImmediate(in, st); ok {
				in = now
			}
		case gone[result]:
			mov, _ := setsConstant(bpf.R0, st.Regs[bpf.R0], s.level)
			mov.Pos = in.Pos
			*code = append(*code, mov)
		}
		*code = append(*code, in)
	})
	return out
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

// web is the webs of an instruction's destination and source, and what it
// returns.
func (s *constants) web(b, i int) (dst, src, result node) {
	at := s.sites[b][i]
	find := func(n node) node {
		if n == none {
			return none
		}
		return s.find(n)
	}
	return find(at.dst), find(at.src), find(at.result)
}

// judge notes what an instruction does with its webs.
func (s *constants) judge(b, i int, in bpf.Instruction, st *flow.State) {
	dst, src, result := s.web(b, i)
	if src != none {
		if _, ok := s.withImmediate(in, st); ok && s.facts.Reachable(b) {
			s.hold[src]++
			s.copied[src] = s.copied[src] || isMove(in)
		} else {
			s.keep[src] = true
		}
	}
	if dst != none && !definesConstant(in) {
		s.keep[dst] = true
	}
	if result != none {
		if _, ok := setsConstant(bpf.R0, st.Regs[bpf.R0], s.level); ok && s.facts.Reachable(b) {
			s.ends[result]++
		} else {
			s.keep[result] = true
		}
	}
}

func isMove(in bpf.Instruction) bool { return in.IsALU() && in.Op.ALU() == bpf.OpMov }

// setsConstant is the instruction that gives a register the number that a value
// is known to be.
func setsConstant(r bpf.Register, v flow.Value, level bpf.Level) (bpf.Instruction, bool) {
	in := bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpMov, Dst: r, Imm: int64(int32(v.Bits))}
	if v.Bits != uint64(in.Imm) {
		in.Op = bpf.ClassALU | bpf.OpMov
	}
	fits := v.Bits == uint64(in.Imm) || v.Bits>>32 == 0 && level >= bpf.V3
	return in, fits && v.Kind == flow.KindScalar && v.Mask == 0
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
