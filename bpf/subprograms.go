package bpf

import "fmt"

// Subprograms makes functions of a whole program as the kernel takes it, in
// which calls and function addresses are offsets. The first function is where
// the program begins; one starts wherever a call or an address leads. Both get
// symbols of the kind SymbolFunc. It fails where Split does, at what is no
// instruction, and where a call leads out of the code.
func Subprograms(raw []Raw) ([]*Function, error) {
	if len(raw) == 0 {
		return nil, fmt.Errorf("no code")
	}
	starts := map[int]*Function{raw[0].Slot: {Name: "main"}}
	for _, r := range raw {
		if _, ok := r.Form(); !ok {
			return nil, fmt.Errorf("slot %d: %v is no instruction", r.Slot, r.Instruction)
		}
		if to, ok := r.leadsTo(); ok && starts[to] == nil {
			starts[to] = &Function{Name: fmt.Sprintf("slot%d", to)}
		}
	}
	var out []*Function
	for begin := 0; begin < len(raw); {
		fn := starts[raw[begin].Slot]
		end := begin + 1
		for end < len(raw) && starts[raw[end].Slot] == nil {
			end++
		}
		if err := fn.fill(raw[begin:end], starts); err != nil {
			return nil, err
		}
		out = append(out, fn)
		begin = end
	}
	if len(out) != len(starts) {
		return nil, fmt.Errorf("a call leads out of the code or into an instruction")
	}
	return out, nil
}

// leadsTo is the slot of the function that a call or an address names (in
// kernel/bpf/verifier.c, add_subprog_and_kfunc).
func (r Raw) leadsTo() (slot int, ok bool) {
	isCall := r.IsCall() && r.Op&SourceX == 0 && r.Src == CallLocal
	if isCall || r.Op == LoadImm64 && r.Src == PseudoFunc {
		return r.Slot + 1 + int(int32(r.Imm)), true
	}
	return 0, false
}

// fill gives the function its code and symbols.
func (f *Function) fill(raw []Raw, starts map[int]*Function) error {
	refs := map[*Function]Ref{}
	named := make([]Raw, len(raw))
	for i, r := range raw {
		if to, ok := r.leadsTo(); ok {
			callee := starts[to]
			if refs[callee] == 0 {
				f.Symbols = append(f.Symbols, Symbol{Kind: SymbolFunc, Name: callee.Name, Index: to, Func: callee})
				refs[callee] = Ref(len(f.Symbols))
			}
			r.Ref, r.Imm = refs[callee], 0
		}
		named[i] = r
	}
	var err error
	f.Blocks, err = Split(named)
	return err
}
