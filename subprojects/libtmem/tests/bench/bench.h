/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: libtmem against raw LZ4 and the kernel's zram, on the same pages
 *
 * Timings on shared machines drift, so all figures of one run are taken on one
 * corpus in one process, side by side, and what is worth quoting is a ratio.
 */
#ifndef TMEM_BENCH_H
#define TMEM_BENCH_H

#include <inttypes.h>

#include "libtmem/tmem.h"

/* A figure that was not measured: "-" in the table, null in JSON. */
#define BENCH_NONE  (0.0 / 0.0)

/* --- bench-corpus.c --- */

/* A file of raw pages in memory, and the orders in which to visit them. */
typedef struct BenchCorpus {
    uint8_t *pages;
    size_t nr_pages;
    size_t nr_same_filled;
    uint32_t *store_order;      /* page numbers, a random permutation */
    uint32_t *load_order;       /* positions in store_order, another one */
} BenchCorpus;

/**
 * bench_corpus_load() - read a corpus
 * @max_pages: read no more than these; 0: all
 *
 * Returns false and sets @errp if the file cannot be read, is empty, or is
 * not a multiple of 4096 bytes.
 */
bool bench_corpus_load(BenchCorpus *corpus, const char *path,
                       size_t max_pages, GError **errp);
void bench_corpus_free(BenchCorpus *corpus);

/* The page that is visited as the @n-th when storing. */
static inline const uint8_t *bench_corpus_page(const BenchCorpus *corpus,
                                               size_t n)
{
    return corpus->pages +
           ((size_t)corpus->store_order[n] << TMEM_PAGE_SHIFT);
}

/* xorshift64*: for orders only, so quality beyond that does not matter. */
static inline uint64_t bench_random(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545f4914f6cdd1dull;
}

void bench_shuffle(uint32_t *array, size_t n, uint64_t seed);

/* --- bench-clock.c --- */

/* Seconds on the monotonic clock. */
double bench_now(void);

/* Anonymous resident bytes of this process, from the kernel. */
uint64_t bench_rss(void);

double bench_median(double *values, int n);

/* --- bench-report.c --- */

typedef struct BenchReport BenchReport;

BenchReport *bench_report_new(void);
void bench_report_free(BenchReport *report);
/* @key is the JSON key; @goal may be NULL; @text says what was measured. */
void bench_report_add(BenchReport *report, const char *key, double value,
                      const char *goal, const char *text);
void bench_report_print(BenchReport *report);
bool bench_report_write_json(BenchReport *report, const char *path,
                             GError **errp);

/* --- the measurements, one file each --- */

typedef struct BenchOptions {
    const char *corpus_path;
    const char *json_path;
    int64_t pages;              /* entries of the density measurements */
    int64_t entries;            /* of the large index; 0: skip */
    int threads;
    int rounds;
    gboolean no_zram;
} BenchOptions;

/* bench-speed.c: P1, one thread against raw LZ4 + copy. */
void bench_speed(const BenchCorpus *corpus, const BenchOptions *options,
                 BenchReport *report);
/* bench-density.c: P3, resident memory fresh, after churn, given back. */
void bench_density(const BenchCorpus *corpus, const BenchOptions *options,
                   BenchReport *report);
/* bench-scale.c: P4, threads, clients and entries. */
void bench_scale(const BenchCorpus *corpus, const BenchOptions *options,
                 BenchReport *report);
/* bench-zram.c: the same pages through a zram of this host. */
void bench_zram(const BenchCorpus *corpus, const BenchOptions *options,
                BenchReport *report);

/* A store with one client, one persistent pool and one context. */
typedef struct BenchStore {
    TmemStore *store;
    TmemClient *client;
    TmemContext *ctx;
    uint64_t pool;
} BenchStore;

/* Exits with a sentence if the store cannot be made. */
void bench_store_open(BenchStore *s, uint64_t size_bytes);
void bench_store_close(BenchStore *s);

/* As a swap disk does it: 256 consecutive pages make an object. */
static inline TmemHandle bench_handle(uint64_t pool, uint64_t page)
{
    return (TmemHandle){ .pool = pool, .object = { page >> 8 },
                         .index = page & 255 };
}

#endif /* TMEM_BENCH_H */
