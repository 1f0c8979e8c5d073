#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

enum { VERDICTS = 4 };

struct verdict {
	__u64 count;
	__u32 last;
	__u32 unused;
};

/* Defined by verdict.bpf.c, used by both. */
int judge(__u32 length, __u32 limit);
