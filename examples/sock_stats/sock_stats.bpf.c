// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
//
// A socket filter for a capture daemon. It dissects packets with a chain of
// tail calls, one program per protocol, counts what it saw, keeps DNS names and
// TCP resets that the daemon wants to know of, and decides how many bytes of
// each packet the daemon gets. Loads go through the classic packet instructions,
// which end the program where the packet ends.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAX_HEADERS 6
#define MAX_VLANS 2
#define NAME_LEN 32
#define SNAP_ALL 0xffff
#define SNAP_NONE 0

#define AF_INET 2
#define AF_INET6 10

#define ETH_HLEN_ 14
#define IPV6_HLEN 40
#define PORT_DNS 53

#define TCP_RST 0x04

unsigned long long load_byte(void *skb, unsigned long long off) asm("llvm.bpf.load.byte");
unsigned long long load_half(void *skb, unsigned long long off) asm("llvm.bpf.load.half");
unsigned long long load_word(void *skb, unsigned long long off) asm("llvm.bpf.load.word");

enum program {
	PROG_IPV4,
	PROG_IPV6,
	PROG_TCP,
	PROG_UDP,
	PROG_ARP,
	PROG_MAX,
};

// state lives in skb->cb across tail calls.
enum state {
	STATE_OFFSET, // of the header that the next program looks at
	STATE_PROTO,
	STATE_FAMILY,
	STATE_SOURCE, // a hash of the source address
	STATE_VLAN,
};

struct proto_key {
	__u16 family;
	__u8 proto;
	__u8 vlan; // whether tagged
	__u16 port; // the lower of the two
	__u16 pad;
};

struct proto_stats {
	__u64 packets;
	__u64 bytes;
};

struct dns_key {
	__u8 name[NAME_LEN];
};

struct reset_key {
	__u32 source;
	__u16 port;
	__u16 family;
};

struct snap {
	__u32 default_len;
	__u32 dns_len;
	__u32 tcp_payload; // bytes behind the TCP header
};

int ipv4(struct __sk_buff *skb);
int ipv6(struct __sk_buff *skb);
int tcp(struct __sk_buff *skb);
int udp(struct __sk_buff *skb);
int arp(struct __sk_buff *skb);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, PROG_MAX);
	__uint(key_size, sizeof(__u32));
	__array(values, int(struct __sk_buff *));
} programs SEC(".maps") = {
	.values =
		{
			[PROG_IPV4] = ipv4,
			[PROG_IPV6] = ipv6,
			[PROG_TCP] = tcp,
			[PROG_UDP] = udp,
			[PROG_ARP] = arp,
		},
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct proto_key);
	__type(value, struct proto_stats);
} protos SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct dns_key);
	__type(value, __u64);
} names SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct reset_key);
	__type(value, __u64);
} resets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct snap);
} snaps SEC(".maps");

static __always_inline __u32 min(__u32 a, __u32 b)
{
	return a < b ? a : b;
}

static __always_inline __u32 default_snap(void)
{
	__u32 zero = 0;
	struct snap *s = bpf_map_lookup_elem(&snaps, &zero);

	return s ? s->default_len : SNAP_ALL;
}

static __always_inline void account(struct __sk_buff *skb, __u16 port)
{
	struct proto_key key = {
		.family = skb->cb[STATE_FAMILY],
		.proto = skb->cb[STATE_PROTO],
		.vlan = skb->cb[STATE_VLAN] != 0,
		.port = port,
	};
	struct proto_stats fresh = {.packets = 1, .bytes = skb->len}, *s;

	s = bpf_map_lookup_elem(&protos, &key);
	if (s) {
		s->packets += 1;
		s->bytes += skb->len;
		return;
	}
	bpf_map_update_elem(&protos, &key, &fresh, BPF_NOEXIST);
}

static __always_inline int next_proto(struct __sk_buff *skb, __u32 off, __u8 proto)
{
	skb->cb[STATE_OFFSET] = off;
	skb->cb[STATE_PROTO] = proto;
	if (proto == IPPROTO_TCP)
		bpf_tail_call(skb, &programs, PROG_TCP);
	if (proto == IPPROTO_UDP)
		bpf_tail_call(skb, &programs, PROG_UDP);
	account(skb, 0);
	return default_snap();
}

SEC("socket/ipv4")
int ipv4(struct __sk_buff *skb)
{
	__u32 off = skb->cb[STATE_OFFSET];
	__u8 version_ihl = load_byte(skb, off);
	__u16 frag = load_half(skb, off + 6);
	__u8 proto = load_byte(skb, off + 9);

	skb->cb[STATE_FAMILY] = AF_INET;
	skb->cb[STATE_SOURCE] = load_word(skb, off + 12);
	if (version_ihl >> 4 != 4 || (version_ihl & 0x0f) < 5)
		return SNAP_NONE;
	if (frag & 0x1fff) {
		skb->cb[STATE_PROTO] = proto;
		account(skb, 0);
		return default_snap();
	}
	return next_proto(skb, off + (version_ihl & 0x0f) * 4, proto);
}

