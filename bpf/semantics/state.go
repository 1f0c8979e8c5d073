package semantics

import (
	"fmt"
	"maps"

	"github.com/k2cc/k2cc/bpf"
)

// State is a concrete machine: numbers in registers and memory. The zero State
// is ready to use.
type State struct {
	Words
	Regs [bpf.NumRegisters]uint64
	// Memory holds bytes by address. A byte that is not in it is what Fill
	// says, or zero where there is no Fill.
	Memory map[uint64]byte
	Fill   func(addr uint64) byte
	// Symbols holds what loaders put into instructions. A symbol that is not
	// in it is zero.
	Symbols map[bpf.Ref]uint64
	// Arena is an address at which user space sees the program's arena, of
	// which the upper half counts.
	Arena uint64
	// Big says that the target is big-endian.
	Big bool
	// Check, if set, is asked before every access to size bytes at addr.
	// Without it no access fails.
	Check func(addr uint64, size int, write bool) error
}

var (
	_ Machine[Word] = (*State)(nil)
	_ Arena[Word]   = (*State)(nil)
)

// Clone is a copy that shares nothing but the functions.
func (s *State) Clone() *State {
	c := *s
	c.Memory = maps.Clone(s.Memory)
	c.Symbols = maps.Clone(s.Symbols)
	return &c
}

// BigEndian tells the target's byte order.
func (s *State) BigEndian() bool { return s.Big }

// ArenaHigh is the upper half of Arena.
func (s *State) ArenaHigh() Word { return Word{s.Arena >> 32, 32} }

// Reg is r's value.
func (s *State) Reg(r bpf.Register) Word { return Word{s.Regs[r], 64} }

// SetReg gives r the value v.
func (s *State) SetReg(r bpf.Register, v Word) { s.Regs[r] = v.Value }

// Imm is the immediate or what the loader puts in its place.
func (s *State) Imm(in bpf.Instruction) Word {
	switch {
	case in.Ref == 0:
		return Word{uint64(in.Imm), 64}
	case in.Op == bpf.LoadImm64:
		return Word{s.Symbols[in.Ref], 64}
	}
	return Word{uint64(int64(int32(s.Symbols[in.Ref]))), 64}
}

// Address is where a memory access with the given base register leads.
func (s *State) Address(in bpf.Instruction, base bpf.Register) uint64 {
	off := in.Off
	if in.Ref != 0 {
		off = int16(s.Symbols[in.Ref])
	}
	return s.Regs[base] + uint64(int64(off))
}

// Load reads in.Size() bytes. It fails where Check does.
func (s *State) Load(in bpf.Instruction, base bpf.Register) (Word, error) {
	addr := s.Address(in, base)
	if err := s.check(in, addr, false); err != nil {
		return Word{}, err
	}
	return Word{s.Read(addr, in.Size()), 8 * in.Size()}, nil
}

// Store writes in.Size() bytes. It fails where Check does.
func (s *State) Store(in bpf.Instruction, base bpf.Register, v Word) error {
	addr := s.Address(in, base)
	if err := s.check(in, addr, true); err != nil {
		return err
	}
	s.Write(addr, in.Size(), v.Value)
	return nil
}

func (s *State) check(in bpf.Instruction, addr uint64, write bool) error {
	if s.Check == nil {
		return nil
	}
	if err := s.Check(addr, in.Size(), write); err != nil {
		return fmt.Errorf("%v: %w", in, err)
	}
	return nil
}

// Byte is the byte at addr.
func (s *State) Byte(addr uint64) byte {
	if b, ok := s.Memory[addr]; ok {
		return b
	}
	if s.Fill != nil {
		return s.Fill(addr)
	}
	return 0
}

// Read is the number of size bytes, 1 to 8, at addr in the target's byte order.
func (s *State) Read(addr uint64, size int) uint64 {
	var v uint64
	for i := range size {
		at := size - 1 - i
		if s.Big {
			at = i
		}
		v = v<<8 | uint64(s.Byte(addr+uint64(at)))
	}
	return v
}

// Write puts the low size bytes of v, 1 to 8, at addr in the target's byte
// order.
func (s *State) Write(addr uint64, size int, v uint64) {
	for i := range size {
		at := i
		if s.Big {
			at = size - 1 - i
		}
		s.setByte(addr+uint64(at), byte(v))
		v >>= 8
	}
}

func (s *State) setByte(addr uint64, b byte) {
	if s.Memory == nil {
		s.Memory = make(map[uint64]byte)
	}
	s.Memory[addr] = b
}

// ReadBytes copies the bytes from addr on to b.
func (s *State) ReadBytes(addr uint64, b []byte) {
	for i := range b {
		b[i] = s.Byte(addr + uint64(i))
	}
}

// WriteBytes puts b at addr.
func (s *State) WriteBytes(addr uint64, b []byte) {
	for i, v := range b {
		s.setByte(addr+uint64(i), v)
	}
}

// Run executes straight-line code of which the last instruction may be a
// conditional jump; taken says whether it is taken. On an error the state is
// what the instructions before the one at fault have made of it.
func (s *State) Run(code []bpf.Instruction) (taken bool, err error) {
	for i, in := range code {
		if in.IsCondJump() && i == len(code)-1 {
			return s.Taken(in)
		}
		if err := Step[Word](s, in); err != nil {
			return false, err
		}
	}
	return false, nil
}

// Taken tells whether a conditional jump is taken.
func (s *State) Taken(in bpf.Instruction) (bool, error) {
	if err := exists(in); err != nil {
		return false, err
	}
	return Taken[Word](s, in, s.Reg(in.Dst), Operand[Word](s, in)).Value != 0, nil
}
