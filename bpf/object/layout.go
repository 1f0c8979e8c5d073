package object

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
)

// layOut puts the sections one behind the other in the order in which the
// input has them, each at its alignment, and the section headers behind them,
// as clang and libbpf do.
func (rb *rebuilt) layOut() ([]byte, error) {
	out := make([]byte, headerSize)
	for _, i := range rb.f.elf.byOffset() {
		s := rb.sections[i]
		if s == nil || s.kind() == elf.SHT_NULL {
			continue
		}
		out = pad(out, s.Addralign)
		s.Off = uint64(len(out))
		if s.kind() != elf.SHT_NOBITS {
			s.Size = uint64(len(s.data))
			out = append(out, s.data...)
		}
	}
	out = pad(out, 8)
	h := rb.f.elf.header
	h.Shoff = uint64(len(out))
	n := 0
	for _, s := range rb.sections {
		if s != nil {
			var err error
			if out, err = binary.Append(out, rb.f.elf.order, &s.Section64); err != nil {
				return nil, fmt.Errorf("section header %d: %w", n, err)
			}
			n++
		}
	}
	h.Shnum = uint16(n)
	h.Shstrndx = uint16(rb.newIndex[h.Shstrndx])
	if _, err := binary.Encode(out, rb.f.elf.order, &h); err != nil {
		return nil, fmt.Errorf("ELF header: %w", err)
	}
	return out, nil
}

func pad(b []byte, align uint64) []byte {
	for align > 1 && uint64(len(b))%align != 0 {
		b = append(b, 0)
	}
	return b
}
