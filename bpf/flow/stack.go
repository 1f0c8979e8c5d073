package flow

import (
	"slices"
	"sort"
)

func (c Cell) end() int { return int(c.Off) + int(c.Size) }

// OnStack tells whether the size bytes at off from the frame pointer are all
// inside the frame.
func OnStack(off int64, size int) bool {
	return off >= -StackSize && off <= -int64(size)
}

// AddAll puts every byte of o into the set.
func (b *Bytes) AddAll(o Bytes) {
	for i := range b {
		b[i] |= o[i]
	}
}

// Keep takes every byte that is not in o out of the set.
func (b *Bytes) Keep(o Bytes) {
	for i := range b {
		b[i] &= o[i]
	}
}

// allBytes is the whole frame.
func allBytes() (b Bytes) {
	for i := range b {
		b[i] = ^uint64(0)
	}
	return b
}

// overlap is the range of cells that share a byte with the size bytes at off.
func overlap(cells []Cell, off int64, size int) (from, to int) {
	from = sort.Search(len(cells), func(i int) bool { return int64(cells[i].end()) > off })
	for to = from; to < len(cells) && int64(cells[to].Off) < off+int64(size); {
		to++
	}
	return from, to
}

// Cell is the value of exactly the size bytes at off, if it is known.
func (s *State) Cell(off int64, size int) (Value, bool) {
	from, to := overlap(s.Stack, off, size)
	if to == from+1 && int64(s.Stack[from].Off) == off && int(s.Stack[from].Size) == size {
		return s.Stack[from].Value, true
	}
	return Value{}, false
}

// setCell replaces whatever is known of the size bytes at off, which are inside
// the frame. Slices of cells are shared between states and never changed in
// place.
func (s *State) setCell(off int64, size int, v Value) {
	from, to := overlap(s.Stack, off, size)
	c := Cell{Off: int16(off), Size: uint8(size), Value: v}
	if to == from+1 && s.Stack[from] == c {
		return
	}
	for _, old := range s.Stack[from:to] {
		if int(old.Off) < int(off) || old.end() > int(off)+size {
			s.letEscape([]Cell{old}) // what is left of it is no longer followed
		}
	}
	cells := make([]Cell, 0, len(s.Stack)+1)
	cells = append(cells, s.Stack[:from]...)
	cells = append(cells, c)
	s.Stack = append(cells, s.Stack[to:]...)
}

// kill forgets the size bytes at off, which others may have written. A pointer
// into the frame that was there may now be anywhere.
func (s *State) kill(off int64, size int) {
	from, to := overlap(s.Stack, off, size)
	if from == to {
		return
	}
	s.letEscape(s.Stack[from:to])
	s.Stack = slices.Concat(s.Stack[:from], s.Stack[to:])
}

// killAll forgets the whole stack.
func (s *State) killAll() {
	s.letEscape(s.Stack)
	s.Stack = nil
}

// letEscape notes that pointers into the frame are no longer followed.
func (s *State) letEscape(cells []Cell) {
	for _, c := range cells {
		if c.Value.Kind == KindStack {
			s.Escaped = true
		}
	}
}

// read is the number in the size bytes at off, put together from what cells say
// of them.
func (s *State) read(d *domain, off int64, size int, bigEndian bool) number {
	if v, ok := s.Cell(off, size); ok {
		return d.Extract(number{v, 64}, 8*size-1, 0)
	}
	from, to := overlap(s.Stack, off, size)
	cells := s.Stack[from:to]
	if len(cells) == 0 {
		return unknown(8 * size)
	}
	var out number
	for i := range size {
		b := unknown(8)
		for _, c := range cells {
			if o := off + int64(i); o >= int64(c.Off) && o < int64(c.end()) {
				b = c.byte(d, int(o-int64(c.Off)), bigEndian)
			}
		}
		switch {
		case i == 0:
			out = b
		case bigEndian:
			out = d.Concat(out, b)
		default:
			out = d.Concat(b, out)
		}
	}
	return out
}

// byte is the cell's byte at address i.
func (c Cell) byte(d *domain, i int, bigEndian bool) number {
	if bigEndian {
		i = int(c.Size) - 1 - i
	}
	return d.Extract(number{c.Value, 64}, 8*i+7, 8*i)
}

// eachCell changes values on the stack.
func (s *State) eachCell(change func(*Value)) {
	cells := s.Stack
	for i, c := range s.Stack {
		change(&c.Value)
		if c == s.Stack[i] {
			continue
		}
		if &cells[0] == &s.Stack[0] {
			cells = slices.Clone(s.Stack)
		}
		cells[i] = c
	}
	s.Stack = cells
}
