// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* The address b[i & 7] is made with an or, so the frame is reached through what
   looks like a number. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
typedef unsigned u32; typedef unsigned long long u64; typedef unsigned char u8;
SEC("tc")
int prog(struct __sk_buff *skb)
{
	u8 b[8]; u64 q = skb->len;
	__builtin_memcpy(b, &q, 8);
	b[skb->mark & 7] = 0x5a;
	u64 r; __builtin_memcpy(&r, b, 8);
	return (r >> 3) + r;
}
