// Dense switches, which clang may turn into jump tables.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

volatile __u64 a, b;

SEC("xdp")
int plain(struct xdp_md *ctx)
{
	return ctx->rx_queue_index ? 2 : 1;
}

SEC("xdp")
int dense(struct xdp_md *ctx)
{
	switch (ctx->ingress_ifindex) {
	case 0: a += 3; return 1;
	case 1: b += a; return 2;
	case 2: a ^= 7; break;
	case 3: b = 9; a++; break;
	case 4: return a;
	case 5: a = b * 5; break;
	case 6: b -= 4; return 0;
	case 7: return b;
	case 8: a += 8; break;
	case 9: return 1;
	case 10: b ^= a + 10; break;
	case 11: a -= b; return 3;
	case 12: a += 12; break;
	case 13: return 1;
	case 14: b ^= a + 14; break;
	case 15: a -= b; return 3;
	case 16: a += 16; break;
	case 17: return 1;
	case 18: b ^= a + 18; break;
	case 19: a -= b; return 3;
	case 20: a += 20; break;
	case 21: return 1;
	case 22: b ^= a + 22; break;
	case 23: a -= b; return 3;
	}
	return a & 3;
}

char _license[] SEC("license") = "GPL";
