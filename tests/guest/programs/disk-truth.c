/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * disk-truth: random direct writes, discards, zeroings and reads of a disk,
 * each read compared with what the disk must hold
 *
 * Several processes each own a part of the disk and remember the generation
 * of each of their pages; 0 stands for zeros.  Before the first write all is
 * discarded.  With --refusals a write may be refused for want of space: then
 * each of its pages must hold the new content or zeros, never the old.  With
 * --vanishing the disk behind goes away meanwhile: any page may be lost, and
 * then stays an error until it is written or discarded; none is ever wrong.
 *
 * Exit status: 0 all was right, 1 wrong content, 2 an operation failed or a
 * process was killed, 125 bad usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pattern.h"

#define MAX_PAGES	80	/* of one operation */
#define LOST		UINT_MAX /* a generation: reading is an error */

enum { EXIT_WRONG = 1, EXIT_FAILED = 2, EXIT_USAGE = 125 };

static struct {
	const char *disk;
	unsigned int processes;
	unsigned int operations;	/* of each process */
	unsigned int pages;		/* of each process */
	bool refusals;
	bool vanishing;
	struct pattern pattern;
} opt = {
	.processes = 2, .operations = 2000, .pages = 3001,
	.pattern = { .seed = 1, .random_percent = 20, .same_percent = 10 },
};

struct work {
	uint64_t written, read, discarded, refused, lost;	/* pages */
};

static struct work *work;
static struct work *me;
static unsigned int self;
static int fd;
static uint64_t base;			/* first page of this process */
static unsigned int *generation;	/* of each page, 0: zeros */
static unsigned int last_generation;
static unsigned char *buffer;		/* MAX_PAGES, aligned for O_DIRECT */
static int verdict;			/* why this process ends */

static bool failed(const char *what, uint64_t page, unsigned int count)
{
	printf("disk-truth: FAILED: process %u: %s of %u pages at page %"
	       PRIu64 ": %s\n", self, what, count, base + page,
	       strerror(errno));
	fflush(stdout);
	verdict = EXIT_FAILED;
	return false;
}

static void expect(void *data, uint64_t page, unsigned int gen)
{
	if (gen)
		pattern_fill(&opt.pattern, data, self, page, gen);
	else
		memset(data, 0, PAGE_SIZE);
}

static bool transfer(bool write, uint64_t page, unsigned int count)
{
	size_t size = (size_t)count * PAGE_SIZE;
	off_t offset = (base + page) * PAGE_SIZE;
	ssize_t n = write ? pwrite(fd, buffer, size, offset)
			  : pread(fd, buffer, size, offset);

	if (n >= 0 && (size_t)n != size) {
		errno = write ? ENOSPC : EIO;	/* ended early */
		return false;
	}
	return n >= 0;
}

static bool check_page(unsigned char *found, uint64_t page, const char *when)
{
	unsigned char expected[PAGE_SIZE];

	expect(expected, page, generation[page]);
	if (!memcmp(found, expected, PAGE_SIZE))
		return true;
	pattern_say_wrong("disk-truth", when, self, page, generation[page],
			  found, expected);
	verdict = EXIT_WRONG;
	return false;
}

/* A page whose write was refused cannot be read. */
static bool check_lost(uint64_t page)
{
	if (!transfer(false, page, 1) && errno == EIO)
		return true;
	printf("disk-truth: WRONG: process %u page %" PRIu64 ": its last write "
	       "was refused, and reading it is no error\n", self, page);
	fflush(stdout);
	verdict = EXIT_WRONG;
	return false;
}

static bool any_lost(uint64_t page, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (generation[page + i] == LOST)
			return true;
	return false;
}

static bool check_read(uint64_t page, unsigned int count, const char *when)
{
	unsigned int i;

	if (count > 1 && any_lost(page, count)) {
		for (i = 0; i < count; i++)
			if (!check_read(page + i, 1, when))
				return false;
		return true;
	}
	if (generation[page] == LOST)
		return check_lost(page);
	if (!transfer(false, page, count)) {
		if (!opt.vanishing || errno != EIO)
			return failed("read", page, count);
		if (count == 1) {
			generation[page] = LOST;
			me->lost++;
			return true;
		}
		for (i = 0; i < count; i++)
			if (!check_read(page + i, 1, when))
				return false;
		return true;
	}
	for (i = 0; i < count; i++)
		if (!check_page(buffer + i * PAGE_SIZE, page + i, when))
			return false;
	me->read += count;
	return true;
}

