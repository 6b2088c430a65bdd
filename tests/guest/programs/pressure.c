/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pressure: works on more memory than there is and verifies every byte
 *
 * Several processes share the work.  Each fills its pages, then passes over
 * them, in order and at random, verifies every byte of each page it comes to
 * and rewrites some pages with a new content.  What a page must hold follows
 * from (seed, process, page, generation) alone, so nothing that could be
 * swapped out as well has to be remembered; and all pages differ, so a page
 * that comes back in another's place is noticed.
 *
 * With --fork each process, once it has filled its pages, becomes two that share
 * them until one of them writes.  With --merge same-filled pages are few different
 * ones, and the kernel may make one of those that are equal (KSM).
 *
 * Exit status: 0 all was right, 1 a wrong byte, 2 a process was killed,
 * 3 a page could not be read back (SIGBUS), 125 bad usage or no memory.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pattern.h"

#define MAX_PROCESSES	64

enum { EXIT_WRONG = 1, EXIT_KILLED = 2, EXIT_LOST = 3, EXIT_USAGE = 125 };

static struct {
	uint64_t mib;			/* 0: 1.5 times MemTotal */
	unsigned int processes;
	unsigned int passes;		/* after the filling */
	unsigned int rewrite_percent;	/* per pass */
	struct pattern pattern;
	unsigned int resident;		/* MiB of each process; 0: what fits */
	bool fork, merge;
	const char *progress;		/* file for the last progress line */
} opt = {
	.processes = 4, .passes = 3, .rewrite_percent = 25,
	.pattern = { .seed = 1, .random_percent = 10, .same_percent = 3 },
};

/* Written by its process, read by the parent; lives in shared memory. */
struct work {
	uint64_t done;			/* pages, over all passes */
	uint64_t verified;
	uint64_t written;
	uint32_t pass;
	uint64_t page;			/* the one at hand */
};

static struct work *work;
static struct work *me;			/* in a child */
static unsigned int self;
static uint64_t pages;			/* of each process */
static pid_t twin;			/* of this process; 0: none, or it is one */

/*
 * Is the page rewritten in this pass?  Pass 0 fills, so it writes all; the
 * last pass only verifies.
 */
static bool rewritten(unsigned int process, uint64_t page, unsigned int pass)
{
	uint64_t state;

	if (pass == 0)
		return true;
	if (pass == opt.passes)
		return false;
	state = pattern_state(&opt.pattern, process, page, pass, 1);
	return pattern_mix(&state) % 100 < opt.rewrite_percent;
}

/* The pass whose content the page must hold when a pass comes to it. */
static unsigned int generation_before(unsigned int process, uint64_t page,
				      unsigned int pass)
{
	do {
		pass--;
	} while (!rewritten(process, page, pass));
	return pass;
}

static void on_sigbus(int number)
{
	static char text[128];
	int n;

	(void)number;
	n = snprintf(text, sizeof(text), "pressure: LOST: process %u page %"
		     PRIu64 ", pass %u: SIGBUS, the kernel could not read it "
		     "back\n", self, me->page, me->pass);
	if (write(STDOUT_FILENO, text, n) < 0)
		_exit(EXIT_KILLED);
	_exit(EXIT_LOST);
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t r = a % b;

		a = b;
		b = r;
	}
	return a;
}

static bool visit(unsigned char *page_data, uint64_t page, unsigned int pass)
{
	uint64_t expected[WORDS];

	me->page = page;
	if (pass > 0) {
		unsigned int generation = generation_before(self, page, pass);

		pattern_fill(&opt.pattern, expected, self, page, generation);
		if (memcmp(page_data, expected, PAGE_SIZE)) {
			char when[32];

			snprintf(when, sizeof(when), "pass %u", pass);
			pattern_say_wrong("pressure", when, self, page,
					  generation, page_data, expected);
			return false;
		}
		me->verified++;
	}
	if (rewritten(self, page, pass)) {
		pattern_fill(&opt.pattern, page_data, self, page, pass);
		me->written++;
	}
	me->done++;
	return true;
}

/*
 * Asks for all pages to be swapped out, each time as many were visited as may
 * stay: only this work swaps then, however much memory there is.
 */
static void give_up(unsigned char *memory, uint64_t visited)
{
	uint64_t limit = ((uint64_t)opt.resident << 20) / PAGE_SIZE;

	if (limit && visited % limit == limit - 1)
		madvise(memory, pages * PAGE_SIZE, MADV_PAGEOUT);
}

/* From here on there are two; the other one's progress is nobody's business. */
static bool make_twin(void)
{
	static struct work its_own;
	pid_t parent = getpid();

	twin = fork();
	if (twin < 0) {
		perror("pressure: fork");
		return false;
	}
	if (twin == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(EXIT_KILLED);
		its_own = *me;
		me = &its_own;
	}
	return true;
}

