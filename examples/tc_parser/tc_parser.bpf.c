// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
//
// A tc classifier that finds the innermost flow of a packet: through VLAN and
// QinQ tags, MPLS labels and GRE, VXLAN, Geneve or IP-in-IP tunnels. It counts
// flows, and hands the class of the flow to the qdisc in skb->priority, skb->mark
// and skb->cb. Headers are packed structs: nothing in a tunnel is aligned.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define packed __attribute__((packed))

#define MAX_TAGS 2
#define MAX_LABELS 4
#define MAX_FLOWS 65536

#define ETH_P_TEB 0x6558 // Ethernet in GRE or Geneve
#define PORT_VXLAN 4789
#define PORT_GENEVE 6081

#define GRE_CSUM 0x8000
#define GRE_KEY 0x2000
#define GRE_SEQ 0x1000
#define GRE_VERSION 0x0007
#define VXLAN_HAS_VNI 0x08
#define MPLS_BOTTOM 0x100

struct eth_hdr {
	__u8 dst[6];
	__u8 src[6];
	__be16 proto;
} packed;

struct vlan_hdr {
	__be16 tci;
	__be16 proto;
} packed;

struct ipv4_hdr {
	__u8 version_ihl;
	__u8 tos;
	__be16 len;
	__be16 id;
	__be16 frag;
	__u8 ttl;
	__u8 proto;
	__be16 csum;
	__be32 src;
	__be32 dst;
} packed;

struct ipv6_hdr {
	__be32 version_class_label;
	__be16 len;
	__u8 nexthdr;
	__u8 hop_limit;
	__be32 src[4];
	__be32 dst[4];
} packed;

struct l4_ports {
	__be16 src;
	__be16 dst;
} packed;

struct tcp_hdr {
	struct l4_ports ports;
	__be32 seq;
	__be32 ack;
	__u8 offset;
	__u8 flags;
	__be16 window;
	__be16 csum;
	__be16 urgent;
} packed;

struct udp_hdr {
	struct l4_ports ports;
	__be16 len;
	__be16 csum;
} packed;

struct gre_hdr {
	__be16 flags;
	__be16 proto;
} packed;

struct vxlan_hdr {
	__u8 flags;
	__u8 reserved[3];
	__u8 vni[3];
	__u8 reserved2;
} packed;

struct geneve_hdr {
	__u8 version_optlen;
	__u8 flags;
	__be16 proto;
	__u8 vni[3];
	__u8 reserved;
} packed;

enum tunnel {
	TUNNEL_NONE,
	TUNNEL_GRE,
	TUNNEL_VXLAN,
	TUNNEL_GENEVE,
	TUNNEL_IPIP,
};

struct flow_key {
	__be32 src[4];
	__be32 dst[4];
	__be16 sport;
	__be16 dport;
	__u32 vni;
	__u16 outer_vid;
	__u16 inner_vid;
	__u16 l3_proto; // host order
	__u8 l4_proto;
	__u8 tunnel;
} packed;

struct flow_stats {
	__u64 packets;
	__u64 bytes;
	__u32 tcp_seq;
	__u16 tcp_window;
	__u8 tcp_flags; // of all packets
	__u8 dscp;
};

struct class_key {
	__u32 vni;
	__u16 vid;
	__u8 dscp;
	__u8 tunnel;
};

struct class {
	__u32 mark;
	__u32 priority;
	__u16 queue;
	__u8 drop;
	__u8 pad;
};

enum counter {
	COUNT_TRUNCATED,
	COUNT_UNKNOWN_L3,
	COUNT_UNKNOWN_L4,
	COUNT_FRAGMENT,
	COUNT_BAD_TUNNEL,
	COUNT_TUNNEL,
	COUNT_FLOW_NEW,
	COUNT_MAX,
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_FLOWS);
	__type(key, struct flow_key);
	__type(value, struct flow_stats);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct class_key);
	__type(value, struct class);
} classes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

