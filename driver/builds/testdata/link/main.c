/* Loads the linked programs by their skeleton and runs them. */
#include <stdio.h>

#include <bpf/bpf.h>

#include "linked.skel.h"

static int run(struct linked *skeleton, unsigned int length)
{
	unsigned char packet[128] = {[12] = 8};
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = length);

	if (bpf_prog_test_run_opts(bpf_program__fd(skeleton->progs.filter), &options))
		return -1;
	return options.retval;
}

int main(void)
{
	struct linked *skeleton = linked__open();

	if (!skeleton)
		return 1;
	skeleton->rodata->limit = 100;
	if (linked__load(skeleton))
		return 1;
	printf("short %d\n", run(skeleton, 60));
	printf("long %d\n", run(skeleton, 120));
	printf("long %d\n", run(skeleton, 121));
	printf("too many %d\n", run(skeleton, 60));
	printf("seen %llu\n", (unsigned long long)skeleton->bss->seen);
	linked__destroy(skeleton);
	return 0;
}