/* The worse of two results: that of this process and that of its twin. */
static int join_twin(int result)
{
	int status;

	if (!twin)
		return result;
	if (result)
		kill(twin, SIGKILL);
	while (waitpid(twin, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_KILLED;
	if (result)
		return result;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_KILLED;
}

/* Odd passes run in order, even ones at random: each page exactly once. */
static int child(void)
{
	unsigned char *memory;
	unsigned int pass;
	uint64_t i;

	signal(SIGBUS, on_sigbus);
	memory = mmap(NULL, pages * PAGE_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED) {
		perror("pressure: mmap");
		return EXIT_USAGE;
	}
	/* A huge page would hide what is tested here. */
	madvise(memory, pages * PAGE_SIZE, MADV_NOHUGEPAGE);
	if (opt.merge && madvise(memory, pages * PAGE_SIZE, MADV_MERGEABLE)) {
		perror("pressure: this kernel merges no pages");
		return EXIT_USAGE;
	}
	for (pass = 0; pass <= opt.passes; pass++) {
		uint64_t state = pattern_state(&opt.pattern, self, 0, pass, 2);
		uint64_t start = pattern_mix(&state) % pages, step = 1;

		if (pass > 0 && pass % 2 == 0) {
			/* start + i * step meets all pages if coprime. */
			do {
				step = pattern_mix(&state) % pages | 1;
			} while (gcd(step, pages) != 1);
		}
		me->pass = pass;
		if (opt.fork && pass == 1 && !make_twin())
			return EXIT_USAGE;
		for (i = 0; i < pages; i++) {
			if (!visit(memory + start * PAGE_SIZE, start, pass))
				return join_twin(EXIT_WRONG);
			give_up(memory, i);
			start = (start + step) % pages;
		}
	}
	return join_twin(0);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void show_progress(double seconds, bool say)
{
	uint64_t done = 0, all = pages * opt.processes * (opt.passes + 1);
	unsigned int i, pass = opt.passes;
	char text[160];

	for (i = 0; i < opt.processes; i++) {
		done += __atomic_load_n(&work[i].done, __ATOMIC_RELAXED);
		if (work[i].pass < pass)
			pass = work[i].pass;
	}
	snprintf(text, sizeof(text), "pass %u of %u (%s), %" PRIu64 " %%, "
		 "%.0f s\n", pass, opt.passes,
		 pass == 0 ? "filling" : pass % 2 ? "in order" : "at random",
		 done * 100 / all, seconds);
	if (say) {
		printf("pressure: %s", text);
		fflush(stdout);
	}
	if (opt.progress) {
		/* Replaced in one step: the reader never sees half a line. */
		char name[256];
		FILE *f;

		snprintf(name, sizeof(name), "%s.new", opt.progress);
		f = fopen(name, "w");
		if (f) {
			fputs(text, f);
			fclose(f);
			rename(name, opt.progress);
		}
	}
}

/* Waits for the children; after the first failure the others are ended. */
static int watch(pid_t *children)
{
	double start = now(), said = start;
	unsigned int left = opt.processes, i;
	int result = 0;

	while (left) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid == 0) {
			usleep(200000);
			show_progress(now() - start, now() - said >= 5);
			if (now() - said >= 5)
				said = now();
			continue;
		}
		left--;
		for (i = 0; i < opt.processes; i++)
			if (children[i] == pid)
				break;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			continue;
		if (result)
			continue;
		if (WIFEXITED(status)) {
			result = WEXITSTATUS(status);
		} else {
			printf("pressure: KILLED: process %u by signal %d%s\n",
			       i, WTERMSIG(status), WTERMSIG(status) == SIGKILL
			       ? " (out of memory?)" : "");
			result = EXIT_KILLED;
		}
		for (i = 0; i < opt.processes; i++)
			kill(children[i], SIGKILL);
	}
	show_progress(now() - start, false);
	return result;
}

static int run(void)
{
	pid_t children[MAX_PROCESSES];
	uint64_t verified = 0, written = 0;
	double start = now();
	unsigned int i;
	int result;

	work = mmap(NULL, sizeof(*work) * opt.processes, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (work == MAP_FAILED) {
		perror("pressure: mmap");
		return EXIT_USAGE;
	}
	/*
	 * Who tells what became of the work loses no page of its own with it:
	 * a status by the luck of what was swapped would tell nothing.  The
	 * children do not inherit the lock.
	 */
	if (mlockall(MCL_CURRENT | MCL_FUTURE)) {
		perror("pressure: mlockall");
		return EXIT_USAGE;
	}
	fflush(stdout);
	for (i = 0; i < opt.processes; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			self = i;
			me = &work[i];
			_exit(child());
		}
		if (children[i] < 0) {
			perror("pressure: fork");
			while (i-- > 0)
				kill(children[i], SIGKILL);
			return EXIT_USAGE;
		}
	}
	result = watch(children);
	for (i = 0; i < opt.processes; i++) {
		verified += work[i].verified;
		written += work[i].written;
	}
	printf("pressure: %s: %u processes, %" PRIu64 " MiB, %u passes, seed %"
	       PRIu64 ": %" PRIu64 " pages written, %" PRIu64 " verified, "
	       "%.1f s\n", result ? "FAILED" : "right", opt.processes,
	       pages * opt.processes * PAGE_SIZE >> 20, opt.passes, opt.pattern.seed,
	       written, verified, now() - start);
	return result;
}

static uint64_t mem_total_mib(void)
{
	unsigned long long kib = 0;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemTotal: %llu kB", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib / 1024;
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
		fprintf(stderr, "pressure: --%s %s: give it a number from %"
			PRIu64 " to %" PRIu64 "\n", name, text, min, max);
		exit(EXIT_USAGE);
	}
	return value;
}

