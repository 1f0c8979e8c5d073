package local

import (
	"testing"

	"github.com/k2cc/k2cc/bpf"
)

func TestShare(t *testing.T) {
	run(t, []program{
		{
			name: "a zero stored, then an argument", needs: "r1 r2 r4 [r10-12:4]", limited: true,
			code: "r1 = 0\n*(u32 *)(r10 - 12) = r1\nr2 = r10\nr2 += -12\nr1 = r7\nr4 = 0",
			want: "r4 = 0\n*(u32 *)(r10 - 12) = r4\nr2 = r10\nr2 += -12\nr1 = r7",
		},
		{
			name: "of which other bits are stored", needs: "r1 r4 [r10-12:4]", level: bpf.V3,
			code: "w1 = -16\n*(u32 *)(r10 - 12) = r1\nr1 = r7\nr4 = *(u32 *)(r10 - 12)",
			want: "w4 = -16\n*(u32 *)(r10 - 12) = r4\nr1 = r7",
		},
		{
			name: "a frame address stored, then an argument", needs: "r1 r3 [r10-8:8] [r10-16:8]",
			code: "r1 = r10\nr1 += -16\n*(u64 *)(r10 - 8) = r1\nr1 = r7\nr3 = r10\nr3 += -16",
			want: "r3 = r10\nr3 += -16\n*(u64 *)(r10 - 8) = r3\nr1 = r7",
		},
		{
			name: "the register is in use", needs: "r1 r4 [r10-12:4] [r10-24:4]", limited: true,
			code: "r1 = 0\n*(u32 *)(r10 - 12) = r1\n*(u32 *)(r10 - 24) = r4\nr1 = r7\nr4 = 0",
		},
		{
			name: "another number", needs: "r1 r4 [r10-12:4]", limited: true,
			code: "r1 = 0\n*(u32 *)(r10 - 12) = r1\nr1 = r7\nr4 = 1",
		},
	})
}
