/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: the peer, a zram of this host with the same pages
 *
 * 128 KiB O_DIRECT requests, as swap would send them at best.  Without zram, or
 * without the right to make one, the figures stay empty.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define CONTROL         "/sys/class/zram-control/"
#define REQUEST_PAGES   32
#define REQUEST_BYTES   (REQUEST_PAGES * TMEM_PAGE_SIZE)

typedef struct Zram {
    int id;
    int fd;
} Zram;

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

static bool zram_set(Zram *z, const char *attribute, const char *value)
{
    g_autofree char *path = g_strdup_printf("/sys/block/zram%d/%s", z->id,
                                            attribute);

    return write_text(path, value);
}

static void zram_close(Zram *z)
{
    g_autofree char *id = g_strdup_printf("%d", z->id);

    if (z->fd >= 0) {
        close(z->fd);
    }
    zram_set(z, "reset", "1");
    write_text(CONTROL "hot_remove", id);
}

/* Returns NULL or why there is no zram. */
static const char *zram_open(Zram *z, uint64_t size)
{
    g_autofree char *disksize = g_strdup_printf("%" PRIu64, size);
    g_autofree char *node = NULL;
    FILE *add = fopen(CONTROL "hot_add", "r");
    bool ok;

    if (!add) {
        return "no zram on this machine";
    }
    ok = fscanf(add, "%d", &z->id) == 1;
    fclose(add);
    if (!ok) {
        return "zram's hot_add gave no device";
    }
    node = g_strdup_printf("/dev/zram%d", z->id);
    z->fd = -1;
    if (zram_set(z, "comp_algorithm", "lz4") &&
        zram_set(z, "disksize", disksize)) {
        z->fd = open(node, O_RDWR | O_DIRECT | O_CLOEXEC);
    }
    if (z->fd < 0) {
        zram_close(z);
        return "zram does not take lz4 or cannot be opened";
    }
    return NULL;
}

/* Seconds per page, or negative after an error. */
static double zram_write(const BenchCorpus *corpus, Zram *z, uint8_t *buffer)
{
    size_t requests = corpus->nr_pages / REQUEST_PAGES;
    double spent = 0;

    for (size_t r = 0; r < requests; r++) {
        double start;

        for (int i = 0; i < REQUEST_PAGES; i++) {
            memcpy(buffer + i * TMEM_PAGE_SIZE,
                   bench_corpus_page(corpus, r * REQUEST_PAGES + i),
                   TMEM_PAGE_SIZE);
        }
        start = bench_now();
        if (pwrite(z->fd, buffer, REQUEST_BYTES, r * REQUEST_BYTES) !=
            REQUEST_BYTES) {
            return -1;
        }
        spent += bench_now() - start;
    }
    return spent / (requests * REQUEST_PAGES);
}

static double zram_read(const BenchCorpus *corpus, Zram *z, uint8_t *buffer)
{
    size_t requests = corpus->nr_pages / REQUEST_PAGES;
    double start = bench_now();

    for (size_t r = 0; r < requests; r++) {
        size_t at = corpus->load_order[r] % requests;

        if (pread(z->fd, buffer, REQUEST_BYTES, at * REQUEST_BYTES) !=
            REQUEST_BYTES) {
            return -1;
        }
    }
    return (bench_now() - start) / (requests * REQUEST_PAGES);
}

void bench_zram(const BenchCorpus *corpus, const BenchOptions *options,
                BenchReport *report)
{
    g_autofree double *w = g_new(double, options->rounds);
    g_autofree double *r = g_new(double, options->rounds);
    const char *why = "skipped: --no-zram";
    uint8_t *buffer;
    Zram z;

    if (corpus->nr_pages < REQUEST_PAGES) {
        why = "skipped: corpus of fewer than 32 pages";
    } else if (!options->no_zram) {
        why = zram_open(&z, corpus->nr_pages << TMEM_PAGE_SHIFT);
    }
    if (why) {
        bench_report_add(report, "zram_store_us", BENCH_NONE, NULL, why);
        bench_report_add(report, "zram_load_us", BENCH_NONE, NULL, why);
        return;
    }
    buffer = g_aligned_alloc(1, REQUEST_BYTES, TMEM_PAGE_SIZE);
    zram_write(corpus, &z, buffer);
    for (int i = 0; i < options->rounds; i++) {
        w[i] = zram_write(corpus, &z, buffer);
        r[i] = zram_read(corpus, &z, buffer);
    }
    g_aligned_free(buffer);
    zram_close(&z);
    bench_report_add(report, "zram_store_us",
                     bench_median(w, options->rounds) * 1e6, NULL,
                     "zram (lz4), 128 KiB O_DIRECT write, per page");
    bench_report_add(report, "zram_load_us",
                     bench_median(r, options->rounds) * 1e6, NULL,
                     "the same, read");
}
