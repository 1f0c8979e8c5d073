// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
//
// An L4 load balancer. Packets to a virtual address (VIP) go to one of its
// backends, chosen by a consistent hash of the flow: IP-in-IP to backends
// elsewhere, a new MAC address to those on the same link, a rewritten
// destination to those that know nothing of the VIP.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAX_VIPS 16
#define MAX_BACKENDS 256
#define RING_SIZE 1021 // slots per VIP, a prime
#define MAX_CONNS 65536

#define AF_INET 2
#define AF_INET6 10

#define IP_OFFSET_MASK 0x3fff // more fragments, and the fragment offset
#define TCP_FLAGS_OFFSET 13
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define MAX_L4_OFF (sizeof(struct ethhdr) + 60)
#define OUTER_TTL 64

#define ICMP_DEST_UNREACH 3
#define ICMP_TIME_EXCEEDED 11
#define ICMPV6_DEST_UNREACH 1
#define ICMPV6_PKT_TOOBIG 2

enum vip_flags {
	VIP_SOURCE_AFFINITY = 1 << 0, // hash the source address alone
	VIP_STATELESS = 1 << 1,       // no connection table
};

enum mode {
	MODE_ENCAP,
	MODE_LINK,
	MODE_NAT,
};

enum counter {
	COUNT_MALFORMED,
	COUNT_FRAGMENT,
	COUNT_NO_VIP,
	COUNT_NO_BACKEND,
	COUNT_CONN_HIT,
	COUNT_CONN_NEW,
	COUNT_ICMP_ERROR,
	COUNT_TTL,
	COUNT_ENCAP_FAILED,
	COUNT_MAX,
};

struct icmp_hdr {
	__u8 type;
	__u8 code;
	__be16 csum;
	__be32 rest;
};

struct vip_key {
	__be32 addr[4];
	__be16 port; // zero: every port
	__u8 proto;
	__u8 family;
};

struct vip {
	__u32 id;
	__u32 flags;
};

struct backend {
	__be32 addr[4];
	__u8 mac[ETH_ALEN];
	__be16 port; // zero: the VIP's
	__u8 family;
	__u8 mode;
	__u8 up;
	__u8 pad;
};

struct flow {
	__be32 src[4];
	__be32 dst[4];
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 family;
	__u16 pad;
};

struct conn {
	__u32 backend;
	__u32 packets;
};

struct traffic {
	__u64 packets;
	__u64 bytes;
};

struct local {
	__be32 src4;
	__be32 src6[4];
	__u8 gateway[ETH_ALEN];
	__u16 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 512);
	__type(key, struct vip_key);
	__type(value, struct vip);
} vips SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_VIPS * RING_SIZE);
	__type(key, __u32);
	__type(value, __u32);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_BACKENDS);
	__type(key, __u32);
	__type(value, struct backend);
} backends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_CONNS);
	__type(key, struct flow);
	__type(value, struct conn);
} conns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct local);
} locals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_VIPS);
	__type(key, __u32);
	__type(value, struct traffic);
} vip_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

// packet is what parsing found out.
struct packet {
	struct flow flow;
	__u16 l3_len; // of the IP packet, its header included
	__u16 l4_off; // from the start of the frame
	__u8 tcp_flags;
	__u8 tos;
	__u8 icmp_error; // the flow is the one an ICMP error speaks of
};

static __always_inline void count(enum counter c)
{
	__u32 key = c;
	__u64 *n = bpf_map_lookup_elem(&counters, &key);

	if (n)
		*n += 1;
}

static __always_inline void count_vip(__u32 id, __u32 bytes)
{
	struct traffic *t = bpf_map_lookup_elem(&vip_stats, &id);

	if (!t)
		return;
	t->packets += 1;
	t->bytes += bytes;
}

static __always_inline __u32 mix(__u32 h, __u32 v)
{
	h ^= v * 0x9e3779b1;
	h = (h << 13) | (h >> 19);
	return h * 5 + 0x52dce729;
}

