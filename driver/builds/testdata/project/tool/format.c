#include "format.h"

#include <stdio.h>

#include "flows.h"

const char *format_flow(const struct flow *flow, char *text, size_t size)
{
	snprintf(text, size, "%u %08x:%u %08x:%u", flow->protocol, flow->source, flow->source_port,
		 flow->destination, flow->destination_port);
	return text;
}
