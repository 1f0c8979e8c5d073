// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
//
// A rate limiter at the edge of a network of tenants. Every tenant (a VLAN) has
// a bucket of bytes that all CPUs share under a lock; every source address has
// a bucket of packets, per CPU and free of locks. Tags are translated on the
// way: a tenant's VLAN outside becomes another one, or none, inside.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define VID_MASK 0x0fff
#define MAX_TENANTS 4096
#define MAX_SOURCES 65536
#define NS_PER_SEC 1000000000ULL
#define MAX_IDLE_NS (4 * NS_PER_SEC)

#define TCP_SYN 0x02
#define TCP_ACK 0x10

enum tag_action {
	TAG_KEEP,
	TAG_SWAP,
	TAG_POP,
	TAG_PUSH, // an outer tag on top of the one there is
};

enum outcome {
	PASSED,
	TENANT_LIMIT,
	SOURCE_LIMIT,
	SYN_LIMIT,
	UNKNOWN_TENANT,
	MALFORMED,
	TAG_FAILED,
	OUTCOMES,
};

struct vlan_hdr {
	__be16 tci;
	__be16 proto;
};

// tagged is the start of a frame with one VLAN tag.
struct tagged {
	__u8 dst[ETH_ALEN];
	__u8 src[ETH_ALEN];
	__be16 tpid;
	__be16 tci;
	__be16 proto;
};

struct tenant {
	struct bpf_spin_lock lock;
	__u32 id;
	__u64 rate;   // bytes per second
	__u64 burst;  // bytes
	__u64 tokens; // bytes
	__u64 refilled;
	__u64 dropped;
	__u32 source_rate; // packets per second and source
	__u16 vid;         // of the tag inside
	__u8 action;
	__u8 strict; // SYNs have their own, smaller share
};

struct source_key {
	__be32 prefix[2]; // an IPv4 address, or the first half of an IPv6 one
	__u32 tenant;
	__u32 family;
};

struct source {
	__u64 refilled;
	__u32 tokens; // thousandths of a packet
	__u32 syn_tokens;
	__u64 packets;
	__u64 dropped;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_TENANTS);
	__type(key, __u32);
	__type(value, struct tenant);
} tenants SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__uint(max_entries, MAX_SOURCES);
	__type(key, struct source_key);
	__type(value, struct source);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, OUTCOMES);
	__type(key, __u32);
	__type(value, __u64);
} outcomes SEC(".maps");

static __always_inline void count(enum outcome o)
{
	__u32 key = o;
	__u64 *n = bpf_map_lookup_elem(&outcomes, &key);

	if (n)
		__sync_fetch_and_add(n, 1);
}

// take_bytes takes len bytes from a tenant's bucket, all or none of them.
static __always_inline int take_bytes(struct tenant *t, __u32 len, __u64 now)
{
	__u64 idle, tokens;
	int ok = 0;

	bpf_spin_lock(&t->lock);
	idle = now - t->refilled;
	if (idle > MAX_IDLE_NS)
		idle = MAX_IDLE_NS;
	tokens = t->tokens + idle * (t->rate >> 10) / (NS_PER_SEC >> 10);
	if (tokens > t->burst)
		tokens = t->burst;
	if (tokens >= len) {
		tokens -= len;
		ok = 1;
	} else {
		t->dropped += 1;
	}
	t->tokens = tokens;
	t->refilled = now;
	bpf_spin_unlock(&t->lock);
	return ok;
}

static __always_inline __u32 refill(__u32 tokens, __u64 idle, __u32 rate)
{
	__u64 sum;

	if (idle > MAX_IDLE_NS)
		idle = MAX_IDLE_NS;
	sum = tokens + idle * rate / (NS_PER_SEC / 1000);
	if (sum > rate * 1000ULL)
		sum = rate * 1000ULL;
	return sum;
}

// take_packet takes one packet from the source's buckets.
static __always_inline enum outcome take_packet(const struct source_key *key,
						const struct tenant *t, int syn, __u64 now)
{
	struct source *s, fresh = {};
	__u32 rate = t->source_rate;
	__u64 idle;

	s = bpf_map_lookup_elem(&sources, key);
	if (!s) {
		fresh.refilled = now;
		fresh.tokens = rate * 1000;
		fresh.syn_tokens = rate * 100;
		fresh.packets = 1;
		bpf_map_update_elem(&sources, key, &fresh, BPF_ANY);
		return PASSED;
	}
	idle = now - s->refilled;
	s->refilled = now;
	s->tokens = refill(s->tokens, idle, rate);
	s->syn_tokens = refill(s->syn_tokens, idle, rate / 10);
	if (s->tokens < 1000) {
		s->dropped += 1;
		return SOURCE_LIMIT;
	}
	if (syn && t->strict) {
		if (s->syn_tokens < 1000) {
			s->dropped += 1;
			return SYN_LIMIT;
		}
		s->syn_tokens -= 1000;
	}
	s->tokens -= 1000;
	s->packets += 1;
	return PASSED;
}