static __always_inline __u32 hash_flow(const struct flow *f, __u32 flags)
{
	__u32 h = f->family;

	h = mix(h, f->src[0]);
	if (f->family == AF_INET6) {
		h = mix(h, f->src[1]);
		h = mix(h, f->src[2]);
		h = mix(h, f->src[3]);
	}
	if (!(flags & VIP_SOURCE_AFFINITY)) {
		h = mix(h, (__u32)f->sport << 16 | f->dport);
		h = mix(h, f->proto);
	}
	h ^= h >> 16;
	h *= 0x85ebca6b;
	return h ^ (h >> 13);
}

static __always_inline __u16 csum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

// csum_replace updates a checksum for a 32-bit word that changes (RFC 1624).
static __always_inline __u16 csum_replace(__u16 csum, __u32 from, __u32 to)
{
	__u64 sum = (__u16)~csum;

	sum += (__u32)~from;
	sum += to;
	return csum_fold(sum);
}

static __always_inline void ipv4_csum(struct iphdr *ip)
{
	__u16 *words = (__u16 *)ip;
	__u64 sum = 0;

	ip->check = 0;
#pragma unroll
	for (int i = 0; i < (int)sizeof(*ip) / 2; i++)
		sum += words[i];
	ip->check = csum_fold(sum);
}

// parse_l4 reads the ports of the transport header at data + off.
static __always_inline int parse_l4(struct packet *p, void *data, void *end, __u32 off)
{
	struct flow *f = &p->flow;

	p->l4_off = off;
	if (f->proto == IPPROTO_TCP) {
		struct tcphdr *tcp = data + off;

		if ((void *)(tcp + 1) > end)
			return -1;
		f->sport = tcp->source;
		f->dport = tcp->dest;
		p->tcp_flags = ((__u8 *)tcp)[TCP_FLAGS_OFFSET];
		return 0;
	}
	if (f->proto == IPPROTO_UDP) {
		struct udphdr *udp = data + off;

		if ((void *)(udp + 1) > end)
			return -1;
		f->sport = udp->source;
		f->dport = udp->dest;
		return 0;
	}
	return 1;
}

// swap_flow turns around the flow of a packet that an ICMP error quotes: the
// backend sent it, we look for what the client sends.
static __always_inline void swap_flow(struct flow *f)
{
	__be16 port = f->sport;

	f->sport = f->dport;
	f->dport = port;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		__be32 addr = f->src[i];

		f->src[i] = f->dst[i];
		f->dst[i] = addr;
	}
}

static __always_inline int parse_icmp4(struct packet *p, void *data, void *end, __u32 off)
{
	struct icmp_hdr *icmp = data + off;
	struct iphdr *inner = (void *)(icmp + 1);
	__be16 *ports = (void *)(inner + 1);

	if ((void *)(icmp + 1) > end)
		return -1;
	if (icmp->type != ICMP_DEST_UNREACH && icmp->type != ICMP_TIME_EXCEEDED)
		return 1;
	if ((void *)(ports + 2) > end)
		return -1;
	if (*(__u8 *)inner != 0x45)
		return 1;
	if (inner->protocol != IPPROTO_TCP && inner->protocol != IPPROTO_UDP)
		return 1;
	p->icmp_error = 1;
	p->l4_off = off;
	p->flow.proto = inner->protocol;
	p->flow.src[0] = inner->saddr;
	p->flow.dst[0] = inner->daddr;
	p->flow.sport = ports[0];
	p->flow.dport = ports[1];
	swap_flow(&p->flow);
	return 0;
}

