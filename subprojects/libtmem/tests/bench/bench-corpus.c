/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: the corpus, a file of raw 4 KiB pages
 */
#include <errno.h>
#include <fcntl.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

#define SEED_STORE  0x9e3779b97f4a7c15ull
#define SEED_LOAD   0xd1b54a32d192ed03ull

/* What is kept together when a file is too large: a read-ahead window. */
#define RUN_PAGES   32

void bench_shuffle(uint32_t *array, size_t n, uint64_t seed)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = bench_random(&seed) % i;
        uint32_t swap = array[i - 1];

        array[i - 1] = array[j];
        array[j] = swap;
    }
}

static uint32_t *numbers(size_t n)
{
    uint32_t *array = g_new(uint32_t, n);

    for (size_t i = 0; i < n; i++) {
        array[i] = i;
    }
    return array;
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static void make_orders(BenchCorpus *corpus)
{
    size_t n = corpus->nr_pages, half = n / 2;

    corpus->identity = numbers(n);
    corpus->load_order = numbers(n);
    bench_shuffle(corpus->load_order, n, SEED_LOAD);
    corpus->store_order = numbers(n);
    bench_shuffle(corpus->store_order, n, SEED_STORE);
    corpus->ascending = g_memdup2(corpus->store_order,
                                  n * sizeof(*corpus->store_order));
    qsort(corpus->ascending, half, sizeof(uint32_t), ascending);
    qsort(corpus->ascending + half, n - half, sizeof(uint32_t), ascending);
}

static unsigned encoded_bytes(const uint8_t *page)
{
    char buffer[LZ4_COMPRESSBOUND(TMEM_PAGE_SIZE)];
    int len;

    if (!memcmp(page, page + 8, TMEM_PAGE_SIZE - 8)) {
        return 0;
    }
    len = LZ4_compress_default((const char *)page, buffer, TMEM_PAGE_SIZE,
                               sizeof(buffer));
    return len > (int)TMEM_PAGE_SIZE * 7 / 8 ? TMEM_PAGE_SIZE : (unsigned)len;
}

static void look_at_pages(BenchCorpus *corpus)
{
    corpus->encoded = g_new(uint16_t, corpus->nr_pages);
    for (size_t i = 0; i < corpus->nr_pages; i++) {
        corpus->encoded[i] = encoded_bytes(bench_corpus_page(corpus, i));
        corpus->encoded_bytes += corpus->encoded[i];
        corpus->nr_same_filled += !corpus->encoded[i];
    }
    make_orders(corpus);
}

static bool read_at(int fd, uint8_t *to, size_t bytes, uint64_t at)
{
    while (bytes) {
        ssize_t n = pread(fd, to, bytes, at);

        if (n <= 0) {
            /* A file that became shorter meanwhile. */
            errno = n ? errno : EIO;
            return false;
        }
        to += n;
        at += n;
        bytes -= n;
    }
    return true;
}

/* Reads all pages, or runs of them at equal distances. */
static bool read_pages(BenchCorpus *corpus, int fd, size_t file_pages,
                       size_t max_pages)
{
    size_t runs = max_pages / RUN_PAGES;

    if (file_pages <= max_pages || !runs) {
        corpus->nr_pages = MIN(file_pages, max_pages);
        corpus->pages = g_malloc(corpus->nr_pages << TMEM_PAGE_SHIFT);
        return read_at(fd, corpus->pages,
                       corpus->nr_pages << TMEM_PAGE_SHIFT, 0);
    }
    corpus->nr_pages = runs * RUN_PAGES;
    corpus->pages = g_malloc(corpus->nr_pages << TMEM_PAGE_SHIFT);
    for (size_t i = 0; i < runs; i++) {
        uint64_t at = i * (file_pages - RUN_PAGES) / runs;

        if (!read_at(fd, corpus->pages + ((i * RUN_PAGES) << TMEM_PAGE_SHIFT),
                     RUN_PAGES << TMEM_PAGE_SHIFT, at << TMEM_PAGE_SHIFT)) {
            return false;
        }
    }
    return true;
}

static bool corpus_size(int fd, const char *path, uint64_t *size, GError **errp)
{
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        g_set_error(errp, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "cannot read corpus '%s': %s", path, g_strerror(errno));
        return false;
    }
    if (!S_ISREG(st.st_mode)) {
        g_set_error(errp, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "corpus '%s' is not a regular file: give a file of raw "
                    "pages, as scripts/corpus makes it", path);
        return false;
    }
    if (st.st_size == 0 || st.st_size % TMEM_PAGE_SIZE) {
        g_set_error(errp, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "corpus '%s' has %" G_GINT64_FORMAT " bytes: it must be "
                    "raw pages, a multiple of %u and not empty",
                    path, (gint64)st.st_size, TMEM_PAGE_SIZE);
        return false;
    }
    *size = st.st_size;
    return true;
}

bool bench_corpus_load(BenchCorpus *corpus, const char *path,
                       size_t max_pages, GError **errp)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    uint64_t size;
    bool ok;

    memset(corpus, 0, sizeof(*corpus));
    ok = corpus_size(fd, path, &size, errp);
    if (ok && !read_pages(corpus, fd, size >> TMEM_PAGE_SHIFT, max_pages)) {
        g_set_error(errp, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "cannot read corpus '%s': %s", path, g_strerror(errno));
        bench_corpus_free(corpus);
        ok = false;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (ok) {
        look_at_pages(corpus);
    }
    return ok;
}

void bench_corpus_same_filled(BenchCorpus *corpus, size_t nr_pages)
{
    uint64_t *word;

    memset(corpus, 0, sizeof(*corpus));
    corpus->nr_pages = nr_pages;
    corpus->pages = g_malloc(nr_pages << TMEM_PAGE_SHIFT);
    word = (uint64_t *)corpus->pages;
    for (size_t i = 0; i < nr_pages << (TMEM_PAGE_SHIFT - 3); i++) {
        word[i] = 0;
    }
    look_at_pages(corpus);
}

void bench_corpus_free(BenchCorpus *corpus)
{
    g_free(corpus->pages);
    g_free(corpus->encoded);
    g_free(corpus->store_order);
    g_free(corpus->load_order);
    g_free(corpus->ascending);
    g_free(corpus->identity);
    memset(corpus, 0, sizeof(*corpus));
}
