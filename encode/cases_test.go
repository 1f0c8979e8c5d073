package encode

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

// A testCase is a section of a file in testdata: a window, code to put in its
// place, and what the checker has to say to that.
//
//	== name
//	facts: items as flow.ParseState reads them, added to the usual ones
//	needs: items as flow.ParseLive reads them; "r0 r1 [r10-64:64]" if missing
//	options: v1 to v4, big, atomics, confirmed, ctx=xdp|skb|other|none,
//	         shared=kind,kind, symbols=map,hash,array,data,core,extern,func
//	old:
//	new:
//	want: outcome, and a part of the reason
type testCase struct {
	name   string
	line   int
	w      *windows.Window
	code   []bpf.Instruction
	want   string
	reason string
}

// usualFacts hold in every case unless the case says otherwise.
const usualFacts = `r0 = scalar; r1 = scalar; r2 = scalar; r3 = scalar; r4 = scalar; r5 = scalar;
	r6 = context(b2); r7 = packet(b100); r8 = map_value(b101a8); r9 = map_value(b102a8)`

const usualNeeds = "r0 r1 [r10-64:64]"

// readCases reads every case of the files that match the pattern.
func readCases(t testing.TB, pattern string) []*testCase {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases match %s: %v", pattern, err)
	}
	var out []*testCase
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		theme := strings.TrimSuffix(filepath.Base(file), ".bpf")
		line := 1
		for i, part := range strings.Split(string(text), "\n== ") {
			at := line
			line += strings.Count(part, "\n") + 1
			if i == 0 {
				continue // the file's comment
			}
			c, err := parseCase(part)
			if err != nil {
				t.Fatalf("%s:%d: %v", file, at, err)
			}
			c.name, c.line = theme+"/"+c.name, at
			out = append(out, c)
		}
	}
	return out
}

func parseCase(text string) (*testCase, error) {
	name, rest, _ := strings.Cut(text, "\n")
	sections, order := map[string]string{}, []string{"facts", "needs", "options", "old", "new", "want"}
	var section string
	for l := range strings.SplitSeq(rest, "\n") {
		if head, tail, ok := strings.Cut(l, ":"); ok && slices.Contains(order, head) {
			section, l = head, tail
		}
		sections[section] += l + "\n"
	}
	c := &testCase{name: strings.ReplaceAll(strings.TrimSpace(name), " ", "_")}
	c.want, c.reason, _ = strings.Cut(strings.TrimSpace(sections["want"]), " ")
	var err error
	if c.w, err = parseWindow(sections); err != nil {
		return nil, err
	}
	c.code, err = bpf.ParseCode(sections["new"])
	return c, err
}

func parseWindow(sections map[string]string) (*windows.Window, error) {
	w := &windows.Window{Fn: &bpf.Function{Context: bpf.ContextXDP}}
	w.Level = bpf.V3
	w.Shared = map[flow.Kind]bool{flow.KindMapValue: true, flow.KindOther: true}
	for option := range strings.FieldsSeq(sections["options"]) {
		if err := setOption(w, option); err != nil {
			return nil, err
		}
	}
	facts := strings.ReplaceAll(strings.TrimSpace(sections["facts"]), "\n", ";")
	var err error
	if w.Facts, err = flow.ParseState(usualFacts + ";" + facts); err != nil {
		return nil, err
	}
	needs := sections["needs"]
	if needs == "" {
		needs = usualNeeds
	}
	if w.Needs, err = flow.ParseLive(needs); err != nil {
		return nil, err
	}
	w.Code, err = bpf.ParseCode(sections["old"])
	return w, err
}

var (
	symbolKinds = map[string]bpf.SymbolKind{
		"map": bpf.SymbolMap, "data": bpf.SymbolData, "func": bpf.SymbolFunc,
		"extern": bpf.SymbolExtern, "core": bpf.SymbolCore,
		"hash": bpf.SymbolMap, "array": bpf.SymbolMap,
	}
	definitions = map[string]*bpf.Map{
		"hash":  {Type: 1, KeySize: 4, ValueSize: 8},
		"array": {Type: 2, KeySize: 4, ValueSize: 8},
	}
	contexts = map[string]bpf.Context{
		"xdp": bpf.ContextXDP, "skb": bpf.ContextSKB, "plain": bpf.ContextPlain, "other": bpf.ContextOther, "none": bpf.ContextNone,
	}
)

// parseSymbol reads the name of a kind, with +n for what is n bytes behind the
// first symbol, the start of a section.
func parseSymbol(s string) (bpf.Symbol, error) {
	kind, offset, anchored := strings.Cut(s, "+")
	sym := bpf.Symbol{Kind: symbolKinds[kind], Name: s, Map: definitions[kind]}
	if !anchored {
		return sym, nil
	}
	var err error
	sym.Anchor = 1
	if sym.Offset, err = strconv.ParseInt(offset, 10, 64); err == nil && sym.Offset == 0 {
		sym.Align = 8
	}
	return sym, err
}

func setOption(w *windows.Window, option string) error {
	name, value, _ := strings.Cut(option, "=")
	switch name {
	case "big":
		w.BigEndian = true
	case "atomics":
		w.Atomics = true
	case "confirmed":
		w.Confirmed = true
	case "ctx":
		w.Fn.Context = contexts[value]
	case "shared":
		w.Shared = map[flow.Kind]bool{}
		for k := range flow.KindOther + 1 {
			w.Shared[k] = slices.Contains(strings.Split(value, ","), k.String())
		}
	case "symbols":
		for i, s := range strings.Split(value, ",") {
			sym, err := parseSymbol(s)
			if err != nil {
				return err
			}
			sym.Index = i
			w.Fn.Symbols = append(w.Fn.Symbols, sym)
		}
	default:
		level, err := bpf.ParseLevel(name)
		if err != nil {
			return fmt.Errorf("unknown option %q", option)
		}
		w.Level = level
	}
	return nil
}

// TestCases holds the checker to the verdicts in testdata. Every counterexample
// has to be a state that the facts allow and from which the interpreter finds a
// difference; what is proven must show none in random states.
func TestCases(t *testing.T) {
	c := New(Options{})
	for _, tt := range readCases(t, "*.bpf") {
		t.Run(tt.name, func(t *testing.T) {
			v := c.Check(context.Background(), tt.w, tt.code)
			if v.Outcome.String() != tt.want || !strings.Contains(v.Reason, tt.reason) {
				t.Fatalf("line %d: got %v (%s), want %s (%s)", tt.line, v.Outcome, v.Reason, tt.want, tt.reason)
			}
			if v.Outcome == Refuted {
				wantReplay(t, tt.w, tt.code, v)
			}
			if v.Outcome != Proven {
				return
			}
			if what := differsSomewhere(t, tt.w, tt.code, 300); what != "" {
				t.Errorf("line %d: proven, but %s", tt.line, what)
			}
		})
	}
}

// wantReplay wants a counterexample to be one.
func wantReplay(t testing.TB, w *windows.Window, code []bpf.Instruction, v Verdict) {
	t.Helper()
	cx := v.Counterexample
	if cx == nil {
		t.Fatal("refuted without a counterexample")
	}
	stack := func(off int) byte { return cx.Memory[cx.Regs[bpf.R10]+uint64(int64(off))] }
	if err := w.Facts.Contains(cx.Regs, stack, w.BigEndian); err != nil {
		t.Errorf("the counterexample does not fit the facts: %v", err)
	}
	if differs, _, err := Replay(w, code, cx); err != nil || !differs {
		t.Errorf("the counterexample does not replay: %v", err)
	}
}
