/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: P1, one thread against raw LZ4 and a copy
 *
 * The limit that nothing can beat without a faster codec: LZ4_compress_default
 * into a buffer and a memcpy of the result to the end of a log; to load,
 * LZ4_decompress_safe out of the log.  Same pages, same random order, rounds in
 * turn so that a drift of the machine hits both.
 */
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

typedef struct RawLog {
    uint8_t *log;
    uint64_t *at;               /* by position in store_order */
    uint32_t *len;
} RawLog;

static double raw_store(const BenchCorpus *corpus, RawLog *raw)
{
    char buffer[LZ4_COMPRESSBOUND(TMEM_PAGE_SIZE)];
    uint64_t at = 0;
    double start = bench_now();

    for (size_t n = 0; n < corpus->nr_pages; n++) {
        const char *page = (const char *)bench_corpus_page(corpus, n);
        int len = LZ4_compress_default(page, buffer, TMEM_PAGE_SIZE,
                                       sizeof(buffer));

        memcpy(raw->log + at, buffer, len);
        raw->at[n] = at;
        raw->len[n] = len;
        at += len;
    }
    return (bench_now() - start) / corpus->nr_pages;
}

static double raw_load(const BenchCorpus *corpus, RawLog *raw)
{
    char page[TMEM_PAGE_SIZE];
    double start = bench_now();

    for (size_t i = 0; i < corpus->nr_pages; i++) {
        size_t n = corpus->load_order[i];

        if (LZ4_decompress_safe((char *)raw->log + raw->at[n], page,
                                raw->len[n], sizeof(page)) != sizeof(page)) {
            fprintf(stderr, "tmem-bench: raw LZ4 lost page %zu\n", n);
            exit(1);
        }
    }
    return (bench_now() - start) / corpus->nr_pages;
}

static double tmem_store_all(const BenchCorpus *corpus, BenchStore *s)
{
    double start = bench_now();

    for (size_t n = 0; n < corpus->nr_pages; n++) {
        TmemHandle handle = bench_handle(s->pool, n);

        if (tmem_page_store(s->ctx, &handle, bench_corpus_page(corpus, n)) !=
            TMEM_STATUS_OK) {
            fprintf(stderr, "tmem-bench: page %zu was refused\n", n);
            exit(1);
        }
    }
    return (bench_now() - start) / corpus->nr_pages;
}

static double tmem_load_all(const BenchCorpus *corpus, BenchStore *s)
{
    void *page = tmem_context_bounce(s->ctx);
    double start = bench_now();

    for (size_t i = 0; i < corpus->nr_pages; i++) {
        TmemHandle handle = bench_handle(s->pool, corpus->load_order[i]);

        if (tmem_page_load(s->ctx, &handle, page, NULL) != TMEM_STATUS_OK) {
            fprintf(stderr, "tmem-bench: page %u is gone\n",
                    corpus->load_order[i]);
            exit(1);
        }
    }
    return (bench_now() - start) / corpus->nr_pages;
}

/* Every page once more, compared: a fast wrong answer is no answer. */
static void verify_all(const BenchCorpus *corpus, BenchStore *s)
{
    void *page = tmem_context_bounce(s->ctx);

    for (size_t n = 0; n < corpus->nr_pages; n++) {
        TmemHandle handle = bench_handle(s->pool, n);

        if (tmem_page_load(s->ctx, &handle, page, NULL) != TMEM_STATUS_OK ||
            memcmp(page, bench_corpus_page(corpus, n), TMEM_PAGE_SIZE)) {
            fprintf(stderr, "tmem-bench: page %zu came back wrong\n", n);
            exit(1);
        }
    }
}

/* One same-filled page over and over, seconds per store and load. */
static double tmem_same_filled(size_t nr, BenchStore *s)
{
    uint64_t page[TMEM_PAGE_SIZE / 8];
    double start;

    for (size_t i = 0; i < G_N_ELEMENTS(page); i++) {
        page[i] = 0x0123456789abcdefull;
    }
    start = bench_now();
    for (size_t n = 0; n < nr; n++) {
        TmemHandle handle = bench_handle(s->pool, n);

        tmem_page_store(s->ctx, &handle, page);
    }
    for (size_t n = 0; n < nr; n++) {
        TmemHandle handle = bench_handle(s->pool, n);

        tmem_page_load(s->ctx, &handle, tmem_context_bounce(s->ctx), NULL);
    }
    return (bench_now() - start) / nr;
}

void bench_speed(const BenchCorpus *corpus, const BenchOptions *options,
                 BenchReport *report)
{
    size_t size = corpus->nr_pages << TMEM_PAGE_SHIFT;
    int rounds = options->rounds;
    g_autofree double *rs = g_new(double, rounds), *rl = g_new(double, rounds);
    g_autofree double *ts = g_new(double, rounds), *tl = g_new(double, rounds);
    g_autofree double *same = g_new(double, rounds);
    RawLog raw = {
        /* Incompressible pages grow a little. */
        .log = g_malloc(size + corpus->nr_pages * 32),
        .at = g_new(uint64_t, corpus->nr_pages),
        .len = g_new(uint32_t, corpus->nr_pages),
    };
    double store, load, raw_s, raw_l;

    /* A warm-up round touches all memory of the log. */
    raw_store(corpus, &raw);
    for (int i = 0; i < rounds; i++) {
        BenchStore s;

        bench_store_open(&s, 2 * size + (64 << 20));
        /* As with the log: measure the store, not the kernel's page faults. */
        tmem_store_all(corpus, &s);
        rs[i] = raw_store(corpus, &raw);
        ts[i] = tmem_store_all(corpus, &s);
        rl[i] = raw_load(corpus, &raw);
        tl[i] = tmem_load_all(corpus, &s);
        verify_all(corpus, &s);
        same[i] = tmem_same_filled(corpus->nr_pages, &s);
        bench_store_close(&s);
    }
    raw_s = bench_median(rs, rounds) * 1e6;
    raw_l = bench_median(rl, rounds) * 1e6;
    store = bench_median(ts, rounds) * 1e6;
    load = bench_median(tl, rounds) * 1e6;
    bench_report_add(report, "raw_store_us", raw_s, NULL,
                     "raw LZ4 + copy, per page");
    bench_report_add(report, "raw_load_us", raw_l, NULL,
                     "raw LZ4 decompression, per page");
    bench_report_add(report, "store_us", store, NULL, "store, per page");
    bench_report_add(report, "load_us", load, NULL, "load, per page");
    bench_report_add(report, "p1_store_ratio", store / raw_s, "<= 1.08",
                     "store / raw LZ4 + copy");
    bench_report_add(report, "p1_load_ratio", load / raw_l, "<= 1.20",
                     "load / raw LZ4");
    bench_report_add(report, "p1_samefilled_speedup",
                     (store + load) / (bench_median(same, rounds) * 1e6),
                     ">= 10", "LZ4 store + load / same-filled");
    g_free(raw.log);
    g_free(raw.at);
    g_free(raw.len);
}
