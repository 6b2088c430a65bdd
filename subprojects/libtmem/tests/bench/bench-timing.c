/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: what it costs that operations are timed
 *
 * The same pages of the same store, with the library's timing as it is and with
 * none.  The two take turns after each thousand pages, and where one had a page
 * in one pass the other has it in the next: so neither machine, memory nor
 * contents differ.
 */
#include <string.h>

#include "bench.h"
#include "tmem-clock.h"

#define TURN    1024
#define PASSES  4           /* of each round; even */

/*
 * All random bits decide: one operation in 65536 is timed.  The choice itself,
 * a multiplication and an addition, stays; chooses_ns() says what that is.
 */
#define TIMES_NONE  UINT32_MAX

typedef struct Costs {
    double store[2];        /* seconds; with timing, without */
    double load[2];
} Costs;

static void one_turn(BenchSide *side, const BenchCorpus *corpus, size_t first,
                     bool off, Costs *costs)
{
    uint32_t as_it_is = tmem_clock.sample_mask;
    size_t n = MIN(TURN, corpus->nr_pages - first);

    side->drop(side->opaque, corpus, corpus->store_order, first, n);
    if (off) {
        tmem_clock.sample_mask = TIMES_NONE;
    }
    costs->store[off] += side->store(side->opaque, corpus,
                                     corpus->store_order, first, n);
    costs->load[off] += side->load(side->opaque, corpus, corpus->load_order,
                                   first, n);
    tmem_clock.sample_mask = as_it_is;
}

static void store_all(BenchStore *s, const BenchCorpus *corpus)
{
    BenchSide side = bench_side_batch(s);

    side.store(side.opaque, corpus, corpus->store_order, 0, corpus->nr_pages);
}

static Costs one_round(BenchStore *s, const BenchCorpus *corpus)
{
    BenchSide side = bench_side_batch(s);
    Costs costs = {};

    for (int pass = 0; pass < PASSES; pass++) {
        for (size_t first = 0; first < corpus->nr_pages; first += TURN) {
            one_turn(&side, corpus, first, (first / TURN + pass) & 1, &costs);
        }
    }
    return costs;
}

/* Nanoseconds of finding out that an operation is not to be timed. */
static double chooses_ns(void)
{
    const unsigned times = 10000000;
    volatile uint32_t kept = 0;     /* volatile: or all of it is left out */
    uint32_t random = 1;
    double start = bench_cpu_now();

    /* What tmem_hist_start() does. */
    for (unsigned i = 0; i < times; i++) {
        random = random * 1664525 + 1013904223;
        if (!(random >> 16 & TIMES_NONE)) {
            kept++;
        }
    }
    return (bench_cpu_now() - start) / times * 1e9;
}

void bench_timing(const BenchCorpus *corpus, const BenchOptions *options,
                  BenchReport *report)
{
    int rounds = options->rounds;
    g_autofree double *store = g_new(double, rounds);
    g_autofree double *load = g_new(double, rounds);
    g_autofree char *text = NULL;
    BenchStore s;

    bench_store_open(&s, bench_store_size(corpus, corpus->nr_pages),
                     TMEM_POOL_PERSISTENT);
    store_all(&s, corpus);
    one_round(&s, corpus);
    for (int i = 0; i < rounds; i++) {
        Costs costs;

        bench_say("timing, round %d of %d", i + 1, rounds);
        costs = one_round(&s, corpus);
        store[i] = costs.store[0] / costs.store[1];
        load[i] = costs.load[0] / costs.load[1];
    }
    bench_verify(corpus, &s);
    bench_store_close(&s);
    text = g_strdup_printf("Timing of operations: one of %u, a reading of the "
                           "clock takes %u ns", tmem_clock.sample_mask + 1,
                           tmem_clock.read_ns);
    bench_report_section(report, text);
    bench_report_add(report, "timing_store_ratio", store, rounds, "<= 1.01",
                     "a store with timing / without");
    bench_report_add(report, "timing_load_ratio", load, rounds, "<= 1.03",
                     "a load with timing / without");
    bench_report_add_one(report, "timing_choice_ns", chooses_ns(), NULL,
                         "ns: the choice which are timed, which both do");
}
