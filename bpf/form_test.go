package bpf

import (
	"math/rand/v2"
	"testing"
)

// Forms have names of their own, their examples are instances of them and of no
// other form, and so is what Random makes.
func TestForms(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	names := map[string]bool{}
	for f := range Forms() {
		if names[f.Name()] {
			t.Errorf("two forms are called %s", f.Name())
		}
		names[f.Name()] = true
		if f.Level < V1 || f.Level > V4 || f.Source == "" {
			t.Errorf("%s: %v, %q", f.Name(), f.Level, f.Source)
		}
		for _, in := range []Instruction{f.Example, f.Random(rng), f.Random(rng), f.Random(rng)} {
			got, ok := in.Form()
			if !ok || got != f || in.Valid() != nil || in.Level() != f.Level {
				t.Errorf("%v of %s is of form %s: %v", in, f.Name(), got.Name(), in.Valid())
			}
			n := 0
			for g := range Forms() {
				if g.Example.Op == in.Op && g.covers(&in) {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%v is of %d forms", in, n)
			}
		}
	}
	if len(names) < 180 {
		t.Errorf("only %d forms", len(names))
	}
}

// What the verifier refuses for its immediate alone has a meaning.
func TestFormOfRefused(t *testing.T) {
	for _, in := range []Instruction{
		{Op: ClassALU64 | OpLsh, Dst: 1, Imm: 64},
		{Op: ClassALU | OpArsh, Dst: 1, Imm: -1},
		{Op: ClassALU | OpMod, Dst: 1},
		{Op: ClassALU64 | OpDiv, Dst: 1, Off: 1},
	} {
		if _, ok := in.Form(); !ok || in.Valid() == nil {
			t.Errorf("%v: form %v, valid %v", in, ok, in.Valid())
		}
	}
}

func TestNoForm(t *testing.T) {
	for name, in := range map[string]Instruction{
		"gotox":                  {Op: ClassJMP | OpJA | SourceX, Dst: 1},
		"another space":          {Op: ClassALU64 | OpMov | SourceX, Off: OffCast, Imm: 2},
		"32-bit cast":            {Op: ClassALU | OpMov | SourceX, Off: OffCast, Imm: CastToKernel},
		"may_goto's neighbour":   {Op: ClassJMP | OpJCond, Src: 1},
		"exit with an offset":    {Op: ClassJMP | OpExit, Off: 1},
		"helper with an offset":  {Op: ClassJMP | OpCall, Off: 1},
		"map with a value":       {Op: LoadImm64, Src: PseudoMapFD, Imm: 1 << 32},
		"pseudo source 7":        {Op: LoadImm64, Src: 7},
		"16-bit exchange":        {Op: ClassSTX | ModeAtomic | SizeH, Imm: AtomicXchg},
		"exchange without fetch": {Op: ClassSTX | ModeAtomic | SizeDW, Imm: AtomicXchg &^ AtomicFetch},
		"64-bit signed load":     {Op: ClassLDX | ModeMemSX | SizeDW},
		"64-bit packet load":     {Op: ClassLD | ModeAbs | SizeDW},
	} {
		if f, ok := in.Form(); ok {
			t.Errorf("%s: %v is %s", name, in, f.Name())
		}
		if in.Valid() == nil || in.Level() != 0 {
			t.Errorf("%s: valid, %v", name, in.Level())
		}
	}
}