/* After a refused write: learn what each page holds, the new or nothing. */
static bool learn(uint64_t page, unsigned int count, unsigned int gen)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (transfer(false, page + i, 1)) {
			generation[page + i] = gen;
			if (!check_page(buffer, page + i,
					"after a refused write"))
				return false;
		} else if (errno == EIO) {
			generation[page + i] = LOST;
			me->refused++;
		} else {
			return failed("read after a refused write", page + i, 1);
		}
	}
	return true;
}

static bool do_write(uint64_t page, unsigned int count)
{
	unsigned int gen = ++last_generation, i;

	for (i = 0; i < count; i++)
		expect(buffer + i * PAGE_SIZE, page + i, gen);
	if (!transfer(true, page, count)) {
		if (!(opt.refusals && errno == ENOSPC) &&
		    !(opt.vanishing && (errno == ENOSPC || errno == EIO)))
			return failed("write", page, count);
		return learn(page, count, gen);
	}
	for (i = 0; i < count; i++)
		generation[page + i] = gen;
	me->written += count;
	return true;
}

static bool do_clear(unsigned long request, const char *what, uint64_t page,
		     unsigned int count)
{
	uint64_t range[2] = { (base + page) * PAGE_SIZE,
			      (uint64_t)count * PAGE_SIZE };

	/* One may be under way just when it vanishes; from then on all work. */
	if (ioctl(fd, request, range) &&
	    !(opt.vanishing && errno == EIO && !ioctl(fd, request, range)))
		return failed(what, page, count);
	memset(generation + page, 0, count * sizeof(*generation));
	me->discarded += count;
	return true;
}

static bool one_operation(uint64_t *state)
{
	unsigned int kind = pattern_mix(state) % 100;
	unsigned int count = pattern_mix(state) % 4 ? 1 : MAX_PAGES;
	uint64_t page;

	count = 1 + pattern_mix(state) % count;
	page = pattern_mix(state) % (opt.pages - count + 1);
	if (kind < 50)
		return do_write(page, count);
	if (kind < 85)
		return check_read(page, count, "read");
	if (kind < 96)
		return do_clear(BLKDISCARD, "discard", page, count);
	return do_clear(BLKZEROOUT, "zeroing", page, count);
}

static bool check_all(const char *when)
{
	uint64_t page;

	for (page = 0; page < opt.pages; page += MAX_PAGES) {
		unsigned int count = opt.pages - page < MAX_PAGES ?
				     opt.pages - page : MAX_PAGES;

		if (!check_read(page, count, when))
			return false;
	}
	return true;
}

static int child(void)
{
	uint64_t state = pattern_state(&opt.pattern, self, 0, 0, 3);
	unsigned int i;
	bool good;

	/* Its own file: processes must not share an offset or a lock. */
	fd = open(opt.disk, O_RDWR | O_DIRECT);
	generation = calloc(opt.pages, sizeof(*generation));
	if (fd < 0 || !generation ||
	    posix_memalign((void **)&buffer, PAGE_SIZE, MAX_PAGES * PAGE_SIZE)) {
		printf("disk-truth: %s: %s\n", opt.disk, strerror(errno));
		fflush(stdout);
		return EXIT_USAGE;
	}
	base = (uint64_t)self * opt.pages;
	good = do_clear(BLKDISCARD, "first discard", 0, opt.pages) &&
	       check_all("after the first discard");
	for (i = 0; good && i < opt.operations; i++)
		good = one_operation(&state);
	if (good)
		check_all("at the end");
	return verdict;
}

