package bpf

import "testing"

func TestLevel(t *testing.T) {
	for text, want := range map[string]Level{
		"r1 += r2":                        V1,
		"r1 = r2":                         V1,
		"r1 = be16 r1":                    V1,
		"r1 = le32 r1":                    V1,
		"r1 = 5 ll":                       V1,
		"r1 /= r2":                        V1,
		"*(u32 *)(r1 + 0) = 5":            V1,
		"lock *(u32 *)(r1 + 0) += w2":     V1,
		"lock *(u64 *)(r1 + 0) += r2":     V1,
		"if r1 & 5 goto L1":               V1,
		"if r1 s> 5 goto L1":              V1,
		"goto L1":                         V1,
		"call 1":                          V1,
		"r0 = *(u8 *)skb[0]":              V1,
		"if r1 < 5 goto L1":               V2,
		"if r1 s<= r2 goto L1":            V2,
		"w1 += w2":                        V3,
		"w1 = 5":                          V3,
		"w1 = -w1":                        V3,
		"if w1 == 5 goto L1":              V3,
		"if w1 < 5 goto L1":               V3,
		"lock *(u64 *)(r1 + 0) |= r2":     V3,
		"r2 = xchg_64(r1 + 0, r2)":        V3,
		"r0 = cmpxchg_64(r1 + 0, r0, r2)": V3,
		"r2 = atomic_fetch_add((u64 *)(r1 + 0), r2)": V3,
		"r1 s/= r2":                         V4,
		"w1 s%= 5":                          V4,
		"r1 = (s8)r2":                       V4,
		"w1 = (s8)w2":                       V4,
		"r1 = bswap16 r1":                   V4,
		"r1 = *(s8 *)(r2 + 0)":              V4,
		"gotol L1":                          V4,
		"may_goto L1":                       V4,
		"r1 = load_acquire((u8 *)(r2 + 0))": V4,
		"store_release((u8 *)(r2 + 0), r1)": V4,
	} {
		if got := one(t, text).Level(); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

func TestParseLevel(t *testing.T) {
	for l := V1; l <= V4; l++ {
		if got, err := ParseLevel(l.String()); got != l || err != nil {
			t.Errorf("%v: got %v, %v", l, got, err)
		}
	}
	for _, s := range []string{"", "v0", "v5", "unknown", "V3", "3"} {
		if _, err := ParseLevel(s); err == nil {
			t.Errorf("%q: no error", s)
		}
	}
}
