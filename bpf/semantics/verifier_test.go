package semantics

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/k2cc/k2cc/bpf"
)

func helperByName(t *testing.T, name string) *Helper {
	t.Helper()
	for id := int32(1); id <= int32(Helpers()); id++ {
		if h, _ := HelperByID(id); h.Name == name {
			return h
		}
	}
	t.Fatalf("no helper %s", name)
	return nil
}

// TestSizesAgainstVerifier hands helpers stack memory of just the size that the
// table says, and of one byte less.
func TestSizesAgainstVerifier(t *testing.T) {
	needKernel(t)
	hash := newMap(t, &ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 24, MaxEntries: 1})
	queue := newMap(t, &ebpf.MapSpec{Type: ebpf.Queue, ValueSize: 24, MaxEntries: 1})
	ring := newMap(t, &ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: 4096})
	events := newMap(t, &ebpf.MapSpec{Type: ebpf.PerfEventArray})
	tests := []struct {
		helper string
		typ    ebpf.ProgramType
		m      *ebpf.Map
	}{
		{"map_lookup_elem", ebpf.SchedCLS, hash},
		{"map_update_elem", ebpf.SchedCLS, hash},
		{"map_delete_elem", ebpf.SchedCLS, hash},
		{"map_push_elem", ebpf.SchedCLS, queue},
		{"map_pop_elem", ebpf.SchedCLS, queue},
		{"map_peek_elem", ebpf.SchedCLS, queue},
		{"ringbuf_output", ebpf.SchedCLS, ring},
		{"perf_event_output", ebpf.SchedCLS, events},
		{"perf_event_output", ebpf.TracePoint, events},
		{"probe_read_kernel", ebpf.TracePoint, nil},
		{"probe_read_user", ebpf.TracePoint, nil},
		{"probe_read_kernel_str", ebpf.TracePoint, nil},
		{"probe_read", ebpf.TracePoint, nil},
		{"get_current_comm", ebpf.TracePoint, nil},
		{"get_stack", ebpf.TracePoint, nil},
		{"skb_load_bytes", ebpf.SchedCLS, nil},
		{"skb_store_bytes", ebpf.SchedCLS, nil},
		{"csum_diff", ebpf.SchedCLS, nil},
		{"skb_get_tunnel_key", ebpf.SchedCLS, nil},
		{"fib_lookup", ebpf.XDP, nil},
		{"fib_lookup", ebpf.SchedCLS, nil},
		{"check_mtu", ebpf.XDP, nil},
		{"xdp_load_bytes", ebpf.XDP, nil},
		{"tcp_raw_check_syncookie_ipv4", ebpf.XDP, nil},
		{"tcp_raw_check_syncookie_ipv6", ebpf.XDP, nil},
		{"strtol", ebpf.CGroupSysctl, nil},
		{"sysctl_get_name", ebpf.CGroupSysctl, nil},
		{"setsockopt", ebpf.SockOps, nil},
		{"getsockopt", ebpf.SockOps, nil},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s/%v", test.helper, test.typ), func(t *testing.T) {
			h := helperByName(t, test.helper)
			if err := verify(t, callWith(t, h, test.m, -1), test.typ); err != nil {
				t.Fatalf("just enough memory: %v", err)
			}
			for i, a := range h.Args {
				if a.Kind != ArgMapKey && a.Kind != ArgMapValue && a.Kind != ArgMemory {
					continue
				}
				if strings.HasPrefix(h.Name, "probe_read") && !a.Write {
					continue // an address that may be any number
				}
				if err := verify(t, callWith(t, h, test.m, i), test.typ); err == nil {
					t.Errorf("argument %d: one byte too few is accepted", i+1)
				}
			}
		})
	}
}

