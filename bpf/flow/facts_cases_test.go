package flow

type factTest struct {
	name, context string
	bigEndian     bool
	code          string
}

// Facts of values and of what they are kept in.
var valueTests = []factTest{
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
	{name: "a context without pointers in four bytes", context: "plain", code: `
		r2 = *(u32 *)(r1 + 0)
		r3 = *(u64 *)(r1 + 8)
		? r2 = scalar[0,4294967295]
		? r3 = any
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
	{name: "a write through a dynptr may move the packet", context: "skb", code: `
		r6 = r1
		r7 = *(u32 *)(r1 + 76)
		r1 = r10
		r1 += -16
		r2 = 0
		r3 = r10
		r3 += -24
		r4 = 8
		r5 = 0
		call 202		; dynptr_write
		r2 = *(u32 *)(r6 + 76)
		? r7 = any
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
}
