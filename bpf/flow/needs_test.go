package flow

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
)

func TestNeeds(t *testing.T) {
	for _, test := range needTests {
		t.Run(test.name, func(t *testing.T) {
			fn, at := claims(t, test.code)
			fn.Context = contexts[test.context]
			facts, err := Analyze(context.Background(), fn, Options{BigEndian: test.bigEndian})
			if err != nil {
				t.Fatal(err)
			}
			needs, err := Liveness(fn, facts)
			if err != nil {
				t.Fatal(err)
			}
			if len(at) == 0 {
				t.Fatal("nothing claimed")
			}
			for p, want := range at {
				live := needs.In(p[0])
				if p[1] > 0 {
					live = needs.After(p[0], p[1]-1)
				}
				live.Regs[bpf.R10] = 0 // always live, or not worth a word
				for _, w := range want {
					w = strings.TrimPrefix(w, "none")
					if got := live.String(); got != w {
						t.Errorf("%v: got %s, want %s", p, got, w)
					}
				}
			}
		})
	}
}

var needTests = []struct {
	name, context string
	bigEndian     bool
	code          string
}{
	{name: "exit needs the result", code: `
		? none
		r0 = 0
		r3 = 5
		? r0
		exit`},
	{name: "moves", code: `
		? r1:0xffffffff
		w0 = w1
		? r0
		r1 = r2
		? r0
		exit`},
	{name: "masks need what they let through", code: `
		? r1:0xff0
		r0 = r1
		r0 &= 0xff0
		exit`},
	{name: "what or sets is not needed", code: `
		? r1:0xffffffff00000000
		r0 = r1
		w2 = -1
		r0 |= r2
		exit`},
	{name: "sums need the bits below", code: `
		? r1:0xffff r2:0xffff
		r0 = r1
		r0 += r2
		r0 *= 3
		r0 &= 0xff00
		exit`},
	{name: "shifts", code: `
		? r1:0xff0 r2:0xf000 r3:0x8000000000000000 r4:0xfff0
		r1 >>= 4
		r1 &= 0xff
		r2 <<= 4
		r2 &= 0xf0000
		r3 s>>= 63
		w4 <<= 16
		w4 >>= 20
		r0 = r1
		r0 ^= r2
		r0 ^= r3
		r0 ^= r4
		exit`},
	{name: "shifts by a register", code: `
		? r1 r2:0x3f r3:0x1f
		r1 >>= r2
		r0 = 1
		w0 <<= w3
		r0 += r1
		exit`},
	{name: "zero extension by shifts", code: `
		? r1:0xffffffff
		r1 <<= 32
		r1 >>= 32
		? r1
		r0 = r1
		exit`},
	{name: "sign extension", code: `
		? r1:0xff r2:0xffff
		r0 = (s8)r1
		w2 = (s16)w2
		r0 += r2
		exit`},
	{name: "copies of the sign", code: `
		? r1:0x80 r2:0x80000000 r3:0x80000000
		r1 = (s8)r1
		r1 &= 0x100
		w2 s>>= 20
		w2 &= 0x1000
		r2 &= 0x1000
		w3 s>>= 3
		w3 &= 0x20000000
		r0 = r1
		r0 += r2
		r0 += r3
		exit`},
	{name: "comparisons with powers of two", code: `
		r0 = 0
		? r0 r1:0xfffffffffffffff0 r2:0xfffffffffffffff0 r3:0xffffff00 r4 r5:0xffffff00
		if r1 < 16 goto L2
		if r2 >= 16 goto L2
		if w3 <= 255 goto L2
		if r4 < 15 goto L2
		if w5 > 255 goto L2
	L2:
		exit`},
	{name: "what a compare-and-exchange may leave of the upper half", code: `
		? r0 r1 r2:0xffffffff
		w0 = cmpxchg32_32(r1 + 0, w0, w2)
		exit`},
	{name: "byte swaps", code: `
		? r1:0xff00 r2:0xffff
		r1 = be16 r1
		r1 &= 0xff
		r0 = r1
		r2 = le16 r2
		r0 += r2
		exit`},
	{name: "byte swaps, big end first", bigEndian: true, code: `
		? r1:0xff r2:0xffff
		r1 = be16 r1
		r1 &= 0xff
		r0 = r1
		r2 = le16 r2
		r0 += r2
		exit`},
	{name: "division needs all", code: `
		? r1 r2:0xffffffff
		r1 /= 10
		w2 %= 10
		r0 = r1
		r0 += r2
		exit`},
	{name: "comparisons", code: `
		r0 = 0
		? r0 r1 r2:0xffffffff r3:0x18 r4:0x8000000000000000 r5:0xfffffffffffffff0
		if r1 == 5 goto L2
		if w2 > 5 goto L2
		if r3 & 0x18 goto L2
		if r4 s< 0 goto L2
		if r5 > 15 goto L2
	L2:
		exit`},
	{name: "signs of lower halves", code: `
		r0 = 0
		? r0 r1:0x80000000 r2:0x80000000
		if w1 s> -1 goto L2
		if w2 s>= 0 goto L2
	L2:
		exit`},
	{name: "a dead instruction needs nothing", code: `
		? none
		r2 = r1
		r2 += r3
		r0 = 0
		exit`},
	{name: "addresses", code: `
		? r1 r2:0xff
		*(u8 *)(r1 + 0) = r2
		? r1
		r0 = *(u32 *)(r1 + 0)
		exit`},
	{name: "pointers are needed whole", context: "xdp", code: `
		r2 = *(u32 *)(r1 + 0)
		r3 = *(u32 *)(r1 + 4)
		? r2 r3
		r3 -= r2
		r0 = r3
		r0 &= 0xff
		exit`},
	{name: "stack bytes", code: `
		? r1:0xffff
		*(u64 *)(r10 - 8) = r1
		? [r10-8:2]
		r0 = *(u16 *)(r10 - 8)
		exit`},
	{name: "stack bytes, big end first", bigEndian: true, code: `
		? r1:0xffff000000000000
		*(u64 *)(r10 - 8) = r1
		? [r10-8:2]
		r0 = *(u16 *)(r10 - 8)
		exit`},
	{name: "a dead store", code: `
		? [r10-8:4]
		*(u32 *)(r10 - 4) = r1
		? [r10-8:4]
		r0 = *(u32 *)(r10 - 8)
		? r0
		*(u64 *)(r10 - 8) = r1
		? r0
		exit`},
	{name: "a load somewhere on the stack", code: `
		r2 = r10
		r1 &= 0xf8
		r2 -= r1
		? r2 [r10-512:512]
		r0 = *(u64 *)(r2 - 8)
		exit`},
	{name: "atomics read and write", code: `
		? r1 [r10-8:8]
		lock *(u64 *)(r10 - 8) += r1
		r0 = *(u64 *)(r10 - 8)
		exit`},
	{name: "a key on the stack", code: `
		*(u32 *)(r10 - 4) = 1
		r2 = r10
		r2 += -4
		r1 = @1 ll
		? r1 r2 [r10-4:4]
		call 1
		? r0
		exit`},
	{name: "key and value on the stack", code: `
		r2 = r10
		r2 += -4
		r3 = r10
		r3 += -32
		r4 = 0
		r1 = @1 ll
		? r1 r2 r3 r4 [r10-32:16] [r10-4:4]
		call 2
		r0 = 0
		exit`},
	{name: "a key of an unknown map", context: "other", code: `
		r1 = @2 ll
		r2 = r10
		r2 += -4
		call 1
		if r0 == 0 goto L2
		r1 = r0
		r2 = r10
		r2 += -8
		? r1 r2 [r10-8:8]
		call 1
	L2:
		exit`},
	{name: "a helper that writes", context: "other", code: `
		r3 = r1
		r1 = r10
		r1 += -16
		r2 = 8
		? r1 r2 r3 [r10-8:4]
		call 4
		? [r10-16:4] [r10-8:4]
		r0 = *(u32 *)(r10 - 16)
		r1 = *(u32 *)(r10 - 8)
		w0 += w1
		exit`},
	{name: "a helper that may write a part", context: "other", code: `
		r3 = r1
		r1 = r10
		r1 += -16
		r2 = 8
		? r1 r2 r3 [r10-16:4]
		call 45
		? [r10-16:4]
		r0 = *(u32 *)(r10 - 16)
		exit`},
	{name: "a helper that writes an unknown number of bytes", context: "other", code: `
		r3 = r1
		r2 = *(u32 *)(r1 + 0)
		r2 &= 7
		r2 += 1
		r1 = r10
		r1 += -16
		? r1 r2 r3 [r10-16:4]
		call 4
		? [r10-16:4]
		r0 = *(u32 *)(r10 - 16)
		exit`},
	{name: "where the frame is can be told from a difference", context: "other", code: `
		r6 = *(u64 *)(r1 + 0)
		r2 = r10
		r2 -= r1
		r6 += r2
		*(u64 *)(r10 - 16) = 7
		*(u64 *)(r10 - 24) = 0
		r1 = r10
		r1 += -24
		r2 = 8
		r3 = r6
		? r1 r2 r3 [r10-512:512]
		call 113
		r0 = *(u64 *)(r10 - 24)
		exit`},
	{name: "where the frame is can be told from a negation", context: "other", code: `
		r6 = r10
		r6 = -r6
		r6 = -r6
		r1 = r10
		r1 += -24
		r2 = 8
		r3 = r6
		? r1 r2 r3 [r10-512:512]
		call 113
		r0 = *(u64 *)(r10 - 24)
		exit`},
	{name: "a helper that reads a pointer into the frame may keep it", context: "other", code: `
		*(u64 *)(r10 - 64) = r10
		r1 = r10
		r1 += -72
		r2 = 8
		r3 = r10
		r3 += -64
		call 113
		r3 = *(u64 *)(r10 - 72)
		r1 = r10
		r1 += -24
		r2 = 8
		? r1 r2 r3 [r10-512:512]
		call 113
		r0 = *(u64 *)(r10 - 24)
		exit`},
	{name: "what is left of a pointer into the frame is a pointer into it", context: "other", code: `
		*(u64 *)(r10 - 64) = r10
		*(u8 *)(r10 - 57) = 255
		call 5
		r3 = *(u64 *)(r10 - 64)
		r1 = r10
		r1 += -24
		r2 = 8
		? r1 r2 r3 [r10-512:512]
		call 113
		r0 = *(u64 *)(r10 - 24)
		exit`},
	{name: "helpers read as many arguments as they have", code: `
		? none
		call 5
		exit`},
	{name: "a callee's arguments", code: `
		? r1
		call @7
		exit`},
	{name: "an unknown callee's arguments", code: `
		? r1 r2 r3 r4 r5
		call kfunc @5
		? r0
		exit`},
	{name: "what is not readable is no argument", code: `
		call 5
		r1 = r0
		? r1
		call kfunc @5
		exit`},
	{name: "a callee sees the stack", code: `
		r6 = r1
		r1 = r10
		r1 += -8
		? r1 r6 [r10-512:512]
		call @7
		r0 = 0
		r2 = r6
		r1 = @1 ll
		? r1 r2 [r10-512:512]
		call 1
		? none
		call 5
		r0 = 0
		? r0
		exit`},
	{name: "a load through what may lead to the stack", code: `
		r6 = r1
		r1 = r10
		r1 += -8
		call @7
		? r6 [r10-512:512]
		r0 = *(u32 *)(r6 + 0)
		? r0
		exit`},
	{name: "branches", code: `
		r6 = r3
		? r1 r2 r6
		if r1 == 0 goto L2
		? r2
		r0 = r2
		exit
	L2:
		? r6
		r0 = r6
		exit`},
	{name: "a branch of known outcome keeps its other way's needs", code: `
		r3 = 1
		? r1 r2 r3
		if r3 == 1 goto L2
		r0 = r1
		exit
	L2:
		r0 = r2
		exit`},
	{name: "code that cannot be reached needs what it reads", code: `
		*(u64 *)(r10 - 8) = 0
		r3 = 1
		? r2 r3 [r10-8:8]
		if r3 == 1 goto L2
		r2 = r10
		r2 += -4
		r1 = @1 ll
		? r1 r2 [r10-8:8]
		call 1
		r0 = *(u32 *)(r10 - 8)
		exit
	L2:
		r0 = r2
		exit`},
	{name: "loops", code: `
		r0 = 0
	L2:
		? r0 r1 r2
		r0 += r1
		r2 -= 1
		if r2 != 0 goto L2
		? r0
		exit`},
	{name: "legacy packet loads", context: "skb", code: `
		r6 = r1
		? r3 r6
		r0 = *(u16 *)skb[r3 + 2]
		exit`},
}

