package examples

// The addresses that traffic comes from and goes to, and that maps know of.

// hosts4 are n addresses from a.b.c.first on.
func hosts4(a, b, c, first byte, n int) []addr4 {
	all := make([]addr4, n)
	for i := range all {
		all[i] = addr4{a, b, c, first + byte(i)}
	}
	return all
}

// hosts6 are n addresses of 2001:db8:net::/48 from ::first on.
func hosts6(net uint16, first byte, n int) []addr6 {
	all := make([]addr6, n)
	for i := range all {
		all[i] = addr6{0x20, 0x01, 0x0d, 0xb8, byte(net >> 8), byte(net), 15: first + byte(i)}
	}
	return all
}

// wide4 is an IPv4 address in the first of four words.
func wide4(a addr4) addr6 {
	var w addr6
	copy(w[:], a[:])
	return w
}

// mapped4 is an IPv4 address as IPv6 has it, ::ffff:a.b.c.d.
func mapped4(a addr4) addr6 {
	return addr6{10: 0xff, 11: 0xff, 12: a[0], a[1], a[2], a[3]}
}

// port is a port number as headers have it.
func port(n uint16) [2]byte { return [2]byte{byte(n >> 8), byte(n)} }

var (
	clients4    = append(hosts4(10, 20, 0, 1, 40), hosts4(198, 51, 100, 1, 24)...)
	clients6    = append(hosts6(0x20, 1, 40), hosts6(0x21, 1, 24)...)
	servers4    = hosts4(203, 0, 113, 10, 12)
	servers6    = hosts6(0x100, 10, 12)
	commonPorts = []uint16{80, 443, 443, 53, 22, 8080, 123, 5000}
)

// someMix is an ordinary mix of traffic for an example to vary.
func someMix() mix {
	return mix{
		src4: clients4, dst4: servers4, src6: clients6, dst6: servers6,
		ports: commonPorts,
		vids:  []uint16{100, 101, 102, 103, 200, 4000},
		vnis:  []uint32{1, 77, 5000, 0xabcdef},
		v6:    40, udp: 30, icmp: 10, icmpError: 50, other: 4, noise: 3,
		options: 8, fragment: 4, mangled: 12,
	}
}

// frames makes traffic of frames from a mix.
func frames(m mix) func(*traffic, string) Input {
	return func(t *traffic, _ string) Input { return Input{Data: t.frame(&m)} }
}

// skbFrame lengthens a frame that ends within the IP header behind its Ethernet
// header: the kernel makes no sk_buff of such a one on request. Behind a VLAN tag
// it does not look.
func skbFrame(b []byte) []byte {
	const ethLen = 14
	least := map[uint16]int{ethIPv4: ethLen + 20, ethIPv6: ethLen + 40}[be.Uint16(b[12:])]
	return append(b, make([]byte, max(0, least-len(b)))...)
}

// skbContext is a struct __sk_buff with the given control block, and with a
// mark and priority of the packet's past.
func (t *traffic) skbContext(cb [5]uint32) []byte {
	const size, mark, priority, cbOffset = 192, 8, 32, 48
	b := make([]byte, size)
	copy(b[mark:], native(t.r.Uint32N(4)))
	copy(b[priority:], native(t.r.Uint32N(8)))
	copy(b[cbOffset:], native(cb))
	return b
}
