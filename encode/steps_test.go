package encode_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/windows"
)

// stepsCase is two functions and, by label, where the old one holds what the new
// one has in registers: "2: r3=r7 r4=r7+14". Where nothing is said of a register
// it is where it was.
type stepsCase struct {
	name, old, new, holders string
	want                    string // a part of the refusal, "" for none
	half                    bool   // callers take half of the result
	// reuses are the old function's loads that the new one does without, by block
	// and index, with what holds their values: "1.0=r3".
	reuses string
}

func (c stepsCase) steps(t *testing.T) *encode.Steps {
	t.Helper()
	function := func(src string) *bpf.Function {
		blocks, err := bpf.Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		return &bpf.Function{Name: "f", Context: bpf.ContextXDP, Blocks: blocks, HalfResult: c.half, Symbols: []bpf.Symbol{
			2: {Kind: bpf.SymbolData, Frozen: true}, 3: {Kind: bpf.SymbolData},
			4: {Kind: bpf.SymbolData, Anchor: 5, Align: 8}, 5: {Kind: bpf.SymbolData, Anchor: 5, Offset: 8},
		}}
	}
	s := &encode.Steps{Old: function(c.old), New: function(c.new)}
	analyze := func(fn *bpf.Function) (*flow.Facts, *flow.Needs) {
		facts, err := flow.Analyze(context.Background(), fn, flow.Options{})
		if err != nil {
			t.Fatal(err)
		}
		needs, err := flow.Liveness(fn, facts)
		if err != nil {
			t.Fatal(err)
		}
		return facts, needs
	}
	s.Facts, s.Before = analyze(s.Old)
	_, s.After = analyze(s.New)
	s.Holders = make(windows.Renaming, len(s.Old.Blocks))
	for b := range s.Holders {
		for r := range s.Holders[b] {
			s.Holders[b][r] = windows.Held(bpf.Register(r))
		}
	}
	for line := range strings.SplitSeq(c.holders, ";") {
		label, rest, ok := strings.Cut(line, ":")
		for b, block := range s.Old.Blocks {
			if ok && strings.TrimSpace(label) == fmt.Sprint(block.Label) {
				hold(t, &s.Holders[b], rest)
			}
		}
	}
	for item := range strings.FieldsSeq(c.reuses) {
		var u encode.Reuse
		if _, err := fmt.Sscanf(item, "%d.%d=r%d", &u.Block, &u.Index, &u.Reg); err != nil {
			t.Fatal(err)
		}
		s.Reuses = append(s.Reuses, u)
	}
	return s
}

var held = regexp.MustCompile(`^r(\d+)=(?:r(\d+)([+-]\d+)?|none|@(\d+))$`)

func hold(t *testing.T, at *windows.Registers, items string) {
	t.Helper()
	for item := range strings.FieldsSeq(items) {
		m := held.FindStringSubmatch(item)
		if m == nil {
			t.Fatalf("%q says nothing of a register", item)
		}
		r, _ := strconv.Atoi(m[1])
		if ref, err := strconv.Atoi(m[4]); err == nil {
			at[r] = windows.Holder{Known: true, Ref: bpf.Ref(ref)}
			continue
		}
		if m[2] == "" {
			at[r] = windows.Holder{}
			continue
		}
		from, _ := strconv.Atoi(m[2])
		off, _ := strconv.ParseInt(m[3], 10, 64)
		at[r] = windows.Holder{Known: true, Reg: bpf.Register(from), Offset: off}
	}
}

