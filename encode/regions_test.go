package encode_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
	"github.com/k2cc/k2cc/encode"
)

// regions is two functions of which the same region, at L2, is to be proven.
func regions(t *testing.T, old, new string, entries ...bpf.Label) *encode.Regions {
	t.Helper()
	function := func(src string) *bpf.Function {
		blocks, err := bpf.Parse(strings.ReplaceAll(src, "; ", "\n"))
		if err != nil {
			t.Fatal(err)
		}
		return &bpf.Function{Name: "f", Context: bpf.ContextXDP, Blocks: blocks, Symbols: make([]bpf.Symbol, 2)}
	}
	s := &encode.Regions{Old: function(old), New: function(new), Entries: entries}
	var err error
	if s.Facts, err = flow.Analyze(t.Context(), s.Old, flow.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, s.After, err = flow.Both(t.Context(), s.New, flow.Options{}); err != nil {
		t.Fatal(err)
	}
	return s
}

const (
	// A number of 64 bits in R6, one of 32 bits in R7, and a pointer to the
	// context in R9.
	head = "L1:; r9 = r1; call 7; r0 &= 255; r7 = r0; call 5; r6 = r0; "
	// What is read of R6 is its low half, and all of R1.
	tail = "L5:; w0 = w6; r0 += r1; exit"
	// choice is code that a branch can lead around instead.
	choice  = head + "L2:; w1 = 3; w2 = 8; if w6 > 255 goto L4; L3:; w2 = 0; L4:; w6 >>= w2; w1 |= w2; " + tail
	guarded = head + "L2:; w1 = 3; if w6 <= 255 goto L5; L13:; w6 >>= 8; w1 |= 8; " + tail
)

func TestSameRegions(t *testing.T) {
	c := encode.New(encode.Options{})
	all := strings.Replace(tail, "w0 = w6", "r0 = r6", 1)
	for _, tt := range []struct {
		name, old, new string
		want           string // a part of the refusal, "" for none
	}{
		{"the same", choice, choice, ""},
		{"behind a branch", choice, guarded, ""},
		{"back again", guarded, choice, ""},
		{"another shift", choice, strings.Replace(guarded, ">>= 8", ">>= 9", 1), "may differ"},
		{"another number", choice, strings.Replace(guarded, "|= 8", "|= 4", 1), "may differ"},
		{"another operation", choice, strings.Replace(guarded, "w6 >>=", "w6 s>>=", 1), "may differ"},
		{"one operation missing", choice, strings.Replace(guarded, "w1 |= 8; ", "", 1), "may differ"},
		{"on the other way", choice, strings.Replace(guarded, "<=", ">", 1), "may differ"},
		{"another bound", choice, strings.Replace(guarded, "<= 255", "<= 254", 1), "may differ"},
		{"without the bound itself", choice, strings.Replace(guarded, "<= 255", "< 255", 1), "may differ"},
		{"signed", choice, strings.Replace(guarded, "<= 255", "s<= 255", 1), "may differ"},
		{"compared in 64 bits", choice, strings.Replace(guarded, "if w6", "if r6", 1), "may differ"},
		{"another register compared", choice, strings.Replace(guarded, "if w6", "if w7", 1), "may differ"},
		{"no branch", choice, strings.Replace(guarded, "if w6 <= 255 goto L5; L13:; ", "", 1), "may differ"},
		{"what was before the branch is missing", choice, strings.Replace(guarded, "w1 = 3; ", "w1 = 2; ", 1), "may differ"},
		{"the upper half is read, and not cleared on one way", strings.Replace(choice, tail, all, 1),
			strings.Replace(guarded, tail, all, 1), "r6 may differ"},
		{"the upper half is read, and zero", strings.Replace(strings.Replace(choice, tail, all, 1), "r6 = r0", "w6 = w0", 1),
			strings.Replace(strings.Replace(guarded, tail, all, 1), "r6 = r0", "w6 = w0", 1), ""},
		{"something else is left changed that is read", choice, strings.Replace(guarded, "w1 |= 8", "w1 |= 8; r6 += 1", 1), "may differ"},
		{"something else is left changed that nobody reads", choice, strings.Replace(guarded, "w1 |= 8", "w1 |= 8; r7 += 1", 1), ""},
		{"read in between, and needed", strings.Replace(choice, "w1 |= w2", "w6 += w1; w1 |= w2", 1),
			strings.Replace(guarded, "L5:", "L14:; w6 += w1; L5:", 1), "may differ"},
		{"read in between, and added as it was", strings.Replace(choice, "w1 |= w2", "w6 += w1; w1 |= w2", 1),
			head + "L2:; w1 = 3; if w6 <= 255 goto L14; L13:; w6 >>= 8; w6 += w1; w1 |= 8; goto L5; L14:; w6 += w1; " + tail, ""},
		{"what the facts say of the branch", head + "L2:; w1 = 3; if w7 > 255 goto L5; L3:; w1 = 4; " + tail, head + "L2:; w1 = 4; " + tail, ""},
		{"what the facts do not say of the branch", head + "L2:; w1 = 3; if w7 > 254 goto L5; L3:; w1 = 4; " + tail, head + "L2:; w1 = 4; " + tail, "may differ"},
		{"wide numbers", head + "L2:; r2 = 0x100000000 ll; w1 = 1; if r6 > r2 goto L5; L3:; w1 = 0; " + tail,
			head + "L2:; w1 = 0; r2 = 0x100000000 ll; if r6 <= r2 goto L5; L13:; w1 = 1; " + tail, ""},
		{"another wide number", head + "L2:; r2 = 0x100000000 ll; w1 = 1; if r6 > r2 goto L5; L3:; w1 = 0; " + tail,
			head + "L2:; w1 = 0; r2 = 0x100000001 ll; if r6 <= r2 goto L5; L13:; w1 = 1; " + tail, "may differ"},

		{"two exits", head + "L2:; r1 = 5; if r6 > 5 goto L6; " + tail + "; L6:; r0 = 0; exit",
			head + "L2:; r1 = 5; if r6 <= 5 goto L5; L13:; goto L6; " + tail + "; L6:; r0 = 0; exit", ""},
		{"two exits swapped", head + "L2:; r1 = 5; if r6 > 5 goto L6; " + tail + "; L6:; r0 = 0; exit",
			head + "L2:; r1 = 5; if r6 <= 5 goto L6; " + tail + "; L6:; r0 = 0; exit", "the way may differ"},
		{"one exit", head + "L2:; r1 = 5; if r6 > 5 goto L6; " + tail + "; L6:; r0 = 0; exit",
			head + "L2:; r1 = 5; goto L6; " + tail + "; L6:; r0 = 0; exit", "the way may differ"},

		{"other code before", choice, strings.Replace(guarded, "r0 &= 255", "r0 &= 127", 1), "L1: other code"},
		{"other code behind", choice, strings.Replace(guarded, "r0 += r1", "r0 -= r1", 1), "L5: other code"},
		{"no code behind", choice, strings.Replace(guarded, tail, "r0 = 1; exit; L5:; r0 = 1; exit", 1), "L5: other code"},
		{"an exit", choice, strings.Replace(guarded, "w1 |= 8; ", "w1 |= 8; r0 = 1; exit; ", 1), "not modelled"},
		{"another way from before", strings.Replace(choice, "L2:", "if r0 > 9 goto L5; L2:", 1),
			strings.Replace(guarded, "L2:", "if r0 > 9 goto L2; L2:", 1), "L1: other code"},
		{"other blocks behind", "L1:; call 5; w1 = 0; goto L6; L6:; goto L2; L7:; r0 = 1; exit; L2:; w1 += 1; L5:; r0 = r1; exit",
			"L1:; call 5; w1 = 0; goto L6; L6:; goto L2; L5:; r0 = r1; exit; L2:; w1 += 1; L7:; r0 = 1; exit", "the way may differ"},
		{"from before into the middle", strings.Replace(choice, "L2:", "if r0 > 9 goto L4; L2:", 1),
			strings.Replace(guarded, "L2:", "if r0 > 9 goto L5; L2:", 1), "L1: other code"},
		{"another block first", "L1:; r1 = 1; L2:; r0 = 1; exit", "L2:; r0 = 1; exit; L1:; r1 = 1; goto L2", "another first block"},
		{"no entry", strings.ReplaceAll(choice, "L2:", "L22:"), guarded, "no block L2"},

		{"a call", strings.Replace(choice, "w2 = 8", "w2 = 8; call 7; w2 = 8; w1 = 3", 1), guarded, "not modelled"},
		{"a store", strings.Replace(choice, "w2 = 8", "w2 = 8; *(u32 *)(r10 - 4) = w2", 1), guarded, "not modelled"},
		{"a new store", choice, strings.Replace(guarded, "w1 |= 8", "w1 |= 8; *(u32 *)(r10 - 4) = w1", 1), "not modelled"},
		{"a load", strings.Replace(choice, "w2 = 8", "w2 = 8; r3 = *(u32 *)(r9 + 4)", 1), guarded, "not modelled"},
		{"a number that a loader knows", strings.Replace(choice, "w1 = 3", "w1 = @1", 1), guarded, "not modelled"},
		{"a loop", choice, strings.Replace(guarded, "w1 |= 8; ", "w1 |= 8; L14:; if w1 > 2 goto L14; L15:; ", 1), "a loop"},
		{"may_goto", choice, strings.Replace(guarded, "L13:", "L12:; may_goto L5; L13:", 1), "not modelled"},

		{"a pointer moved by one of two numbers", head + "L2:; r2 = 8; if r7 > 5 goto L4; L3:; r2 = 0; L4:; r9 += r2; L5:; r0 = *(u32 *)(r9 + 0); exit",
			head + "L2:; if r7 <= 5 goto L5; L13:; r9 += 8; L5:; r0 = *(u32 *)(r9 + 0); exit", ""},
		{"a pointer moved by another number", head + "L2:; r2 = 8; if r7 > 5 goto L4; L3:; r2 = 0; L4:; r9 += r2; L5:; r0 = *(u32 *)(r9 + 0); exit",
			head + "L2:; if r7 <= 5 goto L5; L13:; r9 += 4; L5:; r0 = *(u32 *)(r9 + 0); exit", "computes what the old code does not"},
		{"a pointer moved on the other way", head + "L2:; r2 = 8; if r7 > 5 goto L4; L3:; r2 = 0; L4:; r9 += r2; L5:; r0 = *(u32 *)(r9 + 0); exit",
			head + "L2:; if r7 > 5 goto L5; L13:; r9 += 8; L5:; r0 = *(u32 *)(r9 + 0); exit", "computes what the old code does not"},
		{"a pointer not moved", head + "L2:; r2 = 8; if r7 > 5 goto L4; L3:; r2 = 0; L4:; r9 += r2; L5:; r0 = *(u32 *)(r9 + 0); exit",
			head + "L2:; r2 = 8; L5:; r0 = *(u32 *)(r9 + 0); exit", "may be a pointer"},
		{"a pointer or'ed that the old code copies", head + "L2:; r8 = r9; r2 = 1; L5:; r0 = *(u32 *)(r8 + 0); exit",
			head + "L2:; r8 = r9; r8 |= 0; L5:; r0 = *(u32 *)(r8 + 0); exit", "computes what the old code does not"},
		{"a pointer compared", head + "L2:; w1 = 1; " + tail, head + "L2:; w1 = 1; if r9 == 0 goto L5; L13:; w1 = 1; " + tail, "compares what the old code does not"},
		{"what is not readable", head + "L2:; w1 = 1; " + tail, head + "L2:; w1 = 1; r3 = r4; " + tail, "computes what the old code does not"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			unproven, err := c.SameRegions(t.Context(), regions(t, tt.old, tt.new, 2))
			if err == nil {
				err = unproven[2]
			}
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.want != "" && err == nil:
				t.Errorf("not refused, want %q", tt.want)
			case tt.want != "" && !strings.Contains(err.Error(), tt.want):
				t.Errorf("refused because of %v, want %q", err, tt.want)
			}
		})
	}
}

