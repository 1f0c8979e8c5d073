package object

import (
	"debug/elf"
	"strings"

	"github.com/k2cc/k2cc/bpf"
)

// contextPrefixes are the section names that say what R1 points to (libbpf's
// section_defs and the older names that tc and others use).
var contextPrefixes = []struct {
	prefix  string
	context bpf.Context
	// half says that the kernel takes an unsigned int of what such a program
	// returns (bpf_prog_run in include/linux/filter.h), of which the verifier
	// wants nothing in particular (check_return_code in kernel/bpf/verifier.c).
	half bool
}{
	{"xdp", bpf.ContextXDP, true},
	{"tc", bpf.ContextSKB, true},
	{"tcx", bpf.ContextSKB, true},
	{"netkit", bpf.ContextSKB, true},
	{"classifier", bpf.ContextSKB, true},
	{"action", bpf.ContextSKB, true},
	{"cgroup_skb", bpf.ContextSKB, false},
	{"cgroup/skb", bpf.ContextSKB, false},
	{"socket", bpf.ContextSKB, true},
	{"sk_skb", bpf.ContextSKB, true},
	{"flow_dissector", bpf.ContextSKB, false},
	{"lwt_in", bpf.ContextSKB, true},
	{"lwt_out", bpf.ContextSKB, true},
	{"lwt_xmit", bpf.ContextSKB, true},
	{"lwt_seg6local", bpf.ContextSKB, true},
	// The verifier takes loads of four bytes for numbers in these
	// (tp_prog_is_valid_access and the like in kernel/trace/bpf_trace.c,
	// sock_addr_is_valid_access in net/core/filter.c and its neighbours).
	{"tracepoint", bpf.ContextPlain, true},
	{"tp", bpf.ContextPlain, true},
	{"kprobe.session", bpf.ContextPlain, false},
	{"uprobe.session", bpf.ContextPlain, false},
	{"kprobe", bpf.ContextPlain, true},
	{"kretprobe", bpf.ContextPlain, true},
	{"ksyscall", bpf.ContextPlain, true},
	{"kretsyscall", bpf.ContextPlain, true},
	{"uprobe", bpf.ContextPlain, true},
	{"uretprobe", bpf.ContextPlain, true},
	{"usdt", bpf.ContextPlain, true},
	{"perf_event", bpf.ContextPlain, true},
	{"sockops", bpf.ContextPlain, false},
	{"cgroup", bpf.ContextPlain, false},
}

// contextOf is the kind of context that a function of the section gets, and
// whether no more than the low half of its result is taken. Where other functions
// may call it, nothing is known of its arguments.
func contextOf(section string, subprogram bool) (context bpf.Context, half bool) {
	if subprogram || section == ".text" || strings.HasPrefix(section, ".text.") {
		return bpf.ContextNone, false
	}
	name := strings.TrimPrefix(section, "?")
	for _, p := range contextPrefixes {
		rest, ok := strings.CutPrefix(name, p.prefix)
		if ok && (rest == "" || strings.IndexByte("/._-:0123456789", rest[0]) >= 0) {
			return p.context, p.half
		}
	}
	return bpf.ContextOther, false
}

func isWeak(s *symbol) bool { return s.bind() == elf.STB_WEAK }
