package guards

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/passes/jumps"
)

// choice is a register that has one value before a branch around a block and gets
// another one at the block's end. One of the two is a number that leaves things as
// they are.
type choice struct {
	block   int // that ends in the branch; the one behind is branched around
	reg     bpf.Register
	turn    bool            // the number is set in the block, else before the branch
	neutral uint64          // the number
	other   flow.Value      // the other value
	def     int             // index in block of what sets reg for nothing in the block to read, or -1
	set     bpf.Instruction // the last of the block that is branched around
	uses    []place         // what may go behind the branch
	stays   bool            // something else reads reg as well
}

// choices is the kind of regions in which operations go behind a branch.
var choices = kind{
	may:    (*finder).mayChoose,
	region: (*finder).guarded,
}

// mayChoose tells whether a block ends in a branch around one that ends by setting
// a register with which something is combined where both come together.
func (f *finder) mayChoose(i int) bool {
	if !f.skips(i) || len(f.fn.Blocks[i+1].Code) == 0 {
		return false
	}
	over := f.fn.Blocks[i+1].Code
	r := over[len(over)-1].Dst
	for b := i + 2; b <= i+2*maxBranches && b < len(f.fn.Blocks); b += 2 {
		for _, in := range f.fn.Blocks[b].Code {
			switch {
			case in.IsALU() && in.UsesSrc() && in.Src == r && in.Dst != r && repeats(in):
				return true
			case in.Writes().Has(r):
				return false
			}
		}
		if !f.skips(b) {
			return false
		}
	}
	return false
}

// guarded is the region that begins with a branch around a block, if something
// that both lead to can be behind the branch and that pays.
func (f *finder) guarded(i int) (region, bool) {
	if !f.facts.Reachable(i) || !f.facts.Reachable(i+1) {
		return region{}, false
	}
	code, over := f.fn.Blocks[i].Code, f.fn.Blocks[i+1].Code
	branch, set := code[len(code)-1], over[len(over)-1]
	if branch.Reads().Has(set.Dst) {
		return region{}, false
	}
	c := choice{block: i, reg: set.Dst, set: set, def: f.definition(i, set.Dst)}
	before := f.facts.Before(i, len(code)-1).Regs[c.reg]
	behind := f.facts.Before(i+1, len(over)).Regs[c.reg]
	inverse, ok := jumps.Inverse(branch)
	if ok && inverse.Level() <= f.target.Level && isConst(behind) && len(over) == 1 {
		c.turn, c.neutral, c.other = true, behind.Bits, before
		if r, ok := f.change(c); ok {
			return r, true
		}
	}
	if isConst(before) {
		c.turn, c.neutral, c.other = false, before.Bits, behind
		return f.change(c)
	}
	return region{}, false
}

func isConst(v flow.Value) bool { return v.Kind == flow.KindScalar && v.Mask == 0 }

// definition is the index in a block of the instruction that sets a register to
// something which nothing in the block reads, or -1. Behind it the block does
// nothing but compute.
func (f *finder) definition(block int, r bpf.Register) int {
	code := f.fn.Blocks[block].Code
	for i := len(code) - 2; i >= 0; i-- {
		in := code[i]
		switch {
		case other(in), in.Reads().Has(r):
			return -1
		case in.Writes().Has(r):
			if in.Op == bpf.LoadImm64 || in.Op.ALU() == bpf.OpMov {
				return i
			}
			return -1
		}
	}
	return -1
}

// change is the region for a choice, if that makes it cheaper.
func (f *finder) change(c choice) (region, bool) {
	if c.uses, c.stays = f.uses(c); len(c.uses) == 0 {
		return region{}, false
	}
	branch := place{c.block, len(f.fn.Blocks[c.block].Code) - 1}
	r := region{from: branch, to: c.uses[len(c.uses)-1], edits: edits{}}
	r.to.at++
	for _, u := range c.uses {
		r.edits[u] = nil
	}
	if c.turn {
		inverse, _ := jumps.Inverse(f.code(branch))
		r.edits[branch] = []bpf.Instruction{inverse}
	}
	moved, numbers := f.operations(c)
	def, set := place{c.block, c.def}, place{c.block + 1, len(f.fn.Blocks[c.block+1].Code) - 1}
	switch {
	case c.stays && (c.def < 0 || !numbers || f.code(def).UsesSrc()):
		return region{}, false
	case c.stays && c.turn: // the two numbers change places
		r.from = def
		r.edits[def], r.edits[set] = []bpf.Instruction{c.set}, append(moved, f.code(def))
	case c.stays:
		r.edits[set] = append(moved, c.set)
	default:
		if !c.turn && !numbers {
			moved = append([]bpf.Instruction{c.set}, moved...)
		}
		r.edits[set] = moved
		if c.def >= 0 && (numbers || !c.turn) { // nobody reads what is set before
			r.from = def
			r.edits[def] = nil
		}
	}
	return r, f.pays(r.edits)
}

func (f *finder) code(p place) bpf.Instruction { return f.fn.Blocks[p.block].Code[p.at] }

