/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * swap-held: what becomes of a few swapped pages when something happens
 *
 *   swap-held PAGES COMMAND
 *
 * Writes PAGES pages, has the kernel swap them out, and at once has the shell run
 * COMMAND.  Then reads them, and prints how many were right, how many could not be
 * read (SIGBUS), and how many were wrong.
 *
 * Exit status: 0 none was wrong, 1 some were, 125 bad usage, no memory, no way to
 * swap them out, or a COMMAND that failed.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "pattern.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

static const struct pattern pattern = {
	.seed = 11, .random_percent = 30, .same_percent = 3,
};

static sigjmp_buf unreadable;

static void on_sigbus(int signal)
{
	(void)signal;
	siglongjmp(unreadable, 1);
}

int main(int argc, char **argv)
{
	volatile unsigned int right = 0, lost = 0, wrong = 0, i;
	uint64_t expected[WORDS];
	unsigned char *memory;
	unsigned int pages;

	if (argc != 3 || atoi(argv[1]) < 1) {
		fprintf(stderr, "usage: swap-held PAGES COMMAND\n");
		return 125;
	}
	pages = atoi(argv[1]);
	memory = mmap(NULL, (size_t)pages * PAGE_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		perror("swap-held: no memory");
		return 125;
	}
	madvise(memory, (size_t)pages * PAGE_SIZE, MADV_NOHUGEPAGE);
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
