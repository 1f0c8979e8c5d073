package driver

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
)

// runExec runs k2cc exec with a program on standard input.
func runExec(program string, args ...string) result {
	var out, errs bytes.Buffer
	d := &driver{Streams: Streams{strings.NewReader(program), &out, &errs}}
	code := d.run(append([]string{"k2cc", "exec"}, args...))
	return result{code: code, out: out.String(), errors: errs.String()}
}

// assemble is the wire format, in hex, of a program whose calls and addresses
// have their offsets already.
func assemble(t *testing.T, src string) string {
	t.Helper()
	blocks, err := bpf.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	placed, err := bpf.Place(blocks)
	if err != nil {
		t.Fatal(err)
	}
	var code []byte
	for _, p := range placed {
		code = p.Append(code, binary.LittleEndian)
	}
	return hex.EncodeToString(code)
}

func TestExec(t *testing.T) {
	for _, test := range []struct{ name, src, memory, want string }{
		{"a number", "r0 = -1\nexit", "", "ffffffffffffffff"},
		{"memory", "r0 = *(u16 *)(r1 + 1)\nexit", "0a 0b 0c", "c0b"},
		{"length", "r0 = r2\nexit", "0a0b0c", "3"},
		{"no memory", "r0 = r1\nr0 |= r2\nexit", "", "0"},
		{"stack", "*(u64 *)(r10 - 512) = 5\nr0 = *(u64 *)(r10 - 512)\nexit", "", "5"},
		{"subprogram", "r1 = 5\ncall local 2\nr0 += 1\nexit\nr0 = r1\nr0 *= r1\nexit", "", "1a"},
		{"address of a function", "r1 = func(0x4) ll\nr2 = 5\ncallx r1\nexit\nr0 = 9\nexit", "", "9"},
		{"helper in a register", "r1 = 5\ncallx r1\nexit", "", "0"},
		{"helper", "call 5\nexit", "", "0"},
		{"loop", "r0 = 0\nr1 = 100\nL1:\nr0 += r1\nr1 -= 1\nif r1 != 0 goto L1\nexit", "", "13ba"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var args []string
			if test.memory != "" {
				args = []string{test.memory}
			}
			program := assemble(t, test.src)
			want := result{out: test.want + "\n"}
			if got := runExec(program, args...); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if got := runExec("", append([]string{"--program", program}, args...)...); got != want {
				t.Errorf("--program: got %+v, want %+v", got, want)
			}
		})
	}
}

// Hex may have white space anywhere.
func TestExecWhiteSpace(t *testing.T) {
	got := runExec(" b7 00 00 00 05 00 00 00\n\t9500000000000000 \r\n", " 01  02\n")
	if want := (result{code: 0, out: "5\n", errors: ""}); got != want {
		t.Errorf("got %+v", got)
	}
}

func TestExecFails(t *testing.T) {
	for _, test := range []struct{ name, program, memory, want string }{
		{"no program", "", "", "no code"},
		{"no hex", "hello", "", "invalid byte"},
		{"half a byte", "b70", "", "an odd number of hex digits"},
		{"half an instruction", "b7000000", "", "not a multiple of 8"},
		{"no hex in memory", "9500000000000000", "x", "memory: "},
		{"unknown opcode", "ff00000000000000 9500000000000000", "", "slot 0: .insn 0xff 0 0 0 0 0 0 is no instruction"},
		{"unused field", "b700000005000000 9500010000000000", "", "slot 1"},
		{"no exit", "b700000005000000", "", "control runs off the end"},
		{"jump out", "0500050000000000 9500000000000000", "", "jump to slot 6"},
		{"call out", "8510000005000000 9500000000000000", "", "a call leads out of the code"},
		{"map", "1811000005000000 0000000000000000 9500000000000000", "", "there are no maps"},
		{"fault", "7910000000000000 9500000000000000", "01", "no 8 bytes of memory at 0x100000000"},
		{"helper", "8500000001000000 9500000000000000", "", "helper map_lookup_elem needs more than is here"},
		{"no helper", "850000000f270000 9500000000000000", "", "there is no helper 9999"},
		{"endless", "0500ffff00000000", "", "step limit reached"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := runExec(test.program, test.memory)
			if got.code != exitFailure || got.out != "" || !strings.HasPrefix(got.errors, "k2cc: exec: ") ||
				!strings.Contains(got.errors, test.want) || strings.Count(got.errors, "\n") != 1 {
				t.Errorf("got %+v, want %s", got, test.want)
			}
		})
	}
	if got := runExec("", "01", "02"); got.code != exitFailure || !strings.Contains(got.errors, "want at most one argument") {
		t.Errorf("two memories: got %+v", got)
	}
}
