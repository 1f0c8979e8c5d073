// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* Behind a constant that is zero in the object lies code that the verifier does
   not walk until somebody sets the constant to one before loading. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
char LICENSE[] SEC("license") = "GPL";
typedef unsigned char u8; typedef unsigned u32; typedef unsigned short u16; typedef unsigned long long u64;
const volatile int enabled = 0;
SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *data = (u8 *)(long)ctx->data, *end = (u8 *)(long)ctx->data_end;
	if (!enabled) return XDP_PASS;
	if (data + 14 > end) return 1;
	u16 proto = bpf_ntohs(*(u16 *)(data + 12));
	u8 *ip = data + 14, *tcp; u64 len = 0;
	switch (proto) {
	case 0x800:
		if (ip + 20 > end) return 1;
		if ((ip[0] >> 4) != 4) return 1;
		if ((ip[0] & 15) * 4 < 20) return 1;
		if (ip[9] != 6) return 2;
		tcp = ip + (ip[0] & 15) * 4;
		break;
	case 0x86dd:
		if (ip + 40 > end) return 1;
		if ((ip[0] >> 4) != 6) return 1;
		if (ip[6] != 6) return 2;
		tcp = ip + 40;
		break;
	default: return 2;
	}
	if (tcp + 20 > end) return 1;
	return tcp[12] >> 4;
}