// parser walks through a packet; key collects what it finds, the inner headers
// overwriting the outer ones.
struct parser {
	void *pos;
	void *end;
	struct flow_key key;
	struct flow_stats seen;
	__u16 proto; // what pos points to, an Ethernet type in host order
	__u8 tags;
};

static __always_inline void count(enum counter c)
{
	__u32 key = c;
	__u64 *n = bpf_map_lookup_elem(&counters, &key);

	if (n)
		*n += 1;
}

static __always_inline int truncated(void)
{
	count(COUNT_TRUNCATED);
	return -1;
}

static __always_inline __u32 vni24(const __u8 *vni)
{
	return vni[0] << 16 | vni[1] << 8 | vni[2];
}

static __always_inline int parse_eth(struct parser *p)
{
	struct eth_hdr *eth = p->pos;

	if ((void *)(eth + 1) > p->end)
		return truncated();
	p->proto = bpf_ntohs(eth->proto);
	p->pos = eth + 1;
	return 0;
}

static __always_inline int parse_vlan(struct parser *p)
{
#pragma unroll
	for (int i = 0; i < MAX_TAGS; i++) {
		struct vlan_hdr *vlan = p->pos;
		__u16 vid;

		if (p->proto != ETH_P_8021Q && p->proto != ETH_P_8021AD)
			break;
		if ((void *)(vlan + 1) > p->end)
			return truncated();
		vid = bpf_ntohs(vlan->tci) & 0x0fff;
		if (!p->tags)
			p->key.outer_vid = vid;
		else
			p->key.inner_vid = vid;
		p->tags += 1;
		p->proto = bpf_ntohs(vlan->proto);
		p->pos = vlan + 1;
	}
	return 0;
}

// parse_mpls skips labels; what follows is told by the IP version alone.
static __always_inline int parse_mpls(struct parser *p)
{
	__u8 *version;

	if (p->proto != ETH_P_MPLS_UC && p->proto != ETH_P_MPLS_MC)
		return 0;
#pragma unroll
	for (int i = 0; i < MAX_LABELS; i++) {
		struct {
			__be32 entry;
		} packed *label = p->pos;
		__u32 entry;

		if ((void *)(label + 1) > p->end)
			return truncated();
		entry = bpf_ntohl(label->entry);
		p->pos = label + 1;
		if (entry & MPLS_BOTTOM)
			break;
	}
	version = p->pos;
	if ((void *)(version + 1) > p->end)
		return truncated();
	p->proto = *version >> 4 == 6 ? ETH_P_IPV6 : ETH_P_IP;
	return 0;
}

static __always_inline int parse_ipv4(struct parser *p)
{
	struct ipv4_hdr *ip = p->pos;
	__u32 hlen;

	if ((void *)(ip + 1) > p->end)
		return truncated();
	hlen = (ip->version_ihl & 0x0f) * 4;
	if (hlen < sizeof(*ip) || p->pos + hlen > p->end)
		return truncated();
	p->key.src[0] = ip->src;
	p->key.dst[0] = ip->dst;
	p->key.l4_proto = ip->proto;
	p->seen.dscp = ip->tos >> 2;
	if (bpf_ntohs(ip->frag) & 0x1fff) {
		count(COUNT_FRAGMENT);
		return 1;
	}
	p->pos += hlen;
	return 0;
}

static __always_inline int parse_ipv6(struct parser *p)
{
	struct ipv6_hdr *ip = p->pos;

	if ((void *)(ip + 1) > p->end)
		return truncated();
#pragma unroll
	for (int i = 0; i < 4; i++) {
		p->key.src[i] = ip->src[i];
		p->key.dst[i] = ip->dst[i];
	}
	p->key.l4_proto = ip->nexthdr;
	p->seen.dscp = bpf_ntohl(ip->version_class_label) >> 22 & 0x3f;
	p->pos = ip + 1;
	return 0;
}

// parse_l3 returns a positive number where the packet ends for us.
static __always_inline int parse_l3(struct parser *p)
{
	p->key.l3_proto = p->proto;
	if (p->proto == ETH_P_IP)
		return parse_ipv4(p);
	if (p->proto == ETH_P_IPV6)
		return parse_ipv6(p);
	count(COUNT_UNKNOWN_L3);
	return 1;
}

