/* Packed headers one after the other, as of a tunnel, read field by field. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define packed __attribute__((packed))

struct packed outer {
	__u8 dst[6], src[6];
	__u16 type;
	__u8 version, tos;
	__u16 length, id, fragment;
	__u8 ttl, protocol;
	__u16 checksum;
	__u32 from, to;
};

struct packed udp {
	__u16 source, dest, length, checksum;
};

struct packed tunnel {
	__u8 flags;
	__u32 vni : 24;
	__u16 protocol;
	__u64 cookie;
	__u8 hops;
	__u32 from, to;
};

SEC("xdp") int decapsulate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct outer *o = data;
	struct udp *u = data + sizeof(*o);
	struct tunnel *t = data + sizeof(*o) + sizeof(*u);

	if ((void *)(t + 1) > end)
		return XDP_PASS;
	if (u->dest == u->source || t->cookie == 0)
		return XDP_DROP;
	if (o->from == t->from && o->to == t->to)
		return XDP_ABORTED;
	o->from = t->from;
	o->to = t->to;
	o->id = o->length ^ u->length;
	u->checksum = 0;
	t->cookie += ((__u64)o->from << 32) + t->vni;
	t->hops++;
	return XDP_TX;
}

char _license[] SEC("license") = "GPL";
