// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
//
// A stateless firewall at the driver: a list of addresses that are blocked
// for a time, rules by source prefix, rules by destination port, sanity checks
// of TCP flags, a limit on packet sizes by protocol, and counters per rule.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAX_RULES 1024
#define MAX_VLANS 2
#define MAX_EXT_HEADERS 4
#define ICMP_HLEN 8

// Rules below this number are built in.
#define RULE_NONE 0
#define RULE_MALFORMED 1
#define RULE_BLOCKED 2
#define RULE_SCAN 3
#define RULE_FRAGMENT 4
#define RULE_OPTIONS 5
#define RULE_ICMP 6
#define RULE_SPOOFED 7

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_URG 0x20

enum action {
	ACTION_NEXT, // undecided: the next table has the say
	ACTION_ALLOW,
	ACTION_DROP,
	ACTION_LOG, // allow, and count the bytes
};

struct vlan_hdr {
	__be16 tci;
	__be16 proto;
};

struct ext_hdr {
	__u8 nexthdr;
	__u8 len; // in units of 8 bytes, the first not counted
};

struct prefix4 {
	__u32 len;
	__be32 addr;
};

struct prefix6 {
	__u32 len;
	__be32 addr[4];
};

struct address {
	__be32 addr[4]; // IPv4 in the first word
	__u32 family;
};

struct port_key {
	__be16 port;
	__u8 proto;
	__u8 tcp_syn; // rule for connection attempts alone
};

struct rule {
	__u32 id;
	__u8 action;
	__u8 log;
	__u16 max_len; // longer packets are dropped; zero: no limit
};

struct block {
	__u64 until; // in ns of CLOCK_MONOTONIC; zero: for ever
	__u64 hits;
};

struct rule_stats {
	__u64 packets;
	__u64 bytes;
	__u64 last_seen;
};

struct settings {
	__u8 default_action;
	__u8 drop_fragments;
	__u8 drop_options;
	__u8 allow_icmp;
	__u32 icmp_types; // bit n: type n of ICMP is welcome, n < 32
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix4);
	__type(value, struct rule);
} prefixes4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix6);
	__type(value, struct rule);
} prefixes6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct port_key);
	__type(value, struct rule);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct address);
	__type(value, struct block);
} blocklist SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_RULES);
	__type(key, __u32);
	__type(value, struct rule_stats);
} rule_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
} config SEC(".maps");

// packet is what the rules look at.
struct packet {
	void *pos;
	void *end;
	struct address src;
	__u32 len;
	__u16 l3_len;
	__u8 proto;
	__u8 fragment;
	__u8 options;
};

static __always_inline int verdict(const struct packet *p, __u32 id, __u8 action)
{
	struct rule_stats *s = bpf_map_lookup_elem(&rule_counters, &id);

	if (s) {
		s->packets += 1;
		s->bytes += p->len;
		s->last_seen = bpf_ktime_get_ns();
	}
	return action == ACTION_DROP ? XDP_DROP : XDP_PASS;
}

static __always_inline int decide(const struct packet *p, const struct rule *r)
{
	if (r->max_len && p->l3_len > r->max_len)
		return verdict(p, r->id, ACTION_DROP);
	return verdict(p, r->id, r->action);
}

// blocked tells whether the source is on the blocklist; entries whose time is
// over are removed.
static __always_inline int blocked(const struct packet *p)
{
	struct block *b = bpf_map_lookup_elem(&blocklist, &p->src);

	if (!b)
		return 0;
	if (b->until && b->until < bpf_ktime_get_ns()) {
		bpf_map_delete_elem(&blocklist, &p->src);
		return 0;
	}
	__sync_fetch_and_add(&b->hits, 1);
	return 1;
}

