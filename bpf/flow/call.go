package flow

import "github.com/k2cc/k2cc/bpf"

// call does what is known of a call: to a function of which nothing is known.
func (m *machine) call(in bpf.Instruction) {
	for r := bpf.R1; r <= bpf.R5; r++ {
		if m.s.Regs[r].Kind == KindStack {
			m.s.Escaped = true
		}
	}
	if m.s.Escaped {
		m.s.killAll()
	}
	m.losePackets()
	m.loseArguments()
	m.SetReg(bpf.R0, number{Unknown(KindAny), 64})
}
