package search

import (
	"maps"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/windows"
)

// maxBytes is the number of bytes that a window may touch; the search leaves
// windows that touch more alone.
const maxBytes = 128

// mask is a set of the bytes of a lane.
type mask [maxBytes / 64]uint64

func (m *mask) has(i int) bool { return m[i/64]>>(i%64)&1 != 0 }

func (m *mask) add(at, n int) {
	for i := at; i < at+n; i++ {
		m[i/64] |= 1 << (i % 64)
	}
}

// contains tells whether the bytes from at on, n of them, are in a or b.
func contains(a, b *mask, at, n int) bool {
	if at%64+n <= 64 {
		want := (uint64(1)<<n - 1) << (at % 64)
		return (a[at/64]|b[at/64])&want == want
	}
	for i := at; i < at+n; i++ {
		if !a.has(i) && !b.has(i) {
			return false
		}
	}
	return true
}

// state is a machine's state in a lane.
type state struct {
	cpu
	mem     [maxBytes]byte
	written mask
}

// segment is a run of bytes that the window's code touches.
type segment struct {
	addr uint64
	n    int
	at   int // index of the first byte in state.mem
}

// lane is one state before the window, allowed by its facts, with what the
// window's code makes of it. Its memory is just the bytes that this code
// touches.
type lane struct {
	env
	start    state
	segs     []segment
	bytes    int
	readable mask // a candidate may read these before writing them
	writable mask // the window's code writes these
	needed   mask // those of them that must be right in the end
	goal     state
	taken    bool
	compared [2]uint64 // what the window's jump compares
	memory   laneMemory
}

// find is the index of the first of n bytes at addr, or -1.
func (l *lane) find(addr uint64, n int) int {
	for i := range l.segs {
		s := &l.segs[i]
		if d := addr - s.addr; d < uint64(s.n) {
			if int(d)+n > s.n {
				return -1
			}
			return s.at + int(d)
		}
	}
	return -1
}

// laneMemory is the memory of a lane in one state. It is a part of the lane
// only so that no access allocates it.
type laneMemory struct {
	l *lane
	s *state
}

func (m *laneMemory) load(addr uint64, size int) (uint64, bool) {
	at := m.l.find(addr, size)
	if at < 0 || !contains(&m.l.readable, &m.s.written, at, size) {
		return 0, false
	}
	return getBytes(m.s.mem[at:at+size], m.l.big), true
}

func (m *laneMemory) store(addr uint64, size int, v uint64) bool {
	at := m.l.find(addr, size)
	if at < 0 || !contains(&m.l.writable, &m.l.writable, at, size) {
		return false
	}
	putBytes(m.s.mem[at:at+size], v, m.l.big)
	m.s.written.add(at, size)
	return true
}

// exec runs one straight-line instruction on s.
func (l *lane) exec(s *state, in *bpf.Instruction) bool {
	switch in.Op.Class() {
	case bpf.ClassALU, bpf.ClassALU64:
		s.regs[in.Dst] = alu(in, s.regs[in.Dst], l.operand(&s.cpu, in), l.big)
		return true
	}
	l.memory = laneMemory{l, s}
	return l.step(&s.cpu, &l.memory, in)
}

// run runs straight-line code on s.
func (l *lane) run(s *state, code []bpf.Instruction) bool {
	for i := range code {
		if !l.exec(s, &code[i]) {
			return false
		}
	}
	return true
}

// jumps tells whether in, a conditional jump, is taken in s.
func (l *lane) jumps(s *state, in *bpf.Instruction) bool {
	return taken(in, s.regs[in.Dst], l.operand(&s.cpu, in))
}

// operands is what in compares in s.
func (l *lane) operands(s *state, in *bpf.Instruction) [2]uint64 {
	return [2]uint64{s.regs[in.Dst], l.operand(&s.cpu, in)}
}

