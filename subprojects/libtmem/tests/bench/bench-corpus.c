/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: the corpus, a file of raw 4 KiB pages
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "bench.h"

#define SEED_STORE  0x9e3779b97f4a7c15ull
#define SEED_LOAD   0xd1b54a32d192ed03ull

void bench_shuffle(uint32_t *array, size_t n, uint64_t seed)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = bench_random(&seed) % i;
        uint32_t swap = array[i - 1];

        array[i - 1] = array[j];
        array[j] = swap;
    }
}

static uint32_t *permutation(size_t n, uint64_t seed)
{
    uint32_t *array = g_new(uint32_t, n);

    for (size_t i = 0; i < n; i++) {
        array[i] = i;
    }
    bench_shuffle(array, n, seed);
    return array;
}

static bool same_filled(const uint8_t *page)
{
    return !memcmp(page, page + 8, TMEM_PAGE_SIZE - 8);
}

static bool corpus_size(const char *path, size_t *size, GError **errp)
{
    struct stat st;

    if (stat(path, &st) < 0) {
        g_set_error(errp, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "cannot read corpus '%s': %s", path, g_strerror(errno));
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
    size_t size;
    FILE *file;
    bool ok;

    memset(corpus, 0, sizeof(*corpus));
    if (!corpus_size(path, &size, errp)) {
        return false;
    }
    corpus->nr_pages = size >> TMEM_PAGE_SHIFT;
    if (max_pages && corpus->nr_pages > max_pages) {
        corpus->nr_pages = max_pages;
    }
    size = corpus->nr_pages << TMEM_PAGE_SHIFT;
    corpus->pages = g_malloc(size);
    file = fopen(path, "rb");
    ok = file && fread(corpus->pages, 1, size, file) == size;
    if (file) {
        fclose(file);
    }
    if (!ok) {
        g_set_error(errp, G_FILE_ERROR, G_FILE_ERROR_IO,
                    "cannot read %zu bytes of corpus '%s'", size, path);
        bench_corpus_free(corpus);
        return false;
    }
    for (size_t i = 0; i < corpus->nr_pages; i++) {
        corpus->nr_same_filled +=
            same_filled(corpus->pages + (i << TMEM_PAGE_SHIFT));
    }
    corpus->store_order = permutation(corpus->nr_pages, SEED_STORE);
    corpus->load_order = permutation(corpus->nr_pages, SEED_LOAD);
    return true;
}

void bench_corpus_free(BenchCorpus *corpus)
{
    g_free(corpus->pages);
    g_free(corpus->store_order);
    g_free(corpus->load_order);
    memset(corpus, 0, sizeof(*corpus));
}
