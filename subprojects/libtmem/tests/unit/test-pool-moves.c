/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pools on their way into the next process: what they have of their own, limits
 * and codec, goes with them; and the defects that the ancestors had there (see
 * test-a3.c)
 */
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libtmem/tmem-save.h"
#include "testlib.h"
#include "tmem-store.h"

#define GUEST   "guest"
#define HOST    "host"

static const TmemCodecChoice zstd = { TMEM_COMPRESSOR_ZSTD, 7 };

typedef struct Found {
    uint64_t id;
    TmemPoolInfo info;
} Found;

static void find_pool(const TmemPoolInfo *info, void *opaque)
{
    Found *found = opaque;

    if (info->id == found->id) {
        found->info = *info;
    }
}

static TmemPoolInfo info_of(const Fixture *f, uint64_t id)
{
    Found found = { .id = id };

    tmem_client_foreach_pool(f->client, find_pool, &found);
    g_assert_cmpuint(found.info.id, ==, id);
    return found.info;
}

static void expect_limits(const Fixture *f, uint64_t id, TmemLimits want)
{
    TmemLimits got = info_of(f, id).limits;

    g_assert_cmpuint(got.min_bytes, ==, want.min_bytes);
    g_assert_cmpuint(got.max_bytes, ==, want.max_bytes);
    g_assert_cmpuint(got.weight, ==, want.weight);
}

static void add(TmemSaver *saver, Fixture *f, const char *name, uint64_t pool)
{
    TmemBundle bundle = { .name = name, .client = "test" };
    GError *err = NULL;

    tmem_saver_add(saver, f->client, &bundle, pool, &err);
    g_assert_no_error(err);
}

/* Moves @host, and the guest's pools if @guest, to a store with that client. */
static void move_some(Fixture *from, Fixture *to, uint64_t max_bytes,
                      uint64_t *host, bool guest)
{
    TmemStoreConfig config = { .size_bytes = 16u << 20 };
    TmemClientConfig client = {
        .name = "test", .limits.max_bytes = max_bytes,
    };
    int fd = memfd_create("stream", 0);
    TmemSaver *saver = tmem_saver_new(from->store, fd);
    TmemStoreStats stats;
    TmemLoader *loader;
    GError *err = NULL;

    if (guest) {
        add(saver, from, GUEST, 0);
    }
    add(saver, from, HOST, *host);
    g_assert_true(tmem_saver_finish(saver, NULL));
    tmem_saver_free(saver);

    *to = (Fixture) {};
    to->store = tmem_store_new(&config, NULL);
    tmem_store_get_stats(to->store, &stats);
    to->empty_bytes = stats.used_bytes;
    loader = tmem_loader_new(to->store, fd, &err);
    g_assert_no_error(err);
    to->client = tmem_client_new(to->store, &client, &err);
    g_assert_no_error(err);
    to->ctx = tmem_context_new(to->client, &err);
    g_assert_no_error(err);
    for (int i = guest ? 0 : 1; i < 2; i++) {
        g_autofree void *state = NULL;
        uint64_t bytes;

        tmem_loader_take(loader, i ? HOST : GUEST, to->ctx, &state, &bytes,
                         host, &err);
        g_assert_no_error(err);
    }
    tmem_loader_free(loader);
    close(fd);
    test_check(to->store);
}

static void move(Fixture *from, Fixture *to, uint64_t max_bytes,
                 uint64_t *host)
{
    move_some(from, to, max_bytes, host, true);
}

static void move_host(Fixture *from, Fixture *to, uint64_t max_bytes,
                      uint64_t *host)
{
    move_some(from, to, max_bytes, host, false);
}

/* --- What pools have of their own --- */

