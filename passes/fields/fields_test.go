package fields_test

import (
	"context"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes/fields"
	"github.com/k2cc/k2cc/windows"
)

func TestPropose(t *testing.T) {
	const cb = "*(u32 *)(r1 + 48) = r0\n*(u32 *)(r1 + 52) = r0\n*(u32 *)(r1 + 56) = r0\n*(u32 *)(r1 + 60) = r0\n*(u32 *)(r1 + 64) = r0\n"
	for _, tt := range []struct {
		name, src string
		context   bpf.Context
		want      string // proven code, "" for none
	}{
		{"zeros", "r0 = 0\n" + cb + "exit", bpf.ContextSKB, "r0 = 0; *(u64 *)(r1 + 48) = r0; *(u64 *)(r1 + 56) = r0; *(u32 *)(r1 + 64) = r0"},
		{"another number", "r0 = 1\n" + cb + "exit", bpf.ContextSKB, ""},
		{"another context", "r0 = 0\n" + cb + "exit", bpf.ContextPlain, ""},
		{"other fields", "r0 = 0\n*(u32 *)(r1 + 8) = r0\n*(u32 *)(r1 + 12) = r0\nexit", bpf.ContextSKB, ""},
		{"no longer zero", "r0 = 0\nr0 += 1\n" + cb + "exit", bpf.ContextSKB, ""},
		{"misaligned", "r0 = 0\n*(u32 *)(r1 + 52) = r0\n*(u32 *)(r1 + 56) = r0\nexit", bpf.ContextSKB, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			w := window(t, tt.src, tt.context)
			fields.New().Propose(context.Background(), w, func(code []bpf.Instruction) encode.Verdict {
				v := encode.New(encode.Options{}).Check(context.Background(), w, code)
				if v.Outcome == encode.Proven {
					got = strings.ReplaceAll(strings.TrimSpace(bpf.Format(code)), "\n", "; ")
				}
				return v
			})
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func window(t *testing.T, src string, c bpf.Context) *windows.Window {
	t.Helper()
	blocks, err := bpf.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	fn := &bpf.Function{Name: "f", Context: c, Blocks: blocks}
	facts, err := flow.Analyze(context.Background(), fn, flow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	needs, err := flow.Liveness(fn, facts)
	if err != nil {
		t.Fatal(err)
	}
	return windows.Cut(fn, 32).Windows(facts, needs, windows.Target{Level: bpf.V3, Confirmed: true})[0]
}
