#pragma once

#include <linux/types.h>

/* What both the BPF programs and the tool know of a flow. */
struct flow {
	__u32 source, destination;
	__u16 source_port, destination_port;
	__u8 protocol;
	__u8 unused[3];
};

struct counter {
	__u64 packets, bytes;
};
