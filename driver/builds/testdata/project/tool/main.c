#include <stdio.h>

#include "flows.h"
#include "format.h"

int main(void)
{
	struct flow flow = {.source = 0x0100007f, .source_port = 53, .protocol = 17};
	char text[64];

	return puts(format_flow(&flow, text, sizeof(text))) < 0;
}
