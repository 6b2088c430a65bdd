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

enum { RATIO, LZ4, SECONDS, P99_RATIO, P99_LZ4, P99_MIXED, COLD, FIGURES };

static void measure_loads(const BenchCorpus *corpus, BenchStore *s,
                          uint64_t *state, double *figures)
{
    figures[P99_LZ4] = loads(corpus, s, 0, state).p99;
    figures[P99_MIXED] = loads(corpus, s, 5, state).p99;
    figures[P99_RATIO] = figures[P99_MIXED] / figures[P99_LZ4];
    figures[COLD] = loads(corpus, s, 100, state).mean;
}

/* One round, with a store of its own; false if nothing was recompressed. */
static bool measure(const BenchCorpus *corpus, const BenchOptions *options,
                    uint64_t *state, double *figures)
{
    double page_bytes = corpus->nr_pages << TMEM_PAGE_SHIFT, start;
    uint64_t base = bench_rss();
    BenchStore s;
    bool did;

    bench_store_open(&s, bench_store_size(corpus, 2 * corpus->nr_pages),
                     TMEM_POOL_PERSISTENT);
    store_all(corpus, &s, 0);
    figures[LZ4] = page_bytes / ((double)bench_rss() - base);
    start = bench_now();
    set_recompress(&s, COLD_SECONDS);
    did = wait_recompressed(&s, options->quick);
    if (did) {
        figures[SECONDS] = bench_now() - start;
        figures[RATIO] = page_bytes / ((double)bench_rss() - base);
        set_recompress(&s, 0);
        store_all(corpus, &s, WARM);
        measure_loads(corpus, &s, state, figures);
    }
    bench_store_close(&s);
    return did;
}

static void report_all(BenchReport *report, double *const *figures, int rounds)
{
    static const struct {
        const char *key;
        const char *goal;
        const char *text;
    } lines[FIGURES] = {
        [RATIO] = { "p8_ratio", ">= 4.30", "bytes of pages / resident memory, "
                    "afterwards (the goal is for anon)" },
        [LZ4] = { "lz4_ratio", NULL, "before it" },
        [SECONDS] = { "p8_seconds", NULL, "s until nothing changed any more" },
        [P99_RATIO] = { "p8_load_p99_ratio", "<= 2.00", "p99 of loads with "
                        "5 % of recompressed pages / LZ4 only" },
        [P99_LZ4] = { "load_p99_lz4_us", NULL, "us: p99 of loads of LZ4 "
                      "pages" },
        [P99_MIXED] = { "load_p99_mixed_us", NULL, "us: with 5 % of "
                        "recompressed pages" },
        [COLD] = { "load_cold_us", NULL, "us: mean of loads of recompressed "
                   "pages" },
    };

    for (int i = 0; i < FIGURES; i++) {
        if (rounds) {
            bench_report_add(report, lines[i].key, figures[i], rounds,
                             lines[i].goal, lines[i].text);
        } else {
            bench_report_add_one(report, lines[i].key, BENCH_NONE, NULL,
                                 i ? "" : "not measured: this libtmem did not "
                                 "recompress in time");
        }
    }
}

void bench_upkeep(const BenchCorpus *corpus, const BenchOptions *options,
                  BenchReport *report)
{
    uint64_t state = 88172645463325252ull;
    double *figures[FIGURES], one[FIGURES];
    int done = 0;

    for (int i = 0; i < FIGURES; i++) {
        figures[i] = g_new(double, options->rounds);
    }
    for (int round = 0; round < options->rounds; round++) {
        bench_say("recompression, waiting for the store's upkeep, round %d of "
                  "%d", round + 1, options->rounds);
        if (!measure(corpus, options, &state, one)) {
            bench_say("no page was recompressed: this round does not count");
            continue;
        }
        for (int i = 0; i < FIGURES; i++) {
            figures[i][done] = one[i];
        }
        done++;
    }
    bench_report_section(report, "P8: pages recompressed after a second's rest,"
                         " with a whole CPU for it");
    report_all(report, figures, done);
    for (int i = 0; i < FIGURES; i++) {
        g_free(figures[i]);
    }
}