static __always_inline int parse_icmp6(struct packet *p, void *data, void *end, __u32 off)
{
	struct icmp_hdr *icmp = data + off;
	struct ipv6hdr *inner = (void *)(icmp + 1);
	__be16 *ports = (void *)(inner + 1);

	if ((void *)(icmp + 1) > end)
		return -1;
	if (icmp->type != ICMPV6_PKT_TOOBIG && icmp->type != ICMPV6_DEST_UNREACH)
		return 1;
	if ((void *)(ports + 2) > end)
		return -1;
	if (inner->nexthdr != IPPROTO_TCP && inner->nexthdr != IPPROTO_UDP)
		return 1;
	p->icmp_error = 1;
	p->l4_off = off;
	p->flow.proto = inner->nexthdr;
	__builtin_memcpy(p->flow.src, &inner->saddr, sizeof(p->flow.src));
	__builtin_memcpy(p->flow.dst, &inner->daddr, sizeof(p->flow.dst));
	p->flow.sport = ports[0];
	p->flow.dport = ports[1];
	swap_flow(&p->flow);
	return 0;
}

// parse_ipv4 returns 0 for a packet to look at, a positive number for one
// that is none of ours, a negative one for a malformed one.
static __always_inline int parse_ipv4(struct packet *p, void *data, void *end)
{
	struct iphdr *ip = data + sizeof(struct ethhdr);
	__u32 hlen;

	if ((void *)(ip + 1) > end)
		return -1;
	hlen = (*(__u8 *)ip & 0x0f) * 4;
	if (hlen < sizeof(*ip))
		return -1;
	if (ip->frag_off & bpf_htons(IP_OFFSET_MASK)) {
		count(COUNT_FRAGMENT);
		return 1;
	}
	p->flow.family = AF_INET;
	p->flow.proto = ip->protocol;
	p->flow.src[0] = ip->saddr;
	p->flow.dst[0] = ip->daddr;
	p->l3_len = bpf_ntohs(ip->tot_len);
	p->tos = ip->tos;
	if (ip->protocol == IPPROTO_ICMP)
		return parse_icmp4(p, data, end, sizeof(struct ethhdr) + hlen);
	return parse_l4(p, data, end, sizeof(struct ethhdr) + hlen);
}

static __always_inline int parse_ipv6(struct packet *p, void *data, void *end)
{
	struct ipv6hdr *ip = data + sizeof(struct ethhdr);
	const __u32 off = sizeof(struct ethhdr) + sizeof(*ip);

	if ((void *)(ip + 1) > end)
		return -1;
	if (ip->nexthdr == IPPROTO_FRAGMENT) {
		count(COUNT_FRAGMENT);
		return 1;
	}
	p->flow.family = AF_INET6;
	p->flow.proto = ip->nexthdr;
	__builtin_memcpy(p->flow.src, &ip->saddr, sizeof(p->flow.src));
	__builtin_memcpy(p->flow.dst, &ip->daddr, sizeof(p->flow.dst));
	p->l3_len = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	p->tos = bpf_ntohs(*(__be16 *)ip) >> 4;
	if (ip->nexthdr == IPPROTO_ICMPV6)
		return parse_icmp6(p, data, end, off);
	return parse_l4(p, data, end, off);
}

static __always_inline struct vip *find_vip(const struct flow *f)
{
	struct vip_key key = {
		.port = f->dport,
		.proto = f->proto,
		.family = f->family,
	};
	struct vip *vip;

	__builtin_memcpy(key.addr, f->dst, sizeof(key.addr));
	vip = bpf_map_lookup_elem(&vips, &key);
	if (vip)
		return vip;
	key.port = 0;
	return bpf_map_lookup_elem(&vips, &key);
}

static __always_inline struct backend *live_backend(__u32 id)
{
	struct backend *b = bpf_map_lookup_elem(&backends, &id);

	if (!b || !b->up)
		return 0;
	return b;
}

