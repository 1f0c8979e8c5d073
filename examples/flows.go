package examples

import "github.com/cilium/ebpf"

// flowExport is the flow exporter; its loader asks for one flow in three.
func flowExport() Example {
	m := someMix()
	m.options, m.fragment, m.mangled = 5, 2, 8
	return Example{
		Name: "flow_export",
		Programs: []Program{
			{Name: "flow_ingress", Section: "tc/ingress", Type: ebpf.SchedCLS, RunAs: ebpf.SchedCLS},
			{Name: "flow_egress", Section: "tc/egress", Type: ebpf.SchedCLS, RunAs: ebpf.SchedCLS},
		},
		entries: func(*filler) {},
		traffic: func(t *traffic, _ string) Input {
			return Input{Data: skbFrame(t.frame(&m))}
		},
		configure: map[string]any{"sample_rate": uint32(3)},
	}
}
