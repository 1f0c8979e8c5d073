package windows

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
	"github.com/k2cc/k2cc/bpf/flow"
)

// sample is a window that has something of everything.
func sample() *Window {
	code := []bpf.Instruction{
		{Op: bpf.LoadImm64, Dst: 1, Src: bpf.PseudoMapFD, Ref: 1, Pos: 8},
		{Op: bpf.ClassALU64 | bpf.OpMov, Dst: 2, Imm: 5, Pos: 9},
	}
	fn := &bpf.Function{
		Context: bpf.ContextXDP,
		Symbols: []bpf.Symbol{{Kind: bpf.SymbolMap, Map: &bpf.Map{Type: 2, KeySize: 4, ValueSize: 8}}},
		Blocks:  []*bpf.Block{{Label: canonicalTarget, Code: code}},
	}
	state := flow.State{Stack: []flow.Cell{{Off: -8, Size: 8}}}
	return &Window{
		Fn: fn, Code: code, Facts: state,
		Target: Target{Level: bpf.V3, Shared: map[flow.Kind]bool{flow.KindMapValue: true}},
		states: []flow.State{state, state, state}, lives: make([]flow.Live, 3),
	}
}

// Whatever is changed of a window changes its key: every field is reached.
func TestKeyReachesEveryField(t *testing.T) {
	// Where the window stands says nothing, nor what a symbol is called; what is taken
	// of a result is in the needs.
	skip := map[string]bool{"Block": true, "Start": true, "Name": true, "Index": true, "Func": true,
		"Section": true, "Global": true, "HalfResult": true, "Label": true, "Line": true}
	base := sample().Key()
	seen := 0
	var walk func(path string, v reflect.Value, key func() []byte)
	walk = func(path string, v reflect.Value, key func() []byte) {
		old := reflect.New(v.Type()).Elem()
		old.Set(v)
		defer v.Set(old)
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				if f := v.Type().Field(i); !skip[f.Name] && f.IsExported() {
					walk(path+"."+f.Name, v.Field(i), key)
				}
			}
			return
		case reflect.Pointer:
			walk(path, v.Elem(), key)
			return
		case reflect.Slice, reflect.Array:
			for i := range v.Len() {
				walk(path+"[]", v.Index(i), key)
			}
			return
		case reflect.Map:
			v.Set(reflect.ValueOf(map[flow.Kind]bool{flow.KindPacket: true}))
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Float64:
			v.SetFloat(v.Float() + 1)
		case reflect.Int, reflect.Int16, reflect.Int32, reflect.Int64:
			v.SetInt(v.Int() + 1)
		default:
			v.SetUint(v.Uint() ^ 1)
		}
		seen++
		if bytes.Equal(base, key()) {
			t.Errorf("%s does not count", path)
		}
	}
	w := sample()
	walk("window", reflect.ValueOf(w).Elem(), w.Key)
	for i := range w.states {
		walk("states", reflect.ValueOf(&w.states[i]).Elem(), w.Key)
	}
	for i := range w.lives {
		walk("lives", reflect.ValueOf(&w.lives[i]).Elem(), w.Key)
	}
	if seen < 600 {
		t.Errorf("%d fields tried", seen)
	}
}

// A window is the same wherever it stands, and comes back from its canonical form
// as it was.
func TestCanonical(t *testing.T) {
	at := func(shift int, block int) *Window {
		w := sample()
		refs := make([]bpf.Symbol, shift)
		w.Fn.Symbols = append(refs, w.Fn.Symbols...)
		w.Fn.Blocks = append(make([]*bpf.Block, block), w.Fn.Blocks...)
		w.Block = block
		free := flow.SymbolBase(bpf.Ref(len(w.Fn.Symbols)+1)) + flow.Base(7*shift)
		w.Code[0].Ref += bpf.Ref(shift)
		w.Code[1] = bpf.Instruction{Op: bpf.ClassJMP | bpf.OpJEq, Dst: 2, Target: bpf.Label(shift + 5), Pos: int32(shift)}
		for _, s := range append([]*flow.State{&w.Facts}, &w.states[0], &w.states[1], &w.states[2]) {
			s.Regs[3] = flow.Value{Kind: flow.KindAny, Base: free}
			s.Regs[4] = flow.Value{Kind: flow.KindAny, Base: free + 1}
			s.Regs[5] = flow.Value{Kind: flow.KindMap, Base: flow.SymbolBase(w.Code[0].Ref)}
			s.Regs[10] = flow.Value{Kind: flow.KindStack, Base: flow.FrameBase}
		}
		return w
	}
	a, b := at(0, 0), at(3, 2)
	ca, _, ok := a.Canonical()
	cb, names, okb := b.Canonical()
	if !ok || !okb || !bytes.Equal(ca.Key(), cb.Key()) {
		t.Fatal("two keys for one problem")
	}
	if got := names.Original(cb.Code); !reflect.DeepEqual(got, b.Code) {
		t.Errorf("%v came back as %v", b.Code, got)
	}
	if code, ok := names.Canonical(b.Code); !ok || !bpf.SameCode(code[0], cb.Code[0]) || !bpf.SameCode(code[1], cb.Code[1]) {
		t.Errorf("%v is %v in canonical form", b.Code, code)
	}
	foreign := bpf.Instruction{Op: bpf.LoadImm64, Dst: 1, Ref: 1}
	if _, ok := names.Canonical([]bpf.Instruction{foreign}); ok {
		t.Error("a symbol that the window has not has a canonical form")
	}
	// Values that differ must not become the same.
	b.Facts.Regs[4].Base = b.Facts.Regs[3].Base
	if other, _, _ := b.Canonical(); bytes.Equal(other.Key(), ca.Key()) {
		t.Error("one key for two problems")
	}
}

// What the canonical form forgets must not change what code costs.
func TestCanonicalKeepsCosts(t *testing.T) {
	w := sample()
	c, _, _ := w.Canonical()
	if cost.Of(c.Code) != cost.Of(w.Code) {
		t.Error("it costs something else")
	}
}
