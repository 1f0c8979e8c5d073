package examples

import "slices"

// tcpFlags are those of honest segments, most often, and of scans.
var tcpFlags = []byte{
	0x02, 0x02, 0x02, 0x12, 0x10, 0x10, 0x10, 0x18, 0x18, 0x11, 0x14, 0x04,
	0x10, 0x18, 0x10, 0x18, 0x00, 0x03, 0x06, 0x05, 0x29, 0x3f, 0xc2,
}

// transport is the transport header of the flow and what follows it.
func (t *traffic) transport(f flow) []byte {
	switch f.proto {
	case protoTCP:
		return t.tcp(f)
	case protoUDP:
		return t.udp(f.sport, f.dport, t.payload(f))
	case protoSCTP:
		b := be.AppendUint16(nil, f.sport)
		b = be.AppendUint16(b, f.dport)
		return append(b, t.bytes(20)...)
	default:
		return t.bytes(8 + t.r.IntN(60))
	}
}

func (t *traffic) tcp(f flow) []byte {
	options := t.tcpOptions()
	b := be.AppendUint16(nil, f.sport)
	b = be.AppendUint16(b, f.dport)
	b = be.AppendUint32(b, t.r.Uint32())
	b = be.AppendUint32(b, t.r.Uint32())
	b = append(b, byte(20+len(options))/4<<4, pick(t, tcpFlags))
	b = be.AppendUint16(b, uint16(t.r.Uint32()))
	b = be.AppendUint16(b, uint16(t.r.Uint32()))
	b = append(b, 0, 0)
	b = append(b, options...)
	if t.chance(70) {
		b = append(b, t.payload(f)...)
	}
	return b
}

// tcpOptions are well-formed ones, mostly, filled up to whole words.
func (t *traffic) tcpOptions() []byte {
	var b []byte
	if t.chance(40) {
		return nil
	}
	if t.chance(70) {
		b = append(b, 2, 4, 5, t.byte())
	}
	if t.chance(50) {
		b = append(b, 1, 3, 3, byte(t.r.IntN(15)))
	}
	if t.chance(50) {
		b = append(b, 4, 2)
	}
	if t.chance(50) {
		b = append(b, 8, 10)
		b = append(b, t.bytes(8)...)
	}
	if t.chance(10) {
		b = append(b, t.byte(), t.byte())
	}
	for len(b)%4 != 0 {
		b = append(b, byte(t.r.IntN(2)))
	}
	return b
}

func (t *traffic) udp(sport, dport uint16, payload []byte) []byte {
	b := be.AppendUint16(nil, sport)
	b = be.AppendUint16(b, dport)
	b = be.AppendUint16(b, uint16(8+len(payload)))
	sum := uint16(t.r.Uint32())
	if t.chance(20) {
		sum = 0
	}
	b = be.AppendUint16(b, sum)
	return append(b, payload...)
}

func (t *traffic) payload(f flow) []byte {
	if f.dport == 53 {
		return t.dns()
	}
	switch t.r.IntN(7) {
	case 0:
		return append([]byte("GET /index.html HTTP/1.1\r\nHost: "), pick(t, hosts)...)
	case 1:
		return append([]byte{0x16, 3, 1, 2, 0, byte(t.r.IntN(4))}, t.bytes(60)...)
	case 2:
		return []byte("SSH-2.0-OpenSSH_9.2\r\n")
	case 3:
		return append([]byte("POST /"), t.bytes(t.r.IntN(300))...)
	case 4:
		return t.bytes(t.r.IntN(1200))
	case 5: // an answer, or almost one
		b := []byte(pick(t, []string{"HTTP/1.1 200 OK\r\n", "SSH-1.5-x\n", "POST", "HTTP"}))
		b[t.r.IntN(len(b))] = t.byte()
		return b
	default:
		return t.bytes(t.r.IntN(16))
	}
}

var hosts = []string{
	"www.example.com", "API.Example.org", "cdn.static.example.net", "example.com",
	"a-rather-long-name-of-a-host.internal.example.com", "x",
}

