#include "packet.h"

SEC("xdp")
int ingress(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct flow flow = {};
	struct counter first = {1, end - data}, *found;

	if (!parse(data, end, &flow))
		return XDP_PASS;
	found = bpf_map_lookup_elem(&flows, &flow);
	if (!found) {
		bpf_map_update_elem(&flows, &flow, &first, BPF_NOEXIST);
		return XDP_PASS;
	}
	__sync_fetch_and_add(&found->packets, 1);
	__sync_fetch_and_add(&found->bytes, end - data);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
