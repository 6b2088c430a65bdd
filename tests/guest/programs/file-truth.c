/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * file-truth: everything that can be done to the pages of a file, at random,
 * and each byte read compared with what it must be
 *
 * Several processes each own some files in one directory and remember the
 * generation of each half page of them; 0 stands for zeros.  Pages leave the
 * page cache all the time, by themselves when memory is short, and on purpose;
 * where they come back from is not this program's business.
 *
 * Exit status: 0 all was right, 1 wrong content, 2 an operation failed or a
 * process was killed, 125 bad usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pattern.h"

#define UNIT		(PAGE_SIZE / 2)
#define UNITS		(PAGE_SIZE / UNIT)
#define MAX_RUN		24	/* pages of one operation */
#define MAX_FILES	64
#define MAX_PROCESSES	16

enum { EXIT_WRONG = 1, EXIT_FAILED = 2, EXIT_USAGE = 125 };

static struct {
	const char *directory;
	unsigned int processes;
	unsigned int files;		/* of each process */
	unsigned int pages;		/* of each file, at most */
	unsigned int operations;	/* of each process */
	bool no_shift;		/* neither collapse nor insert */
	bool direct;			/* O_DIRECT is possible */
	struct pattern pattern;
} opt = {
	.processes = 2, .files = 4, .pages = 512, .operations = 3000,
	.direct = true,
	.pattern = { .seed = 1, .random_percent = 20, .same_percent = 10 },
};

struct file {
	int fd, direct_fd;
	unsigned int size;		/* units */
	unsigned int *generation;	/* of each unit, 0: zeros */
	char name[64];
};

static struct file *files;
static struct file *current;
static unsigned int self;
static unsigned int last_generation;
static unsigned char *buffer;		/* MAX_RUN pages, aligned for O_DIRECT */
static uint64_t state;
static const char *doing = "starting";

struct work {
	uint64_t written, read;	/* units */
	uint64_t operations;
};

static struct work *me;

static unsigned int below(unsigned int n)
{
	return pattern_mix(&state) % n;
}

static void fail(const char *what)
{
	printf("file-truth: FAILED: process %u, %s, %s, file of %u units: %s: %s\n",
	       self, current ? current->name : "", doing,
	       current ? current->size : 0, what, strerror(errno));
	fflush(stdout);
	_exit(EXIT_FAILED);
}

static unsigned int owner(void)
{
	return self * MAX_FILES + (current - files);
}

/* What unit @unit of a page of this generation holds, or zeros. */
static void fill(unsigned char *data, unsigned int unit, unsigned int gen)
{
	unsigned char page[PAGE_SIZE];

	if (!gen) {
		memset(data, 0, UNIT);
		return;
	}
	/* Of each unit a whole page is made, and the first half taken. */
	pattern_fill(&opt.pattern, page, owner(), unit, gen);
	memcpy(data, page, UNIT);
}

static void check(const unsigned char *data, unsigned int first,
		  unsigned int count, const char *how)
{
	unsigned char expected[PAGE_SIZE], found[PAGE_SIZE];
	unsigned int i;

	memset(expected, 0, sizeof(expected));
	memset(found, 0, sizeof(found));
	for (i = 0; i < count; i++) {
		fill(expected, first + i, current->generation[first + i]);
		if (!memcmp(data + i * UNIT, expected, UNIT))
			continue;
		memcpy(found, data + i * UNIT, UNIT);
		printf("file-truth: %s, %s, after %s, units of %d bytes:\n",
		       current->name, how, doing, UNIT);
		pattern_say_wrong("file-truth", how, owner(), first + i,
				  current->generation[first + i], found,
				  expected);
		_exit(EXIT_WRONG);
	}
	me->read += count;
}

static void read_and_check(int fd, unsigned int first, unsigned int count,
			   const char *how)
{
	ssize_t n = pread(fd, buffer, (size_t)count * UNIT,
			  (off_t)first * UNIT);

	if (n < 0)
		fail(how);
	if ((size_t)n != (size_t)count * UNIT) {
		errno = EIO;
		fail("short read");
	}
	check(buffer, first, count, how);
}

/* Fills the buffer with new content for a range and remembers it. */
static void renew(unsigned int first, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		current->generation[first + i] = ++last_generation;
		fill(buffer + i * UNIT, first + i, last_generation);
	}
	if (first + count > current->size)
		current->size = first + count;
	me->written += count;
}

