package examples

import "github.com/cilium/ebpf"

// xdpFirewall is the firewall: a few hundred prefixes, rules for common ports,
// blocked addresses whose time is over or not.
func xdpFirewall() Example {
	m := someMix()
	m.src4 = append(append(blocked4(), clients4...), addr4{127, 0, 0, 1}, addr4{224, 0, 0, 9})
	m.src6 = append(append(blocked6(), clients6...), addr6{15: 1}, addr6{0xff, 2, 15: 1})
	m.vlan, m.qinq = 30, 30
	m.options, m.fragment, m.mangled = 12, 8, 15
	m.icmp = 16
	return Example{
		Name: "xdp_firewall",
		Programs: []Program{
			{Name: "xdp_firewall", Section: "xdp", Type: ebpf.XDP, RunAs: ebpf.XDP},
		},
		entries: fillFirewall,
		traffic: frames(m),
	}
}

func blocked4() []addr4 { return hosts4(192, 0, 2, 1, 8) }
func blocked6() []addr6 { return hosts6(0xbad, 1, 8) }

type firewallRule struct {
	ID          uint32
	Action, Log byte
	MaxLen      uint16
}

// rule is one with a number of its own, which mostly leaves the decision to the
// next table.
func (f *filler) rule(id uint32, next int) firewallRule {
	r := firewallRule{ID: id, Action: byte(1 + f.r.IntN(3))}
	if f.chance(next) {
		r.Action = 0
	}
	if f.chance(30) {
		r.MaxLen = uint16(40 + f.r.IntN(400))
	}
	return r
}

type prefix4 struct {
	Len  uint32
	Addr addr4
}

type prefix6 struct {
	Len  uint32
	Addr addr6
}

func fillFirewall(f *filler) {
	id := uint32(16)
	for range 200 {
		length := pick(f.traffic, []uint32{8, 12, 16, 20, 24, 25, 28, 30, 32})
		f.put("prefixes4", prefix4{length, pick(f.traffic, clients4)}, f.rule(id, 70))
		id++
	}
	for range 200 {
		length := pick(f.traffic, []uint32{32, 40, 48, 56, 64, 96, 120, 126, 128})
		f.put("prefixes6", prefix6{length, pick(f.traffic, clients6)}, f.rule(id, 70))
		id++
	}
	for _, p := range commonPorts[1:] {
		for _, proto := range []byte{protoTCP, protoUDP} {
			f.put("ports", [4]byte{byte(p >> 8), byte(p), proto}, f.rule(id, 20))
			id++
		}
		f.put("ports", [4]byte{byte(p >> 8), byte(p), protoTCP, 1}, f.rule(id, 50))
		id++
	}
	fillBlocklist(f)
	const allow, icmpTypes = 1, 1<<0 | 1<<3 | 1<<8 | 1<<11
	f.put("config", uint32(0), struct {
		Default, DropFragments, DropOptions, AllowICMP byte
		ICMPTypes                                      uint32
	}{allow, 1, 1, 1, icmpTypes})
}

func fillBlocklist(f *filler) {
	type address struct {
		Addr   addr6
		Family uint32
	}
	// Some are over before the first packet, some while packets come.
	until := func(i int) [2]uint64 {
		return [2]uint64{[]uint64{0, startTime - 1, startTime + 250*tick}[i%3]}
	}
	for i, a := range blocked4() {
		f.put("blocklist", address{wide4(a), ethIPv4}, until(i))
	}
	for i, a := range blocked6() {
		f.put("blocklist", address{a, ethIPv6}, until(i))
	}
}
