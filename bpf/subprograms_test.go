package bpf

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func rawOf(t *testing.T, src string) []Raw {
	t.Helper()
	blocks, err := Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	placed, err := Place(blocks)
	if err != nil {
		t.Fatal(err)
	}
	var code []byte
	for _, p := range placed {
		code = p.Append(code, binary.LittleEndian)
	}
	raw, err := Decode(code, binary.LittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Functions start where calls and addresses lead, and the same function has the
// same symbol.
func TestSubprograms(t *testing.T) {
	fns, err := Subprograms(rawOf(t, `
		call local 5
		r1 = func(0x6) ll
		r2 = func(0x2) ll
		exit
		call local 1
		exit
		r0 = 1
		if r1 > 5 goto L1
		r0 = 2
	L1:
		exit
	`))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, fn := range fns {
		for _, s := range fn.Symbols {
			if s.Kind != SymbolFunc || s.Func == nil || s.Name != s.Func.Name {
				t.Errorf("%s has the symbol %+v", fn.Name, s)
			}
		}
		got[fn.Name] = FormatBlocks(fn.Blocks)
	}
	want := map[string]string{
		"main":  "L1:\ncall @1\nr1 = func(@2) ll\nr2 = func(@1) ll\nexit\n",
		"slot6": "L1:\ncall @1\nexit\n",
		"slot8": "L1:\nr0 = 1\nif r1 > 5 goto L3\nL2:\nr0 = 2\nL3:\nexit\n",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestSubprogramsErrors(t *testing.T) {
	for src, want := range map[string]string{
		"call local 5\nexit":                       "a call leads out of the code",
		"call local -2\nexit":                      "a call leads out of the code",
		"r1 = func(0x2) ll\nr2 = 5 ll\nexit":       "a call leads out of the code or into an instruction",
		"r0 = 0\ncall local 1\nexit\nr0 = 1":       "control runs off the end",
		"call local 1\ngoto L1\nL1:\nr0 = 0\nexit": "which starts no instruction of the function",
		".insn 0xff 0 0 0 0 0 0\nexit":             "slot 0: .insn 0xff 0 0 0 0 0 0 is no instruction",
	} {
		if _, err := Subprograms(rawOf(t, src)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", src, err, want)
		}
	}
	if _, err := Subprograms(nil); err == nil {
		t.Error("no code: no error")
	}
}
