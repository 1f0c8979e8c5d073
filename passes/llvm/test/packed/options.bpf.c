/* Numbers in network byte order, put together from bytes and written as such. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static __always_inline __u32 get32(const __u8 *p)
{
	return (__u32)p[0] << 24 | (__u32)p[1] << 16 | (__u32)p[2] << 8 | p[3];
}

static __always_inline __u16 get16(const __u8 *p)
{
	return p[0] << 8 | p[1];
}

static __always_inline void put32(__u8 *p, __u32 n)
{
	p[0] = n >> 24;
	p[1] = n >> 16;
	p[2] = n >> 8;
	p[3] = n;
}

static __always_inline void put32le(__u8 *p, __u32 n)
{
	p[0] = n;
	p[1] = n >> 8;
	p[2] = n >> 16;
	p[3] = n >> 24;
}

SEC("xdp") int stamp(struct xdp_md *ctx)
{
	__u8 *p = (void *)(long)ctx->data;
	__u32 now, echo;
	__u16 kind;

	if (p + 60 > (__u8 *)(long)ctx->data_end)
		return XDP_PASS;
	kind = get16(p + 12);
	now = get32(p + 21);
	echo = get32(p + 25);
	if (kind > 0x8000 && now > echo) {
		put32(p + 21, echo);
		put32(p + 25, now + 1);
	}
	put32le(p + 31, now ^ echo);
	p[40] = 1;
	p[41] = 3;
	p[42] = 3;
	p[43] = 7;
	p[44] = 8;
	p[45] = 10;
	return XDP_TX;
}

char _license[] SEC("license") = "GPL";
