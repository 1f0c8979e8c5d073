package semantics

import (
	"errors"
	"fmt"
	"math"

	"github.com/k2cc/k2cc/bpf"
)

// Exec interprets whole functions: jumps, calls and exit on top of Step. What
// lies outside the program (helpers, kfuncs, symbols, the packet) is given by
// callbacks; where one is missing, code that needs it fails.
type Exec struct {
	// State is the machine. Run takes R1 to R5 and R10 from it. Its Symbols
	// are replaced wherever a function is entered or left.
	*State

	// Helper calls a helper by its ID (enum bpf_func_id).
	Helper func(id int32, args [5]uint64) (uint64, error)
	// Kfunc calls what a symbol that is no function of the program names, or
	// for a call without symbol the kernel's function with in's BTF ID.
	Kfunc func(in bpf.Instruction, sym *bpf.Symbol, args [5]uint64) (uint64, error)
	// Symbol is the value that a loader puts in place of a symbol. It is asked
	// for every symbol of a function that the function's code uses as a number.
	Symbol func(sym *bpf.Symbol) (uint64, error)
	// Packet does a legacy packet load of size bytes at off; the result is in
	// host order. Where ok is false the load fails, and the function ends with
	// result zero.
	Packet func(off uint32, size int) (v uint64, ok bool)
	// TailCall finds the program to which bpf_tail_call leads; nil lets the call
	// fail. Without it, tail calls are calls of Helper.
	TailCall func(args [5]uint64) (*bpf.Function, error)
	// MayGoto says whether may_goto ends its loop. Without it, it never does.
	MayGoto func() bool

	// Limit is the number of instructions after which to give up; zero means a
	// million.
	Limit int
	// Steps counts the instructions that were executed.
	Steps int

	depth int
	tails int
	// target is where the tail call that ended a block leads.
	target *bpf.Function
	// funcs are the program's functions whose addresses have been taken.
	funcs map[uint64]*bpf.Function
}

// maxDepth is how deep calls nest at most (MAX_CALL_FRAMES in
// include/linux/bpf_verifier.h).
const maxDepth = 8

// maxTails is how many tail calls there are at most in a run
// (MAX_TAIL_CALL_CNT in include/linux/bpf.h).
const maxTails = 33

// frameSize is the distance between the frame pointers of caller and callee
// (MAX_BPF_STACK in include/linux/filter.h).
const frameSize = 512

// lost is what registers hold that a call has made unreadable: a value that
// makes programs which read it all the same go astray.
const lost = 0xdead_beef_0bad_cafe

// ErrLimit says that a program ran for longer than it may.
var ErrLimit = errors.New("step limit reached")

// Run executes fn from its first block to its exit and gives R0. The callers
// of Run see R0 to R9 as fn leaves them.
func (e *Exec) Run(fn *bpf.Function) (uint64, error) {
	e.tails = 0
	if err := e.function(fn); err != nil {
		return 0, fmt.Errorf("%s: %w", fn.Name, err)
	}
	return e.Regs[bpf.R0], nil
}

// Call executes fn as a callee of the code that is running, as helpers with
// callbacks do: in a new frame, all registers kept but R0. It gives R0.
func (e *Exec) Call(fn *bpf.Function, args [5]uint64) (uint64, error) {
	saved := e.Regs
	copy(e.Regs[1:6], args[:])
	err := e.enter(fn)
	r0 := e.Regs[bpf.R0]
	e.Regs = saved
	if err != nil {
		return 0, fmt.Errorf("%s: %w", fn.Name, err)
	}
	return r0, nil
}

// enter executes fn in a new frame and restores R6 to R10.
func (e *Exec) enter(fn *bpf.Function) error {
	if e.depth+1 >= maxDepth {
		return fmt.Errorf("calls nest deeper than %d", maxDepth)
	}
	saved, symbols := e.Regs, e.Symbols
	e.depth++
	e.Regs[bpf.R10] -= frameSize
	for r := bpf.R6; r <= bpf.R9; r++ {
		e.Regs[r] = lost
	}
	err := e.function(fn)
	e.depth--
	copy(e.Regs[bpf.R6:], saved[bpf.R6:])
	e.Symbols = symbols
	return err
}

// function executes fn in the present frame.
func (e *Exec) function(fn *bpf.Function) error {
	if err := e.bind(fn); err != nil {
		return err
	}
	at := make(map[bpf.Label]int, len(fn.Blocks))
	for i, b := range fn.Blocks {
		at[b.Label] = i
	}
	for i := 0; i < len(fn.Blocks); {
		to, err := e.block(fn, fn.Blocks[i])
		switch {
		case err != nil:
			return fmt.Errorf("block L%d: %w", fn.Blocks[i].Label, err)
		case to == leave:
			return nil
		case to == tail:
			// The other program takes the frame of this function, and returns
			// to its caller.
			return e.function(e.target)
		case to == next:
			i++
		default:
			n, ok := at[to]
			if !ok {
				return fmt.Errorf("block L%d: no block has label %d", fn.Blocks[i].Label, to)
			}
			i = n
		}
	}
	return errors.New("control runs off the end")
}

