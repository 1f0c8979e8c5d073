package encode

import (
	"context"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

func unknown(kind flow.Kind) flow.Value {
	return flow.Value{Kind: kind, Mask: ^uint64(0), UMax: ^uint64(0), SMin: -1 << 63, SMax: 1<<63 - 1}
}

func ptr(kind flow.Kind, base flow.Base, off int64) flow.Value {
	v := unknown(kind)
	v.Base, v.Offset = base, off
	return v
}

func testWindow(t *testing.T, code string, live ...bpf.Register) *windows.Window {
	t.Helper()
	c, err := bpf.ParseCode(code)
	if err != nil {
		t.Fatal(err)
	}
	w := &windows.Window{Fn: &bpf.Function{Context: bpf.ContextXDP}, Code: c}
	for r := range w.Facts.Regs {
		w.Facts.Regs[r] = unknown(flow.KindScalar)
	}
	w.Facts.Regs[10] = ptr(flow.KindStack, flow.FrameBase, 0)
	w.Facts.Regs[6] = ptr(flow.KindContext, 2, 0)
	w.Facts.Regs[7] = ptr(flow.KindPacket, 3, 0)
	w.Facts.Regs[8] = ptr(flow.KindMapValue, 4, 0)
	w.Facts.Regs[9] = ptr(flow.KindMapValue, 5, 0)
	for _, r := range live {
		w.Needs.Regs[r] = ^uint64(0)
	}
	w.Needs.Stack.Add(-64, 64)
	w.Level = bpf.V3
	w.Shared = map[flow.Kind]bool{flow.KindMapValue: true, flow.KindOther: true}
	return w
}

func TestCheckBasics(t *testing.T) {
	for _, tt := range []struct {
		name, old, new string
		want           Outcome
	}{
		{"zext", "r1 <<= 32\nr1 >>= 32", "w1 = w1", Proven},
		{"zext wrong", "r1 <<= 32\nr1 s>>= 32", "w1 = w1", Refuted},
		{"packed", "r1 = *(u8 *)(r7 + 12)\nr2 = *(u8 *)(r7 + 13)\nr2 <<= 8\nr2 |= r1\nr1 = r2", "r1 = *(u16 *)(r7 + 12)", Proven},
		{"packed wrong", "r1 = *(u8 *)(r7 + 12)\nr2 = *(u8 *)(r7 + 13)\nr1 <<= 8\nr1 |= r2", "r1 = *(u16 *)(r7 + 12)", Refuted},
		{"store imm", "r1 = 5\n*(u32 *)(r10 - 4) = r1\nr1 = 7", "*(u32 *)(r10 - 4) = 5\nr1 = 7", Proven},
		{"merge const", "*(u32 *)(r10 - 8) = 1\n*(u32 *)(r10 - 4) = 0", "*(u64 *)(r10 - 8) = 1", Proven},
		{"merge const wrong", "*(u32 *)(r10 - 8) = 0\n*(u32 *)(r10 - 4) = 1", "*(u64 *)(r10 - 8) = 1", Refuted},
		{"misaligned", "*(u32 *)(r10 - 12) = 0\n*(u32 *)(r10 - 8) = 0", "*(u64 *)(r10 - 12) = 0", Unsafe},
		{"alias", "r1 = *(u32 *)(r8 + 0)\n*(u32 *)(r9 + 0) = 5\nr1 = *(u32 *)(r8 + 0)", "*(u32 *)(r9 + 0) = 5\nr1 = *(u32 *)(r8 + 0)", Unsafe},
		{"alias2", "*(u32 *)(r8 + 0) = 4\n*(u32 *)(r9 + 0) = 5\nr1 = *(u32 *)(r8 + 0)", "*(u32 *)(r8 + 0) = 4\n*(u32 *)(r9 + 0) = 5\nr1 = 4", Refuted},
		{"atomic", "r1 = *(u64 *)(r8 + 0)\nr1 += 1\n*(u64 *)(r8 + 0) = r1\nr1 = 0", "r1 = 1\nlock *(u64 *)(r8 + 0) += r1\nr1 = 0", Unsafe},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := testWindow(t, tt.old, 1)
			code, err := bpf.ParseCode(tt.new)
			if err != nil {
				t.Fatal(err)
			}
			c := New(Options{})
			if got := c.Check(context.Background(), w, code); got.Outcome != tt.want {
				t.Errorf("got %v (%s), want %v", got.Outcome, got.Reason, tt.want)
			}
		})
	}
}
