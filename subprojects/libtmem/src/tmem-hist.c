/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: distributions: how long operations take, how large pages become
 */
#include "tmem-hist.h"

G_STATIC_ASSERT(TMEM_SIZE_BUCKETS * TMEM_SIZE_BUCKET_BYTES == TMEM_PAGE_SIZE);

uint64_t tmem_latency_bucket_ns(unsigned bucket)
{
    unsigned octave = bucket / 4 + 1;

    if (bucket < 4) {
        return bucket;
    }
    return (4ull + bucket % 4) << (octave - 2);
}

uint64_t tmem_histogram_total(const TmemHistogram *h)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < TMEM_LATENCY_BUCKETS; i++) {
        total += h->count[i];
    }
    return total;
}

uint64_t tmem_histogram_percentile(const TmemHistogram *h, double percent)
{
    double wanted = tmem_histogram_total(h) * CLAMP(percent, 0, 100) / 100;
    double below = 0;
    unsigned last = 0;

    for (unsigned i = 0; i < TMEM_LATENCY_BUCKETS; i++) {
        uint64_t low = tmem_latency_bucket_ns(i);
        uint64_t width = tmem_latency_bucket_ns(i + 1) - low;

        if (!h->count[i]) {
            continue;
        }
        if (below + h->count[i] >= wanted) {
            return low + (uint64_t)((wanted - below) / h->count[i] * width);
        }
        below += h->count[i];
        last = i;
    }
    /* Only for what rounding left over. */
    return below ? tmem_latency_bucket_ns(last + 1) : 0;
}

void tmem_histogram_add(TmemHistogram *sum, const TmemHistogram *h)
{
    for (unsigned i = 0; i < TMEM_LATENCY_BUCKETS; i++) {
        sum->count[i] += __atomic_load_n(&h->count[i], __ATOMIC_RELAXED);
    }
}

void tmem_latency_sum(TmemLatencyStats *sum, const TmemLatencyStats *from)
{
#define SUM(name, text)                                                       \
    tmem_histogram_add(&sum->name, &from->name);
    TMEM_LATENCIES(SUM)
#undef SUM
}

void tmem_held_sum(TmemHeld *sum, const TmemHeld *from)
{
    for (unsigned i = 0; i < TMEM_SIZE_BUCKETS; i++) {
        sum->sizes.held[i] += __atomic_load_n(&from->sizes.held[i],
                                              __ATOMIC_RELAXED);
        sum->sizes.stored[i] += __atomic_load_n(&from->sizes.stored[i],
                                                __ATOMIC_RELAXED);
    }
    sum->bytes += __atomic_load_n(&from->bytes, __ATOMIC_RELAXED);
}