var stepsCases = []stepsCase{
	{name: "the same", old: "r0 = *(u32 *)(r1 + 8)\nexit", new: "r0 = *(u32 *)(r1 + 8)\nexit"},
	{name: "a copy goes", old: "r2 = r1\nr0 = *(u32 *)(r2 + 8)\nexit", new: "r0 = *(u32 *)(r1 + 8)\nexit"},
	{name: "another field", old: "r0 = *(u32 *)(r1 + 8)\nexit", new: "r0 = *(u32 *)(r1 + 12)\nexit", want: "where the old code has"},
	{name: "through another register", old: "r2 = *(u32 *)(r1 + 8)\nr0 = 0\nr0 = *(u32 *)(r1 + 8)\nexit",
		new: "r2 = *(u32 *)(r1 + 8)\nr0 = 0\nr0 = *(u32 *)(r2 + 8)\nexit", want: "where the old code has"},
	{name: "a step less", old: "r2 = *(u32 *)(r1 + 8)\nr0 = 0\nexit", new: "r0 = 0\nexit", want: "where the old code has"},
	{name: "the last step is left out", old: "*(u32 *)(r10 - 4) = 0\nr0 = 0\nif r0 == 0 goto L2\nL2:\nexit",
		new: "*(u32 *)(r10 - 4) = 0\nr0 = 0\nL2:\nexit", want: "fewer steps"},
	{name: "a step more", old: "r0 = 0\nexit", new: "r0 = 0\n*(u32 *)(r10 - 4) = 0\nexit", want: "where the old code has"},
	{name: "steps swapped", old: "*(u32 *)(r10 - 4) = 1\n*(u32 *)(r10 - 8) = 1\nr0 = 0\nexit",
		new: "*(u32 *)(r10 - 8) = 1\n*(u32 *)(r10 - 4) = 1\nr0 = 0\nexit", want: "another value"},
	{name: "an immediate for a register", old: "r2 = 7\n*(u32 *)(r10 - 4) = r2\nr0 = 0\nexit", new: "*(u32 *)(r10 - 4) = 7\nr0 = 0\nexit"},
	{name: "another immediate", old: "r2 = 7\n*(u32 *)(r10 - 4) = r2\nr0 = 0\nexit", new: "*(u32 *)(r10 - 4) = 8\nr0 = 0\nexit", want: "may differ"},
	{name: "an immediate to the context", old: "r2 = 7\n*(u32 *)(r1 + 4) = r2\nr0 = 0\nexit", new: "*(u32 *)(r1 + 4) = 7\nr0 = 0\nexit", want: "where the old code has"},
	{name: "only stored bits count", old: "r2 = 263\n*(u8 *)(r10 - 4) = r2\nr0 = 0\nexit", new: "*(u8 *)(r10 - 4) = 7\nr0 = 0\nexit"},
	{name: "an argument that the helper reads", old: "r1 = 1\nr2 = 2\ncall 23\nexit", new: "r1 = 1\nr2 = 3\ncall 23\nexit", want: "may differ"},
	{name: "an argument that the helper does not read", old: "r1 = 1\nr2 = 2\nr3 = 5\ncall 23\nexit", new: "r1 = 1\nr2 = 2\ncall 23\nexit"},
	{name: "an argument left out", old: "r1 = 1\nr2 = 2\ncall 23\nexit", new: "r1 = 1\ncall 23\nexit", want: "holds nothing readable"},
	{name: "another helper", old: "call 7\nexit", new: "call 8\nexit", want: "where the old code has"},
	{name: "lost in the call", old: "r6 = 5\ncall 7\nr0 += r6\nexit", new: "r1 = 5\ncall 7\nr0 += r1\nexit", want: "holds nothing readable"},
	{name: "results differ", old: "call 7\nr6 = r0\ncall 7\nr0 -= r6\nexit", new: "call 7\nr6 = r0\ncall 7\nr6 -= r0\nr0 = r6\nexit", want: "may differ"},
	{name: "computed otherwise", old: "call 7\nr0 <<= 32\nr0 >>= 32\nexit", new: "call 7\nw0 = w0\nexit"},
	{name: "computed wrongly", old: "call 7\nr0 <<= 32\nr0 s>>= 32\nexit", new: "call 7\nw0 = w0\nexit", want: "may differ"},
	{name: "the result's upper half", old: "call 7\nr6 = r0\nw0 = w6\nexit", new: "call 7\nexit", want: "may differ"},
	{name: "the result's upper half, which nobody takes", old: "call 7\nr6 = r0\nw0 = w6\nexit", new: "call 7\nexit", half: true},
	{name: "the result's lower half", old: "call 7\nr6 = r0\nw0 = w6\nexit", new: "call 7\nr0 += 1\nexit", half: true, want: "may differ"},
	{name: "the result's upper half over blocks", old: "call 7\nr6 = r0\nif r0 > 5 goto L2\nr6 += 1\nL2:\nw0 = w6\nexit",
		new: "call 7\nif r0 > 5 goto L2\nr0 += 1\nL2:\nexit", holders: "2: r0=r6", half: true},
	{name: "another comparison", old: "call 7\nif r0 > 5 goto L2\nr0 = 1\nL2:\nexit", new: "call 7\nif r0 > 6 goto L2\nr0 = 1\nL2:\nexit", want: "may differ"},
	{name: "another condition", old: "call 7\nif r0 > 5 goto L2\nr0 = 1\nL2:\nexit", new: "call 7\nif r0 >= 5 goto L2\nr0 = 1\nL2:\nexit", want: "where the old code has"},
	{name: "compared in 32 bits", old: "call 7\nr2 = r0\nif w2 > 5 goto L2\nr0 = 1\nL2:\nexit", new: "call 7\nw2 = w0\nif w2 > 5 goto L2\nr0 = 1\nL2:\nexit"},
	{name: "arithmetic on what may be a pointer", old: "r2 = *(u32 *)(r1 + 0)\nr0 = 0\nexit",
		new: "r2 = *(u32 *)(r1 + 0)\nr2 <<= 1\nr0 = 0\nexit", want: "computes what the old code does not"},
	{name: "renamed over blocks", old: "call 7\nr6 = r0\nif r0 > 5 goto L2\nr6 += 1\nL2:\nr0 = r6\nexit",
		new: "call 7\nif r0 > 5 goto L2\nr0 += 1\nL2:\nexit", holders: "2: r0=r6"},
	{name: "renamed on one way only", old: "call 7\nr6 = r0\nif r0 > 5 goto L2\nr6 += 1\nL2:\nr0 = r6\nexit",
		new: "call 7\nif r0 > 5 goto L2\nr0 += 2\nL2:\nexit", holders: "2: r0=r6", want: "may differ"},
	{name: "nothing is known to be there", old: "call 7\nr6 = r0\nif r0 > 5 goto L2\nr6 += 1\nL2:\nr0 = r6\nexit",
		new: "call 7\nr6 = r0\nif r0 > 5 goto L2\nr6 += 1\nL2:\nr0 = r6\nexit", holders: "2: r6=none", want: "not known to hold"},
	{name: "a wrong holder", old: "call 7\nr6 = r0\nr7 = 3\nif r0 > 5 goto L2\nr6 += 1\nL2:\nr0 = r6\nr0 += r7\nexit",
		new: "call 7\nr6 = r0\nr7 = 3\nif r0 > 5 goto L2\nr6 += 1\nL2:\nr0 = r6\nr0 += r7\nexit", holders: "2: r6=r7", want: "may differ"},
	{name: "around a loop", old: "r6 = 0\nL2:\nr1 = r6\nr2 = 0\ncall 23\nr6 += 1\nif r6 < 10 goto L2\nL3:\nr0 = r6\nexit",
		new: "r7 = 0\nL2:\nr1 = r7\nr2 = 0\ncall 23\nr7 += 1\nif r7 < 10 goto L2\nL3:\nr0 = r7\nexit", holders: "2: r7=r6; 3: r7=r6"},
	{name: "wrong the second time round", old: "r6 = 0\nL2:\nr1 = r6\nr2 = 0\ncall 23\nr6 += 1\nif r6 < 10 goto L2\nL3:\nr0 = r6\nexit",
		new: "r7 = 0\nL2:\nr1 = r7\nr2 = 0\ncall 23\nr7 += 1\nr8 = r7\nr7 = 4\nif r8 < 10 goto L2\nL3:\nr0 = r8\nexit", holders: "2: r7=r6; 3: r8=r6", want: "may differ"},
	{name: "moved by a constant", old: "r6 = r10\nr6 += -32\n*(u64 *)(r6 + 0) = 5\ncall 7\nif r0 > 5 goto L2\n*(u64 *)(r6 + 8) = 1\nL2:\nexit",
		new: "r6 = r10\nr6 += -24\n*(u64 *)(r6 - 8) = 5\ncall 7\nif r0 > 5 goto L2\n*(u64 *)(r6 + 0) = 1\nL2:\nexit", holders: "3: r6=r6+8; 4: r6=r6+8"},
	{name: "moved by another constant", old: "r6 = r10\nr6 += -32\n*(u64 *)(r6 + 0) = 5\ncall 7\nif r0 > 5 goto L2\n*(u64 *)(r6 + 8) = 1\nL2:\nexit",
		new: "r6 = r10\nr6 += -24\n*(u64 *)(r6 - 8) = 5\ncall 7\nif r0 > 5 goto L2\n*(u64 *)(r6 + 8) = 1\nL2:\nexit", holders: "3: r6=r6+8; 4: r6=r6+8", want: "another value"},
	{name: "what the function is entered with", old: "r0 = *(u32 *)(r1 + 8)\nexit", new: "r0 = *(u32 *)(r1 + 8)\nexit", holders: "1: r1=r2", want: "entered with"},
	{name: "a symbol read again", old: "r6 = @1 ll\ncall 7\nr2 = @1 ll\nr0 = r2\nexit", new: "r6 = @1 ll\ncall 7\nr0 = r6\nexit"},
	{name: "another symbol", old: "r6 = @1 ll\ncall 7\nr2 = @2 ll\nr0 = r2\nexit", new: "r6 = @1 ll\ncall 7\nr0 = r6\nexit", want: "another value"},
	{name: "a symbol kept over blocks", old: "r2 = @1 ll\ncall 7\nif r0 > 5 goto L2\nr2 = @1 ll\nr0 = r2\nL2:\nexit",
		new: "r6 = @1 ll\ncall 7\nif r0 > 5 goto L2\nr0 = r6\nL2:\nexit", holders: "3: r6=@1; 2: r6=none"},
	{name: "another symbol kept over blocks", old: "r2 = @1 ll\ncall 7\nif r0 > 5 goto L2\nr2 = @2 ll\nr0 = r2\nL2:\nexit",
		new: "r6 = @1 ll\ncall 7\nif r0 > 5 goto L2\nr0 = r6\nL2:\nexit", holders: "3: r6=@1; 2: r6=none", want: "another value"},
	{name: "data from a place near it", old: "r2 = @5 ll\nr0 = *(u32 *)(r2 + 4)\nr2 = @6 ll\nr0 = *(u32 *)(r2 + 0)\nexit",
		new: "r2 = @5 ll\nr0 = *(u32 *)(r2 + 4)\nr0 = *(u32 *)(r2 + 8)\nexit"},
	{name: "other data near it", old: "r2 = @5 ll\nr0 = *(u32 *)(r2 + 4)\nr2 = @6 ll\nr0 = *(u32 *)(r2 + 0)\nexit",
		new: "r2 = @5 ll\nr0 = *(u32 *)(r2 + 4)\nr0 = *(u32 *)(r2 + 12)\nexit", want: "another value"},
	{name: "data whose distance nobody knows", old: "r2 = @2 ll\nr0 = *(u32 *)(r2 + 4)\nr2 = @6 ll\nr0 = *(u32 *)(r2 + 0)\nexit",
		new: "r2 = @2 ll\nr0 = *(u32 *)(r2 + 4)\nr0 = *(u32 *)(r2 + 8)\nexit", want: "where the old code has"},
	{name: "another symbol said to be kept", old: "r2 = @1 ll\ncall 7\nif r0 > 5 goto L2\nr2 = @2 ll\nr0 = r2\nL2:\nexit",
		new: "r6 = @1 ll\ncall 7\nif r0 > 5 goto L2\nr0 = r6\nL2:\nexit", holders: "3: r6=@2; 2: r6=none", want: "another value"},
	{name: "a symbol that not all ways keep", old: "call 7\nif r0 > 5 goto L2\nr2 = @1 ll\nL2:\nr2 = @1 ll\nr0 = r2\nexit",
		new: "call 7\nif r0 > 5 goto L2\nr6 = @1 ll\nL2:\nr0 = r6\nexit", holders: "2: r6=@1", want: "not known to hold"},
	{name: "a patched offset", old: "r2 = r1\nr0 = *(u32 *)(r2 + @1)\nexit", new: "r0 = *(u32 *)(r1 + @1)\nexit"},
	{name: "another patched offset", old: "r0 = *(u32 *)(r1 + @1)\nexit", new: "r0 = *(u32 *)(r1 + @2)\nexit", want: "where the old code has"},
	{name: "a packet load's offset", old: "r6 = r1\nr7 = *(u32 *)(r6 + 12)\nr2 = r7\nr2 += 2\nr0 = *(u16 *)skb[r2]\nr0 += r7\nexit",
		new: "r6 = r1\nr7 = *(u32 *)(r6 + 12)\nr0 = *(u16 *)skb[r7 + 2]\nr0 += r7\nexit"},
	{name: "a packet load's offset in its low half", old: "r6 = r1\nr7 = *(u32 *)(r6 + 12)\nw2 = w7\nw2 += 2\nr0 = *(u16 *)skb[r2 + 4]\nr0 += r7\nexit",
		new: "r6 = r1\nr7 = *(u32 *)(r6 + 12)\nr0 = *(u16 *)skb[r7 + 6]\nr0 += r7\nexit"},
	{name: "another offset of a packet load", old: "r6 = r1\nr7 = *(u32 *)(r6 + 12)\nr2 = r7\nr2 += 2\nr0 = *(u16 *)skb[r2]\nr0 += r7\nexit",
		new: "r6 = r1\nr7 = *(u32 *)(r6 + 12)\nr0 = *(u16 *)skb[r7 - 2]\nr0 += r7\nexit", want: "may differ"},
	{name: "a packet load of another size", old: "r6 = r1\nr7 = *(u32 *)(r6 + 12)\nr0 = *(u16 *)skb[r7 + 2]\nr0 += r7\nexit",
		new: "r6 = r1\nr7 = *(u32 *)(r6 + 12)\nr0 = *(u8 *)skb[r7 + 2]\nr0 += r7\nexit", want: "where the old code has"},
	{name: "an atomic", old: "*(u64 *)(r10 - 8) = 0\nr2 = 1\nr3 = r2\nlock *(u64 *)(r10 - 8) += r3\nr0 = 0\nexit",
		new: "*(u64 *)(r10 - 8) = 0\nr2 = 1\nlock *(u64 *)(r10 - 8) += r2\nr0 = 0\nexit"},
	{name: "another atomic", old: "*(u64 *)(r10 - 8) = 0\nr2 = 1\nlock *(u64 *)(r10 - 8) += r2\nr0 = 0\nexit",
		new: "*(u64 *)(r10 - 8) = 0\nr2 = 1\nlock *(u64 *)(r10 - 8) |= r2\nr0 = 0\nexit", want: "where the old code has"},
	{name: "a fetched value", old: "*(u64 *)(r10 - 8) = 0\nr2 = 1\nr2 = atomic_fetch_add((u64 *)(r10 - 8), r2)\nr0 = r2\nexit",
		new: "*(u64 *)(r10 - 8) = 0\nr0 = 1\nr0 = atomic_fetch_add((u64 *)(r10 - 8), r0)\nexit"},
}

