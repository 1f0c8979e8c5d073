// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
//
// Service translation at the socket: what a process in the cgroup connects or
// sends to a service's address goes straight to one of its endpoints, and what
// comes back looks as if the service had sent it. No packet is ever rewritten.

#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2

#define VERDICT_REFUSE 0
#define VERDICT_PROCEED 1

#define MAX_SERVICES 4096
#define MAX_ENDPOINTS 65536

enum service_flags {
	SERVICE_AFFINITY = 1 << 0, // a client keeps its endpoint
	SERVICE_LOCAL = 1 << 1,    // for this host's clients alone
	SERVICE_DENIED = 1 << 2,
};

struct address {
	__be32 ip[4]; // IPv4: ::ffff:a.b.c.d
};

struct service_key {
	struct address addr;
	__be16 port;
	__u8 proto;
	__u8 pad;
};

struct service {
	__u32 id;
	__u16 count; // of endpoints; zero: refuse
	__u16 flags;
	__u64 affinity_ns;
};

struct endpoint_key {
	__u32 service;
	__u32 index;
};

struct endpoint {
	struct address addr;
	__be16 port;
	__u8 ready;
	__u8 pad;
	__u32 weight;
};

struct affinity_key {
	__u64 client; // the network namespace's cookie
	__u32 service;
	__u32 pad;
};

struct affinity {
	__u64 last_used;
	__u32 index;
	__u32 pad;
};

// reverse remembers which service a socket meant when it talked to an endpoint.
struct reverse_key {
	__u64 socket;
	struct address addr;
	__be16 port;
	__u16 pad;
	__u32 pad2;
};

struct reverse {
	struct address addr;
	__be16 port;
	__u16 pad;
	__u32 service;
};

struct service_stats {
	__u64 translated;
	__u64 refused;
	__u64 no_endpoint;
	__u64 reversed;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SERVICES);
	__type(key, struct service_key);
	__type(value, struct service);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_ENDPOINTS);
	__type(key, struct endpoint_key);
	__type(value, struct endpoint);
} endpoints SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct affinity_key);
	__type(value, struct affinity);
} affinities SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct reverse_key);
	__type(value, struct reverse);
} reverses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, MAX_SERVICES);
	__type(key, __u32);
	__type(value, struct service_stats);
} stats SEC(".maps");

static __always_inline struct service_stats *stats_of(__u32 service)
{
	struct service_stats fresh = {}, *s;

	s = bpf_map_lookup_elem(&stats, &service);
	if (s)
		return s;
	bpf_map_update_elem(&stats, &service, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&stats, &service);
}

static __always_inline void mapped_v4(struct address *a, __be32 ip)
{
	a->ip[0] = 0;
	a->ip[1] = 0;
	a->ip[2] = bpf_htonl(0xffff);
	a->ip[3] = ip;
}

static __always_inline int is_mapped_v4(const struct address *a)
{
	return !a->ip[0] && !a->ip[1] && a->ip[2] == bpf_htonl(0xffff);
}

static __always_inline __u8 proto_of(const struct bpf_sock_addr *ctx)
{
	if (ctx->protocol)
		return ctx->protocol;
	return ctx->type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
}

static __always_inline struct service *find_service(const struct address *addr, __be16 port,
						    __u8 proto)
{
	struct service_key key = {.addr = *addr, .port = port, .proto = proto};
	struct service *s = bpf_map_lookup_elem(&services, &key);

	if (s)
		return s;
	key.port = 0;
	return bpf_map_lookup_elem(&services, &key);
}

static __always_inline struct endpoint *endpoint_at(__u32 service, __u32 index)
{
	struct endpoint_key key = {.service = service, .index = index};
	struct endpoint *e = bpf_map_lookup_elem(&endpoints, &key);

	if (!e || !e->ready)
		return 0;
	return e;
}

// draw chooses an endpoint at random; one that is not ready passes its share
// on to its neighbour.
static __always_inline struct endpoint *draw(const struct service *s, __u32 *index)
{
	__u32 n = s->count, first = bpf_get_prandom_u32();
	struct endpoint *e;

	if (!n)
		return 0;
	*index = first % n;
	e = endpoint_at(s->id, *index);
	if (e)
		return e;
	*index = (first + 1) % n;
	return endpoint_at(s->id, *index);
}

static __always_inline struct endpoint *choose(struct bpf_sock_addr *ctx,
					       const struct service *s)
{
	struct affinity_key key = {.service = s->id};
	struct affinity fresh = {}, *known;
	struct endpoint *e;
	__u32 index = 0;
	__u64 now;

	if (!(s->flags & SERVICE_AFFINITY))
		return draw(s, &index);
	now = bpf_ktime_get_ns();
	key.client = bpf_get_netns_cookie(ctx);
	known = bpf_map_lookup_elem(&affinities, &key);
	if (known && now - known->last_used < s->affinity_ns) {
		e = endpoint_at(s->id, known->index);
		if (e) {
			known->last_used = now;
			return e;
		}
	}
	e = draw(s, &index);
	if (!e)
		return 0;
	fresh.last_used = now;
	fresh.index = index;
	bpf_map_update_elem(&affinities, &key, &fresh, BPF_ANY);
	return e;
}

