// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
//
// A flow exporter, as for IPFIX: it keeps a record per flow, in both directions
// of an interface, and sends records to user space through a ring buffer when a
// flow starts, ends or has been active for long. Settings are global data that
// the loader sets, totals global data that user space maps and reads.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAX_FLOWS 32768
#define MAX_TCP_OPTIONS 40 // bytes
#define MAX_PAYLOAD 64     // bytes looked at
#define RING_BYTES (1 << 20)

#define AF_INET 2
#define AF_INET6 10

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04

#define OPT_END 0
#define OPT_NOP 1
#define OPT_MSS 2
#define OPT_WSCALE 3
#define OPT_SACK_OK 4
#define OPT_TIMESTAMP 8

enum direction {
	INGRESS,
	EGRESS,
	DIRECTIONS,
};

enum reason {
	REASON_START,
	REASON_END,
	REASON_ACTIVE,
	REASON_MAX,
};

enum app {
	APP_UNKNOWN,
	APP_HTTP,
	APP_TLS,
	APP_SSH,
	APP_DNS,
	APP_MAX,
};

struct flow_key {
	__be32 src[4];
	__be32 dst[4];
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 family;
	__u8 direction;
	__u8 pad;
};

_Static_assert(sizeof(struct flow_key) == 40, "no padding in keys");

struct flow {
	__u64 first;
	__u64 last_export;
	__u64 packets;
	__u64 bytes;
	__u32 payload_hash; // of the first packet that has any
	__u16 mss;
	__u8 wscale;
	__u8 tcp_flags;
	__u8 app;
	__u8 has_timestamps;
	__u8 sack_ok;
	__u8 pad[5];
};

struct record {
	struct flow_key key;
	__u32 reason;
	__u32 pad;
	__u64 time; // in ns of CLOCK_MONOTONIC
	struct flow flow;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_FLOWS);
	__type(key, struct flow_key);
	__type(value, struct flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, RING_BYTES);
} records SEC(".maps");

// Set by the loader, constant afterwards.
const volatile __u32 sample_rate = 1; // one packet of this many starts a flow
const volatile __u8 look_at_payload = 1;
const volatile __u8 export_starts = 1;

// Changed at any time by user space.
__u64 active_timeout_ns = 60000000ULL;
__u16 dns_port = 53;
__u8 app_enabled[APP_MAX] = {1, 1, 1, 1, 1};

// Read by user space.
__u64 exported[REASON_MAX];
__u64 seen[DIRECTIONS];
__u64 apps[APP_MAX];
__u64 lost;
__u32 longest_options;

struct packet {
	struct flow_key key;
	__u32 payload_off;
	__u32 options_off;
	__u32 options_len;
	__u32 len;
	__u8 tcp_flags;
};

// options walks over TCP options, one per call of next_option.
struct options {
	__u8 bytes[MAX_TCP_OPTIONS + 8];
	__u32 len;
	__u32 pos;
	__u16 mss;
	__u8 wscale;
	__u8 has_timestamps;
	__u8 sack_ok;
};

static long next_option(__u32 i, void *arg)
{
	struct options *o = arg;
	__u32 pos = o->pos;
	__u8 len;

	(void)i;
	if (pos + 1 >= o->len || pos >= MAX_TCP_OPTIONS)
		return 1;
	if (o->bytes[pos] == OPT_END)
		return 1;
	if (o->bytes[pos] == OPT_NOP) {
		o->pos = pos + 1;
		return 0;
	}
	len = o->bytes[pos + 1];
	if (len < 2)
		return 1;
	switch (o->bytes[pos]) {
	case OPT_MSS:
		o->mss = o->bytes[pos + 2] << 8 | o->bytes[pos + 3];
		break;
	case OPT_WSCALE:
		o->wscale = o->bytes[pos + 2];
		break;
	case OPT_SACK_OK:
		o->sack_ok = 1;
		break;
	case OPT_TIMESTAMP:
		o->has_timestamps = 1;
		break;
	}
	o->pos = pos + len;
	return 0;
}

