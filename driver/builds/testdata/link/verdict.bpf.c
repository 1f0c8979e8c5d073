#include "verdict.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VERDICTS);
	__type(key, __u32);
	__type(value, struct verdict);
} verdicts SEC(".maps");

__noinline int judge(__u32 length, __u32 limit)
{
	__u32 key = length > limit ? XDP_DROP : XDP_PASS;
	struct verdict *verdict = bpf_map_lookup_elem(&verdicts, &key);

	if (!verdict)
		return XDP_ABORTED;
	verdict->last = length;
	__sync_fetch_and_add(&verdict->count, 1);
	return key;
}

char LICENSE[] SEC("license") = "GPL";