func newMap(t *testing.T, spec *ebpf.MapSpec) *ebpf.Map {
	t.Helper()
	m, err := ebpf.NewMap(spec)
	if err != nil {
		t.Skipf("no permission to create maps: %v", err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// verify says why the kernel refuses a program, if it does.
func verify(t *testing.T, src string, typ ebpf.ProgramType) error {
	t.Helper()
	blocks, err := bpf.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	prog, err := loadSpec(encode(t, blocks), ebpf.ProgramSpec{Type: typ})
	if err == nil {
		prog.Close()
	}
	return err
}

// callWith calls a helper with memory at the end of the stack as large as the
// table says; for argument short it is a byte less.
func callWith(t *testing.T, h *Helper, m *ebpf.Map, short int) string {
	t.Helper()
	const size = 20
	src := "r6 = r1\n"
	memory := func(arg, n int) {
		if arg == short {
			n--
		}
		src += fmt.Sprintf("r%d = r10\nr%d += %d\n", arg+1, arg+1, -n)
	}
	for i, a := range h.Args {
		switch a.Kind {
		case ArgScalar:
			src += fmt.Sprintf("r%d = 0\n", i+1)
			for _, b := range h.Args {
				if int(b.SizeReg) == i+1 {
					src += fmt.Sprintf("r%d = %d\n", i+1, size)
				}
			}
		case ArgContext:
			src += fmt.Sprintf("r%d = r6\n", i+1)
		case ArgMap:
			src += fmt.Sprintf("r%d = map_fd(%d) ll\n", i+1, m.FD())
		case ArgMapKey:
			memory(i, int(m.KeySize()))
		case ArgMapValue:
			memory(i, int(m.ValueSize()))
		case ArgMemory:
			if a.SizeReg != 0 {
				memory(i, size)
				continue
			}
			// An aligned address, as some helpers want it.
			n := (a.Size + 7) &^ 7
			if i == short {
				n = a.Size - 1
			}
			src += fmt.Sprintf("r%d = r10\nr%d += %d\n", i+1, i+1, -n)
		}
	}
	for i := 8; i <= 64; i += 8 {
		src = fmt.Sprintf("*(u64 *)(r10 - %d) = 0\n", i) + src
	}
	return src + fmt.Sprintf("call %d\nr0 = 0\nexit\n", h.ID)
}

// TestMovesPacketAgainstVerifier calls every helper that takes only a context
// and numbers, and uses a packet pointer afterwards.
func TestMovesPacketAgainstVerifier(t *testing.T) {
	needKernel(t)
	checked := 0
	for _, typ := range []ebpf.ProgramType{ebpf.SchedCLS, ebpf.XDP} {
		for id := int32(1); id <= int32(Helpers()); id++ {
			h, _ := HelperByID(id)
			if !plain(h) || verify(t, callInPacket(t, h, typ, false), typ) != nil {
				continue
			}
			checked++
			err := verify(t, callInPacket(t, h, typ, true), typ)
			if lost := err != nil; lost != h.MovesPacket {
				t.Errorf("%v: %s: MovesPacket is %v, the verifier says %v", typ, h.Name, h.MovesPacket, err)
			}
		}
	}
	t.Logf("%d helpers checked", checked)
	if checked < 40 {
		t.Errorf("only %d helpers checked", checked)
	}
}

func plain(h *Helper) bool {
	for _, a := range h.Args {
		if a.Kind != ArgNone && a.Kind != ArgScalar && a.Kind != ArgContext {
			return false
		}
	}
	return true
}

func callInPacket(t *testing.T, h *Helper, typ ebpf.ProgramType, use bool) string {
	t.Helper()
	data, dataEnd := 76, 80 // struct __sk_buff
	if typ == ebpf.XDP {
		data, dataEnd = 0, 4
	}
	src := fmt.Sprintf("r6 = r1\nr7 = *(u32 *)(r1 + %d)\nr8 = *(u32 *)(r1 + %d)\n", data, dataEnd)
	src += "r2 = r7\nr2 += 8\n"
	call := "r1 = r6\n"
	for i, a := range h.Args {
		if a.Kind == ArgScalar {
			call += fmt.Sprintf("r%d = 0\n", i+1)
		}
	}
	call += fmt.Sprintf("call %d\n", h.ID)
	if use {
		call += "r0 = *(u8 *)(r7 + 0)\n"
	}
	return src + "if r2 > r8 goto L1\n" + call + "L1:\nr0 = 0\nexit\n"
}