// Each region is proven for itself.
func TestSameRegionsEach(t *testing.T) {
	old := "L1:; call 5; L2:; w1 = 0; L3:; w2 = 0; L4:; r0 += r1; r0 += r2; exit"
	new := "L1:; call 5; L2:; r1 ^= r1; L3:; w2 = 1; L4:; r0 += r1; r0 += r2; exit"
	new = strings.Replace(new, "r1 ^= r1", "r1 = 0", 1)
	unproven, err := encode.New(encode.Options{}).SameRegions(t.Context(), regions(t, old, new, 2, 3))
	if got := slices.Collect(maps.Keys(unproven)); err != nil || !slices.Equal(got, []bpf.Label{3}) {
		t.Errorf("unproven: %v, error %v; want L3 alone", unproven, err)
	}
}

func TestSameRegionsBounds(t *testing.T) {
	many := func(n int) string {
		var b strings.Builder
		b.WriteString(head + "L2:; r1 = 0; ")
		for i := range n {
			fmt.Fprintf(&b, "if r6 & %d goto L%d; L%d:; r1 += 1; L%d:; ", 1<<i, 100+2*i, 101+2*i, 100+2*i)
		}
		return strings.Replace(b.String(), fmt.Sprintf("L%d:; ", 100+2*(n-1)), "L99:; ", 1) + "L5:; r0 = r1; exit"
	}
	fix := func(s string, n int) string {
		return strings.Replace(s, fmt.Sprintf("goto L%d;", 100+2*(n-1)), "goto L99;", 1)
	}
	for n, want := range map[int]bool{6: true, 9: false} {
		old := fix(many(n), n)
		new := strings.NewReplacer("L10", "L20", "L11", "L21").Replace(old)
		unproven, err := encode.New(encode.Options{}).SameRegions(t.Context(), regions(t, old, new, 2))
		if err != nil || (len(unproven) == 0) != want {
			t.Errorf("%d branches: %v, %v", n, unproven, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := encode.New(encode.Options{}).SameRegions(ctx, regions(t, choice, guarded, 2)); err == nil {
		t.Error("no error though the context has ended")
	}
}

const (
	logarithm = head + "L2:; w1 = 16; if w6 > 65535 goto L12; L11:; w1 = 0; L12:; w6 >>= w1; w2 = 8; if w6 > 255 goto L14; L13:; w2 = 0; " +
		"L14:; w6 >>= w2; w3 = 4; if w6 > 15 goto L16; L15:; w3 = 0; L16:; w6 >>= w3; w4 = 2; if w6 > 3 goto L18; L17:; w4 = 0; " +
		"L18:; w6 >>= w4; w6 >>= 1; w1 |= w6; w1 |= w2; w1 |= w3; w1 |= w4; L5:; r0 = r1; exit"
	shorter = head + "L2:; w1 = 0; if w6 <= 65535 goto L22; L21:; w6 >>= 16; w1 = 16; L22:; if w6 <= 255 goto L24; L23:; w6 >>= 8; w1 |= 8; " +
		"L24:; if w6 <= 15 goto L26; L25:; w6 >>= 4; w1 |= 4; L26:; if w6 <= 3 goto L28; L27:; w6 >>= 2; w1 |= 2; " +
		"L28:; w6 >>= 1; w1 |= w6; L5:; r0 = r1; exit"
)

// What the proof calls equal of a mutated function shows no difference in the
// interpreter.
func TestSameRegionsMutations(t *testing.T) {
	c := encode.New(encode.Options{})
	rng := rand.New(rand.NewPCG(3, 7))
	equal, refused := 0, 0
	for range 200 {
		s := regions(t, logarithm, shorter, 2)
		mutateRegion(rng, s.New)
		var err error
		if _, s.After, err = flow.Both(t.Context(), s.New, flow.Options{}); err != nil {
			continue // it runs off somewhere
		}
		unproven, err := c.SameRegions(t.Context(), s)
		if err != nil || len(unproven) > 0 {
			refused++
			continue
		}
		equal++
		for k := range 64 {
			for _, x := range []uint64{1<<k - 1, 1 << k, 1<<k + 1, rng.Uint64() >> k} {
				if a, b := run(t, s.Old, x), run(t, s.New, x); a != b {
					t.Fatalf("called equal, but for %#x %d became %d:\n%s", x, a, b, bpf.FormatBlocks(s.New.Blocks))
				}
			}
		}
	}
	t.Logf("%d equal, %d refused", equal, refused)
	if equal == 0 || refused == 0 {
		t.Error("nothing was equal, or nothing was refused")
	}
}

// mutateRegion changes one instruction of the function's region.
func mutateRegion(rng *rand.Rand, fn *bpf.Function) {
	inner := fn.Blocks[1 : len(fn.Blocks)-1]
	b := inner[rng.IntN(len(inner))]
	i := rng.IntN(len(b.Code))
	in := &b.Code[i]
	switch rng.IntN(6) {
	case 0:
		in.Imm += int64(rng.IntN(3)) - 1
	case 1:
		in.Op ^= bpf.ClassALU ^ bpf.ClassALU64 // between 32 and 64 bits, for jumps as well
	case 2:
		in.Dst = []bpf.Register{bpf.R1, bpf.R6}[rng.IntN(2)]
	case 3:
		if in.IsCondJump() {
			in.Op = in.Op&0x0f | []bpf.Op{bpf.OpJLE, bpf.OpJLT, bpf.OpJSLE, bpf.OpJGT}[rng.IntN(4)]
		} else {
			in.Op = in.Op&0x0f | []bpf.Op{bpf.OpOr, bpf.OpAdd, bpf.OpXor, bpf.OpRsh, bpf.OpArsh}[rng.IntN(5)]
		}
	case 4:
		if in.IsCondJump() {
			in.Target = inner[rng.IntN(len(inner))].Label
		} else {
			b.Code = slices.Delete(b.Code, i, i+1)
		}
	case 5:
		if j := rng.IntN(len(b.Code)); !in.IsJump() && !b.Code[j].IsJump() {
			b.Code[i], b.Code[j] = b.Code[j], b.Code[i]
		}
	}
}

// run is what a function gives for a number that the clock tells.
func run(t *testing.T, fn *bpf.Function, x uint64) uint64 {
	t.Helper()
	e := semantics.Exec{State: &semantics.State{}, Helper: func(id int32, _ [5]uint64) (uint64, error) { return x, nil }}
	out, err := e.Run(fn)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