static int run(void)
{
	struct work sum = { 0 };
	pid_t children[64];
	int result = 0, status;
	unsigned int i;

	work = mmap(NULL, sizeof(*work) * opt.processes, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (work == MAP_FAILED) {
		perror("disk-truth: mmap");
		return EXIT_USAGE;
	}
	fflush(stdout);
	for (i = 0; i < opt.processes; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			self = i;
			me = &work[i];
			_exit(child());
		}
		if (children[i] < 0) {
			perror("disk-truth: fork");
			result = EXIT_FAILED;
		}
	}
	for (i = 0; i < opt.processes; i++) {
		if (children[i] < 0)
			continue;
		if (waitpid(children[i], &status, 0) < 0 || !WIFEXITED(status)) {
			printf("disk-truth: FAILED: process %u was killed\n", i);
			result = EXIT_FAILED;
		} else if (WEXITSTATUS(status) && result != EXIT_WRONG) {
			result = WEXITSTATUS(status);
		}
		sum.written += work[i].written;
		sum.read += work[i].read;
		sum.discarded += work[i].discarded;
		sum.refused += work[i].refused;
		sum.lost += work[i].lost;
	}
	if (opt.refusals && !result && !sum.refused) {
		printf("disk-truth: FAILED: nothing was refused\n");
		result = EXIT_FAILED;
	}
	if (opt.vanishing && !result && !sum.lost) {
		printf("disk-truth: FAILED: nothing was lost\n");
		result = EXIT_FAILED;
	}
	printf("disk-truth: %s: %u processes, seed %" PRIu64 ", pages: %" PRIu64
	       " written, %" PRIu64 " read, %" PRIu64 " cleared, %" PRIu64
	       " refused, %" PRIu64 " lost\n", result ? "FAILED" : "right", opt.processes,
	       opt.pattern.seed, sum.written, sum.read, sum.discarded,
	       sum.refused, sum.lost);
	return result;
}

static uint64_t number(const char *name, const char *text, uint64_t min,
		       uint64_t max)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || end == text || *end || *text == '-' || value < min ||
	    value > max) {
		fprintf(stderr, "disk-truth: --%s %s: give it a number from %"
			PRIu64 " to %" PRIu64 "\n", name, text, min, max);
		exit(EXIT_USAGE);
	}
	return value;
}

static const struct option options[] = {
	{ "processes", required_argument, NULL, 'p' },
	{ "operations", required_argument, NULL, 'o' },
	{ "pages", required_argument, NULL, 'n' },
	{ "random-percent", required_argument, NULL, 'r' },
	{ "seed", required_argument, NULL, 'S' },
	{ "refusals", no_argument, NULL, 'f' },
	{ "vanishing", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, 'h' },
	{ }
};

static void usage(void)
{
	printf("Usage: disk-truth [OPTION]... DISK\n"
	       "Writes, discards and reads DISK at random; its content is lost."
	       "\n\n"
	       "  --processes N       (%u)\n"
	       "  --operations N      of each process (%u)\n"
	       "  --pages N           of DISK for each process (%u)\n"
	       "  --random-percent N  share of incompressible pages (%u)\n"
	       "  --seed N            (%" PRIu64 ")\n"
	       "  --refusals          some writes are to end with ENOSPC\n"
	       "  --vanishing         some pages are to be lost on the way\n",
	       opt.processes, opt.operations, opt.pages,
	       opt.pattern.random_percent, opt.pattern.seed);
}

int main(int argc, char **argv)
{
	int c, index = 0;

	while ((c = getopt_long(argc, argv, "", options, &index)) != -1) {
		const char *name = options[index].name;

		switch (c) {
		case 'p':
			opt.processes = number(name, optarg, 1, 64);
			break;
		case 'o':
			opt.operations = number(name, optarg, 0, 1u << 30);
			break;
		case 'n':
			opt.pages = number(name, optarg, MAX_PAGES, 1u << 28);
			break;
		case 'r':
			opt.pattern.random_percent = number(name, optarg, 0, 90);
			break;
		case 'S':
			opt.pattern.seed = number(name, optarg, 0, UINT64_MAX);
			break;
		case 'f':
			opt.refusals = true;
			break;
		case 'v':
			opt.vanishing = true;
			break;
		case 'h':
			usage();
			return 0;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind + 1 != argc) {
		usage();
		return EXIT_USAGE;
	}
	opt.disk = argv[optind];
	return run();
}
