/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * swap-steps: what a swap device is asked for, one kind at a time
 *
 *   swap-steps STORE-MIB LOAD-MIB COMMAND
 *
 * Fills STORE-MIB of memory in order, more than there is RAM, so that the
 * kernel swaps pages out and next to none in.  Then lets go of all but the
 * first LOAD-MIB, which fit into RAM, has the kernel swap these out, and reads
 * them in order: pages come in and next to none go out.  Before and after each
 * step the shell runs "COMMAND store begin", "COMMAND store end", "COMMAND load
 * begin" and "COMMAND load end".
 *
 * Exit status: 0 all was right, 1 pages were not, as many as it says, 125 bad
 * usage, no memory, or a COMMAND that failed.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "pattern.h"

static const struct pattern pattern = {
	.seed = 7, .random_percent = 10, .same_percent = 3,
};

static bool mark(const char *command, const char *what)
{
	char line[512];

	snprintf(line, sizeof(line), "%s %s", command, what);
	return system(line) == 0;
}

static uint64_t count_wrong(const unsigned char *memory, uint64_t pages)
{
	uint64_t expected[WORDS], wrong = 0, i;

	for (i = 0; i < pages; i++) {
		pattern_fill(&pattern, expected, 0, i, 0);
		if (memcmp(memory + i * PAGE_SIZE, expected, PAGE_SIZE))
			wrong++;
	}
	return wrong;
}

int main(int argc, char **argv)
{
	uint64_t stores, loads, wrong, i;
	unsigned char *memory;

	if (argc != 4 || atoi(argv[1]) < 1 || atoi(argv[2]) < 1 ||
	    atoi(argv[2]) > atoi(argv[1])) {
		fprintf(stderr, "usage: swap-steps STORE-MIB LOAD-MIB COMMAND\n");
		return 125;
	}
	stores = (uint64_t)atoi(argv[1]) << 8;
	loads = (uint64_t)atoi(argv[2]) << 8;
	memory = mmap(NULL, stores * PAGE_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED) {
		perror("swap-steps: mmap");
		return 125;
	}
	madvise(memory, stores * PAGE_SIZE, MADV_NOHUGEPAGE);

	if (!mark(argv[3], "store begin"))
		return 125;
	for (i = 0; i < stores; i++)
		pattern_fill(&pattern, memory + i * PAGE_SIZE, 0, i, 0);
	if (!mark(argv[3], "store end"))
		return 125;

	munmap(memory + loads * PAGE_SIZE, (stores - loads) * PAGE_SIZE);
	/* Twice: pages that were under writeback are left the first time. */
	for (i = 0; i < 2; i++) {
		if (madvise(memory, loads * PAGE_SIZE, MADV_PAGEOUT)) {
			perror("swap-steps: MADV_PAGEOUT");
			return 125;
		}
	}
	if (!mark(argv[3], "load begin"))
		return 125;
	wrong = count_wrong(memory, loads);
	if (!mark(argv[3], "load end"))
		return 125;
	printf("swap-steps: %s: %" PRIu64 " pages written, %" PRIu64
	       " verified, %" PRIu64 " wrong\n", wrong ? "FAILED" : "right",
	       stores, loads, wrong);
	return wrong != 0;
}