// operations is what uses become where the choice's other value is known, and
// whether that is with numbers in place of its register.
func (f *finder) operations(c choice) (out []bpf.Instruction, numbers bool) {
	for _, u := range c.uses {
		in := f.code(u)
		imm, ok := immediate(in, c.other.Bits)
		if !ok || !isConst(c.other) {
			break
		}
		in.Op, in.Src, in.Imm = in.Op&^bpf.SourceX, 0, imm
		out = append(out, in)
	}
	if len(out) == len(c.uses) {
		return out, true
	}
	out = nil
	for _, u := range c.uses {
		out = append(out, f.code(u))
	}
	return out, false
}

// pays tells whether edits make code smaller, and its machine code not larger; or
// the other way round.
func (f *finder) pays(e edits) bool {
	slots, bytes := 0, 0
	for at, now := range e {
		was := f.code(at)
		slots -= was.Slots()
		bytes -= cost.Bytes(was)
		for _, in := range now {
			slots += in.Slots()
			bytes += cost.Bytes(in)
		}
	}
	return slots < 0 && bytes <= 0 || slots == 0 && bytes < 0
}

// uses finds what combines things with a choice's register and may as well go to
// where it has its other value, on the way that leads on from there over branches
// around single blocks; and whether anything else reads the register.
func (f *finder) uses(c choice) (uses []place, stays bool) {
	var t touched
	for b := c.block + 2; b <= c.block+2*maxBranches; b += 2 {
		code := f.fn.Blocks[b].Code
		lives := f.live(b)
		for i, in := range code {
			switch {
			case in.IsCondJump() && f.skips(b) && !in.Reads().Has(c.reg):
				t.add(in)
			case in.EndsBlock(), other(in):
				return uses, true
			case isUse(in, c) && t.allows(in):
				uses = append(uses, place{b, i})
				if t.add(in); lives[i].Regs[c.reg] == 0 {
					return uses, false
				}
			case in.Reads().Has(c.reg):
				return uses, true
			case in.Writes().Has(c.reg):
				return uses, false
			default:
				t.add(in)
			}
		}
		if n := len(code); n == 0 || !code[n-1].IsCondJump() {
			return uses, true
		}
		for _, in := range f.fn.Blocks[b+1].Code {
			if in.Reads().Has(c.reg) || in.Writes().Has(c.reg) {
				return uses, true
			}
			t.add(in)
		}
	}
	return uses, true
}

// live is what is live behind each instruction of a block.
func (f *finder) live(block int) []flow.Live {
	if _, ok := f.lives[block]; !ok {
		f.lives[block] = f.needs.Block(block)
	}
	return f.lives[block]
}

// isUse tells whether an instruction combines something with a choice's register,
// and leaves it as it is where that has the neutral number.
func isUse(in bpf.Instruction, c choice) bool {
	return in.IsALU() && in.UsesSrc() && in.Src == c.reg && in.Dst != c.reg && in.Off == 0 && neutral(in, c.neutral)
}

// width is that of an operation in bits.
func width(in bpf.Instruction) int {
	if in.Op.Class() == bpf.ClassALU {
		return 32
	}
	return 64
}

// neutral tells whether v as an operation's second operand does nothing, but for
// the upper half that operations of 32 bits clear.
func neutral(in bpf.Instruction, v uint64) bool {
	w := width(in)
	low := v << (64 - w) >> (64 - w)
	switch in.Op.ALU() {
	case bpf.OpAdd, bpf.OpSub, bpf.OpOr, bpf.OpXor:
		return low == 0
	case bpf.OpAnd:
		return low == ^uint64(0)>>(64-w)
	case bpf.OpMul:
		return low == 1
	case bpf.OpLsh, bpf.OpRsh, bpf.OpArsh:
		return low%uint64(w) == 0
	}
	return false
}

// immediate is v as the operation's immediate, if it can be one.
func immediate(in bpf.Instruction, v uint64) (int64, bool) {
	switch in.Op.ALU() {
	case bpf.OpLsh, bpf.OpRsh, bpf.OpArsh:
		return int64(v % uint64(width(in))), true
	}
	if width(in) == 32 {
		return int64(int32(v)), true
	}
	return int64(v), int64(v) == int64(int32(v))
}

// touched says what was done to registers: nothing, one operation over and over,
// which can be done in any order, or something else.
type touched [bpf.NumRegisters]bpf.Op

// mixed stands for something else; no operation has this opcode.
const mixed bpf.Op = 0xff

// allows tells whether an operation could have been done before all that was.
func (t *touched) allows(in bpf.Instruction) bool {
	op := in.Op &^ bpf.SourceX
	return t[in.Dst] == 0 || t[in.Dst] == op
}

// add notes an instruction.
func (t *touched) add(in bpf.Instruction) {
	for r := range bpf.Register(bpf.NumRegisters) {
		reads, writes := in.Reads().Has(r), in.Writes().Has(r)
		again := in.IsALU() && reads && writes && !(in.UsesSrc() && in.Src == r) && repeats(in) && t.allows(in)
		switch {
		case again:
			t[r] = in.Op &^ bpf.SourceX
		case reads, writes:
			t[r] = mixed
		}
	}
}

// repeats tells whether the operation with one operand and then with another one
// is the same as the other way round.
func repeats(in bpf.Instruction) bool {
	switch in.Op.ALU() {
	case bpf.OpAdd, bpf.OpSub, bpf.OpOr, bpf.OpXor, bpf.OpAnd, bpf.OpMul, bpf.OpLsh, bpf.OpRsh, bpf.OpArsh:
		return true
	}
	return false
}