static __noinline void read_options(struct __sk_buff *skb, const struct packet *p,
				    struct flow *f)
{
	struct options o = {};
	__u32 len = p->options_len;

	if (len < 1 || len > MAX_TCP_OPTIONS)
		return;
	if (bpf_skb_load_bytes(skb, p->options_off, o.bytes, len))
		return;
	o.len = len;
	if (len > longest_options)
		longest_options = len;
	bpf_loop(MAX_TCP_OPTIONS, next_option, &o, 0);
	f->mss = o.mss;
	f->wscale = o.wscale;
	f->sack_ok = o.sack_ok;
	f->has_timestamps = o.has_timestamps;
}

// fnv1a is the hash of Fowler, Noll and Vo over the first len bytes. It is
// global, so that the verifier looks at it once and by itself.
__noinline __u32 fnv1a(const struct record *r, __u32 len)
{
	__u32 h = 2166136261u;
	const __u8 *b = (const __u8 *)r;

	if (!r)
		return 0;
	for (__u32 i = 0; i < sizeof(*r); i++) {
		if (i >= len)
			break;
		h ^= b[i];
		h *= 16777619;
	}
	return h;
}

// sampled tells whether the flow with this hash is one to follow.
__noinline int sampled(__u32 hash, __u32 rate)
{
	if (rate <= 1)
		return 1;
	hash ^= hash >> 15;
	hash *= 0x2c1b3c6d;
	hash ^= hash >> 12;
	return hash % rate == 0;
}

static __noinline __u8 guess_app(const __u8 *b, __u32 len, __u16 port)
{
	if (port == dns_port && len >= 12)
		return APP_DNS;
	if (len >= 4 && ((b[0] == 'G' && b[1] == 'E' && b[2] == 'T' && b[3] == ' ') ||
			 (b[0] == 'P' && b[1] == 'O' && b[2] == 'S' && b[3] == 'T') ||
			 (b[0] == 'H' && b[1] == 'T' && b[2] == 'T' && b[3] == 'P')))
		return APP_HTTP;
	if (len >= 6 && b[0] == 0x16 && b[1] == 3 && b[5] <= 2)
		return APP_TLS;
	if (len >= 4 && b[0] == 'S' && b[1] == 'S' && b[2] == 'H' && b[3] == '-')
		return APP_SSH;
	return APP_UNKNOWN;
}

static __noinline void read_payload(struct __sk_buff *skb, const struct packet *p,
				    struct flow *f)
{
	__u8 bytes[MAX_PAYLOAD] = {};
	__u32 h = 0, port;
	__u64 len;

	if (p->payload_off >= skb->len)
		return;
	len = skb->len - p->payload_off;
	if (len > MAX_PAYLOAD)
		len = MAX_PAYLOAD;
	// The compiler knows that len is not zero, the verifier does not.
	barrier_var(len);
	if (len < 1 || bpf_skb_load_bytes(skb, p->payload_off, bytes, len))
		return;
	for (int i = 0; i < MAX_PAYLOAD; i++)
		h = (h << 5 | h >> 27) ^ bytes[i];
	f->payload_hash = h;
	port = bpf_ntohs(p->key.dport);
	f->app = guess_app(bytes, len, port);
	if (f->app < APP_MAX) {
		if (!app_enabled[f->app])
			f->app = APP_UNKNOWN;
		__sync_fetch_and_add(&apps[f->app], 1);
	}
}

static __noinline int send_record(const struct flow_key *key, const struct flow *f,
				  enum reason reason, __u64 now)
{
	struct record *r = bpf_ringbuf_reserve(&records, sizeof(*r), 0);

	if (!r) {
		__sync_fetch_and_add(&lost, 1);
		return -1;
	}
	r->key = *key;
	r->reason = reason;
	r->pad = 0;
	r->time = now;
	r->flow = *f;
	bpf_ringbuf_submit(r, 0);
	if (reason < REASON_MAX)
		__sync_fetch_and_add(&exported[reason], 1);
	return 0;
}

