/* MAC and IPv6 addresses, copied in all directions. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct mac { __u8 byte[6]; };
struct ip6 { __u8 byte[16]; };

struct __attribute__((packed)) frame {
	struct mac dst, src;
	__u16 type;
	__u32 version;
	__u16 length;
	__u8 next, hops;
	struct ip6 from, to;
};

struct neighbour {
	struct mac mac;
	struct ip6 ip;
	__u32 seen;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct ip6);
	__type(value, struct neighbour);
} neighbours SEC(".maps");

SEC("xdp") int learn(struct xdp_md *ctx)
{
	struct frame *f = (void *)(long)ctx->data;
	struct neighbour *n, new = {};
	struct ip6 key;
	struct mac mac;

	if ((void *)(f + 1) > (void *)(long)ctx->data_end)
		return XDP_PASS;
	key = f->from;
	n = bpf_map_lookup_elem(&neighbours, &key);
	if (!n) {
		new.mac = f->src;
		new.ip = f->from;
		new.seen = 1;
		bpf_map_update_elem(&neighbours, &key, &new, BPF_ANY);
		return XDP_DROP;
	}
	n->mac = f->src;
	n->ip = f->to;
	n->seen++;
	mac = f->dst;
	f->dst = f->src;
	f->src = mac;
	f->to = f->from;
	return XDP_TX;
}

char _license[] SEC("license") = "GPL";
