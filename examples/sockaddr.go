package examples

import "github.com/cilium/ebpf"

// sockAddr is service translation. The kernel runs none of its programs on
// request: Inputs gives what an interpreter needs.
func sockAddr() Example {
	e := Example{Name: "sock_addr", entries: fillServices, traffic: sockAddrInput}
	for _, name := range []string{
		"connect4", "connect6", "sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6", "getpeername4",
	} {
		e.Programs = append(e.Programs, Program{
			Name: name, Section: "cgroup/" + name, Type: ebpf.CGroupSockAddr,
		})
	}
	return e
}

// bpfSockAddr is struct bpf_sock_addr (include/uapi/linux/bpf.h).
type bpfSockAddr struct {
	UserFamily             uint32
	UserIP4                addr4
	UserIP6                addr6
	UserPort               [2]byte
	_                      [2]byte
	Family, Type, Protocol uint32
	SrcIP4                 addr4
	SrcIP6                 addr6
	_                      uint32
	SK                     uint64
}

const endpointPort = 9000

func sockAddrInput(t *traffic, program string) Input {
	services4, services6 := servers4, servers6
	ports := commonPorts
	if program == "recvmsg4" || program == "recvmsg6" || program == "getpeername4" {
		services4, services6 = hosts4(10, 99, 0, 1, 8), hosts6(0x99, 1, 8)
		ports = []uint16{endpointPort, endpointPort + 1}
	}
	a := bpfSockAddr{
		UserFamily: afInet, Family: afInet,
		Type: 1, Protocol: protoTCP,
		UserIP4:  pick(t, services4),
		UserIP6:  pick(t, services6),
		UserPort: port(pick(t, ports)),
	}
	if program[len(program)-1] == '6' {
		a.UserFamily, a.Family = afInet6, afInet6
		if t.chance(20) {
			a.UserIP6 = mapped4(pick(t, services4))
		}
	}
	if t.chance(3) {
		a.UserFamily = 1
	}
	if t.chance(50) || program == "sendmsg4" || program == "sendmsg6" {
		a.Type, a.Protocol = 2, protoUDP
	}
	if t.chance(15) {
		a.Protocol = 0
	}
	if t.chance(5) {
		a.Type = 3
	}
	return Input{Context: native(a)}
}

func fillServices(f *filler) {
	type serviceKey struct {
		Addr  addr6
		Port  [2]byte
		Proto byte
		Pad   byte
	}
	type service struct {
		ID           uint32
		Count, Flags uint16
		AffinityNS   uint64
	}
	type endpoint struct {
		Addr       addr6
		Port       [2]byte
		Ready, Pad byte
		Weight     uint32
	}
	for i := range len(servers4) {
		id := uint32(i + 1)
		s := service{
			ID: id, Count: uint16(i % 5), Flags: uint16(i % 2),
			AffinityNS: uint64(1+i) * 20 * tick,
		}
		if i == 7 {
			s.Flags |= 4
		}
		ports := []uint16{80, 443, 53}
		if i%3 == 0 {
			ports = []uint16{0}
		}
		for _, p := range ports {
			for _, proto := range []byte{protoTCP, protoUDP} {
				f.put("services", serviceKey{mapped4(servers4[i]), port(p), proto, 0}, s)
				f.put("services", serviceKey{servers6[i], port(p), proto, 0}, s)
			}
		}
		for index := range uint32(s.Count) {
			ep := endpoint{Addr: mapped4(addr4{10, 99, 0, byte(1 + (id+index)%8)})}
			if f.chance(25) {
				ep.Addr = hosts6(0x99, byte(1+(id+index)%8), 1)[0]
			}
			if f.chance(80) {
				ep.Port = port(uint16(endpointPort + index%2))
			}
			if f.chance(85) {
				ep.Ready = 1
			}
			f.put("endpoints", [2]uint32{id, index}, ep)
		}
	}
}
