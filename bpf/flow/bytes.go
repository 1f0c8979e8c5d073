package flow

// Has tells whether the byte at offset off from the frame pointer is in the
// set. No byte outside the frame is.
func (b *Bytes) Has(off int) bool {
	i := off + StackSize
	return i >= 0 && i < StackSize && b[i/64]&(1<<(i%64)) != 0
}

// Add puts the size bytes from offset off into the set, as far as they lie in
// the frame.
func (b *Bytes) Add(off, size int) {
	for i := max(off+StackSize, 0); i < min(off+size+StackSize, StackSize); i++ {
		b[i/64] |= 1 << (i % 64)
	}
}

// Remove takes the size bytes from offset off out of the set.
func (b *Bytes) Remove(off, size int) {
	for i := max(off+StackSize, 0); i < min(off+size+StackSize, StackSize); i++ {
		b[i/64] &^= 1 << (i % 64)
	}
}
