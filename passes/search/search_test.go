package search

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes"
	"github.com/k2cc/k2cc/windows"
)

// unknown is a scalar of which nothing is known.
func unknown() flow.Value { return flow.Unknown(flow.KindScalar) }

// below is a scalar of which only the bits of mask may be set.
func below(mask uint64) flow.Value {
	v := unknown()
	v.Mask, v.UMax = mask, mask
	if int64(mask) >= 0 {
		v.SMin, v.SMax = 0, int64(mask)
	}
	return v
}

// pointer is a pointer of a kind; the Base is its own. That of a map value is
// aligned.
func pointer(kind flow.Kind, base flow.Base, off int64) flow.Value {
	v := unknown()
	v.Kind, v.Base, v.Offset = kind, base, off
	if kind == flow.KindMapValue {
		v.Align = 8
	}
	return v
}

// held is an unknown number that others are so much more than.
func held(base flow.Base, off int64) flow.Value {
	v := unknown()
	v.Base, v.Offset = base, off
	return v
}

type facts map[bpf.Register]flow.Value

type needs map[bpf.Register]uint64

// window makes a window of code with facts about some registers, the others
// being unreadable, and needs of some. Without any fact, R1 to R5 are numbers.
func window(t testing.TB, level bpf.Level, code string, known facts, needed needs) *windows.Window {
	t.Helper()
	parsed, err := bpf.ParseCode(code)
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	w := &windows.Window{Fn: &bpf.Function{}, Code: parsed}
	w.Level, w.Confirmed = level, true
	w.Shared = map[flow.Kind]bool{flow.KindMapValue: true, flow.KindOther: true}
	if known == nil {
		for r := bpf.R1; r <= bpf.R5; r++ {
			w.Facts.Regs[r] = unknown()
		}
	}
	for r, v := range known {
		w.Facts.Regs[r] = v
	}
	w.Facts.Regs[bpf.R10] = pointer(flow.KindStack, flow.FrameBase, 0)
	for r, bits := range needed {
		w.Needs.Regs[r] = bits
	}
	return w
}

// search is what a proposer finds for a window, and all that it asked about.
func search(t testing.TB, p passes.Proposer, w *windows.Window) (found []bpf.Instruction, ok bool, asked []string) {
	t.Helper()
	checker := encode.New(encode.Options{})
	ctx := context.Background()
	p.Propose(ctx, w, func(code []bpf.Instruction) encode.Verdict {
		if ok && !priceOf(code).less(priceOf(found)) {
			t.Error("asks after a proof about what is no better")
		}
		v := checker.Check(ctx, w, code)
		asked = append(asked, fmt.Sprintf("%v %s:\n%s", v.Outcome, v.Reason, bpf.Format(code)))
		if v.Outcome == encode.Proven {
			found, ok = code, true
		}
		return v
	})
	return found, ok, asked
}

const (
	low32  = math.MaxUint32
	all64  = math.MaxUint64
	packet = flow.KindPacket
)

type findTest struct {
	name   string
	level  bpf.Level
	code   string
	facts  facts
	needs  needs
	stack  []int       // live stack bytes
	cells  []flow.Cell // what is known of the stack
	big    bool        // big-endian
	syms   []bpf.Symbol
	slots  int // of the result
	access int
	want   string // the result itself, where there is only one
}