static __always_inline int parse_l4(struct parser *p)
{
	if (p->key.l4_proto == IPPROTO_TCP) {
		struct tcp_hdr *tcp = p->pos;

		if ((void *)(tcp + 1) > p->end)
			return truncated();
		p->key.sport = tcp->ports.src;
		p->key.dport = tcp->ports.dst;
		p->seen.tcp_flags = tcp->flags;
		p->seen.tcp_seq = bpf_ntohl(tcp->seq);
		p->seen.tcp_window = bpf_ntohs(tcp->window);
		return 0;
	}
	if (p->key.l4_proto == IPPROTO_UDP || p->key.l4_proto == IPPROTO_SCTP) {
		struct l4_ports *ports = p->pos;

		if ((void *)(ports + 1) > p->end)
			return truncated();
		p->key.sport = ports->src;
		p->key.dport = ports->dst;
		return 0;
	}
	if (p->key.l4_proto == IPPROTO_ICMP || p->key.l4_proto == IPPROTO_ICMPV6) {
		__u8 *icmp = p->pos;

		if ((void *)(icmp + 4) > p->end)
			return truncated();
		p->key.sport = bpf_htons(icmp[0]);
		p->key.dport = bpf_htons(icmp[1]);
		return 0;
	}
	count(COUNT_UNKNOWN_L4);
	return 1;
}

static __always_inline int parse_gre(struct parser *p)
{
	struct gre_hdr *gre = p->pos;
	__u16 flags;

	if ((void *)(gre + 1) > p->end)
		return truncated();
	flags = bpf_ntohs(gre->flags);
	if (flags & GRE_VERSION) {
		count(COUNT_BAD_TUNNEL);
		return 1;
	}
	p->proto = bpf_ntohs(gre->proto);
	p->pos = gre + 1;
	if (flags & GRE_CSUM)
		p->pos += 4;
	if (flags & GRE_KEY) {
		struct {
			__be32 key;
		} packed *key = p->pos;

		if ((void *)(key + 1) > p->end)
			return truncated();
		p->key.vni = bpf_ntohl(key->key);
		p->pos = key + 1;
	}
	if (flags & GRE_SEQ)
		p->pos += 4;
	p->key.tunnel = TUNNEL_GRE;
	return 0;
}

static __always_inline int parse_vxlan(struct parser *p)
{
	struct vxlan_hdr *vxlan = p->pos;

	if ((void *)(vxlan + 1) > p->end)
		return truncated();
	if (!(vxlan->flags & VXLAN_HAS_VNI)) {
		count(COUNT_BAD_TUNNEL);
		return 1;
	}
	p->key.vni = vni24(vxlan->vni);
	p->key.tunnel = TUNNEL_VXLAN;
	p->proto = ETH_P_TEB;
	p->pos = vxlan + 1;
	return 0;
}

static __always_inline int parse_geneve(struct parser *p)
{
	struct geneve_hdr *geneve = p->pos;
	__u32 optlen;

	if ((void *)(geneve + 1) > p->end)
		return truncated();
	if (geneve->version_optlen >> 6) {
		count(COUNT_BAD_TUNNEL);
		return 1;
	}
	optlen = (geneve->version_optlen & 0x3f) * 4;
	p->key.vni = vni24(geneve->vni);
	p->key.tunnel = TUNNEL_GENEVE;
	p->proto = bpf_ntohs(geneve->proto);
	p->pos = (void *)(geneve + 1) + optlen;
	return 0;
}

