#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "names.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 256);
	__type(key, struct name);
	__type(value, __u64);
} switches SEC(".maps");

SEC("raw_tp/sched_switch")
int trace(void *ctx)
{
	struct name name = {};
	__u64 one = 1, *found;

	if (bpf_get_current_comm(&name, sizeof(name)))
		return 0;
	found = bpf_map_lookup_elem(&switches, &name);
	if (found)
		__sync_fetch_and_add(found, 1);
	else
		bpf_map_update_elem(&switches, &name, &one, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
