package semantics

import (
	"bytes"
	"testing"

	"github.com/cilium/ebpf"
)

// fillers is, for each helper that is said to write all of its memory even where
// it fails, code that makes it fail, or succeed with less than the memory holds.
// It fills the 32 bytes at R6, which are all ones before.
var fillers = map[string]struct {
	typ  ebpf.ProgramType
	code string
}{
	"probe_read":              {ebpf.Syscall, "r1 = r6\nr2 = 32\nr3 = 1\ncall 4"},
	"get_current_comm":        {ebpf.Syscall, "r1 = r6\nr2 = 32\ncall 16"},
	"skb_load_bytes":          {ebpf.SocketFilter, "r1 = r9\nr2 = 60000\nr3 = r6\nr4 = 32\ncall 26"},
	"skb_load_bytes_relative": {ebpf.SocketFilter, "r1 = r9\nr2 = 60000\nr3 = r6\nr4 = 32\nr5 = 0\ncall 68"},
	"probe_read_user":         {ebpf.Syscall, "r1 = r6\nr2 = 32\nr3 = 1\ncall 112"},
	"probe_read_kernel":       {ebpf.Syscall, "r1 = r6\nr2 = 32\nr3 = 1\ncall 113"},
	"copy_from_user":          {ebpf.Syscall, "r1 = r6\nr2 = 32\nr3 = 1\ncall 148"},
}

// TestFill asks the kernel whether helpers leave nothing of what was in the
// memory that they are said to write whole.
func TestFill(t *testing.T) {
	needKernel(t)
	for id := range Helpers() {
		h, _ := HelperByID(int32(id + 1))
		for _, a := range h.Args {
			if _, ok := fillers[h.Name]; a.Fill && !ok {
				t.Errorf("%s: nothing tries it", h.Name)
			}
		}
	}
	const head = "r9 = r1\nr6 = r10\nr6 += -32\nr1 = -1\n*(u64 *)(r10 - 8) = r1\n*(u64 *)(r10 - 16) = r1\n*(u64 *)(r10 - 24) = r1\n*(u64 *)(r10 - 32) = r1\n"
	// R0 is how many of the bytes at R10-32 are still all ones.
	const tail = "\nr0 = 0\nr7 = 0\nL1:\nr1 = r6\nr1 += r7\nr1 = *(u8 *)(r1 + 0)\nif r1 != 255 goto L3\nL2:\nr0 += 1\nL3:\nr7 += 1\nif r7 < 32 goto L1\nL4:\nexit"
	for name, f := range fillers {
		fn := function(t, "fill", head+f.code+tail)
		spec := ebpf.ProgramSpec{Type: f.typ}
		opts := &ebpf.RunOptions{Data: bytes.Repeat([]byte{7}, 64)}
		if f.typ == ebpf.Syscall {
			spec.Flags, opts = sleepable, &ebpf.RunOptions{}
		}
		prog, err := loadSpec(encode(t, fn.Blocks), spec)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		left, err := prog.Run(opts)
		if err != nil || left != 0 {
			t.Errorf("%s: %d bytes stay as they were, %v", name, left, err)
		}
		prog.Close()
	}
}
