// A static function in the section of the programs that call it, and a weak
// one that another object may replace.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

volatile __u64 total;

static __attribute__((noinline, section("xdp"))) int here(__u32 a)
{
	if (a & 4)
		total++;
	return a + 2;
}

__weak __attribute__((noinline)) int spare(__u32 a)
{
	total += a;
	return a * 7;
}

SEC("xdp")
int caller(struct xdp_md *ctx)
{
	return here(ctx->rx_queue_index) & spare(3) & 1;
}

SEC("?xdp.frags/devmap")
int frags(struct xdp_md *ctx)
{
	return spare(ctx->ingress_ifindex) & 3;
}

SEC("tc")
int across(struct __sk_buff *skb)
{
	return here(skb->len);
}

char _license[] SEC("license") = "GPL";
