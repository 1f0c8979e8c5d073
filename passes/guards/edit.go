package guards

import (
	"fmt"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/encode"
)

// edited is a function before and after a change of regions, both with blocks that
// begin where a region does and where it is left.
type edited struct {
	fn, old, new *bpf.Function
	entries      []bpf.Label // of the regions, in their order
	free         bpf.Label   // that no block has, nor any above it
	first        bpf.Label   // the first that no block of fn has
}

// apply changes regions, which are in the order of the layout.
func apply(fn *bpf.Function, regions []region) *edited {
	old, now := *fn, *fn
	old.Blocks, now.Blocks = nil, nil
	e := &edited{fn: fn, old: &old, new: &now, free: unused(fn)}
	e.first = e.free
	renamed := map[bpf.Label]bpf.Label{}
	for i := range fn.Blocks {
		at := place{i, 0}
		for k, more := 0, true; more; k++ {
			for len(regions) > 0 && !at.before(regions[0].to) {
				regions = regions[1:]
			}
			at, more = e.piece(at, k == 0, regions, renamed)
		}
	}
	for _, b := range e.new.Blocks {
		n := len(b.Code) - 1
		if n < 0 || !b.Code[n].IsJump() {
			continue
		}
		if to, ok := renamed[b.Code[n].Target]; ok {
			b.Code[n].Target = to
		}
	}
	return e
}

// unused is a label that no block of a function has, nor any above it.
func unused(fn *bpf.Function) bpf.Label {
	free := bpf.Label(1)
	for _, b := range fn.Blocks {
		free = max(free, b.Label+1)
	}
	return free
}

// piece adds the block's code from a place on to both functions, as far as a
// region goes or to where one begins, of those that end behind the place. It
// answers where the next piece begins, if there is one in the block. The first
// piece has the block's label.
func (e *edited) piece(at place, first bool, regions []region, renamed map[bpf.Label]bpf.Label) (next place, more bool) {
	block := e.fn.Blocks[at.block]
	label := block.Label
	if !first {
		label, e.free = e.free, e.free+1
	}
	end := place{at.block, len(block.Code)}
	newLabel := label
	var changes edits
	if len(regions) > 0 {
		r := regions[0]
		switch {
		case at.before(r.from):
			if r.from.before(end) {
				end = r.from
			}
		default:
			if r.to.before(end) {
				end = r.to
			}
			changes = r.edits
			if at == r.from {
				e.entries = append(e.entries, label)
			} else {
				newLabel, e.free = e.free, e.free+1
				renamed[label] = newLabel
			}
		}
	}
	code := block.Code[at.at:end.at]
	e.old.Blocks = append(e.old.Blocks, &bpf.Block{Label: label, Code: slices.Clone(code)})
	var now []bpf.Instruction
	for i, in := range code {
		if to, ok := changes[place{at.block, at.at + i}]; ok {
			now = append(now, to...)
		} else {
			now = append(now, in)
		}
	}
	e.new.Blocks = append(e.new.Blocks, &bpf.Block{Label: newLabel, Code: now})
	return end, end.at < len(block.Code)
}

// prove proves that the new function does what the one that was changed does. It
// answers the numbers of the regions of which that is not so.
func (e *edited) prove(w *work) (wrong []int, err error) {
	if err := w.checker.SameShape(w.ctx, e.fn, e.old); err != nil {
		return nil, fmt.Errorf("blocks split: %w", err)
	}
	opts := flow.Options{BigEndian: w.target.BigEndian}
	facts, err := flow.Analyze(w.ctx, e.old, opts)
	if err != nil {
		return nil, fmt.Errorf("facts of split blocks: %w", err)
	}
	_, after, err := flow.Both(w.ctx, e.new, opts)
	if err != nil {
		return nil, fmt.Errorf("operations behind branches: %w", err)
	}
	unproven, err := w.checker.SameRegions(w.ctx, &encode.Regions{
		Old: e.old, New: e.new, Facts: facts, After: after, Entries: e.entries, BigEndian: w.target.BigEndian,
	})
	if err != nil {
		return nil, fmt.Errorf("operations behind branches: %w", err)
	}
	for i, label := range e.entries {
		if unproven[label] != nil {
			wrong = append(wrong, i)
		}
	}
	return wrong, nil
}

// joined is the new function with those of its blocks in one again to which nothing
// leads but the one before.
func (e *edited) joined() *bpf.Function {
	jumped := map[bpf.Label]bool{}
	for _, b := range e.new.Blocks {
		if n := len(b.Code); n > 0 && b.Code[n-1].IsJump() {
			jumped[b.Code[n-1].Target] = true
		}
	}
	out := e.new.Clone()
	var blocks []*bpf.Block
	for i, b := range out.Blocks {
		if i > 0 && b.Label >= e.first && !jumped[b.Label] {
			last := blocks[len(blocks)-1]
			if n := len(last.Code); n == 0 || !last.Code[n-1].EndsBlock() {
				last.Code = append(last.Code, b.Code...)
				continue
			}
		}
		blocks = append(blocks, b)
	}
	out.Blocks = blocks
	return out
}
