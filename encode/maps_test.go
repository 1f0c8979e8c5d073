package encode

import (
	"context"
	"fmt"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// table models the maps of a random run: where the values of keys are.
type table struct {
	seed    uint64
	shared  bool // others change hash tables
	changes uint64
	there   map[string]uint64 // zero where a key has no value
}

// call lets a helper for maps yield what the maps hold.
func (t *table) call(c flow.Call, b *behavior, at *outcome) {
	t.changes++
	if t.shared {
		t.forget()
	}
	switch {
	case c.Helper == nil || c.Helper.ID > 3 && c.Helper.ID != 5 && c.Helper.ID != 7:
		t.forget()
		return
	case c.Helper.ID > 3 || c.Map == nil || c.Map.KeySize == 0:
		return
	}
	key := make([]byte, c.Map.KeySize)
	at.ReadBytes(at.Regs[bpf.R2], key)
	name := fmt.Sprintf("%d %x %x", c.Map.Type, at.Regs[bpf.R1], key)
	salt := t.changes
	if c.Map.Type != mapHash {
		salt = 0
	}
	dice := mix(t.seed, t.hash(name), salt)
	place := 0x5000_0000_0000 + dice%(1<<20)*64
	if _, ok := t.there[name]; !ok {
		t.there[name] = 0
		if dice%3 > 0 {
			t.there[name] = place
		}
	}
	switch {
	case c.Helper.ID == 1:
		b.r0 = t.there[name]
	case b.r0 == 0 && c.Map.Type == mapHash && c.Helper.ID == 2:
		t.there[name] = place
	case b.r0 == 0 && c.Map.Type == mapHash:
		t.there[name] = 0
	}
}

// forget lets hash tables change.
func (t *table) forget() {
	for name := range t.there {
		if name[:2] == "1 " {
			delete(t.there, name)
		}
	}
}

func (t *table) hash(s string) (h uint64) {
	for _, c := range []byte(s) {
		h = mix(h, uint64(c))
	}
	return h
}

// TestLookupBehind wants what an update or a deletion says of a lookup behind it,
// and no more.
func TestLookupBehind(t *testing.T) {
	const prepare = "r1 = @1 ll\nr2 = r10\nr2 += -4\nr3 = r10\nr3 += -16\nr4 = 0\n"
	for _, tt := range []struct {
		name, options, old string
		found, missing     bool // may be, where the helper succeeded
	}{
		{"update", "symbols=hash shared=other", prepare + "call 2\nr6 = r0\n" + prepare + "call 1", true, false},
		{"delete", "symbols=hash shared=other", prepare + "call 3\nr6 = r0\n" + prepare + "call 1", false, true},
		{"shared update", "symbols=hash", prepare + "call 2\nr6 = r0\n" + prepare + "call 1", true, true},
		{"shared delete", "symbols=hash", prepare + "call 3\nr6 = r0\n" + prepare + "call 1", true, true},
		{"array", "symbols=array shared=other", prepare + "call 3\nr6 = r0\n" + prepare + "call 1", true, true},
		{"a clock between", "symbols=hash shared=other", prepare + "call 3\nr6 = r0\ncall 5\n" + prepare + "call 1", false, true},
		{"another call between", "symbols=hash shared=other", prepare + "call 3\nr6 = r0\ncall 160\n" + prepare + "call 1", true, true},
		{"another key", "symbols=hash shared=other", prepare + "call 3\nr6 = r0\n" + prepare + "r2 += -4\ncall 1", true, true},
		{"key changed", "symbols=hash shared=other", prepare + "call 3\nr6 = r0\n*(u8 *)(r10 - 1) = 3\n" + prepare + "call 1", true, true},
		{"another map", "symbols=hash,hash shared=other", prepare + "call 3\nr6 = r0\n" + prepare + "r1 = @2 ll\ncall 1", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, err := parseWindow(map[string]string{"facts": "written [r10-16:16]", "options": tt.options, "old": tt.old})
			if err != nil {
				t.Fatal(err)
			}
			for _, null := range []bool{true, false} {
				ob, err := build(w, w.Code, nil)
				if err != nil {
					t.Fatal(err)
				}
				g := ob.entry.g
				zero := func(r bpf.Register) *node { return g.compare(opEq, ob.old.regs[r].node, g.constant(0, 64)) }
				is := g.compare(opEq, zero(bpf.R0), g.constant(b2u(null), 1))
				ob.equations = []equation{{"", g.binary(opAnd, zero(bpf.R6), is), g.constant(0, 1)}}
				possible, err := New(Options{}).ask(context.Background(), ob)
				if want := tt.missing && null || tt.found && !null; err != nil || possible != want {
					t.Errorf("null %v is possible: %v, want %v (%v)", null, possible, want, err)
				}
			}
		})
	}
}
