/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a page of a test must hold: a function of (seed, owner, page,
 * generation), so nothing has to be remembered, and all pages differ.
 */
#ifndef PATTERN_H
#define PATTERN_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <inttypes.h>

#define PAGE_SIZE	4096
#define WORDS		(PAGE_SIZE / sizeof(uint64_t))

struct pattern {
	uint64_t seed;
	unsigned int random_percent;	/* incompressible pages */
	unsigned int same_percent;	/* same-filled pages */
	unsigned int same_words;	/* they have, in all; 0: each its own */
};

/* One step of splitmix64, a generator with well-mixed output. */
static inline uint64_t pattern_mix(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* A generator of its own for each page, generation and purpose (0: content). */
static inline uint64_t pattern_state(const struct pattern *pattern,
				     unsigned int owner, uint64_t page,
				     unsigned int generation,
				     unsigned int purpose)
{
	uint64_t state = pattern->seed;

	state = pattern_mix(&state) ^ owner;
	state = pattern_mix(&state) ^ page;
	state = pattern_mix(&state) ^ ((uint64_t)generation << 8 | purpose);
	return state;
}

static inline void pattern_fill(const struct pattern *pattern, void *data,
				unsigned int owner, uint64_t page,
				unsigned int generation)
{
	uint64_t state = pattern_state(pattern, owner, page, generation, 0);
	unsigned int kind = pattern_mix(&state) % 100;
	uint64_t *words = data;
	size_t i;

	if (kind < pattern->same_percent) {
		uint64_t word = pattern_mix(&state);

		if (pattern->same_words)
			word %= pattern->same_words;
		for (i = 0; i < WORDS; i++)
			words[i] = word;
		return;
	}
	if (kind < pattern->same_percent + pattern->random_percent) {
		for (i = 0; i < WORDS; i++)
			words[i] = pattern_mix(&state);
		return;
	}
	/*
	 * Like a heap: who it is in front, then records of small numbers and
	 * words that recur in this page, and now and then a fresh one.  LZ4
	 * makes a third of it, as it does of the heaps of real programs.
	 */
	words[0] = (uint64_t)owner << 32 | generation;
	words[1] = page;
	words[2] = pattern_mix(&state);
	words[3] = pattern_mix(&state);
	for (i = 4; i < WORDS; i += 4) {
		uint64_t r = pattern_mix(&state);

		words[i] = words[2] + (r & 0x70);
		words[i + 1] = i & ~31;
		words[i + 2] = words[3] ^ (r >> 62);
		words[i + 3] = r & 0x700 ? words[2] : r;
	}
}

/* Says which byte of a page is wrong, and whose page it may be. */
static inline void pattern_say_wrong(const char *program, const char *when,
				     unsigned int owner, uint64_t page,
				     unsigned int generation,
				     const void *found_data,
				     const void *expected_data)
{
	const unsigned char *found = found_data, *expected = expected_data;
	size_t first = 0, wrong = 0, i;
	uint64_t head[2];

	for (i = PAGE_SIZE; i-- > 0;) {
		if (found[i] != expected[i]) {
			first = i;
			wrong++;
		}
	}
	memcpy(head, found, sizeof(head));
	printf("%s: WRONG: process %u page %" PRIu64 " generation %u, %s: "
	       "offset %zu: expected 0x%02x, found 0x%02x; %zu of %d bytes "
	       "are wrong; its head is that of process %" PRIu64 " page %"
	       PRIu64 " generation %" PRIu64 "\n",
	       program, owner, page, generation, when, first, expected[first],
	       found[first], wrong, PAGE_SIZE, head[0] >> 32, head[1],
	       head[0] & 0xffffffff);
	fflush(stdout);
}

#endif /* PATTERN_H */
