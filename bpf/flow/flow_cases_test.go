package flow

// Facts of the stack where others hold pointers to it, of joins, branches and
// loops.
var flowTests = []factTest{
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
	{name: "a pointer to the stack is lost where a store may go anywhere", code: `
		*(u64 *)(r10 - 8) = r10
		r2 = r10
		r1 &= 0xf8
		r2 -= r1
		? not escaped
		*(u64 *)(r2 - 8) = 5
		? [r10-8:8] = none
		? escaped
		r3 = *(u64 *)(r10 - 8)
		? r3 = any
		exit`},
	{name: "a pointer to the stack, loaded from somewhere on it", code: `
		*(u64 *)(r10 - 8) = r10
		r2 = r10
		r1 &= 0xf8
		r2 -= r1
		r3 = *(u64 *)(r2 - 8)
		? r3 = any
		? escaped
		? [r10-8:8] = fp
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
		w0 = cmpxchg32_32(r1 + 0, w0, w3)
		? r0 = scalar
		exit`},
}