func TestNeedsOfHalfAResult(t *testing.T) {
	fn, _ := claims(t, "r0 = 0\nexit")
	fn.HalfResult = true
	_, needs, err := Both(context.Background(), fn, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := needs.After(0, 0).Regs[bpf.R0]; got != math.MaxUint32 {
		t.Errorf("%#x is needed of the result", got)
	}
}

// A global function may be replaced by one that reads more.
func TestArgumentsOfGlobalFunctions(t *testing.T) {
	blocks := func(src string) []*bpf.Block {
		b, err := bpf.Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	callee := &bpf.Function{Name: "callee", Blocks: blocks("r0 = r1\nexit")}
	fn := &bpf.Function{
		Name:    "f",
		Blocks:  blocks("r1 = 1\nr2 = 2\ncall @1\nexit"),
		Symbols: []bpf.Symbol{{Kind: bpf.SymbolFunc, Name: "callee", Func: callee}},
	}
	for i := range fn.Blocks[0].Code {
		if in := &fn.Blocks[0].Code[i]; in.IsCall() {
			in.Src = bpf.CallLocal
		}
	}
	for _, global := range []bool{false, true} {
		callee.Global = global
		facts, err := Analyze(context.Background(), fn, Options{})
		if err != nil {
			t.Fatal(err)
		}
		needs, err := Liveness(fn, facts)
		if err != nil {
			t.Fatal(err)
		}
		if live := needs.After(0, 1).Regs[bpf.R2] != 0; live != global {
			t.Errorf("global %v: the second argument is needed: %v", global, live)
		}
	}
}
