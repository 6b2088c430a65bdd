/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: P3, resident memory against compressed bytes
 *
 * Counted from outside of the store: by how much the resident memory of this
 * process grows, index and metadata included; and by our own sum of what the
 * pages are when compressed, not by what the store says.
 *
 * Beside it the host's zram, so zsmalloc, with the same pages stored and
 * dropped in the same order; of it only the kernel can tell.
 */
#include "bench.h"

#define CHURN_ROUNDS    5

/* Of the kernel for each page beside zsmalloc's: zram's table, and a handle. */
#define ZRAM_TABLE_BYTES    24

enum {
    FRESH, CHURN, SETTLED, GIVEBACK, REFUSED,
    ZRAM_FRESH, ZRAM_CHURN, ZRAM_COMPACTED, ZRAM_ALL,
    FIGURES
};

typedef struct Density {
    const BenchCorpus *corpus;
    BenchStore s;
    BenchZram *zram;            /* in the store's place; NULL: the store */
    uint64_t pages;
    uint32_t *content;          /* by handle: the page of the corpus */
    uint64_t encoded;           /* bytes of what is held, compressed */
    uint64_t refused;
} Density;

static bool put(Density *d, uint64_t n, uint32_t page)
{
    TmemHandle handle = bench_handle(d->s.pool, n);

    if (d->zram) {
        bench_zram_put(d->zram, n, bench_corpus_page(d->corpus, page));
        return true;
    }
    return tmem_page_store(d->s.ctx, &handle,
                           bench_corpus_page(d->corpus, page)) ==
           TMEM_STATUS_OK;
}

static void drop(Density *d, uint64_t n)
{
    TmemHandle handle = bench_handle(d->s.pool, n);

    if (d->zram) {
        bench_zram_forget(d->zram, n);
    } else {
        tmem_page_invalidate(d->s.ctx, &handle);
    }
}

static void store_one(Density *d, uint64_t n, uint32_t page)
{
    if (put(d, n, page)) {
        d->content[n] = page;
        d->encoded += d->corpus->encoded[page];
    } else {
        d->content[n] = UINT32_MAX;
        d->refused++;
    }
}

static void fill(Density *d)
{
    d->encoded = 0;
    for (uint64_t n = 0; n < d->pages; n++) {
        store_one(d, n, d->corpus->store_order[n % d->corpus->nr_pages]);
    }
}

/* Drops a random half and fills it again with other pages. */
static void churn(Density *d, uint64_t *state)
{
    g_autofree uint8_t *gone = g_malloc(d->pages);

    for (uint64_t n = 0; n < d->pages; n++) {
        gone[n] = bench_random(state) >> 63;
        if (gone[n] && d->content[n] != UINT32_MAX) {
            drop(d, n);
            d->encoded -= d->corpus->encoded[d->content[n]];
        }
    }
    for (uint64_t n = 0; n < d->pages; n++) {
        if (gone[n]) {
            store_one(d, n, bench_random(state) % d->corpus->nr_pages);
        }
    }
}

static void churn_all(Density *d, const char *who)
{
    uint64_t state = 0x5851f42d4c957f2dull;

    for (int i = 1; i <= CHURN_ROUNDS; i++) {
        bench_say("density, %s, churn %d of %d", who, i, CHURN_ROUNDS);
        churn(d, &state);
    }
}

static double density(const Density *d, uint64_t base)
{
    return ((double)bench_rss() - base) / d->encoded;
}

static void drop_all(Density *d)
{
    for (uint64_t n = 0; n < d->pages; n += 256) {
        TmemHandle handle = bench_handle(d->s.pool, n);

        tmem_object_invalidate(d->s.ctx, &handle);
    }
}

static void measure_store(Density *d, const BenchOptions *options,
                          double *figures)
{
    uint64_t base = bench_rss(), full;

    d->refused = 0;
    bench_store_open(&d->s, bench_store_size(d->corpus, d->pages),
                     TMEM_POOL_PERSISTENT);
    fill(d);
    figures[FRESH] = density(d, base);
    churn_all(d, "the store");
    figures[CHURN] = density(d, base);
    /* What the store's upkeep still does once it is left alone. */
    bench_sleep_until(bench_now() + (options->quick ? 0.1 : 10));
    figures[SETTLED] = density(d, base);
    full = bench_rss() - base;

    bench_say("density, dropping all");
    drop_all(d);
    bench_sleep_until(bench_now() + (options->quick ? 0.2 : 1));
    figures[GIVEBACK] = 1 - ((double)bench_rss() - base) / full;
    figures[REFUSED] = d->refused;
    bench_store_close(&d->s);
}

