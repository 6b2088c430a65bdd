/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: P4, cost over threads, clients and entries
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define NR_CLIENTS  64

/* --- Threads: each stores and loads its own objects of one client --- */

typedef struct Worker {
    const BenchCorpus *corpus;
    BenchStore *s;
    TmemContext *ctx;
    uint64_t base;              /* first page number of this worker */
    GThread *thread;
} Worker;

static void work(const BenchCorpus *corpus, TmemContext *ctx, uint64_t pool,
                 uint64_t base)
{
    for (size_t n = 0; n < corpus->nr_pages; n++) {
        TmemHandle handle = bench_handle(pool, base + n);

        tmem_page_store(ctx, &handle, bench_corpus_page(corpus, n));
    }
    for (size_t i = 0; i < corpus->nr_pages; i++) {
        TmemHandle handle = bench_handle(pool, base + corpus->load_order[i]);

        tmem_page_load(ctx, &handle, tmem_context_bounce(ctx), NULL);
    }
}

static void *worker_main(void *opaque)
{
    Worker *w = opaque;

    work(w->corpus, w->ctx, w->s->pool, w->base);
    return NULL;
}

/* Page pairs (a store and a load) per second with @threads threads. */
static double rate(const BenchCorpus *corpus, BenchStore *s, int threads)
{
    g_autofree Worker *workers = g_new0(Worker, threads);
    double start;

    for (int i = 0; i < threads; i++) {
        workers[i] = (Worker) {
            .corpus = corpus, .s = s,
            .ctx = tmem_context_new(s->client, NULL),
            .base = (uint64_t)(i + 1) << 32,
        };
    }
    start = bench_now();
    for (int i = 0; i < threads; i++) {
        workers[i].thread = g_thread_new("bench", worker_main, &workers[i]);
    }
    for (int i = 0; i < threads; i++) {
        g_thread_join(workers[i].thread);
    }
    start = bench_now() - start;
    for (int i = 0; i < threads; i++) {
        tmem_context_free(workers[i].ctx);
    }
    return threads * corpus->nr_pages / start;
}

static void scale_threads(const BenchCorpus *corpus,
                          const BenchOptions *options, BenchReport *report)
{
    uint64_t size = (corpus->nr_pages << TMEM_PAGE_SHIFT) *
                    (options->threads + 1) + (64 << 20);
    g_autofree double *speedup = g_new(double, options->rounds);

    for (int i = 0; i < options->rounds; i++) {
        BenchStore s;
        double one;

        bench_store_open(&s, size);
        rate(corpus, &s, options->threads);
        one = rate(corpus, &s, 1);
        speedup[i] = rate(corpus, &s, options->threads) / one;
        bench_store_close(&s);
    }
    bench_report_add(report, options->threads == 2 ? "p4_two_threads" :
                     "p4_threads", bench_median(speedup, options->rounds),
                     options->threads == 2 ? ">= 1.85" : NULL,
                     "throughput of several threads / one");
}

/* --- Clients: the same pages as one client, or spread over 64 --- */

static double clients_seconds(const BenchCorpus *corpus, int clients)
{
    BenchStore s;
    TmemClient *client[NR_CLIENTS];
    TmemContext *ctx[NR_CLIENTS];
    uint64_t pool[NR_CLIENTS];
    double start;

    bench_store_open(&s, 2 * (corpus->nr_pages << TMEM_PAGE_SHIFT) +
                     (256 << 20));
    for (int i = 0; i < clients; i++) {
        g_autofree char *name = g_strdup_printf("client%d", i);
        TmemClientConfig config = { .name = name };

        client[i] = tmem_client_new(s.store, &config, NULL);
        ctx[i] = tmem_context_new(client[i], NULL);
        tmem_pool_create(client[i], TMEM_POOL_PERSISTENT, TMEM_PAGE_SHIFT,
                         &pool[i]);
    }
    start = 0;
    for (int pass = 0; pass < 2; pass++) {
        start = bench_now();
        for (size_t n = 0; n < corpus->nr_pages; n++) {
            TmemHandle handle = bench_handle(pool[n % clients], n / clients);

            tmem_page_store(ctx[n % clients], &handle,
                            bench_corpus_page(corpus, n));
        }
        for (size_t i = 0; i < corpus->nr_pages; i++) {
            size_t n = corpus->load_order[i];
            TmemHandle handle = bench_handle(pool[n % clients], n / clients);

            tmem_page_load(ctx[n % clients], &handle,
                           tmem_context_bounce(ctx[n % clients]), NULL);
        }
    }
    start = bench_now() - start;
    for (int i = 0; i < clients; i++) {
        tmem_context_free(ctx[i]);
        tmem_client_free(client[i]);
    }
    bench_store_close(&s);
    return start;
}

