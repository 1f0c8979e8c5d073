#include "packet.h"

#include <linux/pkt_cls.h>

#include "names.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct name);
} interface SEC(".maps");

SEC("tc")
int egress(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct flow flow = {};
	struct counter *found;
	struct name *name;
	__u32 zero = 0;

	name = bpf_map_lookup_elem(&interface, &zero);
	if (!name || name->text[0] == 0 || !parse(data, end, &flow))
		return TC_ACT_OK;
	found = bpf_map_lookup_elem(&flows, &flow);
	if (found && found->packets > 1000)
		return TC_ACT_SHOT;
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