static __always_inline void remember(struct bpf_sock_addr *ctx, const struct endpoint *e,
				     const struct address *addr, __be16 port, __u32 service)
{
	struct reverse_key key = {.addr = e->addr, .port = e->port};
	struct reverse r = {.addr = *addr, .port = port, .service = service};

	key.socket = bpf_get_socket_cookie(ctx);
	bpf_map_update_elem(&reverses, &key, &r, BPF_ANY);
}

// translate finds where to go instead of addr and port. It returns 0 with out
// set, a positive number for what is no service, a negative one to refuse.
static __always_inline int translate(struct bpf_sock_addr *ctx, const struct address *addr,
				     __be16 port, struct endpoint *out)
{
	struct service *s = find_service(addr, port, proto_of(ctx));
	struct service_stats *st;
	struct endpoint *e;

	if (!s)
		return 1;
	st = stats_of(s->id);
	if (!st)
		return 1;
	if (s->flags & SERVICE_DENIED) {
		st->refused += 1;
		return -1;
	}
	e = choose(ctx, s);
	if (!e) {
		st->no_endpoint += 1;
		return -1;
	}
	st->translated += 1;
	*out = *e;
	remember(ctx, e, addr, port, s->id);
	return 0;
}

static __always_inline struct reverse *find_reverse(struct bpf_sock_addr *ctx,
						    const struct address *addr, __be16 port)
{
	struct reverse_key key = {.addr = *addr, .port = port};
	struct service_stats *st;
	struct reverse *r;

	key.socket = bpf_get_socket_cookie(ctx);
	r = bpf_map_lookup_elem(&reverses, &key);
	if (!r)
		return 0;
	st = stats_of(r->service);
	if (st)
		st->reversed += 1;
	return r;
}

static __always_inline int forward4(struct bpf_sock_addr *ctx)
{
	struct address addr;
	struct endpoint e;
	int err;

	mapped_v4(&addr, ctx->user_ip4);
	err = translate(ctx, &addr, ctx->user_port, &e);
	if (err < 0)
		return VERDICT_REFUSE;
	if (err > 0)
		return VERDICT_PROCEED;
	if (!is_mapped_v4(&e.addr))
		return VERDICT_REFUSE;
	ctx->user_ip4 = e.addr.ip[3];
	if (e.port)
		ctx->user_port = e.port;
	return VERDICT_PROCEED;
}

static __always_inline int forward6(struct bpf_sock_addr *ctx)
{
	struct address addr;
	struct endpoint e;
	int err;

	addr.ip[0] = ctx->user_ip6[0];
	addr.ip[1] = ctx->user_ip6[1];
	addr.ip[2] = ctx->user_ip6[2];
	addr.ip[3] = ctx->user_ip6[3];
	err = translate(ctx, &addr, ctx->user_port, &e);
	if (err < 0)
		return VERDICT_REFUSE;
	if (err > 0)
		return VERDICT_PROCEED;
	ctx->user_ip6[0] = e.addr.ip[0];
	ctx->user_ip6[1] = e.addr.ip[1];
	ctx->user_ip6[2] = e.addr.ip[2];
	ctx->user_ip6[3] = e.addr.ip[3];
	if (e.port)
		ctx->user_port = e.port;
	return VERDICT_PROCEED;
}

static __always_inline int backward4(struct bpf_sock_addr *ctx)
{
	struct address addr;
	struct reverse *r;

	mapped_v4(&addr, ctx->user_ip4);
	r = find_reverse(ctx, &addr, ctx->user_port);
	if (r && is_mapped_v4(&r->addr)) {
		ctx->user_ip4 = r->addr.ip[3];
		ctx->user_port = r->port;
	}
	return VERDICT_PROCEED;
}

static __always_inline int backward6(struct bpf_sock_addr *ctx)
{
	struct address addr;
	struct reverse *r;

	addr.ip[0] = ctx->user_ip6[0];
	addr.ip[1] = ctx->user_ip6[1];
	addr.ip[2] = ctx->user_ip6[2];
	addr.ip[3] = ctx->user_ip6[3];
	r = find_reverse(ctx, &addr, ctx->user_port);
	if (r) {
		ctx->user_ip6[0] = r->addr.ip[0];
		ctx->user_ip6[1] = r->addr.ip[1];
		ctx->user_ip6[2] = r->addr.ip[2];
		ctx->user_ip6[3] = r->addr.ip[3];
		ctx->user_port = r->port;
	}
	return VERDICT_PROCEED;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	if (ctx->user_family != AF_INET)
		return VERDICT_PROCEED;
	return forward4(ctx);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	if (ctx->user_family != AF_INET6)
		return VERDICT_PROCEED;
	return forward6(ctx);
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	if (ctx->type != SOCK_DGRAM)
		return VERDICT_PROCEED;
	return forward4(ctx);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	if (ctx->type != SOCK_DGRAM)
		return VERDICT_PROCEED;
	return forward6(ctx);
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	return backward4(ctx);
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	return backward6(ctx);
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx)
{
	return backward4(ctx);
}

char _license[] SEC("license") = "GPL";
