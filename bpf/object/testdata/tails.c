// A function that calls a program in its place, whose result its caller gets.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} programs SEC(".maps");

volatile long total = 7;

static __attribute__((noinline)) long below(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &programs, 0);
	return total;
}

SEC("tc")
int first(struct __sk_buff *skb)
{
	return below(skb) < 0 ? 2 : 1;
}

SEC("tc")
long second(struct __sk_buff *skb)
{
	return (int)(skb->mark - 10);
}

char _license[] SEC("license") = "GPL";
