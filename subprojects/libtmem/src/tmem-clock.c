/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: a clock that is cheap enough to read twice in an operation
 */
#include <glib.h>

#include "tmem-clock.h"

#ifdef TMEM_CLOCK_TSC
#include <cpuid.h>
#endif

/* How long the counter is compared with CLOCK_MONOTONIC. */
#define CALIBRATE_NS    2000000
#define CALIBRATE_TRIES 5

/*
 * What reading the clock may cost an operation on average, a third of 1 % of
 * loading an LZ4 page: what follows a reading waits for it, too.
 */
#define TIMING_NS_MAX   5
#define SAMPLE_MAX      1024

#define READINGS        256

TmemClock tmem_clock = { .ns_per_tick = 1ull << 32 };

/* Whether the counter runs at one rate, whatever the CPU does. */
static bool counter_is_steady(void)
{
#ifdef TMEM_CLOCK_TSC
    unsigned a, b, c, d;

    return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d >> 8 & 1);
#elif defined(TMEM_CLOCK_CNTVCT)
    return true;
#else
    return false;
#endif
}

/*
 * The counter between two readings of the clock.  Takes the closest of some
 * tries: an interruption in between only makes the pair wider.
 */
static void read_both(uint64_t *ticks, uint64_t *ns)
{
    uint64_t best = UINT64_MAX;

    for (int i = 0; i < CALIBRATE_TRIES; i++) {
        uint64_t before = tmem_clock_monotonic();
        uint64_t counter = tmem_clock_counter();
        uint64_t after = tmem_clock_monotonic();

        if (after - before < best) {
            best = after - before;
            *ticks = counter;
            *ns = before + best / 2;
        }
    }
}

static bool calibrate(uint64_t *ns_per_tick)
{
    uint64_t ticks = 0, ticks_end = 0, ns = 0, ns_end = 0;

    read_both(&ticks, &ns);
    do {
        read_both(&ticks_end, &ns_end);
    } while (ns_end - ns < CALIBRATE_NS);
    /* Between 10 MHz and 100 GHz, or it is no clock. */
    if (ticks_end <= ticks || ticks_end - ticks < (ns_end - ns) / 100 ||
        ticks_end - ticks > (ns_end - ns) * 100) {
        return false;
    }
    *ns_per_tick = ((unsigned __int128)(ns_end - ns) << 32) /
                   (ticks_end - ticks);
    return true;
}

static uint32_t measure_reading(void)
{
    uint64_t start = tmem_clock_monotonic();

    for (int i = 0; i < READINGS; i++) {
        /* Not optimised away: it reads the outside world. */
        tmem_clock_ticks();
    }
    return (tmem_clock_monotonic() - start + READINGS - 1) / READINGS;
}

uint32_t tmem_clock_sample(uint32_t read_ns)
{
    uint32_t sample = 1;

    while (2 * read_ns / sample > TIMING_NS_MAX && sample < SAMPLE_MAX) {
        sample *= 2;
    }
    return sample;
}

void tmem_clock_init(void)
{
    static gsize done;

    if (g_once_init_enter(&done)) {
        uint64_t ns_per_tick;

        if (counter_is_steady() && calibrate(&ns_per_tick)) {
            tmem_clock.ns_per_tick = ns_per_tick;
            tmem_clock.counter = true;
        }
        tmem_clock.read_ns = measure_reading();
        tmem_clock.sample_mask = tmem_clock_sample(tmem_clock.read_ns) - 1;
        g_once_init_leave(&done, 1);
    }
}
