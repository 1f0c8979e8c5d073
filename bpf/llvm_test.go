package bpf

import (
	"encoding/binary"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestAgainstLLVM has LLVM's assembler read our text; it must come to the bytes
// that we encode, in both byte orders.
func TestAgainstLLVM(t *testing.T) {
	mc, err := exec.LookPath("llvm-mc-22")
	if err != nil {
		t.Skipf("no LLVM assembler: %v", err)
	}
	var code []Instruction
	forEveryOpcode(func(in Instruction) {
		in.Target = 0
		if in.valid() && in.Ref == 0 && inLLVM(in) {
			code = append(code, in)
		}
	})
	if len(code) < 500 {
		t.Fatalf("only %d instructions to try", len(code))
	}
	for triple, order := range map[string]binary.ByteOrder{"bpfel": binary.LittleEndian, "bpfeb": binary.BigEndian} {
		cmd := exec.Command(mc, "-triple="+triple, "-mcpu=v4", "-show-encoding")
		text := narrowAcquire.ReplaceAllString(Format(code), "w$1 = load_acquire((u$2")
		cmd.Stdin = strings.NewReader(narrowRelease.ReplaceAllString(text, "${1}w$3"))
		var msg strings.Builder
		cmd.Stderr = &msg
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%.2000s", err, msg.String())
		}
		lines := encoding.FindAllStringSubmatch(string(out), -1)
		if len(lines) != len(code) {
			t.Fatalf("%s: %d instructions became %d", triple, len(code), len(lines))
		}
		for i, in := range code {
			want, err := parseBytes(lines[i][1])
			if err != nil {
				t.Fatal(err)
			}
			if got := in.Append(nil, order); string(got) != string(want) {
				t.Errorf("%s: %v: got %x, LLVM's is %x", triple, in, got, want)
			}
		}
	}
}

var (
	encoding = regexp.MustCompile(`encoding: \[([^\]]*)\]`)
	// LLVM wants 32-bit registers for accesses of up to 32 bits here.
	narrowAcquire = regexp.MustCompile(`r(\d+) = load_acquire\(\(u(8|16|32)\b`)
	narrowRelease = regexp.MustCompile(`(store_release\(\(u(?:8|16|32) (.*), )r(\d+)`)
)

// inLLVM tells whether LLVM's assembler has the instruction in the same words.
func inLLVM(in Instruction) bool {
	switch {
	case in.IsPacketLoad():
		return in.Op.Mode() == ModeAbs || in.Imm == 0 // LLVM has no offset behind a register
	case in.Op == LoadImm64:
		return in.Src == PseudoImm
	case in.IsCall():
		return in.Src == CallHelper && (in.Op&SourceX != 0 || in.Imm > 0)
	case in.Op == ClassJMP32|OpJA:
		return in.Imm == int64(int16(in.Imm))
	}
	return true
}

func parseBytes(list string) ([]byte, error) {
	var b []byte
	for _, s := range strings.Split(list, ",") {
		v, err := strconv.ParseUint(s, 0, 8)
		if err != nil {
			return nil, fmt.Errorf("LLVM's encoding: %w", err)
		}
		b = append(b, byte(v))
	}
	return b, nil
}