// read_source finds the source of the IP packet at pos, and whether it opens a
// TCP connection. It returns 0, or a negative number for a malformed packet.
static __always_inline int read_source(struct source_key *key, int *syn, __be16 proto,
				       void *pos, void *end)
{
	struct tcphdr *tcp;
	__u8 l4;

	if (proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = pos;
		__u32 hlen;

		if ((void *)(ip + 1) > end)
			return -1;
		hlen = (*(__u8 *)ip & 0x0f) * 4;
		if (hlen < sizeof(*ip))
			return -1;
		key->prefix[0] = ip->saddr;
		key->family = ETH_P_IP;
		l4 = ip->protocol;
		if (ip->frag_off & bpf_htons(0x1fff))
			l4 = 0;
		tcp = pos + hlen;
	} else if (proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = pos;

		if ((void *)(ip + 1) > end)
			return -1;
		__builtin_memcpy(key->prefix, &ip->saddr, sizeof(key->prefix));
		key->family = ETH_P_IPV6;
		l4 = ip->nexthdr;
		tcp = (void *)(ip + 1);
	} else {
		return 0;
	}
	if (l4 != IPPROTO_TCP)
		return 0;
	if ((void *)(tcp + 1) > end)
		return -1;
	*syn = (((__u8 *)tcp)[13] & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	return 0;
}

static __always_inline int pop_tag(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct tagged *old = data;
	struct ethhdr *eth, copy;

	if ((void *)(old + 1) > end)
		return -1;
	__builtin_memcpy(copy.h_dest, old->dst, ETH_ALEN);
	__builtin_memcpy(copy.h_source, old->src, ETH_ALEN);
	copy.h_proto = old->proto;
	if (bpf_xdp_adjust_head(ctx, sizeof(struct vlan_hdr)))
		return -1;
	eth = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if ((void *)(eth + 1) > end)
		return -1;
	*eth = copy;
	return 0;
}

static __always_inline int push_tag(struct xdp_md *ctx, __u16 vid)
{
	struct ethhdr *old = (void *)(long)ctx->data, copy;
	void *end = (void *)(long)ctx->data_end;
	struct tagged *tag;

	if ((void *)(old + 1) > end)
		return -1;
	copy = *old;
	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(struct vlan_hdr)))
		return -1;
	tag = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if ((void *)(tag + 1) > end)
		return -1;
	__builtin_memcpy(tag->dst, copy.h_dest, ETH_ALEN);
	__builtin_memcpy(tag->src, copy.h_source, ETH_ALEN);
	tag->tpid = bpf_htons(ETH_P_8021AD);
	tag->tci = bpf_htons(vid);
	tag->proto = copy.h_proto;
	return 0;
}

static __always_inline int swap_tag(struct xdp_md *ctx, __u16 vid)
{
	struct tagged *tag = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;

	if ((void *)(tag + 1) > end)
		return -1;
	tag->tci = (tag->tci & bpf_htons((__u16)~VID_MASK)) | bpf_htons(vid & VID_MASK);
	return 0;
}

static __always_inline int translate_tag(struct xdp_md *ctx, __u8 action, __u16 vid)
{
	switch (action) {
	case TAG_KEEP:
		return 0;
	case TAG_SWAP:
		return swap_tag(ctx, vid);
	case TAG_POP:
		return pop_tag(ctx);
	case TAG_PUSH:
		return push_tag(ctx, vid);
	default:
		return -1;
	}
}

static __always_inline int drop(enum outcome o)
{
	count(o);
	return XDP_DROP;
}

SEC("xdp")
int rate_limit(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u64 now = bpf_ktime_get_ns();
	struct source_key key = {};
	struct tagged *tag = data;
	struct tenant *t;
	enum outcome o;
	int syn = 0;
	__u32 vid;

	if ((void *)(tag + 1) > end)
		return drop(MALFORMED);
	if (tag->tpid != bpf_htons(ETH_P_8021Q))
		return XDP_PASS;
	vid = bpf_ntohs(tag->tci) & VID_MASK;
	t = bpf_map_lookup_elem(&tenants, &vid);
	if (!t)
		return drop(UNKNOWN_TENANT);
	key.tenant = t->id;
	if (read_source(&key, &syn, tag->proto, tag + 1, end))
		return drop(MALFORMED);
	if (key.family) {
		o = take_packet(&key, t, syn, now);
		if (o != PASSED)
			return drop(o);
	}
	if (!take_bytes(t, end - data, now))
		return drop(TENANT_LIMIT);
	if (translate_tag(ctx, t->action, t->vid))
		return drop(TAG_FAILED);
	count(PASSED);
	return t->action == TAG_KEEP ? XDP_PASS : XDP_TX;
}

char _license[] SEC("license") = "GPL";
