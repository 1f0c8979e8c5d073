package flow

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
)

// testSymbols are the symbols that tests name: two maps, a map of maps, data, a
// field's offset, a kernel symbol, functions that read one argument and none.
func testSymbols() []bpf.Symbol {
	none, one := parse("r0 = 0\nexit"), parse("r0 = *(u32 *)(r1 + 0)\nr2 = 0\nexit")
	return []bpf.Symbol{
		1: {Kind: bpf.SymbolMap, Name: "hash", Map: &bpf.Map{Type: 1, KeySize: 4, ValueSize: 16}},
		2: {Kind: bpf.SymbolMap, Name: "maps", Map: &bpf.Map{Type: 12, KeySize: 4, ValueSize: 4}},
		3: {Kind: bpf.SymbolData, Name: ".bss"},
		4: {Kind: bpf.SymbolCore, Name: "field"},
		5: {Kind: bpf.SymbolExtern, Name: "kfunc"},
		6: {Kind: bpf.SymbolFunc, Name: "none", Func: none},
		7: {Kind: bpf.SymbolFunc, Name: "one", Func: one},
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
	"": bpf.ContextNone, "other": bpf.ContextOther, "xdp": bpf.ContextXDP, "skb": bpf.ContextSKB,
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
	for _, test := range factTests {
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
// base, "r2 is r1+14" for two places so far apart, "r2 is not r1", or "escaped".
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
		v.Base, v.Offset = 0, 0
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

var factTests = []struct {
	name, context string
	bigEndian     bool
	code          string
}{
	{name: "entry of a program", context: "xdp", code: `
		? r1 = context
		? r2 = none
		? r10 = fp
		exit`},
	{name: "entry of a subprogram", code: `
		? r1 = any
		? r5 = any
		? r0 = none
		? r6 = none
		exit`},
	{name: "constants", code: `
		r0 = 5
		r0 *= -3
		w3 = -1
		r4 = 0x1234567890 ll
		r4 >>= 4
		? r0 = -15
		? r3 = 4294967295
		? r4 = 4886718345
		exit`},
	{name: "ranges of loads and arithmetic", code: `
		r0 = *(u8 *)(r1 + 0)
		r2 = *(u16 *)(r1 + 2)
		r3 = *(s8 *)(r1 + 1)
		r4 = r0
		r4 += 10
		r5 = r2
		r5 &= 0xf0
		r6 = r0
		r6 <<= 3
		r7 = r2
		r7 /= 7
		r8 = r2
		r8 %= 10
		? r0 = scalar[0,255]
		? r2 = scalar[0,65535]
		? r3 = scalar s[-128,127]
		? r4 = scalar[10,265]
		? r5 = scalar{0x0/0xf0}
		? r6 = scalar{0x0/0x7f8}
		? r7 = scalar[0,9362]
		? r8 = scalar[0,9]
		exit`},
	{name: "bytes put together", code: `
		r0 = *(u8 *)(r1 + 0)
		r2 = *(u8 *)(r1 + 1)
		r2 <<= 8
		r0 |= r2
		? r0 = scalar[0,65535]
		r0 = be16 r0
		? r0 = scalar[0,65535]
		exit`},
	{name: "copies and sums", code: `
		r2 = r1
		r2 += 14
		r3 = r2
		r3 -= 4
		? r2 is r1+14
		? r3 is r1+10
		r1 = 0
		? r3 is r2-4
		r2 *= 3
		? r3 is not r2
		exit`},
	{name: "a mask that changes nothing is a copy", code: `
		r2 = *(u8 *)(r1 + 0)
		r3 = r2
		r3 &= 255
		w4 = w3
		r5 = r3
		r5 <<= 32
		r5 >>= 32
		? r3 is r2
		? r4 is r2
		exit`},
	{name: "sums in 32 bits keep the distance where they cannot wrap", code: `
		r2 = *(u8 *)(r1 + 0)
		r3 = r2
		w3 += 5
		w4 = w3
		w4 -= 3
		r5 = r1
		w5 += 1
		r6 = r2
		w6 += -1
		? r3 is r2+5
		? r4 is r2+2
		? r5 is not r1+1
		? r6 is not r2-1
		exit`},
	{name: "packet pointers", context: "xdp", code: `
		r2 = *(u32 *)(r1 + 0)
		r3 = *(u32 *)(r1 + 4)
		r4 = *(u32 *)(r1 + 8)
		r5 = *(u32 *)(r1 + 12)
		r6 = *(u32 *)(r1 + 0)
		? r2 = packet
		? r3 = packet_end
		? r4 = packet
		? r5 = scalar[0,4294967295]
		? r6 is r2
		? r4 is not r2
		r7 = r2
		r7 += 14
		r8 = *(u8 *)(r2 + 0)
		r7 += r8
		? r7 = packet
		? r8 = scalar[0,255]
		r3 -= r2
		? r3 = scalar
		exit`},
	{name: "packet pointers of a socket buffer", context: "skb", code: `
		r2 = *(u32 *)(r1 + 76)
		r3 = *(u32 *)(r1 + 80)
		r4 = *(u32 *)(r1 + 140)
		r5 = *(u32 *)(r1 + 0)
		r6 = *(u8 *)(r1 + 76)
		r7 = *(u64 *)(r1 + 152)
		? r2 = packet
		? r3 = packet_end
		? r4 = packet
		? r5 = scalar[0,4294967295]
		? r6 = scalar[0,255]
		? r7 = any
		exit`},
	{name: "a context of unknown layout", context: "other", code: `
		r2 = *(u32 *)(r1 + 0)
		r3 = *(u64 *)(r1 + 8)
		r4 = *(u16 *)(r1 + 8)
		? r2 = any
		? r3 = any
		? r4 = scalar[0,65535]
		exit`},
	{name: "a callee's argument may be a context", code: `
		r2 = *(u32 *)(r1 + 76)
		? r2 = any
		exit`},
	{name: "packet pointers die where the packet moves", context: "skb", code: `
		r6 = r1
		r7 = *(u32 *)(r1 + 76)
		r8 = *(u32 *)(r1 + 80)
		*(u64 *)(r10 - 8) = r7
		r2 = 100
		call 39			; skb_pull_data
		? r7 = any
		? r8 = any
		? [r10-8:8] = any
		? [r10-8:8] is r7
		r2 = *(u32 *)(r6 + 76)
		? r2 = packet
		? r2 is not r7
		exit`},
	{name: "packet pointers outlive other helpers", context: "skb", code: `
		r7 = *(u32 *)(r1 + 76)
		r6 = r1
		call 5			; ktime_get_ns
		r2 = *(u32 *)(r6 + 76)
		? r0 = scalar
		? r1 = none
		? r7 = packet
		? r2 is r7
		exit`},
	{name: "a map's value", code: `
		r2 = 1
		*(u32 *)(r10 - 4) = r2
		r2 = r10
		r2 += -4
		r1 = @1 ll
		? r1 = map
		? r2 = fp-4
		call 1			; map_lookup_elem
		? r0 = map_value?
		? not escaped
		? [r10-4:4] = 1
		r6 = r0
		if r0 == 0 goto L2
		? r0 = map_value
		? r6 = map_value
		r3 = *(u32 *)(r6 + 4)
		r4 = *(u64 *)(r6 + 8)
		? r3 = scalar[0,4294967295]
		? r4 = any
		r6 += 4
		? r6 is r0+4
		? r6 = map_value
	L2:
		exit`},
	{name: "null is zero", code: `
		r1 = @1 ll
		r2 = r10
		r2 += -4
		call 1
		r6 = r0
		if r6 != 0 goto L2
		? r0 = 0
		? r6 = 0
		exit
	L2:
		? r0 = map_value
		exit`},
	{name: "what a map of maps holds is no value", code: `
		r1 = @2 ll
		r2 = r10
		r2 += -4
		call 1
		? r0 = other?
		if r0 == 0 goto L9
		r1 = r0
		r2 = r10
		r2 += -8
		call 1
		? r0 = any
	L9:
		exit`},
	{name: "symbols", code: `
		r1 = @3 ll
		r2 = @3 ll
		r3 = @4
		r4 = @5 ll
		r5 = @4
		r6 = @4 ll
		? r1 = map_value
		? r2 is r1
		? r3 = scalar s[-2147483648,2147483647]
		? r5 is r3
		? r6 is not r3
		? r4 = any
		exit`},
	{name: "a patched offset leads anywhere", code: `
		*(u64 *)(r10 - 8) = 1
		r2 = *(u32 *)(r1 + @4:24)
		? r2 = any
		r3 = r10
		*(u32 *)(r3 + @4:-8) = 5
		? [r10-8:8] = none
		exit`},
	{name: "the stack, byte by byte", code: `
		*(u64 *)(r10 - 8) = 0x11223344
		*(u8 *)(r10 - 7) = 0
		? [r10-8:8] = none
		? [r10-7:1] = 0
		*(u32 *)(r10 - 8) = 0x11223344
		r2 = *(u16 *)(r10 - 8)
		r3 = *(u8 *)(r10 - 5)
		? r2 = 13124
		? r3 = 17
		? written [r10-8:8]
		exit`},
	{name: "the stack, byte by byte, big end first", bigEndian: true, code: `
		*(u32 *)(r10 - 8) = 0x11223344
		r2 = *(u16 *)(r10 - 8)
		r3 = *(u8 *)(r10 - 5)
		? r2 = 4386
		? r3 = 68
		exit`},
	{name: "a load from several stores", code: `
		*(u16 *)(r10 - 8) = 0x1122
		*(u16 *)(r10 - 6) = 0x3344
		r2 = *(u32 *)(r10 - 8)
		? r2 = 860098850
		r3 = *(u64 *)(r10 - 8)
		? r3 = any{0x33441122/0xffffffff00000000}
		exit`},
	{name: "spills", code: `
		*(u64 *)(r10 - 8) = r1
		r2 = *(u64 *)(r10 - 8)
		*(u32 *)(r10 - 16) = r3
		r4 = *(u32 *)(r10 - 16)
		r5 = *(u32 *)(r10 - 16)
		? r2 is r1
		? [r10-8:8] is r1
		? r4 is not r3
		? r4 is r5
		? [r10-16:4] is r4
		exit`},
	{name: "what the stack holds unknown is read once", code: `
		r2 = *(u64 *)(r10 - 8)
		r3 = *(u64 *)(r10 - 8)
		? r2 is r3
		? r2 = any
		? [r10-8:8] is r2
		exit`},
	{name: "a pointer to the stack, spilled", code: `
		r2 = r10
		r2 += -32
		*(u64 *)(r10 - 8) = r2
		r3 = *(u64 *)(r10 - 8)
		? r3 = fp-32
		? not escaped
		*(u64 *)(r3 + 8) = 7
		? [r10-24:8] = 7
		exit`},
	{name: "stores through pointers", context: "xdp", code: `
		r2 = *(u32 *)(r1 + 0)
		*(u64 *)(r10 - 8) = 7
		*(u64 *)(r2 + 0) = 8
		? [r10-8:8] = 7
		r3 = *(u8 *)(r2 + 0)
		r3 &= 8
		r4 = r10
		r4 -= r3
		? r4 = stack
		*(u8 *)(r4 - 16) = 1
		? [r10-8:8] = none
		exit`},
	{name: "the stack escapes to a callee", code: `
		*(u64 *)(r10 - 8) = 7
		*(u64 *)(r10 - 16) = 7
		r6 = r1
		r1 = r10
		r1 += -8
		call @7
		? r0 = any
		? escaped
		? [r10-8:8] = none
		? [r10-16:8] = none
		*(u64 *)(r10 - 8) = 7
		*(u64 *)(r6 + 0) = 8
		? [r10-8:8] = none
		*(u64 *)(r10 - 8) = 7
		call 5
		? [r10-8:8] = 7
		r1 = @1 ll
		r2 = r6
		call 1
		? [r10-8:8] = none
		exit`},
	{name: "a callee that reads no argument gets no pointer", code: `
		*(u64 *)(r10 - 8) = 7
		r1 = r10
		call @6
		? not escaped
		? [r10-8:8] = 7
		exit`},
	{name: "a callee of which nothing is known gets all", code: `
		*(u64 *)(r10 - 8) = 7
		r5 = r10
		call kfunc @5
		? escaped
		exit`},
	{name: "a helper writes what it is told to", context: "other", code: `
		*(u64 *)(r10 - 8) = 7
		*(u64 *)(r10 - 16) = 8
		*(u64 *)(r10 - 24) = 9
		r3 = r1
		r1 = r10
		r1 += -16
		r2 = 8
		call 4			; probe_read
		? [r10-8:8] = 7
		? [r10-16:8] = none
		? [r10-24:8] = 9
		? not escaped
		exit`},
	{name: "a helper writes as much as it may", context: "other", code: `
		*(u64 *)(r10 - 8) = 7
		*(u64 *)(r10 - 16) = 8
		*(u64 *)(r10 - 24) = 9
		r6 = r1
		r2 = *(u8 *)(r1 + 0)
		r2 &= 15
		r1 = r10
		r1 += -16
		r3 = r6
		call 4
		? [r10-8:8] = none
		? [r10-16:8] = none
		? [r10-24:8] = 9
		exit`},
	{name: "a store through what may be the stack or not", code: `
		r6 = r10
		r6 += -8
		if r2 == 0 goto L2
		r6 = r3
	L2:
		? r6 = any
		? escaped
		*(u64 *)(r10 - 8) = 7
		*(u64 *)(r6 + 0) = 8
		? [r10-8:8] = none
		exit`},
	{name: "a join keeps equalities", code: `
		r6 = r1
		if r2 == 0 goto L2
		r6 = r3
	L2:
		r7 = r6
		if r2 > 5 goto L3
		r6 += 8
		r7 += 8
	L3:
		? r7 is r6
		? r6 is not r1
		exit`},
	{name: "a join of constants keeps their distance", code: `
		r6 = 1
		r7 = 5
		r8 = 1
		if r2 == 0 goto L2
		r6 = 3
		r7 = 7
	L2:
		? r6 = scalar{0x1/0x2}
		? r7 is r6+4
		? r8 is not r6
		exit`},
	{name: "a join of unlike copies forgets them", code: `
		r6 = r1
		r7 = r1
		if r2 == 0 goto L2
		r7 = r2
	L2:
		? r6 is r1
		? r7 is not r1
		exit`},
	{name: "null or a pointer", code: `
		r6 = 0
		if r2 == 0 goto L2
		r6 = @3 ll
	L2:
		? r6 = map_value?
		exit`},
	{name: "unsigned comparison", code: `
		r0 = 0
		if r1 > 10 goto L2
		? r1 = any[0,10]
		if r1 < 3 goto L2
		? r1 = any[3,10]
		r0 = r1
		r0 += r1
		? r0 = any[6,20]
	L2:
		exit`},
	{name: "signed comparison", code: `
		r0 = 0
		if r1 s< -5 goto L2
		if r1 s>= 7 goto L2
		? r1 = any s[-5,6]
	L2:
		exit`},
	{name: "comparison of the lower halves", code: `
		r0 = 0
		w2 = w1
		if w2 > 10 goto L2
		? r2 = scalar[0,10]
		if w1 > 7 goto L2
		? r1 = any{0x0/0xffffffff00000007}
	L2:
		exit`},
	{name: "comparison with a register", code: `
		r0 = 0
		r2 = *(u8 *)(r1 + 0)
		r3 = *(u16 *)(r1 + 0)
		if r3 >= r2 goto L2
		? r3 = scalar[0,254]
		? r2 = scalar[1,255]
	L2:
		exit`},
	{name: "bit tests", code: `
		r0 = 0
		if r1 & 8 goto L2
		? r1 = any{0x0/0xfffffffffffffff7}
		exit
	L2:
		? r1 = any{0x8/0xfffffffffffffff7}
		exit`},
	{name: "copies learn from a comparison", code: `
		r0 = 0
		r6 = *(u16 *)(r1 + 0)
		r7 = r6
		r7 += 5
		*(u64 *)(r10 - 8) = r6
		if r6 > 9 goto L2
		? r7 = scalar[5,14]
		? [r10-8:8] = scalar[0,9]
		if r7 != 6 goto L2
		? r6 = 1
		? [r10-8:8] = 1
	L2:
		exit`},
	{name: "a branch of known outcome", code: `
		r0 = 1
		if r0 == 1 goto L2
		? unreachable
		r0 = 2
	L2:
		? r0 = 1
		exit`},
	{name: "a counting loop", code: `
		r6 = 0
	L2:
		? r6 = scalar[0,10]
		r7 = r6
		r6 += 1
		? r7 is r6-1
		if r6 <= 10 goto L2
		? r6 = 11
		exit`},
	{name: "steps of four", code: `
		r6 = 0
	L2:
		r6 += 4
		? r6 = scalar[4,103]{0x0/0x7c}
		if r6 < 100 goto L2
		exit`},
	{name: "the value of the iteration before is another", code: `
		r6 = 0
		r7 = 0
	L2:
		r7 = r6
		r6 = *(u32 *)(r1 + 0)
		? r7 is not r6
		if r6 != 5 goto L2
		exit`},
	{name: "what came in from two ways and what a loop brings back", code: `
		r6 = r1
		if r2 == 0 goto L2
		r6 = r3
	L2:
		r7 = r6
		goto L3
	L3:
		? r7 is not r6
		r6 = *(u32 *)(r1 + 0)
		if r6 != 5 goto L3
		exit`},
	{name: "copies from two ways, one of them lost in a loop", code: `
		r6 = r1
		r7 = r1
		if r2 == 0 goto L2
		r6 = r3
		r7 = r3
	L2:
		? r7 is not r6
		r6 = *(u32 *)(r1 + 0)
		if r6 != 5 goto L2
		exit`},
	{name: "what is done only where lost copies differ", code: `
		r6 = r1
		r7 = r1
		r8 = 0
		if r2 == 0 goto L2
		r6 = r3
		r7 = r3
	L2:
		? r8 = scalar[0,1]
		if r7 == r6 goto L4
		r8 = 1
	L4:
		r6 = *(u32 *)(r1 + 0)
		if r6 != 5 goto L2
		exit`},
	{name: "two loads in turn", code: `
		r6 = *(u32 *)(r1 + 0)
	L2:
		r7 = r6
		r6 = *(u32 *)(r1 + 0)
		if r2 & 1 goto L3
		r6 = r7
	L3:
		? r7 is not r6
		r2 += 1
		if r2 != 7 goto L2
		exit`},
	{name: "a loop inside a loop", code: `
		r6 = 0
	L2:
		r7 = 0
	L3:
		r7 += 1
		? r7 = scalar[1,5]
		? r6 = scalar[0,7]
		if r7 < 5 goto L3
		r6 += 1
		if r6 != 8 goto L2
		? r6 = 8
		? r7 = 5
		exit`},
	{name: "may_goto", code: `
		r6 = 0
	L2:
		may_goto L3
		r6 += 1
		goto L2
	L3:
		? r6 = scalar
		exit`},
	{name: "legacy packet loads", context: "skb", code: `
		r6 = r1
		r0 = *(u16 *)skb[12]
		? r0 = scalar[0,65535]
		? r1 = none
		? r6 = context
		exit`},
	{name: "atomics", code: `
		*(u64 *)(r10 - 8) = 5
		r2 = 3
		r2 = atomic_fetch_add((u64 *)(r10 - 8), r2)
		? r2 = 5
		? [r10-8:8] = 8
		r0 = 8
		r3 = 1
		r0 = cmpxchg_64(r10 - 8, r0, r3)
		? r0 = 8
		? [r10-8:8] = 1
		exit`},
}
