package flow

import (
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/semantics"
)

// extent is a run of bytes of the frame.
type extent struct {
	off  int64
	size int
}

// callUse is what a call may do with registers and the own frame.
type callUse struct {
	args bpf.Registers // that the callee may read
	// certain is those of args that it reads for sure, so that they are readable.
	certain bpf.Registers
	escape  bool // the callee gets hold of the frame
	// follows says that the callee may reach the frame if a pointer to it has
	// escaped before.
	follows bool
	reads   []extent
	writes  []extent
	fills   extent // bytes that the callee writes in any case
}

// helperOf is the prototype of the helper that in calls, or nil.
func helperOf(in bpf.Instruction) *semantics.Helper {
	if in.Src != bpf.CallHelper || in.Op&bpf.SourceX != 0 {
		return nil
	}
	h, ok := semantics.HelperByID(int32(in.Imm))
	if !ok {
		return nil
	}
	return h
}

// callUse finds what a call may do in a state.
func (f *Facts) callUse(s *State, in bpf.Instruction) callUse {
	u := callUse{args: f.arguments(in), certain: certainArguments(in)}
	h := helperOf(in)
	u.follows = h == nil || h.Callback
	for r := bpf.R1; r <= bpf.R5; r++ {
		switch onStack := s.Regs[r].Kind == KindStack; {
		case !u.args.Has(r):
		case onStack && h == nil:
			u.escape = true
		case onStack:
			f.argumentUse(&u, s, h, r)
		case h != nil:
			u.follows = u.follows || dereferences(h.Args[r-bpf.R1].Kind, s.Regs[r].Kind)
		}
	}
	u.follows = u.follows || u.escape
	return u
}

// dereferences tells whether a helper may access memory of the stack through
// such an argument, which is no pointer into it: because nobody knows what it
// is, or because the helper follows pointers in the memory that it leads to.
func dereferences(k semantics.ArgKind, v Kind) bool {
	switch k {
	case semantics.ArgNone, semantics.ArgScalar, semantics.ArgMap, semantics.ArgContext, semantics.ArgPointer, semantics.ArgFunc:
		return false
	case semantics.ArgUnknown, semantics.ArgCallback:
		return true
	}
	return !v.IsPointer()
}

// arguments is the set of R1 to R5 that a call may read.
func (f *Facts) arguments(in bpf.Instruction) bpf.Registers {
	if sym := f.fn.Symbol(in.Ref); sym != nil && sym.Func != nil && !sym.Func.Global && in.Src == bpf.CallLocal {
		return f.callees.arguments(sym.Func)
	}
	return ownArguments(in)
}

// ownArguments is the set of R1 to R5 that a call may read, as far as the
// instruction alone tells.
func ownArguments(in bpf.Instruction) bpf.Registers {
	h := helperOf(in)
	if h == nil {
		return allArguments
	}
	var s bpf.Registers
	for i, a := range h.Args[:h.NumArgs] {
		if a.Kind != semantics.ArgNone {
			s |= bpf.Set(bpf.R1 + bpf.Register(i))
		}
	}
	return s
}

// certainArguments is the set of R1 to R5 that a helper reads for sure: the verifier
// looks at them.
func certainArguments(in bpf.Instruction) bpf.Registers {
	h := helperOf(in)
	if h == nil {
		return 0
	}
	var s bpf.Registers
	for i, a := range h.Args[:h.NumArgs] {
		if a.Kind != semantics.ArgNone && a.Kind != semantics.ArgUnknown {
			s |= bpf.Set(bpf.R1 + bpf.Register(i))
		}
	}
	return s
}

// argumentUse adds what a helper may do through a pointer into the frame.
func (f *Facts) argumentUse(u *callUse, s *State, h *semantics.Helper, r bpf.Register) {
	arg := h.Args[r-bpf.R1]
	size, ok := f.argumentSize(s, h, r)
	if !ok {
		u.escape = true
		return
	}
	v := s.Regs[r]
	if known := s.Regs[arg.SizeReg]; arg.Fill && v.Base == FrameBase && known.UMin == known.UMax && OnStack(v.Offset, size) {
		u.fills = extent{v.Offset, size}
	}
	e := extent{v.Offset, size}
	if v.Base != FrameBase || e.off < -StackSize || e.off > 0 {
		e = extent{-StackSize, StackSize}
	}
	e.size = min(e.size, int(-e.off))
	if arg.Read {
		u.reads = append(u.reads, e)
	}
	if arg.Write {
		u.writes = append(u.writes, e)
	}
}

// argumentSize is the most bytes that a helper reads or writes through an
// argument, if that is known.
func (f *Facts) argumentSize(s *State, h *semantics.Helper, r bpf.Register) (int, bool) {
	switch arg := h.Args[r-bpf.R1]; arg.Kind {
	case semantics.ArgMapKey, semantics.ArgMapValue:
		m := f.mapArgument(s, h, r)
		switch {
		case m == nil:
			return StackSize, true
		case arg.Kind == semantics.ArgMapKey && m.KeySize > 0:
			return m.KeySize, true
		case arg.Kind == semantics.ArgMapValue && m.ValueSize > 0:
			// Per-CPU maps copy whole words (round_up in kernel/bpf/hashtab.c).
			return (m.ValueSize + 7) / 8 * 8, true
		}
		return StackSize, true
	case semantics.ArgMemory:
		if arg.SizeReg != bpf.R0 {
			return int(min(s.Regs[arg.SizeReg].UMax, StackSize)), true
		}
		return arg.Size, arg.Size > 0
	}
	return 0, false
}

