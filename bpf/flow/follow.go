package flow

import (
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/semantics"
)

// Call is what a call, or a legacy packet load, may do with registers and the
// own frame, and what is known behind it. Whatever else a callee may reach it may
// read and write as well: the packet, the context, map values, other memory.
type Call struct {
	Args   bpf.Registers // that are read, as far as they are readable
	Reads  Bytes         // of the frame, through arguments
	Writes Bytes         // likewise; less may be written, or nothing
	// Written is the bytes of the frame that the verifier takes for written
	// behind the call, whatever the callee did.
	Written Bytes
	// Frame says that the callee may read and write the whole frame.
	Frame bool
	// Follows says that it could if a pointer to the frame had escaped.
	Follows bool
	// Escapes says that the callee gets hold of a pointer to the frame.
	Escapes bool
	// MovesPacket says that packet pointers are lost.
	MovesPacket bool
	// MayEnd says that the function may end there and R0 may be what it was
	// where it does not (bpf_tail_call).
	MayEnd bool
	Helper *semantics.Helper // nil where a function, a kfunc or nothing known is called
	Map    *bpf.Map          // among a helper's arguments, or nil
	Result Value             // what is in R0 behind it
}

// Follow finds what each of the calls and legacy packet loads in straight-line
// code of fn may do, in order, from what is known before the code. Bases that are
// not among from's are its own.
func Follow(fn *bpf.Function, bigEndian bool, from State, code []bpf.Instruction) ([]Call, error) {
	f, m := straight(fn, bigEndian, from, len(code))
	s := m.s
	var calls []Call
	for i, in := range code {
		m.index = i
		c := f.describe(&s.State, in)
		written, escaped := s.Written, s.Escaped
		if err := m.step(in); err != nil {
			return nil, fmt.Errorf("%v: %w", in, err)
		}
		if in.IsCall() || in.IsPacketLoad() {
			c.Written, c.Result = s.Written, s.Regs[bpf.R0]
			c.Escapes = c.Escapes || s.Escaped && !escaped
			for w := range written {
				c.Written[w] &^= written[w]
			}
			calls = append(calls, c)
		}
	}
	return calls, nil
}

// Through is what holds before each instruction of straight-line code of fn and
// behind the last, and what may be read there, from what is known before the code
// and may be read behind it.
func Through(fn *bpf.Function, bigEndian bool, from State, to Live, code []bpf.Instruction) ([]State, []Live, error) {
	f, m := straight(fn, bigEndian, from, len(code))
	states, effects := make([]State, len(code)+1), make([]effect, len(code))
	for i, in := range code {
		m.index = i
		states[i], effects[i] = m.s.State, f.effect(&m.s.State, in)
		if err := m.step(in); err != nil {
			return nil, nil, fmt.Errorf("%v: %w", in, err)
		}
	}
	states[len(code)] = m.s.State
	lives, t := make([]Live, len(code)+1), &terms{bigEndian: bigEndian}
	for i := len(code); i >= 0; i-- {
		lives[i] = to
		if i == 0 {
			break
		}
		if err := to.before(t, code[i-1], &effects[i-1]); err != nil {
			return nil, nil, fmt.Errorf("%v: %w", code[i-1], err)
		}
	}
	return states, lives, nil
}

// straight is a machine that goes through straight-line code of fn with as many
// instructions, and what it takes for facts. Bases that are not among from's are
// the code's own.
func straight(fn *bpf.Function, bigEndian bool, from State, instructions int) (*Facts, *machine) {
	start := firstSymbol + 2*Base(len(fn.Symbols))
	names := &naming{sites: start, steps: stepsOf(fn)}
	for _, v := range from.Regs {
		start = max(start, v.Base+1)
	}
	for _, c := range from.Stack {
		start = max(start, c.Value.Base+1)
	}
	names.starts = []Base{start}
	names.phis = start + Base(instructions*sitesPerInstruction)
	f := &Facts{
		fn: fn, names: names, opts: Options{BigEndian: bigEndian},
		callees: &callees{known: map[*bpf.Function]bpf.Registers{}},
	}
	s := &state{State: from}
	for i := range s.fields {
		s.fields[i] = Unknown(KindNone)
	}
	return f, f.machine(0, s)
}

// describe is what a call may do, but for what is known behind it.
func (f *Facts) describe(s *State, in bpf.Instruction) Call {
	if !in.IsCall() {
		return Call{Args: in.Reads()}
	}
	var e effect
	f.callEffect(&e, s, in)
	u := f.callUse(s, in)
	c := Call{Args: e.args, Frame: e.all, Follows: u.follows, Escapes: u.escape, Helper: helperOf(in)}
	for _, r := range u.reads {
		c.Reads.Add(int(r.off), r.size)
	}
	for _, w := range u.writes {
		c.Writes.Add(int(w.off), w.size)
	}
	c.MovesPacket = movesPacket(c.Helper)
	if c.Helper != nil {
		c.MayEnd = c.Helper.TailCall
		c.Map = f.mapArgument(s, c.Helper, bpf.R5+1)
	}
	return c
}