static __always_inline int parse_ipv4(struct packet *p)
{
	struct iphdr *ip = p->pos;
	__u32 hlen;

	if ((void *)(ip + 1) > p->end)
		return -1;
	if (*(__u8 *)ip >> 4 != 4)
		return -1;
	hlen = (*(__u8 *)ip & 0x0f) << 2;
	if (hlen < sizeof(*ip))
		return -1;
	p->l3_len = bpf_ntohs(ip->tot_len);
	if (p->l3_len < hlen)
		return -1;
	if (p->pos + hlen > p->end)
		return -1;
	p->options = hlen > sizeof(*ip);
	p->fragment = (ip->frag_off & bpf_htons(0x1fff)) != 0;
	p->proto = ip->protocol;
	p->src.family = ETH_P_IP;
	p->src.addr[0] = ip->saddr;
	p->pos += hlen;
	return 0;
}

static __always_inline int parse_ipv6(struct packet *p)
{
	struct ipv6hdr *ip = p->pos;
	__u8 next;

	if ((void *)(ip + 1) > p->end)
		return -1;
	if (*(__u8 *)ip >> 4 != 6)
		return -1;
	p->l3_len = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	p->src.family = ETH_P_IPV6;
	__builtin_memcpy(p->src.addr, &ip->saddr, sizeof(p->src.addr));
	next = ip->nexthdr;
	p->pos = ip + 1;
#pragma unroll
	for (int i = 0; i < MAX_EXT_HEADERS; i++) {
		struct ext_hdr *ext = p->pos;

		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING &&
		    next != IPPROTO_DSTOPTS && next != IPPROTO_FRAGMENT)
			break;
		if ((void *)(ext + 1) > p->end)
			return -1;
		if (next == IPPROTO_FRAGMENT) {
			__be16 *frag = p->pos + 2;

			if ((void *)(frag + 1) > p->end)
				return -1;
			p->fragment = (*frag & bpf_htons(0xfff8)) != 0;
			p->pos += 8;
		} else {
			p->options = 1;
			p->pos += (ext->len + 1) << 3;
		}
		next = ext->nexthdr;
	}
	p->proto = next;
	return 0;
}

// spoofed tells whether the source is one that no packet from outside has.
static __always_inline int spoofed(const struct packet *p)
{
	__u32 first = bpf_ntohl(p->src.addr[0]);

	if (p->src.family == ETH_P_IP)
		return first >> 24 == 127 || first >> 28 == 0xe || first == 0xffffffff;
	if (first >> 24 == 0xff)
		return 1;
	return !(p->src.addr[0] | p->src.addr[1] | p->src.addr[2]) &&
	       p->src.addr[3] == bpf_htonl(1);
}

// scan tells whether the TCP flags are such as no honest stack sends.
static __always_inline int scan(__u8 flags)
{
	const __u8 all = TCP_FIN | TCP_SYN | TCP_RST | TCP_PSH | TCP_ACK | TCP_URG;

	flags &= all;
	if (!flags)
		return 1;
	if ((flags & (TCP_SYN | TCP_FIN)) == (TCP_SYN | TCP_FIN))
		return 1;
	if ((flags & (TCP_SYN | TCP_RST)) == (TCP_SYN | TCP_RST))
		return 1;
	if ((flags & (TCP_FIN | TCP_RST)) == (TCP_FIN | TCP_RST))
		return 1;
	return (flags & (TCP_FIN | TCP_PSH | TCP_URG)) == (TCP_FIN | TCP_PSH | TCP_URG) &&
	       !(flags & TCP_ACK);
}

static __always_inline struct rule *prefix_rule(const struct packet *p)
{
	if (p->src.family == ETH_P_IP) {
		struct prefix4 key = {.len = 32, .addr = p->src.addr[0]};

		return bpf_map_lookup_elem(&prefixes4, &key);
	} else {
		struct prefix6 key = {.len = 128};

		__builtin_memcpy(key.addr, p->src.addr, sizeof(key.addr));
		return bpf_map_lookup_elem(&prefixes6, &key);
	}
}

