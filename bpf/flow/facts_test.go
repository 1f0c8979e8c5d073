package flow

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
)

// testSymbols are the symbols that tests name: a hash and an array per CPU, a trie,
// a map of maps, data, some of it frozen, a field's offset, a kernel symbol,
// functions that read one argument and none.
func testSymbols() []bpf.Symbol {
	none, one := parse("r0 = 0\nexit"), parse("r0 = *(u32 *)(r1 + 0)\nr2 = 0\nexit")
	return []bpf.Symbol{
		1:  {Kind: bpf.SymbolMap, Name: "hash", Map: &bpf.Map{Type: 1, KeySize: 4, ValueSize: 16}},
		2:  {Kind: bpf.SymbolMap, Name: "maps", Map: &bpf.Map{Type: 12, KeySize: 4, ValueSize: 4}},
		3:  {Kind: bpf.SymbolData, Name: ".bss"},
		4:  {Kind: bpf.SymbolCore, Name: "field"},
		5:  {Kind: bpf.SymbolExtern, Name: "kfunc"},
		6:  {Kind: bpf.SymbolFunc, Name: "none", Func: none},
		7:  {Kind: bpf.SymbolFunc, Name: "one", Func: one},
		8:  {Kind: bpf.SymbolMap, Name: "trie", Map: &bpf.Map{Type: 11, KeySize: 5, ValueSize: 16}},
		9:  {Kind: bpf.SymbolMap, Name: "percpu", Map: &bpf.Map{Type: 6, KeySize: 4, ValueSize: 12}},
		10: {Kind: bpf.SymbolData, Name: ".data", Anchor: 10, Align: 8},
		11: {Kind: bpf.SymbolData, Name: ".data+4", Anchor: 10, Offset: 4},
		12: {Kind: bpf.SymbolData, Name: ".data+12", Anchor: 10, Offset: 12},
		13: {Kind: bpf.SymbolData, Name: ".rodata", Anchor: 13, Frozen: true},
		14: {Kind: bpf.SymbolData, Name: ".rodata+4", Anchor: 13, Offset: 4, Frozen: true},
	}[1:]
}

func parse(code string) *bpf.Function {
	blocks, err := bpf.Parse(code)
	if err != nil {
		panic(err)
	}
	return &bpf.Function{Name: "test", Blocks: blocks}
}

var contexts = map[string]bpf.Context{
	"": bpf.ContextNone, "other": bpf.ContextOther, "xdp": bpf.ContextXDP, "skb": bpf.ContextSKB, "plain": bpf.ContextPlain,
}

var (
	markLine = regexp.MustCompile(`^\s*\? (.*)$`)
	apart    = regexp.MustCompile(`^(\S+) is (\S+?)([+-]\d+)?$`)
)

// claims takes lines that begin with ? out of code: what they say has to hold
// where they stand.
func claims(t *testing.T, code string) (*bpf.Function, map[[2]int][]string) {
	t.Helper()
	var kept []string
	var want []string
	for line := range strings.SplitSeq(code, "\n") {
		if m := markLine.FindStringSubmatch(line); m != nil {
			want = append(want, m[1])
			kept = append(kept, fmt.Sprintf("call %d", 1<<30+len(want)))
		} else {
			kept = append(kept, line)
		}
	}
	fn := parse(strings.Join(kept, "\n"))
	fn.Symbols = testSymbols()
	at := map[[2]int][]string{}
	for b, block := range fn.Blocks {
		var code []bpf.Instruction
		for _, in := range block.Code {
			if in.IsCall() && in.Imm > 1<<30 {
				p := [2]int{b, len(code)}
				at[p] = append(at[p], want[in.Imm-1<<30-1])
			} else {
				code = append(code, in)
			}
		}
		block.Code = code
	}
	return fn, at
}

func TestFacts(t *testing.T) {
	for _, test := range slices.Concat(valueTests, flowTests, alignTests) {
		t.Run(test.name, func(t *testing.T) {
			fn, at := claims(t, test.code)
			fn.Context = contexts[test.context]
			facts, err := Analyze(context.Background(), fn, Options{BigEndian: test.bigEndian})
			if err != nil {
				t.Fatal(err)
			}
			if len(at) == 0 {
				t.Fatal("nothing claimed")
			}
			for p, want := range at {
				s := facts.Before(p[0], p[1])
				for _, w := range want {
					if w == "unreachable" && !facts.Reachable(p[0]) {
						continue
					}
					if got := claimed(s, w); !facts.Reachable(p[0]) || got != "" {
						t.Errorf("%v: %s: got %s in %v", p, w, got, s)
					}
				}
			}
		})
	}
}

// claimed is empty where s has what a claim says: "r1 = " and a value without
// base, "r2 is r1+14" for two places so far apart, "r2 is not r1", "r2 by 8" for
// an address known to be a multiple of 8 and of no more, or "escaped".
func claimed(s State, claim string) string {
	if claim == "escaped" || claim == "not escaped" {
		if s.Escaped == (claim == "escaped") {
			return ""
		}
		return fmt.Sprint(s.Escaped)
	}
	if text, ok := strings.CutPrefix(claim, "written "); ok || claim == "written" {
		if got := s.Written.String(); got != strings.TrimSpace(text) && claim != "written"+got {
			return got
		}
		return ""
	}
	if name, want, ok := strings.Cut(claim, " by "); ok {
		v := place(s, name)
		if got := fmt.Sprint(max(1, alignAt(v, v.Offset))); got != want || v.Base == 0 {
			return got
		}
		return ""
	}
	differ := strings.Contains(claim, " is not ")
	if m := apart.FindStringSubmatch(strings.Replace(claim, " is not ", " is ", 1)); m != nil {
		a, b := place(s, m[1]), place(s, m[2])
		off, _ := strconv.ParseInt(m[3], 10, 64)
		if same := a.Base == b.Base && a.Base != 0 && a.Offset == b.Offset+off; same == differ {
			return fmt.Sprintf("%v and %v", a, b)
		}
		return ""
	}
	name, want, _ := strings.Cut(claim, " = ")
	v := place(s, name)
	got := v.String()
	if !strings.HasPrefix(got, "fp") {
		v.Base, v.Offset, v.Align = 0, 0, 0
		got = v.String()
	}
	if got == want {
		return ""
	}
	return got
}

func place(s State, name string) Value {
	p := parser{left: name}
	if off, size, ok := p.extent(); ok {
		v, ok := s.Cell(int64(off), size)
		if !ok {
			return Unknown(KindNone)
		}
		return v
	}
	r, ok := p.register()
	if !ok {
		panic("no place: " + name)
	}
	return s.Regs[r]
}