static __noinline int parse_l4(struct packet *p, struct __sk_buff *skb, __u32 off)
{
	struct tcphdr tcp;
	struct udphdr udp;

	switch (p->key.proto) {
	case IPPROTO_TCP:
		if (bpf_skb_load_bytes(skb, off, &tcp, sizeof(tcp)))
			return -1;
		p->key.sport = tcp.source;
		p->key.dport = tcp.dest;
		p->tcp_flags = ((__u8 *)&tcp)[13];
		p->payload_off = off + (((__u8 *)&tcp)[12] >> 4) * 4;
		p->options_off = off + sizeof(tcp);
		if (p->payload_off < p->options_off)
			return -1;
		p->options_len = p->payload_off - p->options_off;
		return 0;
	case IPPROTO_UDP:
		if (bpf_skb_load_bytes(skb, off, &udp, sizeof(udp)))
			return -1;
		p->key.sport = udp.source;
		p->key.dport = udp.dest;
		p->payload_off = off + sizeof(udp);
		return 0;
	default:
		p->payload_off = skb->len;
		return 0;
	}
}

static __always_inline int parse(struct packet *p, struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;

	if ((void *)(eth + 1) > end)
		return -1;
	p->len = skb->len;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > end || (ip->frag_off & bpf_htons(0x1fff)))
			return -1;
		p->key.family = AF_INET;
		p->key.proto = ip->protocol;
		p->key.src[0] = ip->saddr;
		p->key.dst[0] = ip->daddr;
		return parse_l4(p, skb, sizeof(*eth) + (*(__u8 *)ip & 0x0f) * 4);
	}
	if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > end)
			return -1;
		p->key.family = AF_INET6;
		p->key.proto = ip->nexthdr;
		__builtin_memcpy(p->key.src, &ip->saddr, sizeof(p->key.src));
		__builtin_memcpy(p->key.dst, &ip->daddr, sizeof(p->key.dst));
		return parse_l4(p, skb, sizeof(*eth) + sizeof(*ip));
	}
	return -1;
}

static __noinline void start_flow(struct __sk_buff *skb, const struct packet *p, __u64 now)
{
	struct record r = {.key = p->key};
	struct flow f = {
		.first = now,
		.last_export = now,
		.packets = 1,
		.bytes = p->len,
		.tcp_flags = p->tcp_flags,
	};

	if (!sampled(fnv1a(&r, sizeof(r.key)), sample_rate))
		return;
	read_options(skb, p, &f);
	if (look_at_payload)
		read_payload(skb, p, &f);
	if (p->tcp_flags & (TCP_FIN | TCP_RST))
		return;
	bpf_map_update_elem(&flows, &p->key, &f, BPF_ANY);
	if (export_starts)
		send_record(&p->key, &f, REASON_START, now);
}

static __always_inline int handle(struct __sk_buff *skb, enum direction dir)
{
	__u64 now = bpf_ktime_get_ns();
	struct packet p = {};
	struct flow *f;

	__sync_fetch_and_add(&seen[dir], 1);
	if (parse(&p, skb))
		return TC_ACT_UNSPEC;
	p.key.direction = dir;
	f = bpf_map_lookup_elem(&flows, &p.key);
	if (!f) {
		start_flow(skb, &p, now);
		return TC_ACT_UNSPEC;
	}
	f->packets += 1;
	f->bytes += p.len;
	f->tcp_flags |= p.tcp_flags;
	if (look_at_payload && !f->payload_hash)
		read_payload(skb, &p, f);
	if (p.tcp_flags & (TCP_FIN | TCP_RST)) {
		send_record(&p.key, f, REASON_END, now);
		bpf_map_delete_elem(&flows, &p.key);
	} else if (now - f->last_export > active_timeout_ns) {
		f->last_export = now;
		send_record(&p.key, f, REASON_ACTIVE, now);
	}
	return TC_ACT_UNSPEC;
}

SEC("tc/ingress")
int flow_ingress(struct __sk_buff *skb)
{
	return handle(skb, INGRESS);
}

SEC("tc/egress")
int flow_egress(struct __sk_buff *skb)
{
	return handle(skb, EGRESS);
}

char _license[] SEC("license") = "GPL";
