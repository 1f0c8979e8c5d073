package examples

import (
	"encoding/binary"
	"slices"
)

var be = binary.BigEndian

// Ethernet types and IP protocols that the frames are made of.
const (
	ethIPv4 = 0x0800
	ethARP  = 0x0806
	ethVLAN = 0x8100
	ethQinQ = 0x88a8
	ethIPv6 = 0x86dd
	ethMPLS = 0x8847
	ethTEB  = 0x6558
	ethLLDP = 0x88cc

	protoHopOpts  = 0
	protoICMP     = 1
	protoIPIP     = 4
	protoTCP      = 6
	protoUDP      = 17
	protoIPv6     = 41
	protoRouting  = 43
	protoFragment = 44
	protoGRE      = 47
	protoESP      = 50
	protoICMPv6   = 58
	protoDstOpts  = 60
	protoSCTP     = 132
)

// mix says what an example's frames are like. Shares are percentages.
type mix struct {
	src4, dst4 []addr4
	src6, dst6 []addr6
	ports      []uint16 // destinations
	vids       []uint16
	vnis       []uint32

	v6        int
	vlan      int // at least one tag
	qinq      int // of those, another one
	mpls      int
	tunnel    int
	options   int // IPv4 options, IPv6 extension headers
	fragment  int
	udp       int
	icmp      int
	icmpError int // of ICMP, those that quote a packet
	other     int // other IP protocols
	noise     int // neither IPv4 nor IPv6
	mangled   int // truncated or damaged
}

type (
	addr4 = [4]byte
	addr6 = [16]byte
)

// flow is one of a set that packets come back to.
type flow struct {
	v6           bool
	src4, dst4   addr4
	src6, dst6   addr6
	sport, dport uint16
	proto        byte
	vid          uint16
}

const hotFlows = 48

func (t *traffic) newFlow(m *mix) flow {
	f := flow{
		v6:    t.chance(m.v6),
		src4:  pick(t, m.src4),
		dst4:  pick(t, m.dst4),
		src6:  pick(t, m.src6),
		dst6:  pick(t, m.dst6),
		sport: uint16(1024 + t.r.IntN(60000)),
		dport: pick(t, m.ports),
		proto: protoTCP,
		vid:   pick(t, m.vids),
	}
	switch {
	case t.chance(m.udp):
		f.proto = protoUDP
	case t.chance(m.icmp):
		f.proto = protoICMP
	case t.chance(m.other):
		f.proto = pick(t, []byte{protoSCTP, protoESP, 0xff})
	}
	return f
}

// nextFlow is one of the hot flows, mostly, or one not seen before.
func (t *traffic) nextFlow(m *mix) flow {
	if t.chance(25) {
		return t.newFlow(m)
	}
	for len(t.flows) < hotFlows {
		t.flows = append(t.flows, t.newFlow(m))
	}
	return pick(t, t.flows)
}

// frame is an Ethernet frame of the mix.
func (t *traffic) frame(m *mix) []byte {
	f := t.nextFlow(m)
	var b []byte
	if t.chance(m.noise) {
		b = t.noise(m, f)
	} else {
		packet, proto := t.packet(m, f, false)
		b = t.ethernet(m, f, packet, proto)
	}
	if t.chance(m.mangled) {
		b = t.mangle(b)
	}
	return b
}

func (t *traffic) ethernet(m *mix, f flow, packet []byte, proto uint16) []byte {
	b := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, byte(f.sport)}
	switch {
	case t.chance(m.vlan):
		tpid := uint16(ethVLAN)
		if t.chance(m.qinq) {
			b = be.AppendUint16(b, ethQinQ)
			if t.chance(10) {
				tpid = ethQinQ
			}
			b = be.AppendUint16(b, pick(t, m.vids)|uint16(t.r.IntN(8))<<13)
		}
		b = be.AppendUint16(b, tpid)
		b = be.AppendUint16(b, f.vid|uint16(t.r.IntN(8))<<13)
	case t.chance(m.mpls):
		b = be.AppendUint16(b, ethMPLS)
		for range t.r.IntN(3) {
			b = be.AppendUint32(b, t.r.Uint32()&^0x1ff|64)
		}
		b = be.AppendUint32(b, t.r.Uint32()&^0x1ff|0x100|64)
		return append(b, packet...)
	}
	b = be.AppendUint16(b, proto)
	return append(b, packet...)
}

// noise is a frame that is neither IPv4 nor IPv6.
func (t *traffic) noise(m *mix, f flow) []byte {
	if t.chance(50) {
		return t.ethernet(m, f, t.bytes(20+t.r.IntN(60)), ethLLDP)
	}
	arp := []byte{0, 1, 8, 0, 6, 4, 0, byte(1 + t.r.IntN(2))}
	arp = append(arp, 2, 0, 0, 0, 0, 9)
	arp = append(arp, f.src4[:]...)
	arp = append(arp, 0, 0, 0, 0, 0, 0)
	arp = append(arp, f.dst4[:]...)
	return t.ethernet(m, f, arp, ethARP)
}