/* A range of whole pages or of units, in what is, or in what may be. */
static void range(bool whole_pages, bool inside, unsigned int *first,
		  unsigned int *count)
{
	unsigned int end = inside ? current->size : opt.pages * UNITS;
	unsigned int run = 1 + below(MAX_RUN * UNITS);

	*first = below(end);
	if (whole_pages) {
		*first -= *first % UNITS;
		run = (run + UNITS - 1) / UNITS * UNITS;
	}
	if (run > end - *first)
		run = end - *first;
	if (whole_pages)
		run -= run % UNITS;
	*count = run;
}

static void op_write(bool whole_pages, int fd)
{
	unsigned int first, count;

	range(whole_pages, false, &first, &count);
	if (!count)
		return;
	renew(first, count);
	if (pwrite(fd, buffer, (size_t)count * UNIT, (off_t)first * UNIT) !=
	    (ssize_t)count * UNIT)
		fail("write");
}

static void op_map(bool write)
{
	unsigned int first, count;
	unsigned char *map;

	range(true, true, &first, &count);
	if (!count)
		return;
	map = mmap(NULL, count * UNIT, PROT_READ | PROT_WRITE, MAP_SHARED,
		   current->fd, (off_t)first * UNIT);
	if (map == MAP_FAILED)
		fail("mmap");
	if (write) {
		renew(first, count);
		memcpy(map, buffer, count * UNIT);
		if (below(2) && msync(map, count * UNIT, MS_SYNC))
			fail("msync");
	} else {
		check(map, first, count, "mapped read");
	}
	munmap(map, count * UNIT);
}

static void op_truncate(void)
{
	unsigned int size = below(opt.pages * UNITS + 1);
	unsigned int unit;

	/* Mostly a little. */
	if (below(4) && current->size > 20)
		size = current->size - below(20);
	if (ftruncate(current->fd, (off_t)size * UNIT))
		fail("truncate");
	for (unit = size; unit < opt.pages * UNITS; unit++)
		current->generation[unit] = 0;
	current->size = size;
}

static void op_punch(bool zero)
{
	unsigned int first, count, i;

	range(below(2), true, &first, &count);
	if (!count)
		return;
	if (fallocate(current->fd, FALLOC_FL_KEEP_SIZE |
		      (zero ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE),
		      (off_t)first * UNIT, (off_t)count * UNIT)) {
		if (errno == EOPNOTSUPP)
			return;
		fail("fallocate");
	}
	for (i = 0; i < count; i++)
		current->generation[first + i] = 0;
}

/* Takes out a range, or makes room for one; what follows moves. */
static void op_shift(bool collapse)
{
	unsigned int first, count, rest, i, size = current->size;

	range(true, true, &first, &count);
	/* At the end it would be a truncate, and is refused. */
	if (!count || first + count >= size ||
	    (!collapse && size + count > opt.pages * UNITS))
		return;
	if (fallocate(current->fd, collapse ? FALLOC_FL_COLLAPSE_RANGE :
					      FALLOC_FL_INSERT_RANGE,
		      (off_t)first * UNIT, (off_t)count * UNIT)) {
		if (errno == EOPNOTSUPP || errno == EINVAL)
			return;
		fail("fallocate");
	}
	/*
	 * Content is a function of where it is, so what has moved is read,
	 * compared by hand, and written anew.
	 */
	rest = size - first - count;
	current->size = collapse ? size - count : size + count;
	for (i = 0; i < (collapse ? rest : size - first); i += MAX_RUN * UNITS) {
		unsigned int n = (collapse ? rest : size - first) - i, k;
		unsigned int old = first + i + (collapse ? count : 0);
		unsigned int now = first + i + (collapse ? 0 : count);
		unsigned char expected[UNIT];

		if (n > MAX_RUN * UNITS)
			n = MAX_RUN * UNITS;
		if (pread(current->fd, buffer, n * UNIT, (off_t)now * UNIT) !=
		    (ssize_t)n * UNIT)
			fail("read of what has moved");
		for (k = 0; k < n; k++) {
			fill(expected, old + k, current->generation[old + k]);
			if (memcmp(buffer + k * UNIT, expected, UNIT)) {
				printf("file-truth: WRONG: %s unit %u is not what unit %u was before %s\n",
				       current->name, now + k, old + k, doing);
				fflush(stdout);
				_exit(EXIT_WRONG);
			}
		}
		me->read += n;
	}
	if (ftruncate(current->fd, (off_t)first * UNIT))
		fail("truncate");
	for (i = first; i < opt.pages * UNITS; i++)
		current->generation[i] = 0;
	current->size = first;
}

