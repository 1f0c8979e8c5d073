package passes

import (
	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

// hidesKey tells whether code in a window's place hides a constant key from the
// verifier. A lookup in an array whose key it knows needs no check for null: the
// verifier drops the code behind that check (kernel/bpf/verifier.c,
// get_constant_map_key). It knows a key that one store of the key's size wrote,
// and zeros, not one that is part of a wider store.
func hidesKey(w *windows.Window, code []bpf.Instruction) bool {
	key, ok := keyBehind(w)
	return ok && walk(w, w.Code).knows(key) && !walk(w, code).knows(key)
}

// keySize in bytes is that of all arrays' keys.
const keySize = 4

// keyBehind is the offset from the frame pointer of the key of an array lookup
// right behind the window.
func keyBehind(w *windows.Window) (off int64, ok bool) {
	block := w.Fn.Blocks[w.Block].Code
	if w.End() >= len(block) {
		return 0, false
	}
	const lookup = 1 // BPF_FUNC_map_lookup_elem, include/uapi/linux/bpf.h
	call := block[w.End()]
	if !call.IsCall() || call.Src != bpf.CallHelper || call.Imm != lookup {
		return 0, false
	}
	s := walk(w, w.Code)
	if m := s.regs[bpf.R1].array; !m || !s.regs[bpf.R2].frame {
		return 0, false
	}
	return s.regs[bpf.R2].off, true
}

// content is what a walk knows of a register.
type content struct {
	frame, constant, array bool  // a frame address, a known number, an array's address
	off                    int64 // from the frame pointer
}

// store is a store to a known place of the frame.
type store struct {
	off, size      int64
	constant, zero bool // zero: of an immediate, which does not count as a register's value
}

// walked is what is known at the end of straight-line code.
type walked struct {
	regs   [bpf.NumRegisters]content
	stores []store
}

// walk follows frame addresses and constants through code.
func walk(w *windows.Window, code []bpf.Instruction) *walked {
	s := &walked{}
	for r, v := range w.Facts.Regs {
		frame := v.Kind == flow.KindStack && v.Base == flow.FrameBase
		s.regs[r] = content{frame: frame, constant: v.IsConst(), off: v.Offset}
	}
	s.regs[bpf.R10] = content{frame: true}
	for _, in := range code {
		s.step(w.Fn, in)
	}
	return s
}

func (s *walked) step(fn *bpf.Function, in bpf.Instruction) {
	if in.IsStore() && s.regs[in.Dst].frame {
		constant := in.Op.Class() == bpf.ClassST || s.regs[in.Src].constant
		zero := in.Op.Class() == bpf.ClassST && in.Imm == 0
		s.stores = append(s.stores, store{s.regs[in.Dst].off + int64(in.Off), int64(in.Size()), constant, zero})
	}
	if in.Writes() == 0 || in.IsAtomic() {
		return
	}
	old := s.regs[in.Dst]
	now := content{}
	switch wide := in.Op.Class() == bpf.ClassALU64; {
	case in.Op == bpf.LoadImm64:
		now.constant, now.array = in.Ref == 0, isArray(fn.Symbol(in.Ref))
	case !in.IsALU() || in.Ref != 0:
	case in.Op.ALU() == bpf.OpMov && !in.UsesSrc():
		now.constant = true
	case in.Op.ALU() == bpf.OpMov && wide && in.Off == 0:
		now = s.regs[in.Src]
	case in.Op.ALU() == bpf.OpAdd && wide && !in.UsesSrc() && old.frame:
		now = content{frame: true, off: old.off + in.Imm}
	}
	s.regs[in.Dst] = now
}

// isArray tells whether the verifier uses constant keys of such a map.
func isArray(s *bpf.Symbol) bool {
	const array, perCPUArray = 2, 6 // enum bpf_map_type, include/uapi/linux/bpf.h
	return s != nil && s.Map != nil && (s.Map.Type == array || s.Map.Type == perCPUArray)
}

// knows tells whether the verifier knows the key at an offset.
func (s *walked) knows(key int64) bool {
	for i := len(s.stores) - 1; i >= 0; i-- {
		st := s.stores[i]
		if st.off >= key+keySize || key >= st.off+st.size {
			continue
		}
		whole := st.off <= key && key+keySize <= st.off+st.size
		return st.constant && st.size == keySize && st.off == key || st.zero && whole
	}
	return false
}