// packet is an IP packet of the flow and its Ethernet type.
func (t *traffic) packet(m *mix, f flow, inner bool) ([]byte, uint16) {
	proto, body := f.proto, []byte(nil)
	switch {
	case !inner && t.chance(m.tunnel):
		proto, body = t.tunnel(m, f)
	case f.proto == protoICMP && f.v6:
		proto, body = protoICMPv6, t.icmp(m, f)
	case f.proto == protoICMP:
		body = t.icmp(m, f)
	default:
		body = t.transport(f)
	}
	if f.v6 {
		return t.ipv6(m, f, proto, body), ethIPv6
	}
	return t.ipv4(m, f, proto, body), ethIPv4
}

var dscps = []byte{0, 0, 0, 10, 26, 46}

func (t *traffic) ipv4(m *mix, f flow, proto byte, body []byte) []byte {
	var options []byte
	if t.chance(m.options) {
		options = t.bytes(4 * (1 + t.r.IntN(10)))
	}
	hlen := 20 + len(options)
	b := make([]byte, 12, hlen+len(body))
	b[0] = 0x40 | byte(hlen/4)
	b[1] = pick(t, dscps) << 2
	be.PutUint16(b[2:], uint16(hlen+len(body)))
	be.PutUint16(b[4:], uint16(t.r.Uint32()))
	b[6] = 0x40
	if t.chance(m.fragment) {
		be.PutUint16(b[6:], pick(t, []uint16{0x2000, 0x20b9, 0x00b9}))
	}
	b[8] = pick(t, []byte{64, 64, 64, 128, 1, 0})
	b[9] = proto
	b = append(b, f.src4[:]...)
	b = append(b, f.dst4[:]...)
	b = append(b, options...)
	be.PutUint16(b[10:], checksum(b))
	return append(b, body...)
}

func (t *traffic) ipv6(m *mix, f flow, proto byte, body []byte) []byte {
	next, ext := t.extensions(m, proto)
	b := make([]byte, 8, 40+len(ext)+len(body))
	be.PutUint32(b, 6<<28|uint32(pick(t, dscps))<<22|t.r.Uint32()&0xfffff)
	be.PutUint16(b[4:], uint16(len(ext)+len(body)))
	b[6] = next
	b[7] = pick(t, []byte{64, 64, 64, 255, 1, 0})
	b = append(b, f.src6[:]...)
	b = append(b, f.dst6[:]...)
	b = append(b, ext...)
	return append(b, body...)
}

// extensions are headers between IPv6 and the protocol, and what the first of
// them is. A fragment header may be anywhere among them.
func (t *traffic) extensions(m *mix, proto byte) (next byte, ext []byte) {
	n := 0
	if t.chance(m.options) {
		n = 1 + t.r.IntN(6)
	}
	fragment := -1
	if t.chance(m.fragment) || n > 0 && t.chance(40) {
		n++
		fragment = t.r.IntN(n)
	}
	next = proto
	for i := range n {
		header := t.bytes(8 * (1 + t.r.IntN(2)))
		if i == fragment {
			header = []byte{0, 0, 0, 1, 0, 0, 0, t.byte()}
			if t.chance(50) {
				be.PutUint16(header[2:], uint16(t.r.IntN(200)<<3))
			}
		} else {
			header[1] = byte(len(header)/8 - 1)
		}
		header[0] = next
		next = pick(t, []byte{protoHopOpts, protoRouting, protoDstOpts})
		if i == fragment {
			next = protoFragment
		}
		ext = slices.Concat(header, ext)
	}
	return next, ext
}

// checksum is the Internet checksum of b (RFC 1071), whose length is even.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(be.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// mangle damages a frame, as the network or an attacker would. What is left is
// an Ethernet header and a byte at least: BPF_PROG_TEST_RUN asks for them.
func (t *traffic) mangle(b []byte) []byte {
	const ethLen = 14
	switch t.r.IntN(9) {
	case 0:
		return b[:ethLen+1+t.r.IntN(len(b)-ethLen)]
	case 1, 6, 7: // cut inside the headers
		return b[:ethLen+1+t.r.IntN(min(64, len(b)-ethLen))]
	case 8: // cut inside those of a tunnel
		return b[:ethLen+1+t.r.IntN(min(130, len(b)-ethLen))]
	case 2: // one bit in the headers
		b[t.r.IntN(min(80, len(b)))] ^= 1 << t.r.IntN(8)
	case 3: // several bytes anywhere
		for range 1 + t.r.IntN(8) {
			b[t.r.IntN(len(b))] = t.byte()
		}
	case 4: // another header length or version
		if len(b) > ethLen {
			b[ethLen] = t.byte()
		}
	case 5: // another length of the whole
		if len(b) > ethLen+6 {
			be.PutUint16(b[ethLen+2+2*t.r.IntN(2):], uint16(t.r.IntN(80)))
		}
	}
	return b
}