static __always_inline int check_icmp(const struct packet *p, const struct settings *s)
{
	__u8 *type = p->pos;

	if ((void *)(type + ICMP_HLEN) > p->end)
		return verdict(p, RULE_MALFORMED, ACTION_DROP);
	if (!s->allow_icmp)
		return verdict(p, RULE_ICMP, ACTION_DROP);
	if (p->proto == IPPROTO_ICMP && (*type >= 32 || !(s->icmp_types & (1u << *type))))
		return verdict(p, RULE_ICMP, ACTION_DROP);
	return verdict(p, RULE_ICMP, ACTION_ALLOW);
}

// check_ports asks the table of ports, first for attempts to connect, then for
// any packet.
static __always_inline int check_ports(const struct packet *p, const struct settings *s)
{
	struct port_key key = {.proto = p->proto};
	struct rule *r;

	if (p->proto == IPPROTO_TCP) {
		struct tcphdr *tcp = p->pos;
		__u8 flags;

		if ((void *)(tcp + 1) > p->end)
			return verdict(p, RULE_MALFORMED, ACTION_DROP);
		flags = ((__u8 *)tcp)[13];
		if (scan(flags))
			return verdict(p, RULE_SCAN, ACTION_DROP);
		key.port = tcp->dest;
		if ((flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
			key.tcp_syn = 1;
			r = bpf_map_lookup_elem(&ports, &key);
			if (r && r->action != ACTION_NEXT)
				return decide(p, r);
			key.tcp_syn = 0;
		}
	} else if (p->proto == IPPROTO_UDP) {
		struct udphdr *udp = p->pos;

		if ((void *)(udp + 1) > p->end)
			return verdict(p, RULE_MALFORMED, ACTION_DROP);
		if (bpf_ntohs(udp->len) < sizeof(*udp))
			return verdict(p, RULE_MALFORMED, ACTION_DROP);
		key.port = udp->dest;
	}
	r = bpf_map_lookup_elem(&ports, &key);
	if (r && r->action != ACTION_NEXT)
		return decide(p, r);
	return verdict(p, RULE_NONE, s->default_action);
}

static __always_inline int filter(struct packet *p, const struct settings *s)
{
	struct rule *r;

	if (spoofed(p))
		return verdict(p, RULE_SPOOFED, ACTION_DROP);
	if (blocked(p))
		return verdict(p, RULE_BLOCKED, ACTION_DROP);
	if (p->options && s->drop_options)
		return verdict(p, RULE_OPTIONS, ACTION_DROP);
	r = prefix_rule(p);
	if (r && r->action != ACTION_NEXT)
		return decide(p, r);
	if (p->fragment)
		return verdict(p, RULE_FRAGMENT,
			       s->drop_fragments ? ACTION_DROP : ACTION_ALLOW);
	if (p->proto == IPPROTO_ICMP || p->proto == IPPROTO_ICMPV6)
		return check_icmp(p, s);
	return check_ports(p, s);
}

SEC("xdp")
int xdp_firewall(struct xdp_md *ctx)
{
	struct packet p = {
		.pos = (void *)(long)ctx->data,
		.end = (void *)(long)ctx->data_end,
	};
	struct ethhdr *eth = p.pos;
	struct settings *s;
	__u32 zero = 0;
	__be16 proto;
	int err;

	p.len = p.end - p.pos;
	s = bpf_map_lookup_elem(&config, &zero);
	if (!s || (void *)(eth + 1) > p.end)
		return XDP_ABORTED;
	proto = eth->h_proto;
	p.pos = eth + 1;
#pragma unroll
	for (int i = 0; i < MAX_VLANS; i++) {
		struct vlan_hdr *vlan = p.pos;

		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(vlan + 1) > p.end)
			return verdict(&p, RULE_MALFORMED, ACTION_DROP);
		proto = vlan->proto;
		p.pos = vlan + 1;
	}
	if (proto == bpf_htons(ETH_P_IP))
		err = parse_ipv4(&p);
	else if (proto == bpf_htons(ETH_P_IPV6))
		err = parse_ipv6(&p);
	else
		return XDP_PASS;
	if (err)
		return verdict(&p, RULE_MALFORMED, ACTION_DROP);
	return filter(&p, s);
}

char _license[] SEC("license") = "GPL";
