package examples

import "github.com/cilium/ebpf"

const (
	afInet  = 2
	afInet6 = 10
)

// xdpLB is the load balancer: twelve VIPs of both families, some of them on
// every port, 64 backends of all modes, some of them down.
func xdpLB() Example {
	m := someMix()
	m.ports = []uint16{80, 443, 443, 53, 8080}
	// VIPs of one family each, and an address that is none.
	m.dst4, m.dst6 = hosts4(203, 0, 113, 200, 1), hosts6(0x100, 200, 1)
	for i := range len(servers4) / 2 {
		m.dst4 = append(m.dst4, servers4[2*i])
		m.dst6 = append(m.dst6, servers6[2*i+1])
	}
	m.icmp, m.icmpError = 15, 80
	return Example{
		Name: "xdp_lb",
		Programs: []Program{
			{Name: "xdp_lb", Section: "xdp", Type: ebpf.XDP, RunAs: ebpf.XDP},
		},
		entries: fillLB,
		traffic: frames(m),
	}
}

type lbVIPKey struct {
	Addr   addr6
	Port   [2]byte
	Proto  byte
	Family byte
}

type lbBackend struct {
	Addr           addr6
	MAC            [6]byte
	Port           [2]byte
	Family         byte
	Mode, Up, Pad0 byte
}

func fillLB(f *filler) {
	const vips, backends, ringSize = 12, 64, 1021
	for i := range uint32(vips) {
		flags := uint32(0)
		if i%4 == 1 {
			flags |= 1
		}
		if i%5 == 2 {
			flags |= 2
		}
		key := lbVIPKey{Addr: wide4(servers4[i]), Family: afInet}
		if i%2 == 1 {
			key = lbVIPKey{Addr: servers6[i], Family: afInet6}
		}
		ports := []uint16{80, 443, 53}
		if i%3 == 0 {
			ports = []uint16{0}
		}
		for _, p := range ports {
			for _, key.Proto = range []byte{protoTCP, protoUDP} {
				key.Port = port(p)
				f.put("vips", key, [2]uint32{i, flags})
			}
		}
		for slot := range uint32(ringSize) {
			f.put("ring", i*ringSize+slot, f.r.Uint32N(backends))
		}
	}
	for i := range uint32(backends) {
		b := lbBackend{
			Addr:   wide4(addr4{10, 99, 0, byte(i)}),
			MAC:    [6]byte{2, 0, 0, 0, 9, byte(i)},
			Family: afInet,
			Mode:   byte(i % 3),
		}
		if i%4 == 3 {
			b.Addr, b.Family = hosts6(0x99, byte(i), 1)[0], afInet6
		}
		if i%2 == 0 {
			b.Port = port(8000 + uint16(i))
		}
		if i%11 != 0 {
			b.Up = 1
		}
		f.put("backends", i, b)
	}
	local := append([]byte{192, 0, 2, 1}, make([]byte, 24)...)
	copy(local[4:], hosts6(0x99, 250, 1)[0][:])
	copy(local[20:], []byte{2, 0, 0, 0, 7, 7})
	f.put("locals", uint32(0), local)
}
