#include "verdict.h"

extern struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VERDICTS);
	__type(key, __u32);
	__type(value, struct verdict);
} verdicts SEC(".maps");

const volatile __u32 limit = 80;
__u64 seen;

SEC("xdp")
int filter(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	unsigned char *bytes = data;
	__u32 key = XDP_DROP;
	struct verdict *dropped = bpf_map_lookup_elem(&verdicts, &key);

	seen++;
	if (bytes + 14 > (unsigned char *)end || !dropped || dropped->count > 1)
		return XDP_ABORTED;
	if (((bytes[12] << 8) | bytes[13]) != 0x0800)
		return XDP_PASS;
	return judge(end - data, limit);
}

char LICENSE[] SEC("license") = "GPL";
