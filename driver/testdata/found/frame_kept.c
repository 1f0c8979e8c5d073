// Pointers into the frame that helpers find in memory which they are handed: what
// they lead to is read later, through a number.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct span {
	char *start;
	__u64 length;
};

struct arguments {
	__u64 list[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct arguments);
} scratch SEC(".maps");

SEC("tc") int copied(struct __sk_buff *skb)
{
	char text[16] = "0123456789";
	struct span all = {text, sizeof(text)}, *where = &all;
	char *start, c = 0;

	text[3] = skb->len;
	bpf_probe_read_kernel(&start, sizeof(start), &where->start);
	bpf_probe_read_kernel(&c, 1, start + 3);
	return c;
}

SEC("tc") int formatted(struct __sk_buff *skb)
{
	static const char format[] = "<%s>";
	char text[8] = "abcdef", out[8];
	__u32 key = 0;
	struct arguments *args = bpf_map_lookup_elem(&scratch, &key);

	if (!args)
		return -1;
	args->list[0] = (__u64)text;
	bpf_ktime_get_ns();
	text[1] = skb->len;
	bpf_snprintf(out, sizeof(out), format, args->list, 8);
	args->list[0] = 0;
	return out[2] + out[1] * 256;
}

char _license[] SEC("license") = "GPL";
