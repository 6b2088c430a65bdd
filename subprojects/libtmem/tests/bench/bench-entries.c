/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: P4, a random load and store at 10 k and at 30 M stored pages
 *
 * Pages that compress to less than 256 bytes, no two of them the same.  The
 * small store and the large one take turns.
 *
 * The same with pages of one repeated word, which are in the index alone: that
 * is how 10^8 pages fit a small machine, of which the index is what matters.
 */
#include <string.h>

#include "bench.h"

#define SMALL_ENTRIES   10000
#define PROBES          (32u << 10)
#define PAGES           512     /* different ones, for stores */
#define SAME_FILLED_BYTES   32  /* more than an entry of those takes */
#define PAGE_WORDS      (TMEM_PAGE_SIZE / 8)

typedef struct Entries {
    BenchStore s;
    uint64_t nr;
    uint64_t state;
    bool same_filled;
    uint64_t rss;               /* before the store was made */
    uint64_t *pages;            /* PAGES of them */
} Entries;

static void fill_page(const Entries *e, uint64_t *page, uint64_t n)
{
    if (e->same_filled) {
        for (unsigned i = 0; i < PAGE_WORDS; i++) {
            page[i] = (uint32_t)n * 0x100000001ull;
        }
        return;
    }
    memset(page, 0, TMEM_PAGE_SIZE);
    for (int i = 0; i < 16; i++) {
        page[i * 32] = (n + 1) * 0x9e3779b97f4a7c15ull + i;
    }
}

/* Seconds of a number of random operations; @batch: 1, or in batches. */
static double probe(Entries *e, BenchOp op, unsigned batch)
{
    void *to = tmem_context_bounce(e->s.ctx);
    double start = bench_cpu_now();

    for (unsigned i = 0; i < PROBES / 16; i += batch) {
        TmemHandle handles[BENCH_BATCH];

        for (unsigned j = 0; j < batch; j++) {
            handles[j] = bench_handle(e->s.pool,
                                      bench_random(&e->state) % e->nr);
        }
        if (batch > 1) {
            tmem_page_prefetch(e->s.ctx, handles, batch);
        }
        for (unsigned j = 0; j < batch; j++) {
            TmemStatus status = op == BENCH_LOAD ?
                tmem_page_load(e->s.ctx, &handles[j], to, NULL) :
                tmem_page_store(e->s.ctx, &handles[j],
                                e->pages + (i + j) % PAGES * PAGE_WORDS);

            if (status != TMEM_STATUS_OK) {
                bench_die("an operation at %" PRIu64 " entries was answered "
                          "%s", e->nr, tmem_status_str(status));
            }
        }
    }
    return bench_cpu_now() - start;
}

/* How many times as long the large store takes. */
static double compare(Entries *small, Entries *large, BenchOp op,
                      unsigned batch)
{
    double seconds[2] = {};

    for (int i = 0; i < 16; i++) {
        seconds[0] += probe(small, op, batch);
        seconds[1] += probe(large, op, batch);
    }
    return seconds[1] / seconds[0];
}

static void open_entries(Entries *e, uint64_t nr, bool same_filled)
{
    unsigned entry_bytes = same_filled ? SAME_FILLED_BYTES : BENCH_ENTRY_BYTES;
    uint64_t page[PAGE_WORDS];

    e->same_filled = same_filled;
    e->nr = nr;
    e->state = 88172645463325252ull;
    e->pages = g_malloc(PAGES << TMEM_PAGE_SHIFT);
    for (uint64_t n = 0; n < PAGES; n++) {
        fill_page(e, e->pages + n * PAGE_WORDS, nr + n);
    }
    e->rss = bench_rss();
    bench_store_open(&e->s, nr * entry_bytes + (64 << 20),
                     TMEM_POOL_PERSISTENT);
    for (uint64_t n = 0; n < nr; n++) {
        TmemHandle handle = bench_handle(e->s.pool, n);

        if (n && n % 5000000 == 0) {
            bench_say("stored pages, %" PRIu64 " of %" PRIu64 " million",
                      n / 1000000, nr / 1000000);
        }
        fill_page(e, page, n);
        if (tmem_page_store(e->s.ctx, &handle, page) != TMEM_STATUS_OK) {
            bench_die("entry %" PRIu64 " was refused by a store of %" PRIu64
                      " bytes for each", n, (uint64_t)entry_bytes);
        }
    }
}

static void close_entries(Entries *e)
{
    bench_store_close(&e->s);
    g_free(e->pages);
}

