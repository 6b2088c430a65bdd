/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: P3, resident memory against compressed bytes
 *
 * Counted from outside of the store: by how much the resident memory of this
 * process grows, index and metadata included; and by our own sum of what the
 * pages are when compressed, not by what the store says.
 */
#include "bench.h"

#define CHURN_ROUNDS    5

typedef struct Density {
    const BenchCorpus *corpus;
    BenchStore s;
    uint64_t pages;
    uint32_t *content;          /* by handle: the page of the corpus */
    uint64_t encoded;           /* bytes of what is held, compressed */
    uint64_t refused;
} Density;

static void store_one(Density *d, const TmemHandle *handle, uint64_t n,
                      uint32_t page)
{
    if (tmem_page_store(d->s.ctx, handle, bench_corpus_page(d->corpus, page)) ==
        TMEM_STATUS_OK) {
        d->content[n] = page;
        d->encoded += d->corpus->encoded[page];
    } else {
        d->content[n] = UINT32_MAX;
        d->refused++;
    }
}

static void fill(Density *d)
{
    for (uint64_t n = 0; n < d->pages; n++) {
        TmemHandle handle = bench_handle(d->s.pool, n);

        store_one(d, &handle, n,
                  d->corpus->store_order[n % d->corpus->nr_pages]);
    }
}

/* Drops a random half and fills it again with other pages. */
static void churn(Density *d, uint64_t *state)
{
    g_autofree uint8_t *gone = g_malloc(d->pages);

    for (uint64_t n = 0; n < d->pages; n++) {
        TmemHandle handle = bench_handle(d->s.pool, n);

        gone[n] = bench_random(state) >> 63;
        if (gone[n] && d->content[n] != UINT32_MAX) {
            tmem_page_invalidate(d->s.ctx, &handle);
            d->encoded -= d->corpus->encoded[d->content[n]];
        }
    }
    for (uint64_t n = 0; n < d->pages; n++) {
        if (gone[n]) {
            TmemHandle handle = bench_handle(d->s.pool, n);

            store_one(d, &handle, n,
                      bench_random(state) % d->corpus->nr_pages);
        }
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

void bench_density(const BenchCorpus *corpus, const BenchOptions *options,
                   BenchReport *report)
{
    Density d = { .corpus = corpus, .pages = options->pages };
    uint64_t state = 0x5851f42d4c957f2dull, base, full;
    double fresh, churned, settled, end, least = BENCH_NONE;
    g_autofree char *text =
        g_strdup_printf("P3: all resident memory / compressed bytes, at %"
                        PRIu64 " pages", d.pages);

    bench_say("density, storing %" PRIu64 " pages", d.pages);
    d.content = g_new0(uint32_t, d.pages);
    for (uint64_t n = 0; n < d.pages; n++) {
        d.content[n] = UINT32_MAX;
    }
    base = bench_rss();
    bench_store_open(&d.s, bench_store_size(corpus, d.pages),
                     TMEM_POOL_PERSISTENT);
    fill(&d);
    fresh = density(&d, base);
    for (int round = 1; round <= CHURN_ROUNDS; round++) {
        bench_say("density, churn %d of %d", round, CHURN_ROUNDS);
        churn(&d, &state);
    }
    churned = density(&d, base);
    /* What the store's upkeep still does once it is left alone. */
    bench_sleep_until(bench_now() + (options->quick ? 0.1 : 10));
    settled = density(&d, base);
    full = bench_rss() - base;

    bench_say("density, dropping all");
    drop_all(&d);
    end = bench_now() + 1;
    if (options->quick) {
        end = bench_now() + 0.2;
    }
    bench_sleep_until(end);
    least = 1 - ((double)bench_rss() - base) / full;

    bench_report_section(report, text);
    bench_report_add_one(report, "p3_fresh", fresh, "<= 1.05",
                         "just stored");
    bench_report_add_one(report, "p3_churn", churned, "<= 1.12",
                         "after five times dropping a random half and filling "
                         "it again");
    bench_report_add_one(report, "churn_10s", settled, NULL,
                         "the same, after 10 s of rest");
    bench_report_add_one(report, "p3_giveback_1s", least, ">= 0.95",
                         "share of it that is back 1 s after dropping all");
    bench_report_add_one(report, "p3_refused", d.refused, "<= 0",
                         "pages refused meanwhile");
    bench_store_close(&d.s);
    g_free(d.content);
}
