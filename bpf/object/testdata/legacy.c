// Map definitions from before BTF, legacy packet loads, no libbpf headers.
#include <linux/bpf.h>

#define SEC(name) __attribute__((section(name), used))

static void *(*lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;

struct bpf_map_def {
	unsigned int type, key_size, value_size, max_entries, map_flags;
};

struct bpf_map_def SEC("maps") table = {
	.type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 24, .max_entries = 16,
};
struct bpf_map_def SEC("maps") wide = {
	.type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 2,
};

unsigned long long load_byte(void *skb, unsigned long long off) __asm__("llvm.bpf.load.byte");

SEC("socket")
int filter(struct __sk_buff *skb)
{
	unsigned int key = load_byte(skb, 14 + 9);
	unsigned long long *v = lookup(&table, &key);

	if (v)
		return v[0] + v[2];
	key = 1;
	v = lookup(&wide, &key);
	return v ? *v : -1;
}

SEC("cgroup/skb")
int cg(struct __sk_buff *skb)
{
	unsigned int key = skb->len;
	unsigned long long *v = lookup(&table, &key);
	int n = 0;

	if (!v)
		return 1;
#pragma clang loop unroll(disable)
	for (int i = 0; i < 100; i++)
		if (v[0] & (1ull << (i & 31)))
			n += v[1];
	return n & 1;
}

char _license[] SEC("license") = "GPL";
