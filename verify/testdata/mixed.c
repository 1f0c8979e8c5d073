// Programs of which some load and some don't, for every reason there is.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 100000000);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} counts SEC(".maps");

int good(struct xdp_md *ctx);
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, int(void *));
} tails SEC(".maps") = { .values = { [0] = (void *)&good } };

struct {
	__uint(type, 9999);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} strange SEC(".maps");

struct { // sized by whoever loads it
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
} open_array SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__type(key, __u32);
} open_stacks SEC(".maps");

const volatile __u32 limit = 100;
__u64 total;

static __attribute__((noinline)) int helper(int x)
{
	__sync_fetch_and_add(&total, x);
	return x > 5 ? XDP_PASS : XDP_DROP;
}

SEC("xdp") int good(struct xdp_md *ctx)
{
	__u32 key = ctx->rx_queue_index;
	__u64 *v = bpf_map_lookup_elem(&counts, &key);
	if (v)
		*v += 1;
	else
		bpf_map_update_elem(&counts, &key, &total, 0);
	return helper(key + limit);
}

#ifndef WORSE // otherwise the program is gone
SEC("xdp") int tailcall(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &tails, 0);
	return XDP_ABORTED;
}
#endif

SEC("xdp") int out_of_bounds(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data;
	return data[17];
}

SEC("xdp") int endless(struct xdp_md *ctx)
{
	for (;;)
		__sync_fetch_and_add(&total, 1);
	return 0;
}

SEC("xdp") int strange_map(struct xdp_md *ctx)
{
	__u32 key = 0;
	return bpf_map_lookup_elem(&strange, &key) != 0;
}

SEC("kprobe/do_exit") int open_maps(void *ctx)
{
	__u32 key = bpf_get_stackid(ctx, &open_stacks, 0);
	return bpf_map_lookup_elem(&open_array, &key) != 0;
}

SEC("fentry/no_such_function_anywhere") int nowhere(void *ctx) { return 0; }

extern int no_such_kfunc(int) __ksym;
SEC("xdp") int kfunc(struct xdp_md *ctx) { return no_such_kfunc(1); }

struct task_struct___odd {
	int no_such_field;
} __attribute__((preserve_access_index));
SEC("kprobe/do_exit") int core(void *ctx)
{
	struct task_struct___odd *t = (void *)bpf_get_current_task();
	int x = 0;
	bpf_probe_read_kernel(&x, sizeof(x), &t->no_such_field);
	return x;
}

SEC("tc") int packet(struct __sk_buff *skb)
{
#ifdef WORSE
	return *(__u32 *)(long)skb->data; // without a look at data_end
#endif
	return skb->len > 100 ? 2 : 0;
}

SEC("fentry/do_exit") int traced(void *ctx) { return 0; }
SEC("lsm/file_open") int guarded(void *ctx) { return 0; }
SEC("nonsense/where") int typeless(void *ctx) { return 0; }

char _license[] SEC("license") = "GPL";