// parse_tunnel steps into a tunnel. It returns 0 with pos at the inner packet,
// a positive number where there is none.
static __always_inline int parse_tunnel(struct parser *p)
{
	struct udp_hdr *udp = p->pos;

	switch (p->key.l4_proto) {
	case IPPROTO_GRE:
		return parse_gre(p);
	case IPPROTO_IPIP:
		p->proto = ETH_P_IP;
		p->key.tunnel = TUNNEL_IPIP;
		return 0;
	case IPPROTO_IPV6:
		p->proto = ETH_P_IPV6;
		p->key.tunnel = TUNNEL_IPIP;
		return 0;
	case IPPROTO_UDP:
		if ((void *)(udp + 1) > p->end)
			return truncated();
		p->pos = udp + 1;
		if (udp->ports.dst == bpf_htons(PORT_VXLAN))
			return parse_vxlan(p);
		if (udp->ports.dst == bpf_htons(PORT_GENEVE))
			return parse_geneve(p);
		p->pos = udp;
		return 1;
	default:
		return 1;
	}
}

static __always_inline int parse_inner(struct parser *p)
{
	int err;

	count(COUNT_TUNNEL);
	__builtin_memset(p->key.src, 0, sizeof(p->key.src));
	__builtin_memset(p->key.dst, 0, sizeof(p->key.dst));
	if (p->proto == ETH_P_TEB) {
		err = parse_eth(p);
		if (err)
			return err;
		err = parse_vlan(p);
		if (err)
			return err;
	}
	err = parse_l3(p);
	if (err)
		return err;
	return parse_l4(p);
}

static __always_inline int parse(struct parser *p)
{
	int err;

	err = parse_eth(p);
	if (err)
		return err;
	err = parse_vlan(p);
	if (err)
		return err;
	err = parse_mpls(p);
	if (err)
		return err;
	err = parse_l3(p);
	if (err)
		return err;
	err = parse_tunnel(p);
	if (err < 0)
		return err;
	if (err > 0)
		return parse_l4(p);
	return parse_inner(p);
}

static __always_inline void account(const struct parser *p, __u32 len)
{
	struct flow_stats *s, fresh = p->seen;

	s = bpf_map_lookup_elem(&flows, &p->key);
	if (!s) {
		fresh.packets = 1;
		fresh.bytes = len;
		bpf_map_update_elem(&flows, &p->key, &fresh, BPF_NOEXIST);
		count(COUNT_FLOW_NEW);
		return;
	}
	__sync_fetch_and_add(&s->packets, 1);
	__sync_fetch_and_add(&s->bytes, len);
	s->tcp_flags |= p->seen.tcp_flags;
	s->tcp_seq = p->seen.tcp_seq;
	s->tcp_window = p->seen.tcp_window;
	s->dscp = p->seen.dscp;
}

static __always_inline struct class *find_class(const struct parser *p)
{
	struct class_key key = {
		.vni = p->key.vni,
		.vid = p->key.outer_vid,
		.dscp = p->seen.dscp,
		.tunnel = p->key.tunnel,
	};
	struct class *c;

	c = bpf_map_lookup_elem(&classes, &key);
	if (c)
		return c;
	key.dscp = 0;
	c = bpf_map_lookup_elem(&classes, &key);
	if (c)
		return c;
	key.vid = 0;
	return bpf_map_lookup_elem(&classes, &key);
}

SEC("tc")
int tc_parser(struct __sk_buff *skb)
{
	struct parser p = {
		.pos = (void *)(long)skb->data,
		.end = (void *)(long)skb->data_end,
	};
	struct class *c;
	int err;

	err = parse(&p);
	if (err < 0)
		return TC_ACT_SHOT;
	account(&p, skb->len);
	skb->cb[0] = p.key.l3_proto << 16 | p.key.tunnel << 8 | p.key.l4_proto;
	skb->cb[1] = p.key.vni;
	skb->cb[2] = (__u32)bpf_ntohs(p.key.sport) << 16 | bpf_ntohs(p.key.dport);
	skb->cb[3] = p.key.outer_vid << 16 | p.key.inner_vid;
	skb->cb[4] = p.seen.dscp;
	c = find_class(&p);
	if (!c)
		return TC_ACT_UNSPEC;
	if (c->drop)
		return TC_ACT_SHOT;
	skb->mark = c->mark;
	skb->priority = c->priority;
	skb->tc_classid = c->queue;
	return TC_ACT_OK;
}

char _license[] SEC("license") = "GPL";
