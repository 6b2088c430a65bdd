/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: P8, what idle recompression gives and what it costs
 *
 * Two kinds of objects in one store: cold ones that the store has compressed
 * again, and warm ones that it has not.  Each load is timed by itself.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define COLD_SECONDS    1
#define WAIT_SECONDS    120
#define LOADS           200000
#define WARM            (1ull << 32)    /* page numbers of the warm copies */

static void set_recompress(BenchStore *s, uint32_t seconds)
{
    TmemPolicy policy;
    GError *err = NULL;

    tmem_store_get_policy(s->store, &policy);
    policy.upkeep.recompress_idle_seconds = seconds;
    policy.upkeep.cpu_percent = 100;
    if (!tmem_store_set_policy(s->store, &policy, &err)) {
        bench_die("%s", err->message);
    }
}

static uint64_t stored_bytes(BenchStore *s)
{
    TmemClientStats stats;

    tmem_client_get_stats(s->client, &stats);
    return stats.total.stored_bytes;
}

static void store_all(const BenchCorpus *corpus, BenchStore *s, uint64_t base)
{
    for (size_t n = 0; n < corpus->nr_pages; n++) {
        TmemHandle handle = bench_handle(s->pool, base + n);

        if (tmem_page_store(s->ctx, &handle, bench_corpus_page(corpus, n)) !=
            TMEM_STATUS_OK) {
            bench_die("page %zu was refused", n);
        }
    }
}

/* Waits until what is stored shrinks no more; false if it never did. */
static bool wait_recompressed(BenchStore *s, bool quick)
{
    uint64_t first = stored_bytes(s), last = first;
    double end = bench_now() + WAIT_SECONDS;
    double calm = bench_now() + (quick ? 2.5 : 6) * COLD_SECONDS;

    while (bench_now() < MIN(end, calm)) {
        uint64_t now;

        g_usleep(100000);
        now = stored_bytes(s);
        if (now != last) {
            last = now;
            calm = bench_now() + 2 * COLD_SECONDS;
        }
    }
    return last < first;
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

typedef struct Latency {
    double p99;
    double mean;
} Latency;

/* Loads of random pages in us, of which @cold per cent are of cold ones. */
static Latency loads(const BenchCorpus *corpus, BenchStore *s, unsigned cold,
                     uint64_t *state)
{
    g_autofree float *us = g_new(float, LOADS);
    void *to = tmem_context_bounce(s->ctx);
    Latency l = {};

    for (int i = 0; i < LOADS; i++) {
        uint64_t page = bench_random(state) % corpus->nr_pages;
        bool is_cold = bench_random(state) % 100 < cold;
        TmemHandle handle = bench_handle(s->pool, (is_cold ? 0 : WARM) + page);
        double start = bench_now();
        TmemStatus status = tmem_page_load(s->ctx, &handle, to, NULL);

        us[i] = (bench_now() - start) * 1e6;
        l.mean += us[i] / LOADS;
        if (status != TMEM_STATUS_OK ||
            (i % 64 == 0 && memcmp(to, bench_corpus_page(corpus, page),
                                   TMEM_PAGE_SIZE))) {
            bench_die("page %" PRIu64 " was lost after recompression (%s): "
                      "this is a bug of libtmem", page,
                      tmem_status_str(status));
        }
    }
    qsort(us, LOADS, sizeof(*us), compare);
    l.p99 = us[LOADS * 99 / 100];
    return l;
}

static void measure_loads(const BenchCorpus *corpus, BenchStore *s,
                          const BenchOptions *options, BenchReport *report)
{
    int rounds = options->rounds;
    uint64_t state = 88172645463325252ull;
    g_autofree double *ratio = g_new(double, rounds);
    g_autofree double *lz4 = g_new(double, rounds);
    g_autofree double *mixed = g_new(double, rounds);
    g_autofree double *mean = g_new(double, rounds);

    for (int i = 0; i < rounds; i++) {
        lz4[i] = loads(corpus, s, 0, &state).p99;
        mixed[i] = loads(corpus, s, 5, &state).p99;
        ratio[i] = mixed[i] / lz4[i];
        mean[i] = loads(corpus, s, 100, &state).mean;
    }
    bench_report_add(report, "p8_load_p99_ratio", ratio, rounds, "<= 2.00",
                     "p99 of loads with 5 % of recompressed pages / LZ4 only");
    bench_report_add(report, "load_p99_lz4_us", lz4, rounds, NULL,
                     "us: p99 of loads of LZ4 pages");
    bench_report_add(report, "load_p99_mixed_us", mixed, rounds, NULL,
                     "us: with 5 % of recompressed pages");
    bench_report_add(report, "load_cold_us", mean, rounds, NULL,
                     "us: mean of loads of recompressed pages");
}

static void report_none(BenchReport *report)
{
    static const char *const keys[] = {
        "p8_ratio", "p8_load_p99_ratio", "lz4_ratio", "p8_seconds",
        "load_p99_lz4_us", "load_p99_mixed_us", "load_cold_us",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        bench_report_add_one(report, keys[i], BENCH_NONE, NULL,
                             i ? "" : "not measured: this libtmem did not "
                             "recompress in time");
    }
}

void bench_upkeep(const BenchCorpus *corpus, const BenchOptions *options,
                  BenchReport *report)
{
    double page_bytes = corpus->nr_pages << TMEM_PAGE_SHIFT;
    uint64_t base;
    double lz4, zstd, start;
    BenchStore s;

    bench_say("recompression, waiting for the store's upkeep");
    bench_report_section(report, "P8: pages recompressed after a second's rest,"
                         " with a whole CPU for it");
    base = bench_rss();
    bench_store_open(&s, bench_store_size(corpus, 2 * corpus->nr_pages),
                     TMEM_POOL_PERSISTENT);
    store_all(corpus, &s, 0);
    lz4 = page_bytes / (bench_rss() - base);
    start = bench_now();
    set_recompress(&s, COLD_SECONDS);
    if (!wait_recompressed(&s, options->quick)) {
        report_none(report);
        bench_store_close(&s);
        return;
    }
    start = bench_now() - start;
    zstd = page_bytes / ((double)bench_rss() - base);
    set_recompress(&s, 0);
    store_all(corpus, &s, WARM);
    bench_report_add_one(report, "p8_ratio", zstd, ">= 4.30",
                         "bytes of pages / resident memory, afterwards (the "
                         "goal is for anon)");
    bench_report_add_one(report, "lz4_ratio", lz4, NULL, "before it");
    bench_report_add_one(report, "p8_seconds", start, NULL,
                         "s until nothing changed any more");
    measure_loads(corpus, &s, options, report);
    bench_store_close(&s);
}