static void scale_clients(const BenchCorpus *corpus,
                          const BenchOptions *options, BenchReport *report)
{
    g_autofree double *ratio = g_new(double, options->rounds);

    for (int i = 0; i < options->rounds; i++) {
        double one = clients_seconds(corpus, 1);

        ratio[i] = clients_seconds(corpus, NR_CLIENTS) / one;
    }
    bench_report_add(report, "p4_64_clients",
                     bench_median(ratio, options->rounds), "<= 1.05",
                     "time with 64 clients / one");
}

/* --- Entries: a random load and store in a small and in a large store --- */

#define SMALL_ENTRIES   10000
#define PROBES          200000

/* Compresses to well under 256 bytes, and no two are the same. */
static void small_page(uint64_t *page, uint64_t n)
{
    memset(page, 0, TMEM_PAGE_SIZE);
    for (int i = 0; i < 16; i++) {
        page[i * 32] = (n + 1) * 0x9e3779b97f4a7c15ull + i;
    }
}

/* Microseconds of a random load, and of a random store, at @entries. */
static void probe_entries(uint64_t entries, double *load_us, double *store_us)
{
    uint64_t state = 88172645463325252ull;
    uint64_t page[TMEM_PAGE_SIZE / 8];
    double start;
    BenchStore s;

    bench_store_open(&s, entries * 512 + (64 << 20));
    for (uint64_t n = 0; n < entries; n++) {
        TmemHandle handle = bench_handle(s.pool, n);

        small_page(page, n);
        if (tmem_page_store(s.ctx, &handle, page) != TMEM_STATUS_OK) {
            fprintf(stderr, "tmem-bench: entry %" PRIu64 " was refused\n", n);
            exit(1);
        }
    }
    start = bench_now();
    for (int i = 0; i < PROBES; i++) {
        TmemHandle handle = bench_handle(s.pool,
                                         bench_random(&state) % entries);

        tmem_page_load(s.ctx, &handle, page, NULL);
    }
    *load_us = (bench_now() - start) / PROBES * 1e6;
    small_page(page, entries);
    start = bench_now();
    for (int i = 0; i < PROBES; i++) {
        TmemHandle handle = bench_handle(s.pool,
                                         bench_random(&state) % entries);

        tmem_page_store(s.ctx, &handle, page);
    }
    *store_us = (bench_now() - start) / PROBES * 1e6;
    bench_store_close(&s);
}

static void scale_entries(const BenchOptions *options, BenchReport *report)
{
    double load[2], store[2], ratio;

    if (!options->entries) {
        bench_report_add(report, "p4_30m_pages", BENCH_NONE, "<= 1.5",
                         "skipped: --entries 0");
        return;
    }
    probe_entries(SMALL_ENTRIES, &load[0], &store[0]);
    probe_entries(options->entries, &load[1], &store[1]);
    ratio = MAX(load[1] / load[0], store[1] / store[0]);
    bench_report_add(report, "entries", options->entries, NULL,
                     "entries of the large store");
    bench_report_add(report, options->entries >= 30000000 ? "p4_30m_pages" :
                     "p4_entries", ratio, "<= 1.5",
                     "random load or store at many entries / at 10 k");
}

void bench_scale(const BenchCorpus *corpus, const BenchOptions *options,
                 BenchReport *report)
{
    scale_threads(corpus, options, report);
    scale_clients(corpus, options, report);
    scale_entries(options, report);
}
