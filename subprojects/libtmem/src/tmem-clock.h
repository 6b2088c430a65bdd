/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: a clock that is cheap enough to read twice in an operation
 *
 * The CPU's cycle counter where meson.build knows one and it runs at one rate,
 * else CLOCK_MONOTONIC.  Where reading is expensive all the same (a hypervisor
 * that traps it), fewer operations are timed: tmem_clock.sample_mask.
 */
#ifndef TMEM_CLOCK_H
#define TMEM_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#ifdef TMEM_CLOCK_TSC
#include <x86intrin.h>
#endif

typedef struct TmemClock {
    bool counter;           /* ticks are the CPU's, else nanoseconds */
    uint64_t ns_per_tick;   /* times 2^32 */
    uint32_t read_ns;       /* what a reading costs, rounded up */
    uint32_t sample_mask;   /* one of sample_mask + 1 operations is timed */
} TmemClock;

/* Written once, by tmem_clock_init(). */
extern TmemClock tmem_clock;

/** Finds out about the clock; the first call takes 2 ms.  Any thread. */
void tmem_clock_init(void);

/** Operations of which one is timed, so that timing costs no more than that. */
uint32_t tmem_clock_sample(uint32_t read_ns);

static inline uint64_t tmem_clock_counter(void)
{
#ifdef TMEM_CLOCK_TSC
    return __rdtsc();
#elif defined(TMEM_CLOCK_CNTVCT)
    uint64_t ticks;

    asm volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return 0;
#endif
}

static inline uint64_t tmem_clock_monotonic(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static inline uint64_t tmem_clock_ticks(void)
{
    return tmem_clock.counter ? tmem_clock_counter() : tmem_clock_monotonic();
}

/** Nanoseconds between two readings, 0 if they are in the wrong order. */
static inline uint64_t tmem_clock_ns(uint64_t from, uint64_t to)
{
    /* Another CPU's counter may be behind by a little. */
    return to <= from ? 0 :
           (unsigned __int128)(to - from) * tmem_clock.ns_per_tick >> 32;
}

#endif /* TMEM_CLOCK_H */
