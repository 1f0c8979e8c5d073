package flow

// lookup has what a map's lookup gives in r0.
func lookup(symbol string) string {
	return `
		r2 = r10
		r2 += -4
		r1 = ` + symbol + ` ll
		call 1
	`
}

// Facts of how addresses are aligned.
var alignTests = []factTest{
	{name: "data is where its section and its offset say", code: `
		r1 = @11 ll
		r2 = @12 ll
		? r1 by 4
		? r2 is r1+8
		r3 = @3 ll
		? r3 by 1
		? r3 is not r1
		exit`},
	{name: "a hash's values are aligned", code: lookup("@1") + `
		? r0 by 8
		r6 = r0
		if r0 == 0 goto L2
		? r6 by 8
		r6 += 12
		? r6 by 4
		r7 = r6
		r7 -= 10
		? r7 by 2
		r7 += 1
		? r7 by 1
		r6 += 4
		*(u64 *)(r10 - 16) = r6
		r8 = *(u64 *)(r10 - 16)
		? r8 by 8
		? [r10-16:8] by 8
		r3 = *(u64 *)(r6 + 0)
		? r3 by 1
		r4 = *(u8 *)(r0 + 0)
		r6 += r4
		? r6 by 1
	L2:
		exit`},
	{name: "an array's values per CPU are aligned", code: lookup("@9") + `
		? r0 by 8
		exit`},
	{name: "a trie's values follow their keys", code: lookup("@8") + `
		? r0 = map_value?
		? r0 by 1
		exit`},
	{name: "nothing is known of the values of a map of maps, of data, and of the packet's", code: lookup("@2") + `
		? r0 by 1
		r1 = @3 ll
		? r1 by 1
		exit`},
	{name: "two values come together", code: `
		r6 = r1
		r7 = r2
	` + lookup("@1") + `
		if r0 == 0 goto L9
		r8 = r0
	` + lookup("@9") + `
		if r0 == 0 goto L9
		r9 = r8
		r9 += 4
		if r6 == 0 goto L1
		r8 = r0
		r9 = r0
		r9 += 4
	L1:
		? r8 by 8
		? r9 is r8+4
		? r9 by 4
	L9:
		exit`},
	{name: "a value that is null or not", code: lookup("@1") + `
		if r0 != 0 goto L1
		r0 = 0
	L1:
		? r0 by 8
		exit`},
	{name: "an aligned value comes together with another", code: `
		r6 = r1
	` + lookup("@8") + `
		if r0 == 0 goto L9
		r8 = r0
	` + lookup("@1") + `
		if r0 == 0 goto L9
		if r6 == 0 goto L1
		r0 = r8
	L1:
		? r0 = map_value
		? r0 by 1
	L9:
		exit`},
	{name: "two distances from aligned values", code: `
		r6 = r1
	` + lookup("@1") + `
		if r0 == 0 goto L9
		r8 = r0
		r8 += 4
		r9 = r0
		r9 += 6
		if r6 == 0 goto L1
		r8 = r0
		r9 = r0
	L1:
		? r8 by 4
		? r9 by 2
	L9:
		exit`},
	{name: "a walk through a value", code: lookup("@1") + `
		if r0 == 0 goto L9
		r6 = r0
		r7 = r0
		r8 = 0
	L1:
		? r6 by 4
		? r7 by 1
		r6 += 4
		r7 += 3
		r8 += 1
		if r8 < 20 goto L1
	L9:
		exit`},
}
