package examples

import (
	"slices"

	"github.com/cilium/ebpf"
)

// sockStats is the socket filter with tail calls. Run by itself, a program of
// the chain gets the state that its predecessor would leave.
func sockStats() Example {
	e := Example{
		Name: "sock_stats",
		entries: func(f *filler) {
			f.put("snaps", uint32(0), [3]uint32{96, 512, 16})
		},
		traffic: sockStatsInput,
	}
	for _, p := range []Program{
		{Name: "dissect", Section: "socket"},
		{Name: "ipv4", Section: "socket/ipv4"},
		{Name: "ipv6", Section: "socket/ipv6"},
		{Name: "tcp", Section: "socket/tcp"},
		{Name: "udp", Section: "socket/udp"},
		{Name: "arp", Section: "socket/arp"},
	} {
		p.Type, p.RunAs = ebpf.SocketFilter, ebpf.SocketFilter
		e.Programs = append(e.Programs, p)
	}
	return e
}

func sockStatsInput(t *traffic, program string) Input {
	const ethLen, ipv4Len = 14, 20
	m := someMix()
	m.vlan, m.qinq, m.options = 20, 30, 15
	cb := [5]uint32{}
	switch program {
	case "ipv4", "ipv6", "arp":
		cb = [5]uint32{ethLen, 0, 0, 0, t.r.Uint32N(2)}
		m.vlan, m.noise = 0, 0
		m.v6 = map[string]int{"ipv4": 5, "ipv6": 95}[program]
		if program == "arp" {
			m.noise = 90
		}
	case "tcp", "udp":
		cb = [5]uint32{ethLen + ipv4Len, protoTCP, afInet, t.r.Uint32N(64), t.r.Uint32N(2)}
		m.vlan, m.v6, m.options, m.udp, m.icmp = 0, 0, 0, 5, 0
		if program == "udp" {
			cb[1], m.udp = protoUDP, 95
		}
	}
	// What the kernel takes for the link-layer header and hides from the filter.
	hidden := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5}
	return Input{
		Data:    slices.Concat(hidden, t.frame(&m)),
		Context: t.skbContext(cb),
	}
}
