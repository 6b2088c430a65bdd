/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: distributions: how long operations take, how large pages become
 *
 * Kept per context, by its thread alone, and summed when someone asks; what
 * happens without a context (eviction, the end of a pool) is kept per client.
 */
#ifndef TMEM_HIST_H
#define TMEM_HIST_H

#include <stdint.h>

#include "libtmem/tmem-stats.h"
#include "tmem-clock.h"
#include "tmem-entry.h"

/** The bucket that @ns nanoseconds fall into. */
static inline unsigned tmem_latency_bucket(uint64_t ns)
{
    unsigned octave, bucket;

    /* Four buckets to an octave; 0 ... 3 ns have one each. */
    if (ns < 4) {
        return ns;
    }
    octave = 63 - __builtin_clzll(ns);
    bucket = (octave - 1) * 4 + (ns >> (octave - 2) & 3);
    return bucket < TMEM_LATENCY_BUCKETS ? bucket : TMEM_LATENCY_BUCKETS - 1;
}

/** The size bucket of a record of @len bytes, at least 1. */
static inline unsigned tmem_size_bucket(uint32_t len)
{
    return (len - 1) / TMEM_SIZE_BUCKET_BYTES;
}

/*
 * Pages with a record, by size, and their bytes as encoded.  Of a context, and
 * then written by its thread alone, or a client's, for what happens without a
 * context.  Levels may be "negative", as in TmemTally.
 */
typedef struct TmemHeld {
    TmemSizeStats sizes;
    uint64_t bytes;
} TmemHeld;

/** Adds the levels and counters of @from to @sum. */
void tmem_held_sum(TmemHeld *sum, const TmemHeld *from);

/** What one context has timed, written by its thread. */
typedef struct TmemHist {
    uint32_t random;            /* decides which operations are timed */
    TmemLatencyStats latency;
} TmemHist;

/**
 * tmem_hist_start() - a reading of the clock, 0 if this one is not to be timed
 *
 * Which ones are is random (a linear congruential generator's high bits): every
 * second operation may be of one kind.
 */
static inline uint64_t tmem_hist_start(TmemHist *hist)
{
    hist->random = hist->random * 1664525 + 1013904223;
    return hist->random >> 16 & tmem_clock.sample_mask ? 0 :
           tmem_clock_ticks();
}

/** Ends the timing that @start began; it counts in @h. */
static inline void tmem_hist_end(TmemHistogram *h, uint64_t start)
{
    uint64_t *count;

    if (start) {
        count = &h->count[
            tmem_latency_bucket(tmem_clock_ns(start, tmem_clock_ticks()))];
        /* One writer; readers may lag. */
        __atomic_store_n(count, *count + 1, __ATOMIC_RELAXED);
    }
}

/** Adds what @from has counted to @sum. */
void tmem_latency_sum(TmemLatencyStats *sum, const TmemLatencyStats *from);

#endif /* TMEM_HIST_H */