/* Pages beyond a maximum that was lowered come, too. */
static void test_choices(void)
{
    const TmemLimits first = {
        .min_bytes = 1 << 20, .max_bytes = 2 << 20, .weight = 300,
    };
    const TmemLimits second = {
        .min_bytes = 100000, .max_bytes = 200000, .weight = 7,
    };
    const TmemLimits tight = { .max_bytes = 64 << 10 };
    uint64_t host;
    Fixture f, g;

    fixture_set_up(&f, 16u << 20, 8u << 20);
    g_assert_cmpint(tmem_pool_create_host(f.client, &host), ==, 0);
    for (uint64_t i = 0; i < 100; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(host, 1, i),
                                   TEST_PAGE_NOISE, i), ==, TMEM_STATUS_OK);
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 1, i),
                                   TEST_PAGE_TEXT, i), ==, TMEM_STATUS_OK);
    }
    g_assert_true(tmem_pool_set_limits(f.client, f.persistent, &first, NULL));
    g_assert_true(tmem_pool_set_limits(f.client, f.ephemeral, &second, NULL));
    g_assert_true(tmem_pool_set_limits(f.client, host, &tight, NULL));
    g_assert_true(tmem_pool_set_codec(f.client, f.persistent, &zstd, NULL));

    move(&f, &g, 8u << 20, &host);
    expect_limits(&g, f.persistent, first);
    expect_limits(&g, f.ephemeral, second);
    expect_limits(&g, host, (TmemLimits) { 0, tight.max_bytes, 100 });
    g_assert_true(info_of(&g, f.persistent).has_codec);
    g_assert_cmpint(info_of(&g, f.persistent).codec.compressor, ==,
                    zstd.compressor);
    g_assert_cmpint(info_of(&g, f.persistent).codec.level, ==, zstd.level);
    g_assert_false(info_of(&g, host).has_codec);
    for (uint64_t i = 0; i < 100; i++) {
        test_expect_page(g.ctx, test_handle(host, 1, i), TEST_PAGE_NOISE, i);
        test_expect_page(g.ctx, test_handle(f.persistent, 1, i),
                         TEST_PAGE_TEXT, i);
    }
    /* They act. */
    g_assert_cmpint(test_store(g.ctx, test_handle(host, 2, 0),
                               TEST_PAGE_NOISE, 0), ==, TMEM_STATUS_QUOTA);
    g_assert_cmpint(test_store(g.ctx, test_handle(f.persistent, 2, 0),
                               TEST_PAGE_MIXED, 0), ==, TMEM_STATUS_OK);
    g_assert_cmpuint(info_of(&g, f.persistent).stats.pages_zstd, ==, 1);
    g_assert_cmpint(tmem_pool_destroy(g.client, host), ==, TMEM_STATUS_OK);
    fixture_tear_down(&g);
    fixture_tear_down(&f);
}

/* The next process gives the client less than its pools are to have. */
static void test_smaller_client(void)
{
    const TmemLimits limits = {
        .min_bytes = 3 << 20, .max_bytes = 4 << 20, .weight = 9,
    };
    uint64_t host;
    Fixture f, g;

    fixture_set_up(&f, 16u << 20, 8u << 20);
    g_assert_cmpint(tmem_pool_create_host(f.client, &host), ==, 0);
    g_assert_true(tmem_pool_set_limits(f.client, f.persistent, &limits, NULL));
    g_assert_true(tmem_pool_set_limits(f.client, f.ephemeral, &limits, NULL));
    g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 1, 0),
                               TEST_PAGE_TEXT, 0), ==, TMEM_STATUS_OK);
    move(&f, &g, 4u << 20, &host);
    /* The first has its minimum, and for the second nothing is left of it. */
    expect_limits(&g, f.persistent, limits);
    expect_limits(&g, f.ephemeral, (TmemLimits) { 0, 4 << 20, 9 });
    test_expect_page(g.ctx, test_handle(f.persistent, 1, 0), TEST_PAGE_TEXT,
                     0);
    g_assert_cmpint(tmem_pool_destroy(g.client, host), ==, TMEM_STATUS_OK);
    fixture_tear_down(&g);
    fixture_tear_down(&f);
}

/* --- As the ancestors did not --- */

static void fill(Fixture *f, uint64_t pool, uint64_t nr, TestPage sort)
{
    for (uint64_t i = 0; i < nr; i++) {
        g_assert_cmpint(test_store(f->ctx, test_handle(pool, i % 5, i * 7),
                                   sort, i), ==, TMEM_STATUS_OK);
    }
}

static void expect_filled(Fixture *f, uint64_t pool, uint64_t nr,
                          TestPage sort)
{
    for (uint64_t i = 0; i < nr; i++) {
        test_expect_page(f->ctx, test_handle(pool, i % 5, i * 7), sort, i);
    }
    g_assert_cmpuint(info_of(f, pool).stats.pages, ==, nr);
}

/*
 * Xen: saving began behind a pool's first page, took the head of the list for
 * one where there was no second, and went on where the last time had ended.
 */
