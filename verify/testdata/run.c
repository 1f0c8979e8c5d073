// Programs to run.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#ifdef LONG
#define ROUNDS 1000
#else
#define ROUNDS 10
#endif

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u32);
} answers SEC(".maps");

SEC("xdp") int pass(struct xdp_md *ctx) { return XDP_PASS; }

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, int(void *));
} next SEC(".maps") = { .values = { [1] = (void *)&pass } };

SEC("xdp") int tail(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &next, 1);
	return XDP_ABORTED;
}

SEC("tc") int drop_short(struct __sk_buff *skb) { return skb->len < 100 ? 2 : 0; }

SEC("socket") int filter(struct __sk_buff *skb) { return 17; }

SEC("xdp") int grow(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_head(ctx, -8) ? XDP_ABORTED : XDP_PASS;
}

SEC("xdp") int loop(struct xdp_md *ctx)
{
	volatile int sum = 0;
	for (int i = 0; i < ROUNDS; i++)
		sum += i;
	return XDP_PASS;
}

SEC("xdp") int lookup(struct xdp_md *ctx)
{
	__u32 key = 7, *v = bpf_map_lookup_elem(&answers, &key);
	return v ? *v : 0;
}

SEC("kprobe/do_exit") int probe(void *ctx) { return 0; }

char _license[] SEC("license") = "GPL";