// dns is a question for one of the hosts.
func (t *traffic) dns() []byte {
	b := be.AppendUint16(nil, uint16(t.r.Uint32()))
	b = append(b, 1, 0, 0, byte(t.r.IntN(2)), 0, 0, 0, 0, 0, 0)
	label := []byte{}
	for _, c := range []byte(pick(t, hosts) + ".") {
		if c != '.' {
			label = append(label, c)
			continue
		}
		b = append(b, byte(len(label)))
		b = append(b, label...)
		label = label[:0]
	}
	b = append(b, 0, 0, 1, 0, 1)
	if t.chance(5) {
		b[12+t.r.IntN(4)] = 0xc0
	}
	return b
}

// icmp is an echo, or an error that quotes what the flow's other end sent.
func (t *traffic) icmp(m *mix, f flow) []byte {
	kinds, errors := []byte{8, 0, 13, 40}, []byte{3, 11, 5}
	if f.v6 {
		kinds, errors = []byte{128, 129, 135}, []byte{1, 2, 3}
	}
	if !t.chance(m.icmpError) {
		return append([]byte{pick(t, kinds), 0}, t.bytes(6+t.r.IntN(56))...)
	}
	back := f
	back.src4, back.dst4 = f.dst4, f.src4
	back.src6, back.dst6 = f.dst6, f.src6
	back.sport, back.dport = f.dport, f.sport
	back.proto = pick(t, []byte{protoTCP, protoTCP, protoUDP, protoGRE})
	plain := *m
	plain.options, plain.fragment = m.options/4, 0
	quoted, _ := t.packet(&plain, back, true)
	return slices.Concat([]byte{pick(t, errors), 4}, t.bytes(6), quoted)
}

// tunnel wraps another flow's packet. It returns the outer IP protocol and what
// follows the outer IP header.
func (t *traffic) tunnel(m *mix, outer flow) (byte, []byte) {
	f := t.nextFlow(m)
	packet, proto := t.packet(m, f, true)
	switch t.r.IntN(4) {
	case 0:
		return protoGRE, t.gre(m, f, packet, proto)
	case 1:
		head := []byte{8, 0, 0, 0}
		if t.chance(10) {
			head[0] = 0
		}
		head = be.AppendUint32(head, pick(t, m.vnis)<<8)
		inner := t.ethernet(m, f, packet, proto)
		return protoUDP, t.udp(outer.sport, 4789, append(head, inner...))
	case 2:
		return protoUDP, t.udp(outer.sport, 6081, t.geneve(m, f, packet, proto))
	default:
		if f.v6 {
			return protoIPv6, packet
		}
		return protoIPIP, packet
	}
}

func (t *traffic) gre(m *mix, f flow, packet []byte, proto uint16) []byte {
	flags := pick(t, []uint16{0, 0x2000, 0x8000, 0x3000, 0xb000, 0x2001})
	if t.chance(40) {
		packet, proto = t.ethernet(m, f, packet, proto), ethTEB
	}
	b := be.AppendUint16(nil, flags)
	b = be.AppendUint16(b, proto)
	if flags&0x8000 != 0 {
		b = append(b, t.bytes(4)...)
	}
	if flags&0x2000 != 0 {
		b = be.AppendUint32(b, pick(t, m.vnis))
	}
	if flags&0x1000 != 0 {
		b = append(b, t.bytes(4)...)
	}
	return append(b, packet...)
}

func (t *traffic) geneve(m *mix, f flow, packet []byte, proto uint16) []byte {
	options := t.bytes(4 * t.r.IntN(8))
	version := pick(t, []byte{0, 0, 0, 0, 0, 0, 0, 0x40})
	if t.chance(70) {
		packet, proto = t.ethernet(m, f, packet, proto), ethTEB
	}
	b := []byte{version | byte(len(options)/4), 0}
	b = be.AppendUint16(b, proto)
	b = be.AppendUint32(b, pick(t, m.vnis)<<8)
	return slices.Concat(b, options, packet)
}