// mapArgument is the map that an argument before r names, or nil.
func (f *Facts) mapArgument(s *State, h *semantics.Helper, r bpf.Register) *bpf.Map {
	for q := r - 1; q >= bpf.R1; q-- {
		if h.Args[q-bpf.R1].Kind == semantics.ArgMap {
			return f.mapOf(s.Regs[q])
		}
	}
	return nil
}

func (f *Facts) mapOf(v Value) *bpf.Map {
	ref, ok := f.Ref(v)
	if !ok || v.Kind != KindMap || v.Offset != 0 {
		return nil
	}
	return f.fn.Symbol(ref).Map
}

// call does what is known of a call.
func (m *machine) call(in bpf.Instruction) {
	h := helperOf(in)
	u := m.facts.callUse(&m.s.State, in)
	m.s.Escaped = m.s.Escaped || u.escape
	for _, r := range u.reads {
		// Whoever reads a pointer into the frame may keep it.
		from, to := overlap(m.s.Stack, r.off, r.size)
		m.s.letEscape(m.s.Stack[from:to])
	}
	for _, w := range u.writes {
		m.s.kill(w.off, w.size)
	}
	if h != nil {
		m.noteWritten(h)
	}
	if m.s.Escaped && u.follows {
		m.s.killAll()
	}
	result := Unknown(KindAny)
	if h != nil {
		result = m.result(h)
	}
	if movesPacket(h) {
		m.losePackets()
	}
	m.loseArguments()
	m.SetReg(bpf.R0, number{result, 64})
}

// movesPacket tells whether a helper, or nil for anything else that is called,
// may move packet data.
func movesPacket(h *semantics.Helper) bool { return h == nil || h.MovesPacket || h.Callback }

// noteWritten adds the bytes that a helper is sure to be given to write. The
// verifier takes them for written even where the helper fails.
func (m *machine) noteWritten(h *semantics.Helper) {
	for i, arg := range h.Args {
		v := m.s.Regs[bpf.R1+bpf.Register(i)]
		if !arg.Write || arg.Kind != semantics.ArgMemory || v.Kind != KindStack || v.Base != FrameBase {
			continue
		}
		size := arg.Size
		if arg.SizeReg != bpf.R0 {
			size = int(min(m.s.Regs[arg.SizeReg].UMin, StackSize))
		}
		if OnStack(v.Offset, size) {
			m.s.Written.Add(int(v.Offset), size)
		}
	}
}

// result is what is known of R0 behind a helper's call.
func (m *machine) result(h *semantics.Helper) Value {
	var v Value
	switch h.Returns {
	case semantics.ReturnScalar:
		v = Unknown(KindScalar)
		if h.TailCall {
			v = Unknown(KindAny) // what R0 held before, where it fails
		}
	case semantics.ReturnVoid:
		v = Unknown(KindNone)
	case semantics.ReturnMapValue, semantics.ReturnMapValueOrNull:
		v = Unknown(m.lookupKind(h))
		v.MaybeNull = v.Kind != KindAny && h.Returns == semantics.ReturnMapValueOrNull
		v.Align = m.lookupAlign(h)
	case semantics.ReturnPointer:
		v = Unknown(KindOther)
	case semantics.ReturnMemoryOrNull, semantics.ReturnPointerOrNull:
		v = Unknown(KindOther)
		v.MaybeNull = true
	default:
		v = Unknown(KindAny)
	}
	return v
}

// Types of maps whose lookup yields something else than a pointer to a value
// (enum bpf_map_type in include/uapi/linux/bpf.h).
var holders = []uint32{
	12, // BPF_MAP_TYPE_ARRAY_OF_MAPS
	13, // BPF_MAP_TYPE_HASH_OF_MAPS
	15, // BPF_MAP_TYPE_SOCKMAP
	17, // BPF_MAP_TYPE_XSKMAP
	18, // BPF_MAP_TYPE_SOCKHASH
	20, // BPF_MAP_TYPE_REUSEPORT_SOCKARRAY
}

// lookupKind is the kind of what a helper finds in the map among its arguments.
func (m *machine) lookupKind(h *semantics.Helper) Kind {
	mp := m.facts.mapArgument(&m.s.State, h, bpf.R5+1)
	switch {
	case mp == nil || mp.Type == 0:
		return KindAny
	case slices.Contains(holders, mp.Type):
		return KindOther
	}
	return KindMapValue
}

// Types of maps that place each value at a multiple of eight bytes, also where
// every CPU has its own (struct bpf_array and array_map_alloc in
// kernel/bpf/arraymap.c, struct htab_elem and htab_elem_value in
// kernel/bpf/hashtab.c). In others, values may follow keys of any size.
var aligned = []uint32{
	1,  // BPF_MAP_TYPE_HASH
	2,  // BPF_MAP_TYPE_ARRAY
	5,  // BPF_MAP_TYPE_PERCPU_HASH
	6,  // BPF_MAP_TYPE_PERCPU_ARRAY
	9,  // BPF_MAP_TYPE_LRU_HASH
	10, // BPF_MAP_TYPE_LRU_PERCPU_HASH
}

// lookupAlign is the Align of what a helper finds in the map among its
// arguments.
func (m *machine) lookupAlign(h *semantics.Helper) uint8 {
	mp := m.facts.mapArgument(&m.s.State, h, bpf.R5+1)
	if mp == nil || !slices.Contains(aligned, mp.Type) {
		return 0
	}
	return 8
}