func findTests() []findTest {
	return []findTest{
		{name: "zero extension", level: bpf.V3, code: "r1 <<= 32\nr1 >>= 32", needs: needs{1: all64}, slots: 1, want: "w1 = w1\n"},
		{name: "zero extension without need", level: bpf.V2, code: "r1 <<= 32\nr1 >>= 32", needs: needs{1: low32}, slots: 0},
		{name: "mask through a copy", level: bpf.V2, code: "r2 = r1\nr2 &= 255\nr1 = r2", needs: needs{1: all64}, slots: 1, want: "r1 &= 255\n"},
		{name: "mask of known bits", level: bpf.V2, code: "r1 &= 255", facts: facts{1: below(0x7f)}, needs: needs{1: all64}, slots: 0},
		{name: "add chain", level: bpf.V2, code: "r1 += 1000\nr1 += 234\nr1 += -4", needs: needs{1: all64}, slots: 1, want: "r1 += 1230\n"},
		{name: "two bytes", level: bpf.V2, code: "r1 = *(u8 *)(r2 + 12)\nr3 = *(u8 *)(r2 + 13)\nr3 <<= 8\nr3 |= r1",
			facts: facts{2: pointer(packet, 2, 0)}, needs: needs{3: all64}, slots: 1, access: 1, want: "r3 = *(u16 *)(r2 + 12)\n"},
		{name: "two bytes, network order", level: bpf.V2, code: "r1 = *(u8 *)(r2 + 13)\nr3 = *(u8 *)(r2 + 12)\nr3 <<= 8\nr3 |= r1",
			facts: facts{2: pointer(packet, 2, 0)}, needs: needs{3: all64}, slots: 2, access: 1, want: "r3 = *(u16 *)(r2 + 12)\nr3 = be16 r3\n"},
		{name: "constant stores", level: bpf.V2, code: "r1 = 1\n*(u16 *)(r10 - 8) = r1\n*(u16 *)(r10 - 6) = 2",
			stack: []int{-8, -7, -6, -5}, slots: 1, access: 1, want: "*(u32 *)(r10 - 8) = 131073\n"},
		{name: "store of an immediate", level: bpf.V2, code: "r1 = 7\n*(u32 *)(r2 + 0) = r1",
			facts: facts{2: pointer(packet, 2, 0)}, slots: 1, access: 1, want: "*(u32 *)(r2 + 0) = 7\n"},
		{name: "multiplication", level: bpf.V2, code: "r2 = r1\nr2 <<= 1\nr1 += r2", needs: needs{1: all64}, slots: 1, want: "r1 *= 3\n"},
		{name: "and and jump", level: bpf.V2, code: "r2 = r1\nr2 &= 64\nif r2 != 0 goto L1", needs: needs{1: all64}, slots: 1, want: "if r1 & 64 goto L1\n"},
		{name: "sum into offset", level: bpf.V2, code: "r2 += 14\nr1 = *(u8 *)(r2 + 9)", facts: facts{2: pointer(packet, 2, 0)},
			needs: needs{1: all64}, slots: 1, access: 1, want: "r1 = *(u8 *)(r2 + 23)\n"},
		{name: "reload", level: bpf.V2, code: "*(u64 *)(r10 - 16) = r1\nr2 = *(u64 *)(r10 - 16)\nr2 += 1",
			needs: needs{2: all64}, slots: 2},
		{name: "context", level: bpf.V2, code: "r2 = *(u32 *)(r6 + 16)\nr3 = r2\nr3 += 4\nr2 = r3", facts: facts{6: pointer(flow.KindContext, 3, 0)},
			needs: needs{2: all64}, slots: 2, access: 1},
		{name: "held in a register", level: bpf.V2, code: "r1 = *(u64 *)(r10 - 8)\nr1 += r2", facts: facts{2: unknown(), 7: held(7, 0)},
			cells: []flow.Cell{{Off: -8, Size: 8, Value: held(7, 0)}}, needs: needs{1: all64}, slots: 2},
		{name: "two bytes, big-endian", level: bpf.V2, code: "r1 = *(u8 *)(r2 + 13)\nr3 = *(u8 *)(r2 + 12)\nr3 <<= 8\nr3 |= r1", big: true,
			facts: facts{2: pointer(packet, 2, 0)}, needs: needs{3: all64}, slots: 1, access: 1, want: "r3 = *(u16 *)(r2 + 12)\n"},
		{name: "sign extension", level: bpf.V4, code: "r1 = *(u8 *)(r2 + 3)\nr1 <<= 56\nr1 s>>= 56",
			facts: facts{2: pointer(packet, 2, 0)}, needs: needs{1: all64}, slots: 1, access: 1, want: "r1 = *(s8 *)(r2 + 3)\n"},
		{name: "offset that a loader patches", level: bpf.V2, code: "r3 = @1:24\nr1 += r3", facts: facts{1: unknown()}, needs: needs{1: all64},
			syms: []bpf.Symbol{{Kind: bpf.SymbolCore}}, slots: 1, want: "r1 += @1:24\n"},
		{name: "address of a map", level: bpf.V2, code: "r3 = @1 ll\nr1 = r3", facts: facts{}, needs: needs{1: all64},
			syms: []bpf.Symbol{{Kind: bpf.SymbolMap}}, slots: 2, want: "r1 = @1 ll\n"},
		{name: "atomic stays", level: bpf.V3, code: "r3 = 1\nr4 = r3\nlock *(u64 *)(r1 + 0) += r4\n", facts: facts{1: pointer(flow.KindMapValue, 2, 0)},
			slots: 2, access: 1, want: "r4 = 1\nlock *(u64 *)(r1 + 0) += r4\n"},
		{name: "dead store", level: bpf.V2, code: "*(u64 *)(r10 - 16) = r1", slots: 0},
	}
}

