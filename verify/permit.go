package verify

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// Permitted says in one line why BPF programs can't be loaded here, or nil
// where they can. It loads and unloads a program that does nothing, of a type
// that is never open to users without capabilities.
func Permitted() error {
	if err := rlimit.RemoveMemlock(); err != nil {
		return explainPermission(err)
	}
	prog, err := ebpf.NewProgramWithOptions(&ebpf.ProgramSpec{
		Type:         ebpf.XDP,
		License:      "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()},
	}, ebpf.ProgramOptions{LogDisabled: true})
	if err != nil {
		return explainPermission(err)
	}
	if err := prog.Close(); err != nil {
		return fmt.Errorf("unload the trial program: %w", err)
	}
	return nil
}

func explainPermission(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("not permitted to load BPF programs (needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or root): %w", unix.EPERM)
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("this kernel has no bpf(), or a sandbox hides it: %w", err)
	case errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("this system can't load BPF programs: %w", err)
	}
	return fmt.Errorf("BPF programs can't be loaded here: %w", err)
}
