/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: P5, evicting ephemeral data against one madvise() of as much
 */
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

/* Seconds that the kernel takes to drop @bytes that are resident. */
static double madvise_seconds(uint64_t bytes)
{
    uint8_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    double start;

    if (memory == MAP_FAILED) {
        bench_die("no address space for %" PRIu64 " bytes", bytes);
    }
    /* Small pages, as the store's are. */
    madvise(memory, bytes, MADV_NOHUGEPAGE);
    memset(memory, 1, bytes);
    start = bench_now();
    madvise(memory, bytes, MADV_DONTNEED);
    start = bench_now() - start;
    munmap(memory, bytes);
    return start;
}

static uint64_t used_bytes(BenchStore *s)
{
    TmemStoreStats stats;

    tmem_store_get_stats(s->store, &stats);
    return stats.used_bytes;
}

/* Stores pages, from number @n on, until @bytes are in use. */
static uint64_t fill(const BenchCorpus *corpus, BenchStore *s, uint64_t n,
                     uint64_t bytes)
{
    for (; n % 256 || used_bytes(s) < bytes; n++) {
        TmemHandle handle = bench_handle(s->pool, n);

        tmem_page_store(s->ctx, &handle,
                        bench_corpus_page(corpus, n % corpus->nr_pages));
    }
    return n;
}

void bench_evict(const BenchCorpus *corpus, const BenchOptions *options,
                 BenchReport *report)
{
    int rounds = options->rounds;
    uint64_t bytes = options->evict_bytes, pages = 0;
    g_autofree double *ratio = g_new(double, rounds);
    g_autofree double *ours = g_new(double, rounds);
    g_autofree double *kernel = g_new(double, rounds);
    g_autofree double *back = g_new(double, rounds);
    g_autofree char *text = g_strdup_printf(
        "P5: evicting %" PRIu64 " MiB of ephemeral pages", bytes >> 20);
    BenchStore s;

    bench_report_section(report, text);
    bench_store_open(&s, bytes * 5 / 4 + (64 << 20), TMEM_POOL_EPHEMERAL);
    for (int i = 0; i < rounds; i++) {
        uint64_t before;

        bench_say("eviction, round %d of %d", i + 1, rounds);
        pages = fill(corpus, &s, pages, bytes * 9 / 8);
        before = bench_rss();
        ours[i] = bench_now();
        tmem_store_evict(s.store, bytes);
        ours[i] = (bench_now() - ours[i]) * 1e3;
        back[i] = ((double)before - bench_rss()) / bytes;
        kernel[i] = madvise_seconds(bytes) * 1e3;
        ratio[i] = ours[i] / kernel[i];
    }
    bench_report_add(report, "p5_ratio", ratio, rounds, "<= 3.00",
                     "time of it / of madvise() over as many resident bytes");
    bench_report_add(report, "evict_ms", ours, rounds, NULL, "ms");
    bench_report_add(report, "madvise_ms", kernel, rounds, NULL,
                     "ms of madvise(MADV_DONTNEED)");
    bench_report_add(report, "evict_returned", back, rounds, NULL,
                     "resident memory that went / what was asked for");
    bench_store_close(&s);
}