// sparse is memory that is filled as code touches it.
type sparse struct {
	big     bool
	first   map[uint64]byte // what was there before
	now     map[uint64]byte // what the code wrote
	read    map[uint64]bool // read before it was written
	touched map[uint64]bool
	fill    func(addr uint64, size int) uint64 // bytes not in first
}

// inMemory tells whether size bytes at addr lie where memory can be: not about
// the null pointer and not across the end.
func inMemory(addr uint64, size int) bool {
	return addr >= 1<<16 && addr+uint64(size)+1<<16 > addr
}

func (m *sparse) need(addr uint64, size int) {
	known := false
	for i := range uint64(size) {
		_, ok := m.first[addr+i]
		known = known || ok
	}
	if known {
		for i := range uint64(size) {
			if _, ok := m.first[addr+i]; !ok {
				m.first[addr+i] = byte(m.fill(addr+i, 1))
			}
		}
		return
	}
	var b [8]byte
	putBytes(b[:size], m.fill(addr, size), m.big)
	for i := range uint64(size) {
		m.first[addr+i] = b[i]
	}
}

func (m *sparse) load(addr uint64, size int) (uint64, bool) {
	if !inMemory(addr, size) {
		return 0, false
	}
	m.need(addr, size)
	var b [8]byte
	for i := range uint64(size) {
		m.touched[addr+i] = true
		v, ok := m.now[addr+i]
		if !ok {
			v = m.first[addr+i]
			m.read[addr+i] = true
		}
		b[i] = v
	}
	return getBytes(b[:size], m.big), true
}

func (m *sparse) store(addr uint64, size int, v uint64) bool {
	if !inMemory(addr, size) {
		return false
	}
	m.need(addr, size)
	var b [8]byte
	putBytes(b[:size], v, m.big)
	for i := range uint64(size) {
		m.touched[addr+i] = true
		m.now[addr+i] = b[i]
	}
	return true
}

// newLane runs w's code from the registers regs and memory mem, and lays the
// bytes that it touches out as a lane. It reports false for a state in which
// the code does what no accepted program does.
func newLane(w *windows.Window, e env, regs [bpf.NumRegisters]uint64, mem *sparse) (*lane, bool) {
	body, jump := split(w.Code)
	c := cpu{regs: regs}
	for i := range body {
		if !e.step(&c, mem, &body[i]) {
			return nil, false
		}
	}
	if len(mem.touched) > maxBytes {
		return nil, false
	}
	l := &lane{env: e}
	l.start.regs = regs
	l.layOut(w, mem)
	l.goal = l.start
	if !l.run(&l.goal, body) {
		return nil, false
	}
	if jump != nil {
		l.taken = l.jumps(&l.goal, jump)
		l.compared = l.operands(&l.goal, jump)
	}
	return l, true
}

func (l *lane) layOut(w *windows.Window, mem *sparse) {
	addrs := slices.Sorted(maps.Keys(mem.touched))
	for i, addr := range addrs {
		if i == 0 || addrs[i-1]+1 != addr {
			l.segs = append(l.segs, segment{addr: addr, at: i})
		}
		l.segs[len(l.segs)-1].n++
		off := int64(addr - l.start.regs[bpf.R10])
		onStack := off < 0 && off >= -flow.StackSize
		if mem.read[addr] || onStack && w.Facts.Written.Has(int(off)) {
			l.readable.add(i, 1)
		}
		if _, ok := mem.now[addr]; ok {
			l.writable.add(i, 1)
			if !onStack || w.Needs.Stack.Has(int(off)) {
				l.needed.add(i, 1)
			}
		}
		l.start.mem[i] = mem.first[addr]
	}
	l.bytes = len(addrs)
}

// split takes a conditional jump at the end of code off.
func split(code []bpf.Instruction) (body []bpf.Instruction, jump *bpf.Instruction) {
	if n := len(code); n > 0 && code[n-1].IsCondJump() {
		return code[:n-1], &code[n-1]
	}
	return code, nil
}
