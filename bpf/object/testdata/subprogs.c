// Subprograms in .text and in program sections, callbacks, several programs
// per section, global data of every kind.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u64);
	__type(value, struct { __u32 a; __u32 b; __u64 c; });
} flows SEC(".maps");

const volatile __u32 limit = 10;
volatile __u64 total;
volatile __u64 seen[4];
static volatile __u32 start = 3;

static __attribute__((noinline)) __u32 weigh(__u32 n)
{
	if (n > limit)
		return limit + start;
	total += n;
	return n * 3;
}

__attribute__((noinline)) __u32 mix(__u32 a, __u32 b)
{
	__u32 r = weigh(a);
	if (b & 1)
		r ^= weigh(b + 1);
	seen[r & 3]++;
	return r;
}

static int step(__u32 index, void *ctx)
{
	__u32 *sum = ctx;
	*sum += mix(index, *sum);
	return *sum > 100000;
}

static int other(__u32 index, void *ctx)
{
	__u32 *sum = ctx;
	*sum -= index;
	return 0;
}

SEC("xdp")
int first(struct xdp_md *ctx)
{
	__u32 sum = 0, key = 1;
	__u64 *v;

	bpf_loop(5, step, &sum, 0);
	bpf_loop(3, other, &sum, 0);
	v = bpf_map_lookup_elem(&counts, &key);
	if (v)
		__sync_fetch_and_add(v, sum);
	return mix(sum, 7) & 3;
}

SEC("xdp")
int second(struct xdp_md *ctx)
{
	__u64 key = ctx->rx_queue_index;
	void *v = bpf_map_lookup_elem(&flows, &key);

	if (!v)
		return 1;
	return weigh(key);
}

SEC("tc")
int third(struct __sk_buff *skb)
{
	char buf[16] = {};
	__u32 n = skb->len;

	bpf_printk("len %u", n);
	for (int i = 0; i < 16; i++)
		buf[i] = n >> i;
	if (bpf_skb_store_bytes(skb, 0, buf, sizeof(buf), 0))
		return weigh(n);
	switch (n) {
	case 64: return mix(n, 1);
	case 65: return mix(n, 2) + 1;
	case 70: return weigh(n) + 2;
	case 72: return seen[2];
	case 73: return seen[1] + 5;
	case 74: return n ^ 77;
	}
	return 0;
}

char _license[] SEC("license") = "GPL";
