/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * file-race: direct writes to a file against buffered reads of the same pages,
 * while these leave the page cache all the time
 *
 * Each word of a page is the page's generation.  A reader that begins after a
 * write has ended must not see an older generation, and nobody may see one that
 * no write has begun yet.
 *
 * Exit status: 0 all was right, 1 wrong content, 2 an operation failed or a
 * process was killed, 125 bad usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE_SIZE	4096
#define WORDS		(PAGE_SIZE / sizeof(uint64_t))
#define PAGES		192	/* few, so that they meet */
#define READERS		3

enum { EXIT_WRONG = 1, EXIT_FAILED = 2, EXIT_USAGE = 125 };

static struct shared {
	uint64_t begun[PAGES], ended[PAGES];
	uint64_t reads[READERS], writes, drops;
	bool over;
} *shared;

static const char *name;

static unsigned int below(unsigned int *seed, unsigned int n)
{
	*seed = *seed * 1103515245 + 12345;
	return (*seed >> 8) % n;
}

static void fail(const char *what)
{
	printf("file-race: FAILED: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(EXIT_FAILED);
}

static int writer(void)
{
	int fd = open(name, O_RDWR | O_DIRECT);
	unsigned int seed = 1, page, i;
	uint64_t *data, generation;

	if (fd < 0 || posix_memalign((void **)&data, PAGE_SIZE, PAGE_SIZE))
		fail("open for direct access");
	while (!__atomic_load_n(&shared->over, __ATOMIC_ACQUIRE)) {
		page = below(&seed, PAGES);
		generation = shared->ended[page] + 1;
		for (i = 0; i < WORDS; i++)
			data[i] = generation;
		__atomic_store_n(&shared->begun[page], generation,
				 __ATOMIC_SEQ_CST);
		if (pwrite(fd, data, PAGE_SIZE, (off_t)page * PAGE_SIZE) !=
		    PAGE_SIZE)
			fail("direct write");
		__atomic_store_n(&shared->ended[page], generation,
				 __ATOMIC_SEQ_CST);
		shared->writes++;
	}
	return 0;
}

static int reader(unsigned int self)
{
	int fd = open(name, O_RDONLY);
	unsigned int seed = self + 100, page, i;
	uint64_t data[WORDS], low, high;

	if (fd < 0)
		fail("open");
	while (!__atomic_load_n(&shared->over, __ATOMIC_ACQUIRE)) {
		page = below(&seed, PAGES);
		low = __atomic_load_n(&shared->ended[page], __ATOMIC_SEQ_CST);
		if (pread(fd, data, PAGE_SIZE, (off_t)page * PAGE_SIZE) !=
		    PAGE_SIZE)
			fail("read");
		high = __atomic_load_n(&shared->begun[page], __ATOMIC_SEQ_CST);
		for (i = 0; i < WORDS; i++) {
			if (data[i] >= low && data[i] <= high)
				continue;
			printf("file-race: WRONG: page %u word %u is of generation %"
			       PRIu64 ", and should be of %" PRIu64 " to %"
			       PRIu64 "\n", page, i, data[i], low, high);
			return EXIT_WRONG;
		}
		shared->reads[self]++;
	}
	return 0;
}

static int dropper(void)
{
	int fd = open(name, O_RDONLY);
	struct timespec pause = { .tv_nsec = 300000 };

	if (fd < 0)
		fail("open");
	while (!__atomic_load_n(&shared->over, __ATOMIC_ACQUIRE)) {
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		shared->drops++;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static void prepare(void)
{
	static char zeros[PAGE_SIZE];
	unsigned int i;
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0)
		fail(name);
	for (i = 0; i < PAGES; i++)
		if (write(fd, zeros, PAGE_SIZE) != PAGE_SIZE)
			fail("write");
	if (fsync(fd))
		fail("fsync");
	close(fd);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		fail("mmap");
}

int main(int argc, char **argv)
{
	unsigned int i, seconds;
	uint64_t reads = 0;
	int status, result = 0;

	seconds = argc == 3 ? atoi(argv[1]) : 0;
	if (!seconds) {
		fprintf(stderr, "usage: file-race SECONDS FILE\n");
		return EXIT_USAGE;
	}
	name = argv[2];
	prepare();
	for (i = 0; i < READERS + 2; i++) {
		pid_t pid = fork();

		if (pid < 0)
			fail("fork");
		if (pid)
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (i < READERS)
			status = reader(i);
		else
			status = i == READERS ? writer() : dropper();
		fflush(stdout);
		_exit(status);
	}
	sleep(seconds);
	__atomic_store_n(&shared->over, true, __ATOMIC_RELEASE);
	while (wait(&status) > 0) {
		status = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
		if (!result || status == EXIT_WRONG)
			result = status;
	}
	for (i = 0; i < READERS; i++)
		reads += shared->reads[i];
	printf("file-race: %s: %" PRIu64 " direct writes, %" PRIu64
	       " reads, %" PRIu64 " drops\n", result ? "FAILED" : "right",
	       shared->writes, reads, shared->drops);
	return result;
}
