/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * swap-held: what becomes of a few swapped pages when something happens
 *
 *   swap-held [--huge] PAGES COMMAND
 *
 * Writes PAGES pages, has the kernel swap them out, and at once has the shell run
 * COMMAND.  Then reads them, and prints how many were right, how many could not be
 * read (SIGBUS), and how many were wrong.  With --huge they are in huge pages, as far
 * as the kernel has any.
 *
 * Exit status: 0 none was wrong, 1 some were, 125 bad usage, no memory, no way to
 * swap them out, or a COMMAND that failed.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "pattern.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#define HUGE	(2u << 20)

static const struct pattern pattern = {
	.seed = 11, .random_percent = 30, .same_percent = 3,
};

static sigjmp_buf unreadable;

static void on_sigbus(int signal)
{
	(void)signal;
	siglongjmp(unreadable, 1);
}

/* Memory for so many pages, which may or may not be huge ones; NULL: none. */
static unsigned char *get_memory(unsigned int pages, bool huge)
{
	size_t bytes = (size_t)pages * PAGE_SIZE;
	unsigned char *memory;

	/* Of that only what is aligned is touched. */
	memory = mmap(NULL, bytes + HUGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return NULL;
	memory += -(uintptr_t)memory % HUGE;
	madvise(memory, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return memory;
}

int main(int argc, char **argv)
{
	bool huge = argc > 1 && !strcmp(argv[1], "--huge");
	volatile unsigned int right = 0, lost = 0, wrong = 0, i;
	uint64_t expected[WORDS];
	unsigned char *memory;
	unsigned int pages;

	argc -= huge;
	argv += huge;
	if (argc != 3 || atoi(argv[1]) < 1) {
		fprintf(stderr, "usage: swap-held [--huge] PAGES COMMAND\n");
		return 125;
	}
	pages = atoi(argv[1]);
	memory = get_memory(pages, huge);
	if (!memory) {
		perror("swap-held: no memory");
		return 125;
	}
	for (i = 0; i < pages; i++) {
		pattern_fill(&pattern, expected, 0, i, 0);
		memcpy(memory + (size_t)i * PAGE_SIZE, expected, PAGE_SIZE);
	}
	if (madvise(memory, (size_t)pages * PAGE_SIZE, MADV_PAGEOUT)) {
		perror("swap-held: MADV_PAGEOUT");
		return 125;
	}
	if (system(argv[2])) {
		fprintf(stderr, "swap-held: this failed: %s\n", argv[2]);
		return 125;
	}
	signal(SIGBUS, on_sigbus);
	for (i = 0; i < pages; i++) {
		pattern_fill(&pattern, expected, 0, i, 0);
		if (sigsetjmp(unreadable, 1))
			lost++;
		else if (memcmp(memory + (size_t)i * PAGE_SIZE, expected,
				PAGE_SIZE))
			wrong++;
		else
			right++;
	}
	printf("swap-held: right %u, lost %u, wrong %u\n", right, lost, wrong);
	return wrong != 0;
}