static const struct option options[] = {
	{ "mib", required_argument, NULL, 'm' },
	{ "processes", required_argument, NULL, 'p' },
	{ "passes", required_argument, NULL, 'n' },
	{ "random-percent", required_argument, NULL, 'r' },
	{ "same-percent", required_argument, NULL, 's' },
	{ "rewrite-percent", required_argument, NULL, 'w' },
	{ "fork", no_argument, NULL, 'f' },
	{ "merge", no_argument, NULL, 'M' },
	{ "resident", required_argument, NULL, 'R' },
	{ "seed", required_argument, NULL, 'S' },
	{ "progress", required_argument, NULL, 'P' },
	{ "help", no_argument, NULL, 'h' },
	{ }
};

static void usage(void)
{
	printf("Usage: pressure [OPTION]...\n"
	       "Fills memory, passes over it, verifies every byte.\n\n"
	       "  --mib N              memory of all processes (1.5 x RAM)\n"
	       "  --processes N        (%u)\n"
	       "  --passes N           after the filling; the last one only\n"
	       "                       verifies (%u)\n"
	       "  --random-percent N   share of incompressible pages (%u)\n"
	       "  --same-percent N     share of same-filled pages (%u)\n"
	       "  --rewrite-percent N  share rewritten in each pass (%u)\n"
	       "  --fork               after the filling each process is two\n"
	       "  --merge              equal pages may become one (KSM)\n"
	       "  --resident MIB       swaps out all beyond that by itself, for\n"
	       "                       each process (what there is no room for)\n"
	       "  --seed N             (%" PRIu64 ")\n"
	       "  --progress FILE      keep the last progress line there\n",
	       opt.processes, opt.passes, opt.pattern.random_percent,
	       opt.pattern.same_percent, opt.rewrite_percent, opt.pattern.seed);
}

int main(int argc, char **argv)
{
	int c, index = 0;

	while ((c = getopt_long(argc, argv, "", options, &index)) != -1) {
		const char *name = options[index].name;

		switch (c) {
		case 'm':
			opt.mib = number(name, optarg, 1, 1 << 24);
			break;
		case 'p':
			opt.processes = number(name, optarg, 1, MAX_PROCESSES);
			break;
		case 'n':
			opt.passes = number(name, optarg, 1, 1000);
			break;
		case 'r':
			opt.pattern.random_percent = number(name, optarg, 0, 100);
			break;
		case 's':
			opt.pattern.same_percent = number(name, optarg, 0, 100);
			break;
		case 'w':
			opt.rewrite_percent = number(name, optarg, 0, 100);
			break;
		case 'f':
			opt.fork = true;
			break;
		case 'M':
			opt.merge = true;
			opt.pattern.same_words = 8;
			break;
		case 'R':
			opt.resident = number(name, optarg, 0, 1 << 20);
			break;
		case 'S':
			opt.pattern.seed = number(name, optarg, 0, UINT64_MAX);
			break;
		case 'P':
			opt.progress = optarg;
			break;
		case 'h':
			usage();
			return 0;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind != argc) {
		fprintf(stderr, "pressure: unknown argument %s\n", argv[optind]);
		return EXIT_USAGE;
	}
	if (!opt.mib)
		opt.mib = mem_total_mib() * 3 / 2;
	pages = (opt.mib << 20) / PAGE_SIZE / opt.processes;
	if (pages < 4) {
		fprintf(stderr, "pressure: less than 4 pages for each process\n");
		return EXIT_USAGE;
	}
	printf("pressure: %u processes, %" PRIu64 " MiB in all, RAM %" PRIu64
	       " MiB, %u passes, seed %" PRIu64 "\n", opt.processes,
	       opt.mib, mem_total_mib(), opt.passes, opt.pattern.seed);
	return run();
}
