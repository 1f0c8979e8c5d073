package guards

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

// maxBranches bounds the branches in a region, since each doubles its paths.
const maxBranches = 7

// finder finds regions in a function.
type finder struct {
	ctx    context.Context // of the one call that the finder is for
	fn     *bpf.Function
	target windows.Target
	jumped map[bpf.Label]int // how many jumps lead to a label
	at     map[bpf.Label]int // where the block with a label is
	facts  *flow.Facts
	needs  *flow.Needs
	lives  map[int][]flow.Live // by block, once they are wanted
}

func newFinder(ctx context.Context, fn *bpf.Function, t windows.Target) *finder {
	f := &finder{ctx: ctx, fn: fn, target: t, jumped: map[bpf.Label]int{}, at: map[bpf.Label]int{}, lives: map[int][]flow.Live{}}
	for i, b := range fn.Blocks {
		f.at[b.Label] = i
		if n := len(b.Code); n > 0 && b.Code[n-1].IsJump() {
			f.jumped[b.Code[n-1].Target]++
		}
	}
	return f
}

// analyze makes facts and needs, once.
func (f *finder) analyze() (err error) {
	if f.needs != nil {
		return nil
	}
	f.facts, f.needs, err = flow.Both(f.ctx, f.fn, flow.Options{BigEndian: f.target.BigEndian})
	if err != nil {
		return fmt.Errorf("look for regions: %w", err)
	}
	return nil
}

// kind is one way to make regions smaller.
type kind struct {
	// may tells, by the code alone, whether a region could begin with a block.
	may func(f *finder, block int) bool
	// region is that region, if it is worth changing.
	region func(f *finder, block int) (region, bool)
}

// find lists regions of a kind, apart from each other.
func (k kind) find(f *finder) ([]region, error) {
	var blocks []int
	for i := range f.fn.Blocks {
		if k.may(f, i) {
			blocks = append(blocks, i)
		}
	}
	if len(blocks) == 0 {
		return nil, nil
	}
	if err := f.analyze(); err != nil {
		return nil, err
	}
	var all []region
	for _, i := range blocks {
		if r, ok := k.region(f, i); ok {
			all = append(all, r)
		}
	}
	return merged(all), nil
}

// merged is the regions with those in one that overlap.
func merged(all []region) (out []region) {
	slices.SortFunc(all, func(a, b region) int {
		return cmp.Or(cmp.Compare(a.from.block, b.from.block), cmp.Compare(a.from.at, b.from.at))
	})
	for _, r := range all {
		if len(out) == 0 || !r.from.before(out[len(out)-1].to) {
			out = append(out, r)
			continue
		}
		last := &out[len(out)-1]
		if max(r.to.block, last.to.block)-last.from.block > 2*maxBranches {
			continue
		}
		if last.to.before(r.to) {
			last.to = r.to
		}
		maps.Copy(last.edits, r.edits)
	}
	return out
}

// skips tells whether a block ends in a branch around the next one, which nothing
// but the two lead to and behind.
func (f *finder) skips(i int) bool {
	if i+2 >= len(f.fn.Blocks) || len(f.fn.Blocks[i].Code) == 0 {
		return false
	}
	code, over, behind := f.fn.Blocks[i].Code, f.fn.Blocks[i+1], f.fn.Blocks[i+2]
	in := code[len(code)-1]
	return in.IsCondJump() && in.Ref == 0 && in.Target == behind.Label &&
		f.jumped[over.Label] == 0 && f.jumped[behind.Label] == 1 && !slices.ContainsFunc(over.Code, other)
}

// other tells whether an instruction does anything but compute in registers.
func other(in bpf.Instruction) bool {
	return in.Ref != 0 || !in.IsALU() && (in.Op != bpf.LoadImm64 || in.Src != bpf.PseudoImm)
}