func checkFound(t *testing.T, p passes.Proposer, tt findTest) {
	w := window(t, tt.level, tt.code, tt.facts, tt.needs)
	for _, off := range tt.stack {
		w.Needs.Stack.Add(off, 1)
	}
	w.BigEndian, w.Fn.Symbols = tt.big, tt.syms
	w.Facts.Stack = tt.cells
	for _, c := range tt.cells {
		w.Facts.Written.Add(int(c.Off), int(c.Size))
	}
	begin := time.Now()
	found, ok, asked := search(t, p, w)
	t.Logf("%v, asked about\n%s", time.Since(begin), strings.Join(asked, ""))
	switch {
	case !ok:
		t.Fatal("found nothing")
	case priceOf(found) != price{tt.slots, tt.access}:
		t.Errorf("found\n%scosting %+v, want %d slots, %d accesses", bpf.Format(found), priceOf(found), tt.slots, tt.access)
	case tt.want != "" && bpf.Format(found) != tt.want:
		t.Errorf("found\n%swant\n%s", bpf.Format(found), tt.want)
	}
}

func TestEnumerateFinds(t *testing.T) {
	for _, tt := range findTests() {
		t.Run(tt.name, func(t *testing.T) { checkFound(t, Enumerate(EnumerateOptions{}), tt) })
	}
}

// long windows are more than an enumeration can go through.
func longTests() []findTest {
	return []findTest{
		{name: "four bytes", level: bpf.V2, code: `r1 = *(u8 *)(r2 + 4)
			r3 = *(u8 *)(r2 + 5)
			r3 <<= 8
			r3 |= r1
			r1 = *(u8 *)(r2 + 6)
			r1 <<= 16
			r3 |= r1
			r1 = *(u8 *)(r2 + 7)
			r1 <<= 24
			r3 |= r1`, facts: facts{2: pointer(packet, 2, 0)}, needs: needs{3: all64},
			slots: 1, access: 1, want: "r3 = *(u32 *)(r2 + 4)\n"},
		{name: "copy of six bytes", level: bpf.V2, code: `r1 = *(u16 *)(r2 + 0)
			*(u16 *)(r3 + 6) = r1
			r1 = *(u16 *)(r2 + 2)
			*(u16 *)(r3 + 8) = r1
			r1 = *(u16 *)(r2 + 4)
			*(u16 *)(r3 + 10) = r1`, facts: facts{2: pointer(packet, 2, 0), 3: pointer(flow.KindStack, flow.FrameBase, -16)},
			stack: []int{-10, -9, -8, -7, -6, -5}, slots: 4, access: 4},
	}
}

func TestMCMCFinds(t *testing.T) {
	for _, tt := range append(findTests(), longTests()...) {
		tt.want = "" // among code of the same cost, chance decides
		t.Run(tt.name, func(t *testing.T) { checkFound(t, MCMC(MCMCOptions{}), tt) })
	}
}
