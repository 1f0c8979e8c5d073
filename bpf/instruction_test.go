package bpf

import "testing"

func one(t testing.TB, text string) Instruction {
	t.Helper()
	code, err := ParseCode(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(code) != 1 {
		t.Fatalf("%s: %d instructions", text, len(code))
	}
	return code[0]
}

func TestReadsAndWrites(t *testing.T) {
	calls := Set(R0, R1, R2, R3, R4, R5)
	args := Set(R1, R2, R3, R4, R5)
	for text, want := range map[string][2]Registers{
		"r1 += r2":                    {Set(R1, R2), Set(R1)},
		"r1 += 5":                     {Set(R1), Set(R1)},
		"r1 = r2":                     {Set(R2), Set(R1)},
		"w1 = 5":                      {0, Set(R1)},
		"r1 = (s8)r2":                 {Set(R2), Set(R1)},
		"r1 = -r1":                    {Set(R1), Set(R1)},
		"r1 = be16 r1":                {Set(R1), Set(R1)},
		"r1 = le16 r1":                {Set(R1), Set(R1)},
		"r1 = 5 ll":                   {0, Set(R1)},
		"r1 = map_fd(5) ll":           {0, Set(R1)},
		"r1 = *(u8 *)(r2 + 0)":        {Set(R2), Set(R1)},
		"r1 = *(s8 *)(r2 + 0)":        {Set(R2), Set(R1)},
		"*(u8 *)(r2 + 0) = r3":        {Set(R2, R3), 0},
		"*(u8 *)(r2 + 0) = 3":         {Set(R2), 0},
		"lock *(u64 *)(r2 + 0) += r3": {Set(R2, R3), 0},
		"r3 = xchg_64(r2 + 0, r3)":    {Set(R2, R3), Set(R3)},
		"w3 = atomic_fetch_or((u32 *)(r2 + 0), w3)": {Set(R2, R3), Set(R3)},
		"r0 = cmpxchg_64(r2 + 0, r0, r3)":           {Set(R0, R2, R3), Set(R0)},
		"r1 = load_acquire((u8 *)(r2 + 0))":         {Set(R2), Set(R1)},
		"store_release((u8 *)(r2 + 0), r1)":         {Set(R1, R2), 0},
		"r0 = *(u8 *)skb[4]":                        {Set(R6), calls},
		"r0 = *(u8 *)skb[r7 + 4]":                   {Set(R6, R7), calls},
		"if r1 > r2 goto L1":                        {Set(R1, R2), 0},
		"if w1 & 4 goto L1":                         {Set(R1), 0},
		"goto L1":                                   {0, 0},
		"gotol L1":                                  {0, 0},
		"may_goto L1":                               {0, 0},
		"call 1":                                    {args, calls},
		"call @1":                                   {args, calls},
		"callx r7":                                  {args | Set(R7), calls},
		"exit":                                      {Set(R0), 0},
	} {
		in := one(t, text)
		if in.Reads() != want[0] || in.Writes() != want[1] {
			t.Errorf("%s: reads %011b, writes %011b; want %011b, %011b", text, in.Reads(), in.Writes(), want[0], want[1])
		}
	}
}

func TestKinds(t *testing.T) {
	type kinds struct{ jump, cond, ends, falls, load, store, atomic bool }
	for text, want := range map[string]kinds{
		"r1 += r2":                          {falls: true},
		"r1 = *(u8 *)(r2 + 0)":              {falls: true, load: true},
		"r1 = *(s8 *)(r2 + 0)":              {falls: true, load: true},
		"*(u8 *)(r2 + 0) = 3":               {falls: true, store: true},
		"*(u8 *)(r2 + 0) = r3":              {falls: true, store: true},
		"lock *(u64 *)(r2 + 0) += r3":       {falls: true, atomic: true},
		"r1 = load_acquire((u8 *)(r2 + 0))": {falls: true, atomic: true},
		"r0 = *(u8 *)skb[4]":                {falls: true},
		"goto L1":                           {jump: true, ends: true},
		"gotol L1":                          {jump: true, ends: true},
		"may_goto L1":                       {jump: true, ends: true, falls: true},
		"if r1 > r2 goto L1":                {jump: true, cond: true, ends: true, falls: true},
		"if w1 & 4 goto L1":                 {jump: true, cond: true, ends: true, falls: true},
		"call 1":                            {falls: true},
		"exit":                              {ends: true},
	} {
		in := one(t, text)
		got := kinds{in.IsJump(), in.IsCondJump(), in.EndsBlock(), in.FallsThrough(), in.IsLoad(), in.IsStore(), in.IsAtomic()}
		if got != want {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
}

func TestSlots(t *testing.T) {
	code, err := ParseCode("r1 = 5 ll\nr1 += 5\nr2 = @1 ll\nexit")
	if err != nil {
		t.Fatal(err)
	}
	if n := Slots(code); n != 6 {
		t.Errorf("got %d slots, want 6", n)
	}
}

func TestSameCode(t *testing.T) {
	a := one(t, "r1 += 5")
	b := a
	b.Pos = 7
	if !SameCode(a, b) {
		t.Error("Pos makes a difference")
	}
	b.Imm = 6
	if SameCode(a, b) {
		t.Error("Imm makes none")
	}
}