// pick_backend finds the flow's backend in the connection table, or chooses
// one from the VIP's ring and remembers it.
static __always_inline struct backend *pick_backend(struct packet *p, const struct vip *vip)
{
	struct backend *b;
	struct conn *known, fresh = {};
	__u32 slot, *id;

	if (!(vip->flags & VIP_STATELESS) && !(p->tcp_flags & TCP_SYN)) {
		known = bpf_map_lookup_elem(&conns, &p->flow);
		if (known) {
			b = live_backend(known->backend);
			if (b) {
				known->packets += 1;
				count(COUNT_CONN_HIT);
				if (p->tcp_flags & TCP_RST)
					bpf_map_delete_elem(&conns, &p->flow);
				return b;
			}
		}
	}
	if (vip->id >= MAX_VIPS)
		return 0;
	slot = vip->id * RING_SIZE + hash_flow(&p->flow, vip->flags) % RING_SIZE;
	id = bpf_map_lookup_elem(&ring, &slot);
	if (!id)
		return 0;
	b = live_backend(*id);
	if (!b)
		return 0;
	if (!(vip->flags & VIP_STATELESS) && !p->icmp_error) {
		fresh.backend = *id;
		fresh.packets = 1;
		bpf_map_update_elem(&conns, &p->flow, &fresh, BPF_ANY);
		count(COUNT_CONN_NEW);
	}
	return b;
}

static __always_inline void set_macs(struct ethhdr *eth, const __u8 *dst)
{
	__u8 own[ETH_ALEN];

	__builtin_memcpy(own, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, dst, ETH_ALEN);
	__builtin_memcpy(eth->h_source, own, ETH_ALEN);
}

static __always_inline int encap_ipv4(struct xdp_md *ctx, const struct packet *p,
				      const struct backend *b, const struct local *l,
				      const __u8 *own)
{
	struct ethhdr *eth;
	struct iphdr *ip;
	void *data, *end;

	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*ip))) {
		count(COUNT_ENCAP_FAILED);
		return XDP_DROP;
	}
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	eth = data;
	ip = (void *)(eth + 1);
	if ((void *)(ip + 1) > end)
		return XDP_DROP;
	__builtin_memcpy(eth->h_source, own, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, l->gateway, ETH_ALEN);
	eth->h_proto = bpf_htons(ETH_P_IP);
	*(__u8 *)ip = 0x45;
	ip->tos = p->tos;
	ip->tot_len = bpf_htons(p->l3_len + sizeof(*ip));
	ip->id = 0;
	ip->frag_off = bpf_htons(0x4000);
	ip->ttl = OUTER_TTL;
	ip->protocol = IPPROTO_IPIP;
	ip->saddr = l->src4;
	ip->daddr = b->addr[0];
	ipv4_csum(ip);
	return XDP_TX;
}

static __always_inline int encap_ipv6(struct xdp_md *ctx, const struct packet *p,
				      const struct backend *b, const struct local *l,
				      const __u8 *own)
{
	struct ethhdr *eth;
	struct ipv6hdr *ip;
	void *data, *end;

	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*ip))) {
		count(COUNT_ENCAP_FAILED);
		return XDP_DROP;
	}
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	eth = data;
	ip = (void *)(eth + 1);
	if ((void *)(ip + 1) > end)
		return XDP_DROP;
	__builtin_memcpy(eth->h_source, own, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, l->gateway, ETH_ALEN);
	eth->h_proto = bpf_htons(ETH_P_IPV6);
	*(__be32 *)ip = bpf_htonl(6 << 28 | p->tos << 20);
	ip->payload_len = bpf_htons(p->l3_len);
	ip->nexthdr = p->flow.family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IPIP;
	ip->hop_limit = OUTER_TTL;
	__builtin_memcpy(&ip->saddr, l->src6, sizeof(ip->saddr));
	__builtin_memcpy(&ip->daddr, b->addr, sizeof(ip->daddr));
	return XDP_TX;
}

static __always_inline __u16 nat_csum(__u16 csum, const struct packet *p,
				      const struct backend *b, __be16 port)
{
	csum = csum_replace(csum, p->flow.dst[0], b->addr[0]);
	if (p->flow.family == AF_INET6) {
		csum = csum_replace(csum, p->flow.dst[1], b->addr[1]);
		csum = csum_replace(csum, p->flow.dst[2], b->addr[2]);
		csum = csum_replace(csum, p->flow.dst[3], b->addr[3]);
	}
	return csum_replace(csum, p->flow.dport, port);
}

