// Package cost estimates what code costs: its size, the machine code that the
// kernel's JIT compiler makes of it, the time that this takes, and the work of
// the verifier. The estimates rest on a table of measurements (scripts/fit-costs).
package cost

import (
	"github.com/k2cc/k2cc/bpf"
)

// Cost is what a stretch of code costs.
type Cost struct {
	Slots  int // 8-byte slots
	Bytes  int // machine code, as the x86-64 JIT compiler makes it
	Time   int // picoseconds: as estimated for a run through it
	Walked int // instructions that the verifier walks, once through it
	// Ops counts instructions that do anything but load a constant, and those
	// that access memory twice: what a constant is, all that comes after knows.
	Ops int
}

// Of is the cost of straight-line code. Its time is that of the longest chain
// of instructions that wait for each other, or that of all instructions'
// shares where those take longer.
func Of(code []bpf.Instruction) Cost { return Default().of(code) }

func (t *Table) of(code []bpf.Instruction) Cost {
	c := Cost{Slots: bpf.Slots(code), Walked: len(code)}
	work := 0
	p := path{table: t}
	for i := range code {
		size, e := t.lookup(code[i])
		c.Bytes += size
		work += e.Work
		c.Ops += ops(code[i])
		p.add(code[i], e.Latency)
	}
	c.Time = max(work, p.longest)
	return c
}

func ops(in bpf.Instruction) int {
	switch {
	case in.IsLoad(), in.IsStore(), in.IsAtomic():
		return 2
	case in.Op == bpf.LoadImm64, in.IsALU() && in.Op.ALU() == bpf.OpMov && !in.UsesSrc():
		return 0
	}
	return 1
}

// Bytes is the machine code of one instruction, in bytes. A jump counts as one
// that reaches its target with an offset of 8 bits.
func Bytes(in bpf.Instruction) int {
	size, _ := Default().lookup(in)
	return size
}

// Work is the time in picoseconds that an instruction adds to that of many which
// do not wait for each other.
func Work(in bpf.Instruction) int {
	_, e := Default().lookup(in)
	return e.Work
}

// unmeasured stands for forms that the table does not have.
var unmeasured = Entry{Latency: 1000, Work: 1000}

const unmeasuredBytes = 8

func (t *Table) lookup(in bpf.Instruction) (size int, e *Entry) {
	e = t.Entries[FormOf(in)]
	if e == nil {
		return unmeasuredBytes, &unmeasured
	}
	dst, src := registers(in)
	if size = int(e.Size[dst][src]); size == 0 && e.Size != (sizes{}) {
		size = unmeasuredBytes
	}
	return size, e
}

// path is the longest chain of instructions that wait for each other. Times are
// in picoseconds since all that the code starts with was there.
type path struct {
	table   *Table
	ready   [bpf.NumRegisters]int // when a register has its value
	version [bpf.NumRegisters]int // how often it was written
	stores  []stored
	longest int
}

// stored is a write to memory that a later read may wait for.
type stored struct {
	place
	at int // when it is there
}

// place is memory at an offset from what a register held.
type place struct {
	base          bpf.Register
	version       int
	offset, bytes int
}

func (p place) meets(q place) bool {
	return p.base == q.base && p.version == q.version && p.offset < q.offset+q.bytes && q.offset < p.offset+p.bytes
}

func (p place) holds(q place) bool {
	return p.meets(q) && p.offset <= q.offset && q.offset+q.bytes <= p.offset+p.bytes
}

func (p *path) place(base bpf.Register, in bpf.Instruction) place {
	return place{base, p.version[base], int(in.Off), in.Size()}
}

func (p *path) add(in bpf.Instruction, latency int) {
	start, reads := 0, in.Reads()
	for r := range bpf.Register(bpf.NumRegisters) {
		if reads.Has(r) {
			start = max(start, p.ready[r])
		}
	}
	end := start + latency
	switch {
	case in.IsLoad():
		end = p.read(p.place(in.Src, in), end, latency)
	case in.IsAtomic():
		end = p.read(p.place(in.Dst, in), end, latency)
	}
	if in.IsStore() || in.IsAtomic() {
		p.stores = append(p.stores, stored{p.place(in.Dst, in), end})
	}
	writes := in.Writes()
	for r := range bpf.Register(bpf.NumRegisters) {
		if writes.Has(r) {
			p.ready[r], p.version[r] = end, p.version[r]+1
		}
	}
	p.longest = max(p.longest, end)
}

// read is when an access to a place that would end at end is done. The last
// write there hands its value on; what it wrote in part only has to reach the
// cache first.
func (p *path) read(at place, end, latency int) int {
	for i := len(p.stores) - 1; i >= 0; i-- {
		switch s := p.stores[i]; {
		case s.holds(at):
			return max(0, s.at+p.table.Forward+latency)
		case s.meets(at):
			return max(end, s.at+p.table.Stall+latency)
		}
	}
	return end
}
