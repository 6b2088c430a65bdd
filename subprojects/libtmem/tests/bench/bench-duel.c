/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: sides that do the same work in turn, and libtmem as one of them
 */
#include <string.h>

#include "bench.h"

/* Pages of a turn: short against a drift, long against a clock reading. */
#define TURN    1024

double bench_side_run(const BenchSide *side, BenchOp op,
                      const BenchCorpus *corpus, const uint32_t *order,
                      size_t first, size_t n)
{
    return (op == BENCH_STORE ? side->store : side->load)(
        side->opaque, corpus, order, first, n);
}

void bench_duel(const BenchSide *sides, int nr_sides, BenchOp op,
                const BenchCorpus *corpus, const uint32_t *order,
                size_t first, size_t n, double *us)
{
    size_t turns = (n + TURN - 1) / TURN;

    memset(us, 0, nr_sides * sizeof(*us));
    for (size_t t = 0; t < turns; t++) {
        for (int i = 0; i < nr_sides; i++) {
            size_t at = (t + i * turns / nr_sides) % turns * TURN;

            us[i] += bench_side_run(&sides[i], op, corpus, order, first + at,
                                    MIN(TURN, n - at));
        }
    }
    for (int i = 0; n && i < nr_sides; i++) {
        us[i] *= 1e6 / n;
    }
}

void bench_duel_store(const BenchSide *sides, int nr_sides,
                      const BenchCorpus *corpus, const uint32_t *order,
                      double *us)
{
    g_autofree double *second = g_new(double, nr_sides);
    size_t half = corpus->nr_pages / 2;

    for (int h = 0; h < 2; h++) {
        size_t first = h ? half : 0;
        size_t n = h ? corpus->nr_pages - half : half;

        for (int i = 0; i < nr_sides; i++) {
            if (sides[i].drop) {
                sides[i].drop(sides[i].opaque, corpus, order, first, n);
            }
        }
        bench_duel(sides, nr_sides, BENCH_STORE, corpus, order, first, n,
                   h ? second : us);
    }
    for (int i = 0; i < nr_sides; i++) {
        us[i] = (us[i] * half + second[i] * (corpus->nr_pages - half)) /
                corpus->nr_pages;
    }
}

/* --- libtmem as a side --- */

static inline void store_page(BenchStore *s, const BenchCorpus *corpus,
                              uint32_t page, const TmemHandle *handle)
{
    TmemStatus status = tmem_page_store(s->ctx, handle,
                                        bench_corpus_page(corpus, page));

    if (status != TMEM_STATUS_OK) {
        bench_die("page %u was refused (%s)", page, tmem_status_str(status));
    }
}

static inline void load_page(BenchStore *s, void *to, uint32_t page,
                             const TmemHandle *handle)
{
    TmemStatus status = tmem_page_load(s->ctx, handle, to, NULL);

    if (status != TMEM_STATUS_OK) {
        bench_die("page %u is gone (%s)", page, tmem_status_str(status));
    }
}

static double store_batch(void *opaque, const BenchCorpus *corpus,
                          const uint32_t *order, size_t first, size_t n)
{
    BenchStore *s = opaque;
    double start = bench_cpu_now();

    for (size_t i = 0; i < n; i += BENCH_BATCH) {
        TmemHandle handles[BENCH_BATCH];
        unsigned nr = MIN(BENCH_BATCH, n - i);

        for (unsigned j = 0; j < nr; j++) {
            handles[j] = bench_handle(s->pool, order[first + i + j]);
        }
        tmem_page_prefetch(s->ctx, handles, nr);
        for (unsigned j = 0; j < nr; j++) {
            store_page(s, corpus, order[first + i + j], &handles[j]);
        }
    }
    return bench_cpu_now() - start;
}

static double load_batch(void *opaque, const BenchCorpus *corpus,
                         const uint32_t *order, size_t first, size_t n)
{
    BenchStore *s = opaque;
    void *to = tmem_context_bounce(s->ctx);
    double start = bench_cpu_now();

    for (size_t i = 0; i < n; i += BENCH_BATCH) {
        TmemHandle handles[BENCH_BATCH];
        unsigned nr = MIN(BENCH_BATCH, n - i);

        for (unsigned j = 0; j < nr; j++) {
            handles[j] = bench_handle(s->pool, order[first + i + j]);
        }
        tmem_page_prefetch(s->ctx, handles, nr);
        for (unsigned j = 0; j < nr; j++) {
            load_page(s, to, order[first + i + j], &handles[j]);
        }
    }
    return bench_cpu_now() - start;
}

static double store_single(void *opaque, const BenchCorpus *corpus,
                           const uint32_t *order, size_t first, size_t n)
{
    BenchStore *s = opaque;
    double start = bench_cpu_now();

    for (size_t i = first; i < first + n; i++) {
        TmemHandle handle = bench_handle(s->pool, order[i]);

        store_page(s, corpus, order[i], &handle);
    }
    return bench_cpu_now() - start;
}

static double load_single(void *opaque, const BenchCorpus *corpus,
                          const uint32_t *order, size_t first, size_t n)
{
    BenchStore *s = opaque;
    void *to = tmem_context_bounce(s->ctx);
    double start = bench_cpu_now();

    for (size_t i = first; i < first + n; i++) {
        TmemHandle handle = bench_handle(s->pool, order[i]);

        load_page(s, to, order[i], &handle);
    }
    return bench_cpu_now() - start;
}

static double drop(void *opaque, const BenchCorpus *corpus,
                   const uint32_t *order, size_t first, size_t n)
{
    BenchStore *s = opaque;
    double start = bench_cpu_now();

    for (size_t i = first; i < first + n; i++) {
        TmemHandle handle = bench_handle(s->pool, order[i]);

        tmem_page_invalidate(s->ctx, &handle);
    }
    return bench_cpu_now() - start;
}

BenchSide bench_side_batch(BenchStore *s)
{
    return (BenchSide) { store_batch, load_batch, drop, s };
}

BenchSide bench_side_single(BenchStore *s)
{
    return (BenchSide) { store_single, load_single, drop, s };
}

void bench_verify(const BenchCorpus *corpus, BenchStore *s)
{
    void *to = tmem_context_bounce(s->ctx);

    for (size_t n = 0; n < corpus->nr_pages; n++) {
        TmemHandle handle = bench_handle(s->pool, n);

        load_page(s, to, n, &handle);
        if (memcmp(to, bench_corpus_page(corpus, n), TMEM_PAGE_SIZE)) {
            bench_die("page %zu came back with other content: this is a bug "
                      "of libtmem", n);
        }
    }
}
