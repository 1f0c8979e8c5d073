#pragma once

#include <stddef.h>

struct flow;

const char *format_flow(const struct flow *flow, char *text, size_t size);
