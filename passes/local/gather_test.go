package local

import (
	"fmt"
	"strings"
	"testing"
)

// inPieces exchanges six bytes at two offsets two by two, each pair before the next.
func inPieces(base string, a, b int) string {
	var out strings.Builder
	for i := 0; i < 6; i += 2 {
		fmt.Fprintf(&out, "r1 = *(u16 *)(%[1]s + %[2]d)\nr2 = *(u16 *)(%[1]s + %[3]d)\n*(u16 *)(%[1]s + %[2]d) = r2\n*(u16 *)(%[1]s + %[3]d) = r1\n", base, a+i, b+i)
	}
	return out.String()
}

func TestGather(t *testing.T) {
	run(t, []program{
		{
			name: "an exchange in pieces", needs: "r6",
			code: inPieces("r7", 0, 6),
			want: "r0 = *(u64 *)(r7 + 4)\nr2 = r0\nr0 >>= 16\nr1 = *(u32 *)(r7 + 0)\n*(u64 *)(r7 + 0) = r0\n*(u32 *)(r7 + 6) = r1\n*(u16 *)(r7 + 10) = r2",
		},
		{
			name: "in the other byte order", needs: "r6", big: true,
			code: inPieces("r7", 0, 6),
			want: "r0 = *(u64 *)(r7 + 4)\nr0 <<= 16\nr1 = *(u32 *)(r7 + 0)\nr2 = *(u32 *)(r7 + 2)\n*(u64 *)(r7 + 0) = r0\n*(u32 *)(r7 + 6) = r1\n*(u16 *)(r7 + 10) = r2",
		},
		{
			name: "places that do not adjoin", needs: "r6",
			code: inPieces("r7", 0, 20),
			want: "r1 = *(u32 *)(r7 + 0)\nr2 = *(u32 *)(r7 + 20)\n*(u16 *)(r7 + 0) = r2\n*(u16 *)(r7 + 20) = r1\nr2 = *(u32 *)(r7 + 22)\nr1 = *(u32 *)(r7 + 2)\n*(u32 *)(r7 + 2) = r2\n*(u32 *)(r7 + 22) = r1",
		},
		{
			name: "places that do not adjoin, in an order of which neither half can be merged", needs: "r6",
			code: "r1 = *(u16 *)(r7 + 0)\nr2 = *(u16 *)(r7 + 20)\n*(u16 *)(r7 + 0) = r2\nr2 = *(u16 *)(r7 + 22)\nr3 = *(u16 *)(r7 + 2)\n*(u16 *)(r7 + 22) = r3\n*(u16 *)(r7 + 2) = r2\n*(u16 *)(r7 + 20) = r1",
			want: "r1 = *(u32 *)(r7 + 0)\nr2 = *(u32 *)(r7 + 20)\n*(u32 *)(r7 + 0) = r2\n*(u32 *)(r7 + 20) = r1",
		},
		{
			name: "with one register free", needs: "r0 r1 r2 r3 r4 r5 r6",
			code: "r1 = *(u16 *)(r7 + 0)\n*(u16 *)(r7 + 20) = r1\nr1 = *(u16 *)(r7 + 2)\n*(u16 *)(r7 + 22) = r1\nr1 = 0",
			want: "r1 = *(u32 *)(r7 + 0)\n*(u32 *)(r7 + 20) = r1\nr1 = 0",
		},
		{
			name: "memory that others see", needs: "r6",
			code: inPieces("r8", 0, 8),
		},
		{
			name: "read in between", needs: "r6 r5 r9",
			code: "r1 = *(u16 *)(r7 + 0)\nr2 = *(u16 *)(r7 + 6)\n*(u16 *)(r7 + 0) = r2\nr9 = *(u16 *)(r7 + 0)\n*(u16 *)(r7 + 6) = r1\nr5 = *(u32 *)(r7 + 4)",
			want: "r1 = *(u16 *)(r7 + 0)\nr9 = *(u16 *)(r7 + 6)\n*(u16 *)(r7 + 0) = r9\n*(u16 *)(r7 + 6) = r1\nr5 = *(u32 *)(r7 + 4)",
		},
		{
			name: "what was moved before goes on", needs: "r6",
			code: "r1 = *(u16 *)(r7 + 0)\n*(u16 *)(r7 + 2) = r1\nr1 = *(u16 *)(r7 + 2)\n*(u16 *)(r7 + 4) = r1",
			want: "r1 = *(u32 *)(r7 + 0)\n*(u16 *)(r7 + 2) = r1\n*(u16 *)(r7 + 4) = r1",
		},
		{
			name: "packets may overlap", needs: "",
			code: "r1 = *(u16 *)(r7 + 0)\n*(u16 *)(r6 + 0) = r1\nr1 = *(u16 *)(r7 + 2)\n*(u16 *)(r6 + 2) = r1",
			want: "r1 = *(u32 *)(r7 + 0)\n*(u16 *)(r6 + 0) = r1\nr1 = *(u16 *)(r7 + 2)\n*(u16 *)(r6 + 2) = r1",
		},
	})
}
