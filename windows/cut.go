package windows

import (
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// Segment is a stretch of a function that can be replaced: what the input had
// there, and what stands there now.
type Segment struct {
	Block    int
	Old, New []bpf.Instruction
}

// Changed tells whether the segment was replaced.
func (s *Segment) Changed() bool { return !slices.EqualFunc(s.Old, s.New, bpf.SameCode) }

// Replace puts code in the segment's place. Instructions that are new to the
// function stand for the source line of what is before them.
func (s *Segment) Replace(code []bpf.Instruction) {
	s.New = slices.Clone(code)
	if len(s.Old) == 0 {
		return
	}
	pos := s.Old[0].Pos
	for i := range s.New {
		if s.New[i].Pos == 0 {
			s.New[i].Pos = pos
		}
		pos = s.New[i].Pos
	}
}

// Revert puts the input's code back.
func (s *Segment) Revert() { s.New = s.Old }

// Layout is a function cut into segments and the instructions between them,
// which stay as they are: calls, exits, unconditional jumps, legacy packet
// loads, and memory accesses whose offset and width a loader patches.
type Layout struct {
	fn       *bpf.Function
	blocks   [][]part
	Segments []*Segment // in layout order
}

// part is a segment, or one instruction that belongs to none.
type part struct {
	seg   *Segment
	fixed bpf.Instruction
}

// Cut cuts a function into segments of at most size instructions.
func Cut(fn *bpf.Function, size int) *Layout {
	l := &Layout{fn: fn, blocks: make([][]part, len(fn.Blocks))}
	for i, b := range fn.Blocks {
		var run []bpf.Instruction
		flush := func() {
			for chunk := range slices.Chunk(run, max(size, 1)) {
				seg := &Segment{Block: i, Old: chunk, New: chunk}
				l.Segments = append(l.Segments, seg)
				l.blocks[i] = append(l.blocks[i], part{seg: seg})
			}
			run = nil
		}
		for _, in := range b.Code {
			if Fixed(in) {
				flush()
				l.blocks[i] = append(l.blocks[i], part{fixed: in})
				continue
			}
			run = append(run, in)
		}
		flush()
	}
	return l
}

// Fixed tells whether an instruction belongs to no window.
func Fixed(in bpf.Instruction) bool {
	switch {
	case in.IsCall(), in.IsExit(), in.IsGoto(), in.IsMayGoto(), in.IsPacketLoad():
		return true
	case in.Ref != 0:
		return in.IsLoad() || in.IsStore() || in.IsAtomic()
	}
	return false
}

// Function is the function with what stands in the segments now.
func (l *Layout) Function() *bpf.Function {
	return l.build(func(s *Segment) []bpf.Instruction { return s.New })
}

func (l *Layout) build(code func(*Segment) []bpf.Instruction) *bpf.Function {
	out := *l.fn
	out.Blocks = make([]*bpf.Block, len(l.blocks))
	for i, parts := range l.blocks {
		b := &bpf.Block{Label: l.fn.Blocks[i].Label}
		for _, p := range parts {
			if p.seg != nil {
				b.Code = append(b.Code, code(p.seg)...)
			} else {
				b.Code = append(b.Code, p.fixed)
			}
		}
		out.Blocks[i] = b
	}
	return &out
}

// Windows is a window for each segment as it stands now, or nil for what no
// path reaches. Facts and needs are those of the function as it stands now.
func (l *Layout) Windows(facts *flow.Facts, needs *flow.Needs, t Target) []*Window {
	now := func(s *Segment) []bpf.Instruction { return s.New }
	return l.windows(now, facts, now, needs, t)
}

// Checks is a window for each segment with the input's code in it, for checking
// the function as it stands now against the input: before are the facts of the
// input, after the needs of the function as it stands now.
//
// By induction over the segments that a run passes through: where input and
// output agree on what the output still reads, the facts hold of the input's
// state; the check shows that old and new code, started in that state, leave
// the same in what the output reads after them; and the new code, started in
// the output's state instead, does the same again, since it reads only what
// the two states agree on.
func (l *Layout) Checks(before *flow.Facts, after *flow.Needs, t Target) []*Window {
	old := func(s *Segment) []bpf.Instruction { return s.Old }
	now := func(s *Segment) []bpf.Instruction { return s.New }
	return l.windows(old, before, now, after, t)
}

func (l *Layout) windows(codeF func(*Segment) []bpf.Instruction, facts *flow.Facts,
	codeN func(*Segment) []bpf.Instruction, needs *flow.Needs, t Target) []*Window {
	var out []*Window
	fn := l.build(codeF)
	for i, parts := range l.blocks {
		if !facts.Reachable(i) {
			for _, p := range parts {
				if p.seg != nil {
					out = append(out, nil)
				}
			}
			continue
		}
		states := facts.Block(i)
		lives := append([]flow.Live{needs.In(i)}, needs.Block(i)...)
		atF, atN := 0, 0
		for _, p := range parts {
			if p.seg == nil {
				atF, atN = atF+1, atN+1
				continue
			}
			w := &Window{Fn: fn, Block: i, Start: atF, Code: codeF(p.seg), Facts: states[atF], Target: t}
			atF, atN = atF+len(w.Code), atN+len(codeN(p.seg))
			w.Needs = lives[atN]
			out = append(out, w)
		}
	}
	return out
}
