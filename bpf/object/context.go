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
}{
	{"xdp", bpf.ContextXDP},
	{"tc", bpf.ContextSKB},
	{"tcx", bpf.ContextSKB},
	{"netkit", bpf.ContextSKB},
	{"classifier", bpf.ContextSKB},
	{"action", bpf.ContextSKB},
	{"cgroup_skb", bpf.ContextSKB},
	{"cgroup/skb", bpf.ContextSKB},
	{"socket", bpf.ContextSKB},
	{"sk_skb", bpf.ContextSKB},
	{"flow_dissector", bpf.ContextSKB},
	{"lwt_in", bpf.ContextSKB},
	{"lwt_out", bpf.ContextSKB},
	{"lwt_xmit", bpf.ContextSKB},
	{"lwt_seg6local", bpf.ContextSKB},
	// The verifier takes loads of four bytes for numbers in these
	// (tp_prog_is_valid_access and the like in kernel/trace/bpf_trace.c,
	// sock_addr_is_valid_access in net/core/filter.c and its neighbours).
	{"tracepoint", bpf.ContextPlain},
	{"tp", bpf.ContextPlain},
	{"kprobe", bpf.ContextPlain},
	{"kretprobe", bpf.ContextPlain},
	{"ksyscall", bpf.ContextPlain},
	{"kretsyscall", bpf.ContextPlain},
	{"uprobe", bpf.ContextPlain},
	{"uretprobe", bpf.ContextPlain},
	{"usdt", bpf.ContextPlain},
	{"perf_event", bpf.ContextPlain},
	{"sockops", bpf.ContextPlain},
	{"cgroup", bpf.ContextPlain},
}

// contextOf is the kind of context that a function of the section gets. Where
// other functions may call it, nothing is known of its arguments.
func contextOf(section string, subprogram bool) bpf.Context {
	if subprogram || section == ".text" || strings.HasPrefix(section, ".text.") {
		return bpf.ContextNone
	}
	name := strings.TrimPrefix(section, "?")
	for _, p := range contextPrefixes {
		rest, ok := strings.CutPrefix(name, p.prefix)
		if ok && (rest == "" || strings.IndexByte("/._-:0123456789", rest[0]) >= 0) {
			return p.context
		}
	}
	return bpf.ContextOther
}

func isWeak(s *symbol) bool { return s.bind() == elf.STB_WEAK }
