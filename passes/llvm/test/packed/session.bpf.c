/* Sessions in a map, packed so that they take no more room than they need. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct __attribute__((packed)) session {
	__u8 state;
	__u32 packets;
	__u64 bytes;
	__u16 port;
	__u32 last[4];
	__u8 flags;
	__u32 checksum;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct session);
} sessions SEC(".maps");

struct __attribute__((packed)) {
	__u8 version;
	__u64 packets;
	__u32 lost;
} total;

SEC("xdp") int account(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u8 *bytes = data;
	struct session *s;
	__u32 key;

	if (data + 64 > end)
		return XDP_PASS;
	key = bytes[0] & 15;
	s = bpf_map_lookup_elem(&sessions, &key);
	if (!s) {
		total.lost++;
		return XDP_DROP;
	}
	s->state = 1;
	s->packets++;
	s->bytes += end - data;
	s->port = *(__u16 *)(data + 35);
	s->last[0] = s->last[2];
	s->last[1] = s->last[3];
	s->last[2] = *(__u32 *)(data + 26);
	s->last[3] = *(__u32 *)(data + 30);
	s->checksum ^= s->last[2] + s->last[3];
	total.packets++;
	return s->packets > s->checksum ? XDP_TX : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
