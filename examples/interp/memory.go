package interp

import (
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/semantics"
)

// Every region has a slot of addresses of its own, with nothing on either side
// of it, so that an access that leaves a region is no access to another.
const (
	slotBits   = 24 // of the addresses within a slot
	margin     = 1 << 16
	firstSlot  = 0xffff_c900_0000_0000 >> slotBits
	stackSize  = 8 * frameSize // the deepest nesting of calls
	frameSize  = 512           // MAX_BPF_STACK in include/linux/filter.h
	packetSlot = 0x10          // below 4 GiB: contexts hold packet pointers in 32 bits
)

// region is a stretch of memory.
type region struct {
	name     string
	start    uint64
	size     int
	readOnly bool
}

// memory is what a program can reach. Its bytes are in the machine's state.
type memory struct {
	state     *semantics.State
	regions   map[uint64]*region // by slot
	next      uint64             // the next free slot
	dead      []*region          // to be given up after the run
	stack     *region
	lowest    uint64 // byte of the stack that was written in this run
	scrambled uint64 // what the stack holds before it is written
}

func newMemory() *memory {
	m := &memory{regions: map[uint64]*region{}, next: firstSlot}
	m.state = &semantics.State{Memory: map[uint64]byte{}, Check: m.check, Fill: m.fill}
	m.stack = m.allocate("stack", stackSize)
	m.lowest = m.top()
	return m
}

// top is the frame pointer of a program.
func (m *memory) top() uint64 { return m.stack.start + stackSize }

// allocate makes a region of zeros.
func (m *memory) allocate(name string, size int) *region {
	r := &region{name: name, start: m.next<<slotBits + margin, size: size}
	m.regions[m.next] = r
	m.next++
	return r
}

// holding makes a region with the given bytes.
func (m *memory) holding(name string, b []byte) *region {
	r := m.allocate(name, len(b))
	m.state.WriteBytes(r.start, b)
	return r
}

// release gives up a region at the end of the run. Until then a program may
// still hold a pointer to it, as it may to a deleted element of a map.
func (m *memory) release(r *region) { m.dead = append(m.dead, r) }

// bytes is a copy of what a region holds.
func (m *memory) bytes(r *region) []byte {
	b := make([]byte, r.size)
	m.state.ReadBytes(r.start, b)
	return b
}

// begin prepares a run with a stack that nothing can be expected of.
func (m *memory) begin(seed uint64) {
	for _, r := range m.dead {
		m.erase(r)
	}
	m.dead = nil
	for addr := m.lowest; addr < m.top(); addr++ {
		delete(m.state.Memory, addr)
	}
	m.lowest, m.scrambled = m.top(), seed
}

func (m *memory) erase(r *region) {
	for i := range uint64(r.size) {
		delete(m.state.Memory, r.start+i)
	}
	delete(m.regions, r.start>>slotBits)
}

// place puts a packet in its slot, with zeros in the headroom before it.
func (m *memory) place(b []byte) *region {
	if old := m.regions[packetSlot]; old != nil {
		end := old.start + uint64(old.size)
		for addr := uint64(packetSlot<<slotBits + margin - headroom); addr < end; addr++ {
			delete(m.state.Memory, addr)
		}
	}
	r := &region{name: "packet", start: packetSlot<<slotBits + margin, size: len(b)}
	m.regions[packetSlot] = r
	m.state.WriteBytes(r.start, b)
	return r
}

// fill is what memory holds that was never written: on the stack anything.
func (m *memory) fill(addr uint64) byte {
	if addr>>slotBits == m.stack.start>>slotBits {
		return byte(mix(addr ^ m.scrambled))
	}
	return 0
}

// find is the region that all size bytes at addr are in.
func (m *memory) find(addr uint64, size int) (*region, error) {
	r := m.regions[addr>>slotBits]
	if r == nil {
		return nil, fmt.Errorf("%d bytes at %#x: %w", size, addr, semantics.ErrFault)
	}
	at := int64(addr - r.start)
	low := int64(0)
	if r == m.stack {
		low = int64(m.state.Regs[bpf.R10] - frameSize - r.start)
	}
	if at < low || at+int64(size) > int64(r.size) {
		return nil, fmt.Errorf("%d bytes at %d of the %d of %s: %w", size, at, r.size, r.name, semantics.ErrFault)
	}
	return r, nil
}

// check lets the machine access what is inside one region.
func (m *memory) check(addr uint64, size int, write bool) error {
	r, err := m.find(addr, size)
	switch {
	case err != nil:
		return err
	case !write:
	case r.readOnly:
		return fmt.Errorf("%d bytes written to %s, which is read-only: %w", size, r.name, semantics.ErrFault)
	case r == m.stack:
		m.lowest = min(m.lowest, addr)
	}
	return nil
}

// read copies what a helper reads.
func (m *memory) read(addr uint64, size int) ([]byte, error) {
	if err := m.check(addr, size, false); err != nil {
		return nil, err
	}
	b := make([]byte, size)
	m.state.ReadBytes(addr, b)
	return b, nil
}

// write does what a helper writes.
func (m *memory) write(addr uint64, b []byte) error {
	if err := m.check(addr, len(b), true); err != nil {
		return err
	}
	m.state.WriteBytes(addr, b)
	return nil
}

// mix makes a number of another that is as good as random
// (Steele et al., Fast Splittable Pseudorandom Number Generators, 2014).
func mix(x uint64) uint64 {
	x += 0x9e37_79b9_7f4a_7c15
	x = (x ^ x>>30) * 0xbf58_476d_1ce4_e5b9
	x = (x ^ x>>27) * 0x94d0_49bb_1331_11eb
	return x ^ x>>31
}