// bind gives the symbols that fn uses as numbers their values.
func (e *Exec) bind(fn *bpf.Function) error {
	values := make(map[bpf.Ref]uint64)
	for _, b := range fn.Blocks {
		for _, in := range b.Code {
			if _, ok := values[in.Ref]; ok || in.Ref == 0 || in.IsCall() {
				continue
			}
			sym := fn.Symbol(in.Ref)
			if sym == nil {
				return fmt.Errorf("%v: there is no such symbol", in)
			}
			if e.Symbol == nil {
				return fmt.Errorf("%v: nothing gives symbol %q a value", in, sym.Name)
			}
			v, err := e.Symbol(sym)
			if err != nil {
				return fmt.Errorf("symbol %q: %w", sym.Name, err)
			}
			values[in.Ref] = v
			if sym.Func != nil {
				e.take(v, sym.Func)
			}
		}
	}
	e.Symbols = values
	return nil
}

// take notes the address of a function.
func (e *Exec) take(addr uint64, fn *bpf.Function) {
	if e.funcs == nil {
		e.funcs = make(map[uint64]*bpf.Function)
	}
	e.funcs[addr] = fn
}

// Where to go on behind a block, besides a label.
const (
	next  bpf.Label = 0
	leave bpf.Label = -1
	tail  bpf.Label = -2
)

// block executes one block and says where control goes from it.
func (e *Exec) block(fn *bpf.Function, b *bpf.Block) (bpf.Label, error) {
	limit := e.Limit
	if limit == 0 {
		limit = 1_000_000
	}
	for _, in := range b.Code {
		if e.Steps++; e.Steps > limit {
			return 0, ErrLimit
		}
		var taken bool
		var to bpf.Label
		var err error
		switch {
		case in.IsExit():
			return leave, nil
		case in.IsGoto():
			taken = true
		case in.IsMayGoto():
			taken = e.MayGoto != nil && e.MayGoto()
		case in.IsCondJump():
			taken, err = e.Taken(in)
		case in.IsCall():
			to, err = e.call(fn, in)
		case in.IsPacketLoad():
			to, err = e.packetLoad(in)
		default:
			err = Step[Word](e.State, in)
		}
		switch {
		case err != nil:
			return 0, err
		case taken:
			return in.Target, nil
		case to != next:
			return to, nil
		}
	}
	return next, nil
}

// call executes a call, makes R1 to R5 unreadable, and says where control goes:
// on, or to another program.
func (e *Exec) call(fn *bpf.Function, in bpf.Instruction) (bpf.Label, error) {
	if err := exists(in); err != nil {
		return next, err
	}
	args := [5]uint64(e.Regs[1:6])
	sym := fn.Symbol(in.Ref)
	var err error
	switch {
	case in.Op&bpf.SourceX != 0:
		err = e.callRegister(e.Regs[in.Dst], args)
	case in.Src == bpf.CallHelper && e.TailCall != nil && isTailCall(in.Imm):
		var to bpf.Label
		if to, err = e.tailCall(args); to == tail {
			return to, nil
		}
	case in.Src == bpf.CallHelper && e.Helper != nil:
		e.Regs[bpf.R0], err = e.Helper(int32(in.Imm), args)
	case sym != nil && sym.Func != nil:
		err = e.enter(sym.Func)
	case in.Src != bpf.CallHelper && e.Kfunc != nil:
		e.Regs[bpf.R0], err = e.Kfunc(in, sym, args)
	default:
		err = errNoAnswer
	}
	if err != nil {
		return next, fmt.Errorf("%v: %w", in, err)
	}
	e.loseArguments()
	return next, nil
}

var errNoAnswer = errors.New("nothing answers this call")

func (e *Exec) loseArguments() {
	for r := bpf.R1; r <= bpf.R5; r++ {
		e.Regs[r] = lost
	}
}

// callRegister calls the function at addr. RFC 9669 does not define callx; what
// is no function's address is taken as the ID of a helper, as in uBPF.
func (e *Exec) callRegister(addr uint64, args [5]uint64) error {
	if callee := e.funcs[addr]; callee != nil {
		return e.enter(callee)
	}
	if e.Helper == nil || addr > math.MaxInt32 {
		return errNoAnswer
	}
	var err error
	e.Regs[bpf.R0], err = e.Helper(int32(addr), args)
	return err
}

func isTailCall(id int64) bool {
	h, ok := HelperByID(int32(id))
	return ok && h.TailCall
}

// tailCall ends the function in favour of another program, if there is one and
// there have not been too many. What R0 is where it fails is open.
func (e *Exec) tailCall(args [5]uint64) (bpf.Label, error) {
	to, err := e.TailCall(args)
	if err != nil {
		return next, err
	}
	if to == nil || e.tails == maxTails {
		e.Regs[bpf.R0] = lost
		return next, nil
	}
	e.tails++
	e.target = to
	for r := bpf.R0; r < bpf.R10; r++ {
		if r != bpf.R1 {
			e.Regs[r] = lost
		}
	}
	return tail, nil
}

// packetLoad executes LD_ABS and LD_IND. A load outside the packet ends the
// function with result zero (net/core/filter.c: bpf_gen_ld_abs).
func (e *Exec) packetLoad(in bpf.Instruction) (bpf.Label, error) {
	if err := exists(in); err != nil {
		return next, err
	}
	if e.Packet == nil {
		return next, fmt.Errorf("%v: there is no packet", in)
	}
	off := uint32(in.Imm)
	if in.Op.Mode() == bpf.ModeInd {
		off += uint32(e.Regs[in.Src])
	}
	v, ok := e.Packet(off, in.Size())
	if !ok {
		e.Regs[bpf.R0] = 0
		return leave, nil
	}
	e.Regs[bpf.R0] = v
	e.loseArguments()
	return next, nil
}
