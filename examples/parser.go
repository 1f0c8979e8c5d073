package examples

import "github.com/cilium/ebpf"

// tcParser is the tc classifier: half of its traffic comes through tunnels.
func tcParser() Example {
	m := someMix()
	m.vlan, m.qinq, m.mpls, m.tunnel, m.mangled = 40, 40, 15, 50, 25
	return Example{
		Name: "tc_parser",
		Programs: []Program{
			{Name: "tc_parser", Section: "tc", Type: ebpf.SchedCLS, RunAs: ebpf.SchedCLS},
		},
		entries: fillParser,
		traffic: func(t *traffic, _ string) Input {
			in := Input{Data: skbFrame(t.frame(&m))}
			in.Context = t.skbContext([5]uint32{t.r.Uint32(), t.r.Uint32()})
			return in
		},
	}
}

func fillParser(f *filler) {
	type key struct {
		VNI          uint32
		VID          uint16
		DSCP, Tunnel byte
	}
	type class struct {
		Mark, Priority uint32
		Queue          uint16
		Drop, Pad      byte
	}
	m := someMix()
	for tunnel := range byte(5) {
		for _, vni := range append(m.vnis, 0) {
			for _, vid := range append(m.vids, 0) {
				if f.chance(60) {
					continue
				}
				c := class{Mark: f.r.Uint32(), Priority: f.r.Uint32N(16), Queue: uint16(f.r.IntN(8))}
				if f.chance(15) {
					c.Drop = 1
				}
				k := key{vni, vid, pick(f.traffic, dscps), tunnel}
				f.put("classes", k, c)
			}
		}
	}
}