// filter is how clang compares what may be set in a constant; reuse is what is left
// of it.
const (
	filter = "call 7\nr2 = @4 ll\nw3 = *(u32 *)(r2 + 0)\nif w3 == 0 goto L3\nL2:\nw2 = *(u32 *)(r2 + 0)\nif w2 == w0 goto L3\nr0 = 1\nL3:\nexit"
	reuse  = "call 7\nr2 = @4 ll\nw3 = *(u32 *)(r2 + 0)\nif w3 == 0 goto L3\nL2:\nif w3 == w0 goto L3\nr0 = 1\nL3:\nexit"
)

// between is filter with something between the two loads, reused what is left of it.
func between(what string) string {
	return strings.Replace(filter, "L2:\n", "L2:\n"+what+"\n", 1)
}

func reused(what string) string { return strings.Replace(reuse, "L2:\n", "L2:\n"+what+"\n", 1) }

var reuseCases = []stepsCase{
	{name: "what is in a register", old: filter, new: reuse, reuses: "1.0=r3"},
	{name: "a copy of it", old: filter, new: strings.Replace(reuse, "if w3 == w0", "r2 = r3\nif w2 == w0", 1), reuses: "1.0=r3"},
	{name: "nothing is said of it", old: filter, new: reuse, want: "where the old code has"},
	{name: "another register", old: filter, new: strings.Replace(reuse, "if w3 == w0", "if w2 == w0", 1), reuses: "1.0=r3", want: "another value"},
	{name: "another register is said to hold it", old: filter, new: reuse, reuses: "1.0=r2", want: "not known to hold"},
	{name: "the first of the two", old: filter, new: strings.Replace(reuse, "w3 = *(u32 *)(r2 + 0)", "w3 = 0", 1), reuses: "0.2=r3", want: "not known to hold"},
	{name: "no load", old: filter, new: reuse, reuses: "1.1=r3", want: "not known to hold"},
	{name: "another width", old: strings.Replace(filter, "w2 = *(u32", "w2 = *(u16", 1), new: reuse, reuses: "1.0=r3", want: "not known to hold"},
	{name: "sign extension", old: strings.Replace(filter, "w2 = *(u32", "r2 = *(s32", 1), new: reuse, reuses: "1.0=r3", want: "not known to hold"},
	{name: "another offset", old: strings.Replace(filter, "w2 = *(u32 *)(r2 + 0)", "w2 = *(u32 *)(r2 + 4)", 1), new: reuse, reuses: "1.0=r3", want: "not known to hold"},
	{name: "another place", old: between("r2 = @2 ll"), new: reused("r2 = @2 ll"), reuses: "1.1=r3", want: "not known to hold"},
	{name: "the same address anew", old: between("r2 = @4 ll"), new: reuse, reuses: "1.1=r3"},
	{name: "a store between", old: between("*(u8 *)(r2 + 8) = 1"), new: reused("*(u8 *)(r2 + 8) = 1"), reuses: "1.1=r3", want: "not known to hold"},
	{name: "a store to the frame between", old: between("*(u8 *)(r10 - 8) = 1"), new: reused("*(u8 *)(r10 - 8) = 1"), reuses: "1.1=r3"},
	{name: "a load of other memory between", old: between("r4 = *(u32 *)(r2 + 8)"), new: reused("r4 = *(u32 *)(r2 + 8)"), reuses: "1.1=r3", want: "not known to hold"},
	{name: "an atomic between", old: between("*(u64 *)(r10 - 8) = 0\nlock *(u64 *)(r10 - 8) += r3"), new: reused("*(u64 *)(r10 - 8) = 0\nlock *(u64 *)(r10 - 8) += r3"), reuses: "1.2=r3", want: "not known to hold"},
	{name: "a call between", old: "r6 = @4 ll\nw7 = *(u32 *)(r6 + 0)\ncall 7\nw1 = *(u32 *)(r6 + 0)\nr0 += r1\nexit",
		new: "r6 = @4 ll\nw7 = *(u32 *)(r6 + 0)\ncall 7\nr0 += r7\nexit", reuses: "0.3=r7", want: "not known to hold"},
	{name: "a call between loads of what is frozen", old: "r6 = @3 ll\nw7 = *(u32 *)(r6 + 0)\ncall 7\nw1 = *(u32 *)(r6 + 0)\nr0 += r1\nexit",
		new: "r6 = @3 ll\nw7 = *(u32 *)(r6 + 0)\ncall 7\nr0 += r7\nexit", reuses: "0.3=r7"},
	{name: "the register is overwritten", old: between("r3 += 1"), new: reused("r3 += 1"), reuses: "1.1=r3", want: "not known to hold"},
	{name: "the new code overwrites the register", old: filter, new: reused("r3 += 1"), reuses: "1.0=r3", want: "may differ"},
	{name: "on one way only", old: "call 7\nr3 = 0\nr2 = @4 ll\nif r0 == 5 goto L2\nr3 = *(u32 *)(r2 + 0)\nL2:\nr4 = *(u32 *)(r2 + 0)\nr0 += r4\nexit",
		new: "call 7\nr3 = 0\nr2 = @4 ll\nif r0 == 5 goto L2\nr3 = *(u32 *)(r2 + 0)\nL2:\nr0 += r3\nexit", reuses: "2.0=r3", want: "not known to hold"},
	{name: "on both ways", old: "call 7\nr2 = @4 ll\nif r0 == 5 goto L2\nr3 = *(u32 *)(r2 + 0)\ngoto L3\nL2:\nr3 = *(u32 *)(r2 + 0)\nL3:\nr4 = *(u32 *)(r2 + 0)\nr0 += r4\nexit",
		new: "call 7\nr2 = @4 ll\nif r0 == 5 goto L2\nr3 = *(u32 *)(r2 + 0)\ngoto L3\nL2:\nr3 = *(u32 *)(r2 + 0)\nL3:\nr0 += r3\nexit", reuses: "3.0=r3"},
	{name: "round a loop", old: "r2 = @4 ll\nr3 = *(u32 *)(r2 + 0)\nr0 = 0\nL2:\nr3 = *(u32 *)(r2 + 0)\nif r3 != 0 goto L2\nexit",
		new: "r2 = @4 ll\nr3 = *(u32 *)(r2 + 0)\nr0 = 0\nL2:\nif r3 != 0 goto L2\nexit", reuses: "1.0=r3", want: "not known to hold"},
	{name: "round a loop in a register that changes", old: "r2 = @3 ll\nr3 = *(u32 *)(r2 + 0)\nr0 = 0\nL2:\nr4 = *(u32 *)(r2 + 0)\nr0 += r4\nr3 += 1\nif r0 != 0 goto L2\nexit",
		new: "r2 = @3 ll\nr3 = *(u32 *)(r2 + 0)\nr0 = 0\nL2:\nr0 += r3\nr3 += 1\nif r0 != 0 goto L2\nexit", reuses: "1.0=r3", want: "not known to hold"},
	// What a load yields that is not left out is another number, whatever is known
	// of the one before it.
	{name: "two loads that stay", old: "r2 = @4 ll\nw3 = *(u32 *)(r2 + 0)\nw4 = *(u32 *)(r2 + 0)\nr0 = r3\nr0 -= r4\nexit",
		new: "r2 = @4 ll\nw3 = *(u32 *)(r2 + 0)\nw4 = *(u32 *)(r2 + 0)\nr0 = 0\nexit", want: "may differ"},
	{name: "two loads that change places", old: "r2 = @4 ll\nw3 = *(u32 *)(r2 + 0)\nw4 = *(u32 *)(r2 + 0)\nr0 = r3\nr0 <<= 1\nr0 += r4\nexit",
		new: "r2 = @4 ll\nw3 = *(u32 *)(r2 + 0)\nw4 = *(u32 *)(r2 + 0)\nr0 = r4\nr0 <<= 1\nr0 += r3\nexit", want: "may differ"},
	{name: "one that is left out and one that stays", old: "r2 = @4 ll\nw3 = *(u32 *)(r2 + 0)\nw4 = *(u32 *)(r2 + 0)\nw5 = *(u32 *)(r2 + 0)\nr0 = r4\nr0 -= r5\nexit",
		new: "r2 = @4 ll\nw3 = *(u32 *)(r2 + 0)\nw5 = *(u32 *)(r2 + 0)\nr0 = 0\nexit", reuses: "0.2=r3", want: "may differ"},
	{name: "both of two", old: "r2 = @4 ll\nw3 = *(u32 *)(r2 + 0)\nw4 = *(u32 *)(r2 + 0)\nw5 = *(u32 *)(r2 + 0)\nr0 = r4\nr0 -= r5\nexit",
		new: "r2 = @4 ll\nw3 = *(u32 *)(r2 + 0)\nr0 = 0\nexit", reuses: "0.2=r3 0.3=r4"},
}

func TestSameSteps(t *testing.T) {
	for _, c := range slices.Concat(stepsCases, reuseCases) {
		t.Run(c.name, func(t *testing.T) {
			err := encode.New(encode.Options{}).SameSteps(context.Background(), c.steps(t))
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && err == nil:
				t.Errorf("not refused, want %q", c.want)
			case c.want != "" && !strings.Contains(err.Error(), c.want):
				t.Errorf("refused because of %v, want %q", err, c.want)
			}
		})
	}
}