static __always_inline int nat_l4(struct packet *p, void *data, void *end,
				  const struct backend *b)
{
	__be16 port = b->port ? b->port : p->flow.dport;
	__u32 off = p->l4_off;

	if (off > MAX_L4_OFF)
		return -1;
	if (p->flow.proto == IPPROTO_TCP) {
		struct tcphdr *tcp = data + off;

		if ((void *)(tcp + 1) > end)
			return -1;
		tcp->check = nat_csum(tcp->check, p, b, port);
		tcp->dest = port;
	} else {
		struct udphdr *udp = data + off;

		if ((void *)(udp + 1) > end)
			return -1;
		if (udp->check) {
			udp->check = nat_csum(udp->check, p, b, port);
			if (!udp->check)
				udp->check = 0xffff;
		}
		udp->dest = port;
	}
	return 0;
}

static __always_inline int rewrite(struct xdp_md *ctx, struct packet *p,
				   const struct backend *b)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;

	if (p->icmp_error || b->family != p->flow.family)
		return XDP_PASS;
	if (p->flow.family == AF_INET) {
		struct iphdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > end)
			return XDP_DROP;
		if (ip->ttl <= 1) {
			count(COUNT_TTL);
			return XDP_PASS;
		}
		if (nat_l4(p, data, end, b))
			return XDP_DROP;
		ip->ttl -= 1;
		ip->check = csum_replace(ip->check, bpf_htons(0x100), 0);
		ip->check = csum_replace(ip->check, ip->daddr, b->addr[0]);
		ip->daddr = b->addr[0];
	} else {
		struct ipv6hdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > end)
			return XDP_DROP;
		if (ip->hop_limit <= 1) {
			count(COUNT_TTL);
			return XDP_PASS;
		}
		if (nat_l4(p, data, end, b))
			return XDP_DROP;
		ip->hop_limit -= 1;
		__builtin_memcpy(&ip->daddr, b->addr, sizeof(ip->daddr));
	}
	set_macs(eth, b->mac);
	return XDP_TX;
}

static __always_inline int forward(struct xdp_md *ctx, struct packet *p,
				   const struct backend *b)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u8 own[ETH_ALEN];
	struct local *l;
	__u32 zero = 0;

	if (data + sizeof(struct ethhdr) > end)
		return XDP_DROP;
	switch (b->mode) {
	case MODE_LINK:
		set_macs(data, b->mac);
		return XDP_TX;
	case MODE_NAT:
		return rewrite(ctx, p, b);
	case MODE_ENCAP:
		__builtin_memcpy(own, ((struct ethhdr *)data)->h_dest, ETH_ALEN);
		l = bpf_map_lookup_elem(&locals, &zero);
		if (!l)
			return XDP_DROP;
		if (b->family == AF_INET6)
			return encap_ipv6(ctx, p, b, l, own);
		if (p->flow.family == AF_INET)
			return encap_ipv4(ctx, p, b, l, own);
		return XDP_DROP;
	default:
		return XDP_PASS;
	}
}

SEC("xdp")
int xdp_lb(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct packet p = {};
	struct backend *b;
	struct vip *vip;
	int err;

	if ((void *)(eth + 1) > end)
		return XDP_DROP;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		err = parse_ipv4(&p, data, end);
	else if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		err = parse_ipv6(&p, data, end);
	else
		return XDP_PASS;
	if (err < 0) {
		count(COUNT_MALFORMED);
		return XDP_DROP;
	}
	if (err > 0)
		return XDP_PASS;
	if (p.icmp_error)
		count(COUNT_ICMP_ERROR);

	vip = find_vip(&p.flow);
	if (!vip) {
		count(COUNT_NO_VIP);
		return XDP_PASS;
	}
	b = pick_backend(&p, vip);
	if (!b) {
		count(COUNT_NO_BACKEND);
		return XDP_DROP;
	}
	count_vip(vip->id, p.l3_len);
	return forward(ctx, &p, b);
}

char _license[] SEC("license") = "GPL";
