// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* What a global function is called with matters whatever its body reads: it may
   be replaced when it is loaded (freplace), and the verifier checks its callers
   against its prototype. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
__attribute__((noinline)) int hook(int a, int b) { asm volatile("" :: "r"(b)); return a * 7; }
SEC("tc")
int prog(struct __sk_buff *skb)
{
	__u32 y = skb->mark;
	if (y == 5) return 1;
	return hook(skb->len, y + 3) + 1;
}
