/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * swap-on: puts swap areas into use that all have the same priority
 *
 *   swap-on PRIORITY DISK...
 *
 * The swapon of a small busybox knows no priorities.
 *
 * Exit status: 0, 1 the kernel refused one, 125 bad usage.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/swap.h>

int main(int argc, char **argv)
{
	int i, priority;

	if (argc < 3) {
		fprintf(stderr, "usage: swap-on PRIORITY DISK...\n");
		return 125;
	}
	priority = atoi(argv[1]) & SWAP_FLAG_PRIO_MASK;
	for (i = 2; i < argc; i++) {
		if (swapon(argv[i], SWAP_FLAG_PREFER | priority)) {
			perror(argv[i]);
			return 1;
		}
	}
	return 0;
}
