/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: raw LZ4, the least that anything with that codec has to do
 *
 * To store: LZ4_compress_default() into a buffer, and a memcpy() of the result
 * to the end of a log.  To load: LZ4_decompress_safe() out of the log.
 */
#include <lz4.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

void bench_raw_open(BenchRaw *raw, const BenchCorpus *corpus)
{
    size_t n = corpus->nr_pages;

    raw->log_bytes = n * LZ4_COMPRESSBOUND(TMEM_PAGE_SIZE);
    raw->log = mmap(NULL, raw->log_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw->log == MAP_FAILED) {
        bench_die("no address space for a log of %zu bytes", raw->log_bytes);
    }
    raw->end = 0;
    raw->at = g_new0(size_t, n);
    raw->len = g_new0(uint16_t, n);
}

void bench_raw_close(BenchRaw *raw)
{
    munmap(raw->log, raw->log_bytes);
    g_free(raw->at);
    g_free(raw->len);
}

static double raw_store(void *opaque, const BenchCorpus *corpus,
                        const uint32_t *order, size_t first, size_t n)
{
    char buffer[LZ4_COMPRESSBOUND(TMEM_PAGE_SIZE)];
    BenchRaw *raw = opaque;
    double start = bench_cpu_now();

    for (size_t i = first; i < first + n; i++) {
        uint32_t nr = order[i];
        int len = LZ4_compress_default(
            (const char *)bench_corpus_page(corpus, nr), buffer,
            TMEM_PAGE_SIZE, sizeof(buffer));

        memcpy(raw->log + raw->end, buffer, len);
        raw->at[nr] = raw->end;
        raw->len[nr] = len;
        raw->end += len;
    }
    return bench_cpu_now() - start;
}

static double raw_load(void *opaque, const BenchCorpus *corpus,
                       const uint32_t *order, size_t first, size_t n)
{
    char page[TMEM_PAGE_SIZE];
    BenchRaw *raw = opaque;
    double start = bench_cpu_now();

    for (size_t i = first; i < first + n; i++) {
        uint32_t nr = order[i];

        if (LZ4_decompress_safe((char *)raw->log + raw->at[nr], page,
                                raw->len[nr], sizeof(page)) != sizeof(page)) {
            bench_die("raw LZ4 lost page %u", nr);
        }
    }
    return bench_cpu_now() - start;
}

/* The two halves of bench_duel_store() get the two halves of the log. */
static double raw_drop(void *opaque, const BenchCorpus *corpus,
                       const uint32_t *order, size_t first, size_t n)
{
    BenchRaw *raw = opaque;

    raw->end = first * LZ4_COMPRESSBOUND(TMEM_PAGE_SIZE);
    return 0;
}

BenchSide bench_side_raw(BenchRaw *raw)
{
    return (BenchSide) { raw_store, raw_load, raw_drop, raw };
}