/* As many as asked for, or as many as fit half of what memory is left. */
static int64_t choose_entries(const BenchOptions *options)
{
    int64_t fit;

    if (options->entries >= 0) {
        return options->entries;
    }
    fit = bench_memory_available() / 2 / BENCH_ENTRY_BYTES;
    return MIN(fit, BENCH_ENTRIES_GOAL);
}

static void report_none(BenchReport *report)
{
    static const char *const keys[] = {
        "p4_30m_pages", "entries_load", "entries_store", "entries_single_load",
        "entries_single_store", "entries",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        bench_report_add_one(report, keys[i], BENCH_NONE, i ? NULL : "<= 1.50",
                             i ? "" : "not measured: --entries 0");
    }
}

/* As many as asked for, or as many as memory is left for. */
static void same_filled_entries(const BenchOptions *options,
                                BenchReport *report)
{
    uint64_t fit = bench_memory_available() / 2 / SAME_FILLED_BYTES;
    uint64_t nr = MIN((uint64_t)options->same_entries, fit);
    g_autofree double *load = g_new(double, options->rounds);
    g_autofree double *store = g_new(double, options->rounds);
    g_autofree double *ns = g_new(double, 2 * options->rounds);
    Entries small, large;
    double bytes;

    bench_say("stored pages, %" PRIu64 " same-filled ones", nr);
    open_entries(&small, MIN(nr, SMALL_ENTRIES), true);
    open_entries(&large, nr, true);
    bytes = ((double)bench_rss() - large.rss) / nr;
    for (int i = 0; i < options->rounds; i++) {
        load[i] = compare(&small, &large, BENCH_LOAD, BENCH_BATCH);
        store[i] = compare(&small, &large, BENCH_STORE, BENCH_BATCH);
        ns[i] = probe(&large, BENCH_LOAD, BENCH_BATCH) / PROBES * 16e9;
        ns[options->rounds + i] =
            probe(&large, BENCH_STORE, BENCH_BATCH) / PROBES * 16e9;
    }
    bench_report_add_one(report, "same_entries", nr, NULL,
                         "same-filled pages: how many were stored");
    bench_report_add_one(report, "same_entries_bytes", bytes, NULL,
                         "resident bytes of each");
    bench_report_add(report, "same_entries_load", load, options->rounds, NULL,
                     "a random load of one / at 10 k");
    bench_report_add(report, "same_entries_store", store, options->rounds,
                     NULL, "a random store / at 10 k");
    bench_report_add(report, "same_entries_load_ns", ns, options->rounds, NULL,
                     "ns: such a load");
    bench_report_add(report, "same_entries_store_ns", ns + options->rounds,
                     options->rounds, NULL, "ns: such a store");
    close_entries(&small);
    close_entries(&large);
}

void bench_entries(const BenchCorpus *corpus, const BenchOptions *options,
                   BenchReport *report)
{
    int rounds = options->rounds;
    int64_t nr = choose_entries(options);
    bool goal = nr >= BENCH_ENTRIES_GOAL;
    g_autofree double *larger = g_new(double, rounds);
    g_autofree double *figures = g_new(double, 4 * rounds);
    double *of[4];
    Entries small, large;

    if (options->same_entries) {
        same_filled_entries(options, report);
    }
    if (!nr) {
        report_none(report);
        return;
    }
    for (int j = 0; j < 4; j++) {
        of[j] = figures + j * rounds;
    }
    bench_say("stored pages, %" PRId64 " of them", nr);
    open_entries(&small, SMALL_ENTRIES, false);
    open_entries(&large, nr, false);
    for (int i = 0; i < rounds; i++) {
        for (int j = 0; j < 4; j++) {
            of[j][i] = compare(&small, &large, j & 1 ? BENCH_STORE : BENCH_LOAD,
                               j < 2 ? BENCH_BATCH : 1);
        }
        larger[i] = MAX(of[0][i], of[1][i]);
    }
    bench_report_add(report, "p4_30m_pages", larger, rounds,
                     goal ? "<= 1.50" : NULL,
                     goal ? "a store or load at many stored pages / at 10 k: "
                            "the larger of" :
                     "with fewer than 30 M entries, so not the goal's; the "
                     "larger of");
    bench_report_add(report, "entries_load", of[0], rounds, NULL, "- a load");
    bench_report_add(report, "entries_store", of[1], rounds, NULL, "- a store");
    bench_report_add(report, "entries_single_load", of[2], rounds, NULL,
                     "a load, one by one");
    bench_report_add(report, "entries_single_store", of[3], rounds, NULL,
                     "a store, one by one");
    bench_report_add_one(report, "entries", nr, NULL, "how many were stored");
    close_entries(&small);
    close_entries(&large);
}