static void measure_zram(Density *d, const BenchOptions *options,
                         double *figures, const char **why)
{
    for (int i = ZRAM_FRESH; i < FIGURES; i++) {
        figures[i] = BENCH_NONE;
    }
    d->zram = options->no_zram ? NULL : bench_zram_open(d->pages, why);
    if (!d->zram) {
        return;
    }
    fill(d);
    figures[ZRAM_FRESH] = bench_zram_density(d->zram);
    churn_all(d, "zram");
    figures[ZRAM_CHURN] = bench_zram_density(d->zram);
    figures[ZRAM_ALL] = figures[ZRAM_CHURN] +
                        (double)d->pages * ZRAM_TABLE_BYTES / d->encoded;
    bench_zram_compact(d->zram);
    figures[ZRAM_COMPACTED] = bench_zram_density(d->zram);
    bench_zram_close(d->zram);
    d->zram = NULL;
}

static void report_all(BenchReport *report, double *const *figures, int rounds,
                       const char *why)
{
    static const struct {
        const char *key;
        const char *goal;
        const char *text;
    } lines[FIGURES] = {
        [FRESH] = { "p3_fresh", "<= 1.05", "just stored" },
        [CHURN] = { "p3_churn", "<= 1.12", "after five times dropping a "
                    "random half and filling it again" },
        [SETTLED] = { "churn_10s", NULL, "the same, after 10 s of rest" },
        [GIVEBACK] = { "p3_giveback_1s", ">= 0.95", "share of it that is back "
                       "1 s after dropping all" },
        [REFUSED] = { "p3_refused", "<= 0", "pages refused meanwhile" },
        [ZRAM_FRESH] = { "zram_fresh", NULL, "zram with the same pages: "
                         "zsmalloc's memory / compressed bytes, just stored" },
        [ZRAM_CHURN] = { "zram_churn", NULL, "after the same churn" },
        [ZRAM_COMPACTED] = { "zram_compacted", NULL, "after that and a "
                             "compaction by hand" },
        [ZRAM_ALL] = { "zram_churn_all", NULL, "zram_churn with zram's table "
                       "and zsmalloc's handles, 24 bytes a page (calculated)" },
    };

    for (int i = 0; i < FIGURES; i++) {
        bench_report_add(report, lines[i].key, figures[i], rounds,
                         lines[i].goal, i >= ZRAM_FRESH && why ? why :
                         lines[i].text);
    }
}

void bench_density(const BenchCorpus *corpus, const BenchOptions *options,
                   BenchReport *report)
{
    Density d = {
        .corpus = corpus,
        /* Of zram whole requests. */
        .pages = options->pages / BENCH_BATCH * BENCH_BATCH,
    };
    double *figures[FIGURES], one[FIGURES];
    const char *why = options->no_zram ? "zram was skipped: --no-zram" : NULL;
    g_autofree char *text =
        g_strdup_printf("P3: all resident memory / compressed bytes, at %"
                        PRIu64 " pages", d.pages);

    for (int i = 0; i < FIGURES; i++) {
        figures[i] = g_new(double, options->rounds);
    }
    d.content = g_new0(uint32_t, d.pages);
    for (uint64_t n = 0; n < d.pages; n++) {
        d.content[n] = UINT32_MAX;
    }
    for (int round = 0; round < options->rounds; round++) {
        bench_say("density, %" PRIu64 " pages, round %d of %d", d.pages,
                  round + 1, options->rounds);
        measure_store(&d, options, one);
        measure_zram(&d, options, one, &why);
        for (int i = 0; i < FIGURES; i++) {
            figures[i][round] = one[i];
        }
    }
    bench_report_section(report, text);
    report_all(report, figures, options->rounds, why);
    for (int i = 0; i < FIGURES; i++) {
        g_free(figures[i]);
    }
    g_free(d.content);
}
