package windows

import (
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/bpf/flow"
)

// Segment is a stretch of a function that can be replaced: what the input had
// there, and what stands there now.
type Segment struct {
	Block    int
	Old, New []bpf.Instruction
	cost     cost.Cost // of Old
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
				seg := &Segment{Block: i, Old: chunk, New: chunk, cost: cost.Of(chunk)}
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
	return l.build(l.Codes())
}

func (l *Layout) build(codes Codes) *bpf.Function {
	out := *l.fn
	n := 0
	out.Blocks = make([]*bpf.Block, len(l.blocks))
	for i, parts := range l.blocks {
		b := &bpf.Block{Label: l.fn.Blocks[i].Label}
		for _, p := range parts {
			if p.seg != nil {
				b.Code = append(b.Code, codes[n]...)
				n++
			} else {
				b.Code = append(b.Code, p.fixed)
			}
		}
		out.Blocks[i] = b
	}
	return &out
}

// Codes is the code of each segment.
type Codes [][]bpf.Instruction

// Codes is what stands in the segments now.
func (l *Layout) Codes() Codes {
	out := make(Codes, len(l.Segments))
	for i, s := range l.Segments {
		out[i] = s.New
	}
	return out
}

// Windows is a window for each segment as it stands now, or nil for what no
// path reaches. Facts and needs are those of the function as it stands now.
func (l *Layout) Windows(facts *flow.Facts, needs *flow.Needs, t Target) []*Window {
	return l.step(l.Codes(), facts, needs, t, true)
}

// Step is a window for each segment with the code of an earlier stage in it,
// for checking that the function as it stands now does what it did at that
// stage: facts are those of the earlier stage, needs those of now.
//
// By induction over the segments that a run passes through: where earlier and
// present state agree on everything that the present code still reads, the
// facts hold of the earlier state; a proven window shows that old and new code,
// both started in the earlier state, leave the same in what is read after them;
// and the new code, started in the present state instead, does the same again,
// since it reads only what the two states agree on.
func (l *Layout) Step(before Codes, facts *flow.Facts, needs *flow.Needs, t Target) []*Window {
	return l.step(before, facts, needs, t, false)
}

// step makes the windows. Where the code before is that of now, facts and needs
// are known inside of the windows as well.
func (l *Layout) step(before Codes, facts *flow.Facts, needs *flow.Needs, t Target, same bool) []*Window {
	var out []*Window
	fn := l.build(before)
	n := 0
	for i, parts := range l.blocks {
		var states []flow.State
		var lives []flow.Live
		if facts.Reachable(i) {
			states = facts.Block(i)
			lives = append([]flow.Live{needs.In(i)}, needs.Block(i)...)
		}
		then, now := 0, 0
		for _, p := range parts {
			if p.seg == nil {
				then, now = then+1, now+1
				continue
			}
			old := before[n]
			n++
			if states == nil {
				out = append(out, nil)
				continue
			}
			w := &Window{Fn: fn, Block: i, Start: then, Code: old, Facts: states[then], Input: p.seg.cost, Target: t}
			if same {
				w.states, w.lives = states[then:then+len(old)+1], lives[then:then+len(old)+1]
			}
			then, now = then+len(old), now+len(p.seg.New)
			w.Needs = lives[now]
			out = append(out, w)
		}
	}
	return out
}