static void test_first_page(void)
{
    static const uint64_t sizes[] = { 1, 2, 64, 300 };
    Fixture f, g, h;

    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        uint64_t host;

        fixture_set_up(&f, 16u << 20, 0);
        g_assert_cmpint(tmem_pool_create_host(f.client, &host), ==, 0);
        fill(&f, f.persistent, sizes[i], TEST_PAGE_MIXED);
        fill(&f, host, sizes[i], TEST_PAGE_TEXT);
        move(&f, &g, 0, &host);
        expect_filled(&g, f.persistent, sizes[i], TEST_PAGE_MIXED);
        expect_filled(&g, host, sizes[i], TEST_PAGE_TEXT);
        /* Once more, from where it is now. */
        move(&g, &h, 0, &host);
        expect_filled(&h, f.persistent, sizes[i], TEST_PAGE_MIXED);
        expect_filled(&h, host, sizes[i], TEST_PAGE_TEXT);
        g_assert_cmpint(tmem_pool_destroy(h.client, host), ==, 0);
        fixture_tear_down(&h);
        fixture_tear_down(&g);
        fixture_tear_down(&f);
    }
}

/*
 * Xen: pages that were kept as they are could not be saved for five years, and
 * nobody noticed.
 */
static void test_raw_pages(void)
{
    const TmemCodecChoice none = { TMEM_COMPRESSOR_NONE, 0 };
    uint64_t host;
    Fixture f, g;

    fixture_set_up(&f, 16u << 20, 0);
    g_assert_cmpint(tmem_pool_create_host(f.client, &host), ==, 0);
    g_assert_true(tmem_pool_set_codec(f.client, host, &none, NULL));
    fill(&f, f.persistent, 200, TEST_PAGE_NOISE);
    fill(&f, host, 200, TEST_PAGE_TEXT);
    g_assert_cmpuint(info_of(&f, host).stats.pages_raw, ==, 200);
    move(&f, &g, 0, &host);
    g_assert_cmpuint(info_of(&g, f.persistent).stats.pages_raw, ==, 200);
    g_assert_cmpuint(info_of(&g, host).stats.pages_raw, ==, 200);
    expect_filled(&g, f.persistent, 200, TEST_PAGE_NOISE);
    expect_filled(&g, host, 200, TEST_PAGE_TEXT);
    g_assert_cmpint(tmem_pool_destroy(g.client, host), ==, 0);
    fixture_tear_down(&g);
    fixture_tear_down(&f);
}

/* The guest at work on a pool of its own while its block device is saved. */
typedef struct AtWork {
    Fixture *f;
    TmemContext *ctx;
    bool stop;              /* atomic */
    uint64_t rounds;        /* atomic */
} AtWork;

static void *work(void *opaque)
{
    AtWork *w = opaque;

    while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
        for (uint64_t i = 0; i < 50; i++) {
            TmemHandle h = test_handle(w->f->persistent, i % 5, i * 7);

            test_store(w->ctx, h, TEST_PAGE_TEXT, i);
            tmem_page_invalidate(w->ctx, &h);
        }
        tmem_client_evict(w->f->client, 64 << 10);
        __atomic_fetch_add(&w->rounds, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

/*
 * Xen: a page that was freed while its client was saved overwrote the links of
 * the list that the saver went along.
 */
static void test_freed_meanwhile(void)
{
    const uint64_t nr = 3000;
    AtWork w = {};
    uint64_t host;
    pthread_t thread;
    Fixture f, g;

    fixture_set_up(&f, 32u << 20, 0);
    g_assert_cmpint(tmem_pool_create_host(f.client, &host), ==, 0);
    fill(&f, host, nr, TEST_PAGE_TEXT);
    fill(&f, f.ephemeral, nr, TEST_PAGE_TEXT);
    w.f = &f;
    w.ctx = tmem_context_new(f.client, NULL);
    g_assert_cmpint(pthread_create(&thread, NULL, work, &w), ==, 0);
    while (!__atomic_load_n(&w.rounds, __ATOMIC_RELAXED)) {
        g_usleep(100);
    }
    move_host(&f, &g, 0, &host);
    __atomic_store_n(&w.stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    expect_filled(&g, host, nr, TEST_PAGE_TEXT);
    g_assert_cmpint(tmem_pool_destroy(g.client, host), ==, 0);
    tmem_context_free(w.ctx);
    fixture_tear_down(&g);
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/A3/2-first-page-is-saved", test_first_page);
    g_test_add_func("/tmem/A3/3-raw-pages-travel", test_raw_pages);
    g_test_add_func("/tmem/A3/8-freed-while-it-is-saved",
                    test_freed_meanwhile);
    g_test_add_func("/tmem/pool-moves/choices", test_choices);
    g_test_add_func("/tmem/pool-moves/smaller-client", test_smaller_client);
    return g_test_run();
}
