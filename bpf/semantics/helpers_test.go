package semantics

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/k2cc/k2cc/bpf"
)

func TestHelperTable(t *testing.T) {
	tails, moving := 0, 0
	for id := int32(1); id <= int32(Helpers()); id++ {
		h, ok := HelperByID(id)
		if !ok || h.ID != id || h.Name == "" {
			t.Fatalf("helper %d: got %+v, %v", id, h, ok)
		}
		if h.TailCall {
			tails++
		}
		if h.MovesPacket {
			moving++
			if h.Args[0].Kind != ArgContext && h.Name != "dynptr_write" {
				t.Errorf("%s moves the packet without a context", h.Name)
			}
		}
		checkArgs(t, h)
	}
	if tails != 1 || moving != 24 {
		t.Errorf("%d tail calls, %d helpers that move the packet", tails, moving)
	}
}

func checkArgs(t *testing.T, h *Helper) {
	t.Helper()
	maps, callback := 0, false
	for i, a := range h.Args {
		if (a.Kind == ArgNone) != (i >= h.NumArgs) {
			t.Errorf("%s: argument %d of %d is of kind %d", h.Name, i+1, h.NumArgs, a.Kind)
		}
		switch a.Kind {
		case ArgMap:
			maps++
		case ArgMapKey, ArgMapValue:
			if maps != 1 || !a.Read && !a.Write {
				t.Errorf("%s: argument %d: %+v", h.Name, i+1, a)
			}
		case ArgMemory:
			sized := a.SizeReg >= bpf.R1 && h.Args[a.SizeReg-1].Kind == ArgScalar
			if sized == (a.Size > 0) || !a.Read && !a.Write {
				t.Errorf("%s: argument %d: %+v", h.Name, i+1, a)
			}
		case ArgFunc:
			callback = true
		}
	}
	if callback != h.Callback {
		t.Errorf("%s: Callback is %v", h.Name, h.Callback)
	}
}

func TestHelperByIDUnknown(t *testing.T) {
	for _, id := range []int32{-1, 0, int32(Helpers()) + 1, 1 << 30} {
		if h, ok := HelperByID(id); ok {
			t.Errorf("%d: got %v", id, h)
		}
	}
}

// TestHelperTableIsCurrent generates the table again.
func TestHelperTableIsCurrent(t *testing.T) {
	const header = "/usr/include/linux/bpf.h"
	if _, err := os.Stat(header); errors.Is(err, os.ErrNotExist) {
		t.Skipf("no kernel header: %v", err)
	}
	out := filepath.Join(t.TempDir(), "helpers_gen.go")
	cmd := exec.Command("go", "run", "./gen", "-header", header, "-helpers", "gen/helpers.txt", "-o", out)
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, msg)
	}
	want, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("helpers_gen.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("helpers_gen.go is not what gen writes: run go generate")
	}
}