static void open_file(struct file *file)
{
	file->fd = open(file->name, O_RDWR | O_CREAT, 0600);
	if (file->fd < 0)
		fail("open");
	if (!opt.direct)
		return;
	file->direct_fd = open(file->name, O_RDWR | O_DIRECT);
	if (file->direct_fd < 0) {
		if (errno != EINVAL)
			fail("open for direct access");
		opt.direct = false;
	}
}

static void close_file(struct file *file)
{
	if (close(file->fd))
		fail("close");
	if (opt.direct)
		close(file->direct_fd);
}

/* The file goes; the next may get its inode number. */
static void op_unlink(void)
{
	if (unlink(current->name))
		fail("unlink");
	close_file(current);
	memset(current->generation, 0,
	       sizeof(*current->generation) * opt.pages * UNITS);
	current->size = 0;
	open_file(current);
}

/* A new file takes the name, while the old one may still be read. */
static void op_rename(void)
{
	char name[80];
	int fd, old = current->fd;
	unsigned int first, count;

	snprintf(name, sizeof(name), "%s.new", current->name);
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		fail("open");
	if (rename(name, current->name))
		fail("rename");
	range(false, true, &first, &count);
	read_and_check(old, first, count, "read of a file without a name");
	close_file(current);
	close(fd);
	memset(current->generation, 0,
	       sizeof(*current->generation) * opt.pages * UNITS);
	current->size = 0;
	open_file(current);
}

/* The inode leaves the kernel's memory, or may. */
static void op_reopen(void)
{
	close_file(current);
	open_file(current);
}

static void op_drop(void)
{
	if (below(2) && fdatasync(current->fd))
		fail("fdatasync");
	if (posix_fadvise(current->fd, 0, 0, POSIX_FADV_DONTNEED))
		fail("fadvise");
}

static void op_read(int fd, bool direct)
{
	unsigned int first, count;

	range(direct, true, &first, &count);
	if (count)
		read_and_check(fd, first, count,
			       direct ? "direct read" : "read");
}

static const struct {
	const char *name;
	unsigned int weight;
} kinds[] = {
	{ "read", 30 }, { "direct read", 4 }, { "mapped read", 6 },
	{ "write of pages", 12 }, { "write of units", 8 },
	{ "direct write", 10 }, { "mapped write", 8 }, { "truncate", 3 },
	{ "punch", 4 }, { "zero range", 3 }, { "collapse", 1 },
	{ "insert", 1 }, { "unlink", 1 }, { "rename", 1 }, { "reopen", 2 },
	{ "drop", 16 },
};

static unsigned int pick(void)
{
	unsigned int i, sum = 0, at;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		sum += kinds[i].weight;
	at = below(sum);
	for (i = 0; at >= kinds[i].weight; i++)
		at -= kinds[i].weight;
	return i;
}

static void operate(void)
{
	unsigned int kind = pick();

	/* There is nothing to read from an empty file. */
	if (!current->size)
		kind = 3;
	if (!opt.direct && (kind == 1 || kind == 5))
		kind--;
	if (opt.no_shift && (kind == 10 || kind == 11))
		kind = 9;
	doing = kinds[kind].name;
	switch (kind) {
	case 0: op_read(current->fd, false); break;
	case 1: op_read(current->direct_fd, true); break;
	case 2: op_map(false); break;
	case 3: op_write(true, current->fd); break;
	case 4: op_write(false, current->fd); break;
	case 5: op_write(true, current->direct_fd); break;
	case 6: op_map(true); break;
	case 7: op_truncate(); break;
	case 8: op_punch(false); break;
	case 9: op_punch(true); break;
	case 10: op_shift(true); break;
	case 11: op_shift(false); break;
	case 12: op_unlink(); break;
	case 13: op_rename(); break;
	case 14: op_reopen(); break;
	case 15: op_drop(); break;
	}
}

static void verify_all(void)
{
	unsigned int i, unit, count;

	for (i = 0; i < opt.files; i++) {
		current = &files[i];
		for (unit = 0; unit < current->size; unit += count) {
			count = current->size - unit;
			if (count > MAX_RUN * UNITS)
				count = MAX_RUN * UNITS;
			read_and_check(current->fd, unit, count, "last read");
		}
	}
}

