package examples

import "github.com/cilium/ebpf"

// rateLimit is the rate limiter: tenants with every kind of tag translation,
// of which some are short of bytes and some of packets.
func rateLimit() Example {
	m := someMix()
	m.vids = tenantVIDs()
	m.vids = append(m.vids, 999)
	m.vlan, m.qinq = 95, 5
	return Example{
		Name: "rate_limit",
		Programs: []Program{
			{Name: "rate_limit", Section: "xdp", Type: ebpf.XDP, RunAs: ebpf.XDP},
		},
		entries: fillLimits,
		traffic: frames(m),
	}
}

func tenantVIDs() []uint16 {
	return []uint16{100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111}
}

func fillLimits(f *filler) {
	type tenant struct {
		Lock, ID                               uint32
		Rate, Burst, Tokens, Refilled, Dropped uint64
		SourceRate                             uint32
		VID                                    uint16
		Action, Strict                         byte
	}
	for i, vid := range tenantVIDs() {
		t := tenant{
			ID:         uint32(i + 1),
			Rate:       uint64(1+f.r.IntN(16)) << 10,
			Burst:      uint64(600 + f.r.IntN(3000)),
			Refilled:   startTime,
			SourceRate: uint32(1 + f.r.IntN(30)),
			VID:        vid + 1000,
			Action:     byte(i % 5), // the fifth is none that there is
			Strict:     byte(i % 2),
		}
		t.Tokens = t.Burst
		f.put("tenants", uint32(vid), t)
	}
}
