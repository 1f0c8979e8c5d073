package encode

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

func benchmark(b *testing.B, w *windows.Window, code []bpf.Instruction, want Outcome) {
	c := New(Options{})
	ctx := context.Background()
	if v := c.Check(ctx, w, code); v.Outcome != want {
		b.Fatalf("got %v: %s", v.Outcome, v.Reason)
	}
	for b.Loop() {
		c.Check(ctx, w, code)
	}
}

func benchWindow(b *testing.B, facts, needs, old, new string) (*windows.Window, []bpf.Instruction) {
	b.Helper()
	w, err := parseWindow(map[string]string{"facts": facts, "needs": needs, "old": old, "options": "confirmed"})
	if err != nil {
		b.Fatal(err)
	}
	code, err := bpf.ParseCode(new)
	if err != nil {
		b.Fatal(err)
	}
	return w, code
}

const typicalOld = `r1 = *(u8 *)(r7 + 12)
r2 = *(u8 *)(r7 + 13)
r2 <<= 8
r2 |= r1
r3 = 0
*(u32 *)(r10 - 8) = r3
*(u32 *)(r10 - 4) = r3
r1 = r2`

const typicalNew = `r1 = *(u16 *)(r7 + 12)
r3 = 0
*(u64 *)(r10 - 8) = r3`

// BenchmarkTypical proves a window of eight instructions.
func BenchmarkTypical(b *testing.B) {
	w, code := benchWindow(b, "", "", typicalOld, typicalNew)
	benchmark(b, w, code, Proven)
}

// BenchmarkTypicalRefuted refutes one.
func BenchmarkTypicalRefuted(b *testing.B) {
	w, code := benchWindow(b, "", "", typicalOld, strings.Replace(typicalNew, "r3 = 0", "r3 = 1", 1))
	benchmark(b, w, code, Refuted)
}

// BenchmarkFirst makes a checker for each proof.
func BenchmarkFirst(b *testing.B) {
	w, code := benchWindow(b, "", "", typicalOld, typicalNew)
	for b.Loop() {
		New(Options{}).Check(context.Background(), w, code)
	}
}

// BenchmarkLarge proves a window of 60 instructions with 30 accesses through
// three pointers of which two may be one, to shared memory or to private.
func BenchmarkLarge(b *testing.B) {
	for _, shared := range []bool{true, false} {
		b.Run(fmt.Sprintf("shared=%v", shared), func(b *testing.B) {
			var old strings.Builder
			for i := range 15 {
				fmt.Fprintf(&old, "r1 = *(u32 *)(r8 + %d)\nr1 <<= 32\nr1 >>= 32\n*(u32 *)(r9 + %d) = r1\n", 4*i, 4*i)
			}
			w, code := benchWindow(b, "", "r0", old.String(), strings.ReplaceAll(old.String(), "r1 <<= 32\nr1 >>= 32\n", ""))
			w.Shared = map[flow.Kind]bool{flow.KindMapValue: shared}
			benchmark(b, w, code, Proven)
		})
	}
}

// BenchmarkWide proves a window that reads eight bytes at a time through two
// pointers that may be one, with stores between.
func BenchmarkWide(b *testing.B) {
	var old, new strings.Builder
	for i := range 15 {
		fmt.Fprintf(&old, "r1 = *(u64 *)(r7 + %d)\nr1 &= 255\n*(u64 *)(r2 + %d) = r1\nr3 += r1\n", 8*i, 8*i)
		fmt.Fprintf(&new, "r1 = *(u64 *)(r7 + %d)\nr1 <<= 56\nr1 >>= 56\n*(u64 *)(r2 + %d) = r1\nr3 += r1\n", 8*i, 8*i)
	}
	w, code := benchWindow(b, "r2 = packet(b300)", "r0 r3", old.String(), new.String())
	benchmark(b, w, code, Proven)
}