static int child(void)
{
	unsigned int i;

	state = pattern_state(&opt.pattern, self, 0, 0, 1);
	files = calloc(opt.files, sizeof(*files));
	if (!files || posix_memalign((void **)&buffer, PAGE_SIZE,
				     MAX_RUN * PAGE_SIZE))
		fail("memory");
	for (i = 0; i < opt.files; i++) {
		current = &files[i];
		snprintf(current->name, sizeof(current->name), "truth-%u-%u",
			 self, i);
		current->generation = calloc(opt.pages * UNITS,
					     sizeof(*current->generation));
		if (!current->generation)
			fail("memory");
		unlink(current->name);
		open_file(current);
	}
	for (i = 0; i < opt.operations; i++) {
		current = &files[below(opt.files)];
		operate();
		me->operations++;
	}
	verify_all();
	return 0;
}

static int run(void)
{
	pid_t children[MAX_PROCESSES];
	uint64_t written = 0, read = 0, operations = 0;
	struct work *work;
	unsigned int i;
	int status, result = 0;

	work = mmap(NULL, sizeof(*work) * opt.processes, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (work == MAP_FAILED) {
		perror("file-truth: mmap");
		return EXIT_FAILED;
	}
	fflush(stdout);
	for (i = 0; i < opt.processes; i++) {
		children[i] = fork();
		if (children[i] < 0) {
			perror("file-truth: fork");
			return EXIT_FAILED;
		}
		if (!children[i]) {
			self = i;
			me = &work[i];
			_exit(child());
		}
	}
	for (i = 0; i < opt.processes; i++) {
		waitpid(children[i], &status, 0);
		if (!WIFEXITED(status))
			printf("file-truth: KILLED: process %u\n", i);
		status = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
		if (!result || status == EXIT_WRONG)
			result = status;
		written += work[i].written;
		read += work[i].read;
		operations += work[i].operations;
	}
	printf("file-truth: %s: %u processes, seed %" PRIu64 ": %" PRIu64
	       " operations, %" PRIu64 " pages written, %" PRIu64
	       " verified%s\n", result ? "FAILED" : "right", opt.processes,
	       opt.pattern.seed, operations, written / UNITS, read / UNITS,
	       opt.direct ? "" : ", nothing direct");
	return result;
}

static unsigned int number(const char *name, const char *text,
			   unsigned int min, unsigned int max)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 0);
	if (errno || end == text || *end || *text == '-' || value < min ||
	    value > max) {
		fprintf(stderr, "file-truth: --%s %s: give it a number from %u to %u\n",
			name, text, min, max);
		exit(EXIT_USAGE);
	}
	return value;
}

static const struct option options[] = {
	{ "processes", required_argument, NULL, 'p' },
	{ "files", required_argument, NULL, 'f' },
	{ "pages", required_argument, NULL, 'n' },
	{ "operations", required_argument, NULL, 'o' },
	{ "seed", required_argument, NULL, 'S' },
	{ "no-direct", no_argument, NULL, 'd' },
	{ "no-shift", no_argument, NULL, 's' },
	{ }
};

int main(int argc, char **argv)
{
	int c, index = 0;

	while ((c = getopt_long(argc, argv, "", options, &index)) != -1) {
		const char *name = options[index].name;

		switch (c) {
		case 'p':
			opt.processes = number(name, optarg, 1, MAX_PROCESSES);
			break;
		case 'f':
			opt.files = number(name, optarg, 1, MAX_FILES);
			break;
		case 'n':
			opt.pages = number(name, optarg, 1, 1 << 18);
			break;
		case 'o':
			opt.operations = number(name, optarg, 1, INT_MAX);
			break;
		case 'S':
			opt.pattern.seed = number(name, optarg, 0, UINT_MAX);
			break;
		case 'd':
			opt.direct = false;
			break;
		case 's':
			opt.no_shift = true;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind != argc - 1 || chdir(argv[optind])) {
		fprintf(stderr, "usage: file-truth [--processes N] [--files N] [--pages N]\n"
			"       [--operations N] [--seed N] [--no-direct]\n"
			"       [--no-shift] DIRECTORY\n");
		return EXIT_USAGE;
	}
	return run();
}
