package examples

import "github.com/cilium/ebpf"

// profiler has raw tracepoints, which the kernel runs on request, a tracepoint
// and a kprobe, which run as raw tracepoints, and a perf event, which doesn't.
func profiler() Example {
	return Example{
		Name: "profiler",
		Programs: []Program{
			{"on_switch", "raw_tp/sched_switch", ebpf.RawTracepoint, ebpf.RawTracepoint},
			{"on_wakeup", "raw_tp/sched_wakeup", ebpf.RawTracepoint, ebpf.RawTracepoint},
			{"on_exit", "raw_tp/sched_process_exit", ebpf.RawTracepoint, ebpf.RawTracepoint},
			{"on_openat", "tracepoint/syscalls/sys_enter_openat", ebpf.TracePoint, ebpf.RawTracepoint},
			{"on_connect", "kprobe/tcp_v4_connect", ebpf.Kprobe, ebpf.RawTracepoint},
			{"on_sample", "perf_event", ebpf.PerfEvent, ebpf.UnspecifiedProgram},
		},
		NeedsDebug: true,
		entries:    func(*filler) {},
		traffic:    profilerInput,
	}
}

func profilerInput(t *traffic, program string) Input {
	task := func() uint64 {
		switch t.r.IntN(10) {
		case 0:
			return 0
		case 1:
			return 0xffff_0000_0000_0000 | t.r.Uint64()>>20 // no address that there is
		case 2, 3:
			return IdleKernelThread
		default:
			return CurrentTask
		}
	}
	switch program {
	case "on_openat":
		path := uint64(UserPath)
		if t.chance(20) {
			path = 8
		}
		const openat = 257
		args := [8]uint64{0, openat, 0xffff_ff9c, path, t.r.Uint64N(4) | 0o100000, 0o644}
		return Input{Context: native(args)}
	case "on_connect": // struct pt_regs
		return Input{Context: native([21]uint64{0: t.r.Uint64(), 14: t.r.Uint64()})}
	case "on_sample": // struct bpf_perf_event_data
		return Input{Context: native([23]uint64{0: t.r.Uint64(), 21: 1 << 20})}
	default:
		args := [4]uint64{task(), task(), task(), 1}
		if program == "on_switch" {
			args[0] = t.r.Uint64N(2)
		} else if program == "on_exit" && t.chance(80) {
			args[0] = 0 // so that others find what wakeups leave
		}
		return Input{Context: native(args)}
	}
}
