// Data with code addresses in it: struct_ops and a program array.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct sock { int a; };
struct tcp_congestion_ops {
	unsigned int (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, unsigned ack, unsigned acked);
	unsigned int (*undo_cwnd)(struct sock *sk);
	char name[16];
};

SEC("struct_ops")
unsigned int ssthresh(unsigned long long *ctx)
{
	return ctx[0] ? 4 : 9;
}

SEC("struct_ops")
void cong_avoid(unsigned long long *ctx)
{
	bpf_printk("%d", (int)ctx[1] * 3);
}

SEC("struct_ops/undo_cwnd")
unsigned int undo_cwnd(unsigned long long *ctx)
{
	return ctx[0] ? 17 : 18;
}

SEC(".struct_ops")
struct tcp_congestion_ops plain = {
	.ssthresh = (void *)ssthresh,
	.cong_avoid = (void *)cong_avoid,
	.undo_cwnd = (void *)undo_cwnd,
	.name = "plain",
};

int tail_a(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(__u32));
	__array(values, int (struct xdp_md *));
} tails SEC(".maps") = {
	.values = { [1] = (void *)&tail_a },
};

SEC("xdp")
int start(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &tails, 1);
	return XDP_DROP;
}

SEC("xdp")
int tail_a(struct xdp_md *ctx)
{
	return ctx->data_end - ctx->data > 60 ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "GPL";
