/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * file-scan: writes files of patterned pages, then reads them over and over,
 * and verifies every byte
 *
 * The files stay open: a kernel that drops an inode forgets what was kept of
 * its pages elsewhere.  With --read-only the files are there from before.
 *
 * Exit status: 0 all was right, 1 wrong content, 2 an operation failed,
 * 125 bad usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "pattern.h"

#define RUN	16	/* pages of one read */
#define FILES	4

enum { EXIT_WRONG = 1, EXIT_FAILED = 2, EXIT_USAGE = 125 };

static struct pattern pattern = {
	.seed = 1, .random_percent = 10, .same_percent = 5,
};
static unsigned int mib = 64, passes = 2, generation = 1;
static bool read_only, shuffled;
static int fds[FILES];

static int fail(const char *what)
{
	printf("file-scan: FAILED: %s: %s\n", what, strerror(errno));
	return EXIT_FAILED;
}

static unsigned int pages_of_file(void)
{
	return mib * 256 / FILES / RUN * RUN;
}

static int write_files(void)
{
	unsigned char data[PAGE_SIZE];
	unsigned int file, page;

	for (file = 0; file < FILES; file++) {
		for (page = 0; page < pages_of_file(); page++) {
			pattern_fill(&pattern, data, file, page, generation);
			if (write(fds[file], data, PAGE_SIZE) != PAGE_SIZE)
				return fail("write");
		}
		if (fsync(fds[file]))
			return fail("fsync");
	}
	return 0;
}

static int read_run(unsigned int file, unsigned int first)
{
	unsigned char found[RUN * PAGE_SIZE], expected[PAGE_SIZE];
	unsigned int i;

	if (pread(fds[file], found, sizeof(found), (off_t)first * PAGE_SIZE) !=
	    sizeof(found))
		return fail("read");
	for (i = 0; i < RUN; i++) {
		pattern_fill(&pattern, expected, file, first + i, generation);
		if (!memcmp(found + i * PAGE_SIZE, expected, PAGE_SIZE))
			continue;
		pattern_say_wrong("file-scan", "read", file, first + i,
				  generation, found + i * PAGE_SIZE, expected);
		return EXIT_WRONG;
	}
	return 0;
}

static int read_files(unsigned int pass)
{
	uint64_t state = pattern_state(&pattern, 0, 0, pass, 2);
	unsigned int runs = pages_of_file() / RUN, file, run;
	int err = 0;

	for (file = 0; file < FILES; file++)
		for (run = 0; run < runs && !err; run++)
			err = read_run(file, (shuffled ?
				       pattern_mix(&state) % runs : run) * RUN);
	return err;
}

static int scan(void)
{
	unsigned int file, pass;
	char name[16];
	int err = 0;

	for (file = 0; file < FILES; file++) {
		snprintf(name, sizeof(name), "scan-%u", file);
		fds[file] = open(name, O_RDWR | (read_only ? 0 : O_CREAT | O_TRUNC),
				 0600);
		if (fds[file] < 0 && read_only)
			fds[file] = open(name, O_RDONLY);
		if (fds[file] < 0)
			return fail(name);
	}
	if (!read_only)
		err = write_files();
	for (pass = 0; pass < passes && !err; pass++) {
		struct timespec from, to;

		clock_gettime(CLOCK_MONOTONIC, &from);
		err = read_files(pass);
		clock_gettime(CLOCK_MONOTONIC, &to);
		printf("file-scan: pass %u: %.1f s\n", pass,
		       (to.tv_sec - from.tv_sec) +
		       (to.tv_nsec - from.tv_nsec) / 1e9);
	}
	printf("file-scan: %s: %u MiB, %u passes\n", err ? "FAILED" : "right",
	       mib, passes);
	return err;
}

static const struct option options[] = {
	{ "mib", required_argument, NULL, 'm' },
	{ "passes", required_argument, NULL, 'n' },
	{ "generation", required_argument, NULL, 'g' },
	{ "read-only", no_argument, NULL, 'r' },
	{ "shuffled", no_argument, NULL, 's' },
	{ }
};

int main(int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'm':
			mib = atoi(optarg);
			break;
		case 'n':
			passes = atoi(optarg);
			break;
		case 'g':
			generation = atoi(optarg);
			break;
		case 'r':
			read_only = true;
			break;
		case 's':
			shuffled = true;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind != argc - 1 || chdir(argv[optind]) || mib < 1) {
		fprintf(stderr, "usage: file-scan [--mib N] [--passes N] [--generation N]\n"
			"       [--read-only] [--shuffled] DIRECTORY\n");
		return EXIT_USAGE;
	}
	return scan();
}
