/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: P3, resident memory against compressed bytes
 *
 * Counted from outside of the store: growth of the anonymous resident memory of
 * this process, index and metadata included.  Compressed bytes are what the
 * records hold as encoded (stored_bytes), without any rounding.
 */
#include <stdio.h>
#include <unistd.h>

#include "bench.h"

static const uint8_t *page_of(const BenchCorpus *corpus, uint64_t n)
{
    return bench_corpus_page(corpus, n % corpus->nr_pages);
}

/* Returns false when a page was refused. */
static bool store_one(const BenchCorpus *corpus, BenchStore *s, uint64_t n,
                      uint64_t salt)
{
    TmemHandle handle = bench_handle(s->pool, n);

    return tmem_page_store(s->ctx, &handle, page_of(corpus, n + salt)) ==
           TMEM_STATUS_OK;
}

static uint64_t stored_bytes(BenchStore *s)
{
    TmemClientStats stats;

    tmem_client_get_stats(s->client, &stats);
    return stats.total.stored_bytes;
}

/* Drops a random half and fills it again with other pages, five times. */
static uint64_t churn(const BenchCorpus *corpus, BenchStore *s, uint64_t pages)
{
    uint64_t state = 0x5851f42d4c957f2dull, refused = 0;
    g_autofree uint8_t *gone = g_malloc(pages);

    for (int round = 1; round <= 5; round++) {
        for (uint64_t n = 0; n < pages; n++) {
            TmemHandle handle = bench_handle(s->pool, n);

            gone[n] = bench_random(&state) >> 63;
            if (gone[n]) {
                tmem_page_invalidate(s->ctx, &handle);
            }
        }
        for (uint64_t n = 0; n < pages; n++) {
            if (gone[n]) {
                refused += !store_one(corpus, s, n, bench_random(&state));
            }
        }
    }
    return refused;
}

void bench_density(const BenchCorpus *corpus, const BenchOptions *options,
                   BenchReport *report)
{
    uint64_t pages = options->pages, base, full, refused = 0;
    double fresh, churned, start;
    BenchStore s;

    base = bench_rss();
    bench_store_open(&s, (pages << TMEM_PAGE_SHIFT) + (64 << 20));
    for (uint64_t n = 0; n < pages; n++) {
        refused += !store_one(corpus, &s, n, 0);
    }
    fresh = (double)(bench_rss() - base) / stored_bytes(&s);
    refused += churn(corpus, &s, pages);
    full = bench_rss() - base;
    churned = (double)full / stored_bytes(&s);

    start = bench_now();
    for (uint64_t n = 0; n < pages; n += 256) {
        TmemHandle handle = bench_handle(s.pool, n);

        tmem_object_invalidate(s.ctx, &handle);
    }
    if (bench_now() - start < 1) {
        usleep((1 - (bench_now() - start)) * 1e6);
    }
    bench_report_add(report, "p3_fresh", fresh, "<= 1.05",
                     "resident memory / compressed bytes, fresh");
    bench_report_add(report, "p3_churn", churned, "<= 1.12",
                     "the same after five rounds of churn");
    bench_report_add(report, "p3_giveback_1s",
                     1 - ((double)bench_rss() - base) / full, ">= 0.95",
                     "share given back 1 s after invalidating all");
    bench_report_add(report, "p3_refused", refused, "0",
                     "pages refused while measuring density");
    bench_store_close(&s);
}