SEC("socket/ipv6")
int ipv6(struct __sk_buff *skb)
{
	__u32 off = skb->cb[STATE_OFFSET];
	__u8 next = load_byte(skb, off + 6);
	__u32 source = 0;

#pragma unroll
	for (int i = 0; i < 4; i++)
		source = (source << 7 | source >> 25) ^ load_word(skb, off + 8 + 4 * i);
	skb->cb[STATE_FAMILY] = AF_INET6;
	skb->cb[STATE_SOURCE] = source;
	off += IPV6_HLEN;
	for (int i = 0; i < MAX_HEADERS; i++) {
		if (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING ||
		    next == IPPROTO_DSTOPTS) {
			next = load_byte(skb, off);
			off += (load_byte(skb, off + 1) + 1) * 8;
		} else if (next == IPPROTO_FRAGMENT) {
			next = load_byte(skb, off);
			if (load_half(skb, off + 2) & 0xfff8)
				next = IPPROTO_NONE;
			off += 8;
		} else {
			break;
		}
	}
	return next_proto(skb, off, next);
}

SEC("socket/tcp")
int tcp(struct __sk_buff *skb)
{
	__u32 off = skb->cb[STATE_OFFSET], zero = 0;
	__u16 sport = load_half(skb, off);
	__u16 dport = load_half(skb, off + 2);
	__u32 hlen = (load_byte(skb, off + 12) >> 4) * 4;
	__u8 flags = load_byte(skb, off + 13);
	struct snap *s;

	if (flags & TCP_RST) {
		struct reset_key key = {
			.source = skb->cb[STATE_SOURCE],
			.port = sport,
			.family = skb->cb[STATE_FAMILY],
		};
		__u64 one = 1, *n = bpf_map_lookup_elem(&resets, &key);

		if (n)
			__sync_fetch_and_add(n, 1);
		else
			bpf_map_update_elem(&resets, &key, &one, BPF_NOEXIST);
	}
	account(skb, min(sport, dport));
	s = bpf_map_lookup_elem(&snaps, &zero);
	if (!s)
		return SNAP_ALL;
	return off + hlen + s->tcp_payload;
}

// read_name copies the first name of a DNS message in lower case, dots between
// the labels.
static __always_inline int read_name(struct __sk_buff *skb, __u32 off, struct dns_key *key)
{
	__u8 left = load_byte(skb, off);

	if (!left || left > 63)
		return -1;
	for (int i = 0; i < NAME_LEN - 1; i++) {
		__u8 c = load_byte(skb, off + 1 + i);

		if (!left) {
			if (!c)
				break;
			if (c > 63)
				return -1;
			left = c;
			key->name[i] = '.';
			continue;
		}
		left--;
		if (c >= 'A' && c <= 'Z')
			c += 'a' - 'A';
		key->name[i] = c;
	}
	return 0;
}

SEC("socket/udp")
int udp(struct __sk_buff *skb)
{
	__u32 off = skb->cb[STATE_OFFSET], zero = 0;
	__u16 sport = load_half(skb, off);
	__u16 dport = load_half(skb, off + 2);
	struct dns_key key = {};
	__u64 one = 1, *n;
	struct snap *s;

	account(skb, min(sport, dport));
	if (sport != PORT_DNS && dport != PORT_DNS)
		return default_snap();
	if (!load_half(skb, off + 8 + 4) || read_name(skb, off + 8 + 12, &key))
		return default_snap();
	n = bpf_map_lookup_elem(&names, &key);
	if (n)
		__sync_fetch_and_add(n, 1);
	else
		bpf_map_update_elem(&names, &key, &one, BPF_NOEXIST);
	s = bpf_map_lookup_elem(&snaps, &zero);
	return s ? s->dns_len : SNAP_ALL;
}

SEC("socket/arp")
int arp(struct __sk_buff *skb)
{
	__u32 off = skb->cb[STATE_OFFSET];

	skb->cb[STATE_FAMILY] = 0;
	skb->cb[STATE_PROTO] = load_half(skb, off + 6);
	account(skb, 0);
	return skb->len;
}

SEC("socket")
int dissect(struct __sk_buff *skb)
{
	__u32 off = ETH_HLEN_;
	__u16 proto = load_half(skb, 12);

	skb->cb[STATE_VLAN] = 0;
#pragma unroll
	for (int i = 0; i < MAX_VLANS; i++) {
		if (proto != ETH_P_8021Q && proto != ETH_P_8021AD)
			break;
		skb->cb[STATE_VLAN] = load_half(skb, off);
		proto = load_half(skb, off + 2);
		off += 4;
	}
	skb->cb[STATE_OFFSET] = off;
	switch (proto) {
	case ETH_P_IP:
		bpf_tail_call(skb, &programs, PROG_IPV4);
		break;
	case ETH_P_IPV6:
		bpf_tail_call(skb, &programs, PROG_IPV6);
		break;
	case ETH_P_ARP:
		bpf_tail_call(skb, &programs, PROG_ARP);
		break;
	}
	skb->cb[STATE_FAMILY] = 0;
	skb->cb[STATE_PROTO] = 0;
	account(skb, 0);
	return SNAP_NONE;
}

char _license[] SEC("license") = "GPL";
