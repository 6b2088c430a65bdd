/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of libtmem share
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "testlib.h"
#include "tmem-upkeep.h"

/*
 * ThreadSanitizer's own deadlock detector gives up at 64 locks, which the check
 * holds together; libtmem checks its ranks itself.
 */
const char *__tsan_default_options(void);

const char *__tsan_default_options(void)
{
    return "detect_deadlocks=0";
}

/* --- Random numbers --- */

uint64_t test_seed(void)
{
    static uint64_t seed;

    if (!seed) {
        const char *text = g_getenv("TMEM_TEST_SEED");

        seed = text ? g_ascii_strtoull(text, NULL, 0) : 0;
        if (!seed) {
            seed = (uint64_t)g_random_int() << 32 | g_random_int() | 1;
        }
        g_test_message("TMEM_TEST_SEED=0x%" G_GINT64_MODIFIER "x", seed);
    }
    return seed;
}

/* SplitMix64. */
uint64_t test_rand(TestRand *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

uint64_t test_rand_below(TestRand *r, uint64_t n)
{
    return test_rand(r) % n;
}

/* --- Pages --- */

static void fill_noise(uint8_t *buf, size_t bytes, uint64_t tag)
{
    TestRand r = { tag };

    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t v = test_rand(&r);

        memcpy(buf + i, &v, 8);
    }
}

static void fill_word(uint8_t *page, uint64_t word)
{
    for (size_t i = 0; i < TMEM_PAGE_SIZE; i += 8) {
        memcpy(page + i, &word, 8);
    }
}

void test_page_make(uint8_t *page, TestPage sort, uint64_t tag)
{
    switch (sort) {
    case TEST_PAGE_ZERO:
        memset(page, 0, TMEM_PAGE_SIZE);
        break;
    case TEST_PAGE_FILL32:
        fill_word(page, (tag & UINT32_MAX) << 32 | (tag & UINT32_MAX));
        break;
    case TEST_PAGE_FILL64:
        fill_word(page, tag << 1 ^ 0xa5a5a5a5ull << 32);
        break;
    case TEST_PAGE_TEXT:
        for (size_t i = 0; i < TMEM_PAGE_SIZE; i += 16) {
            g_snprintf((char *)page + i, 17, "%07x %07x",
                       (unsigned)(tag & 0xfffffff), (unsigned)(i & ~127ul));
            page[i + 15] = '\n';
        }
        break;
    case TEST_PAGE_MIXED:
        memset(page, (int)tag, TMEM_PAGE_SIZE / 2);
        fill_noise(page + TMEM_PAGE_SIZE / 2, TMEM_PAGE_SIZE / 2, tag);
        break;
    default:
        fill_noise(page, TMEM_PAGE_SIZE, tag);
        break;
    }
}

void test_page_letters(uint8_t *page, uint64_t tag)
{
    TestRand r = { tag };

    for (size_t i = 0; i < TMEM_PAGE_SIZE; i += 16) {
        uint64_t v = test_rand(&r);

        for (unsigned j = 0; j < 16; j++) {
            page[i + j] = "etaoinshrdlucmfw"[v >> 4 * j & 15];
        }
    }
}

/* --- Fixture --- */

void test_check(TmemStore *store)
{
    GError *err = NULL;

    tmem_store_check(store, &err);
    g_assert_no_error(err);
}

void fixture_set_up(Fixture *f, uint64_t size_bytes, uint64_t max_bytes)
{
    TmemClientConfig client_config = {
        .name = "test", .limits.max_bytes = max_bytes,
    };

    fixture_set_up_client(f, size_bytes, &client_config);
}

void fixture_set_up_client(Fixture *f, uint64_t size_bytes,
                           const TmemClientConfig *client_config)
{
    fixture_join(f, test_new_store(size_bytes), client_config);
    fixture_create_pools(f);
}

TmemStore *test_new_store(uint64_t size_bytes)
{
    TmemStoreConfig config = {
        .size_bytes = size_bytes,
        .seed = test_seed(),
    };
    GError *err = NULL;
    TmemStore *store;

    /* What happens in the background is not to happen at random. */
    tmem_upkeep_by_hand(true);
    store = tmem_store_new(&config, &err);
    g_assert_no_error(err);
    return store;
}

void fixture_join(Fixture *f, TmemStore *store,
                  const TmemClientConfig *client_config)
{
    TmemStoreStats stats;
    GError *err = NULL;

    *f = (Fixture) { .store = store };
    tmem_store_get_stats(store, &stats);
    f->empty_bytes = stats.used_bytes;
    f->client = tmem_client_new(store, client_config, &err);
    g_assert_no_error(err);
    f->ctx = tmem_context_new(f->client, &err);
    g_assert_no_error(err);
}

void fixture_create_pools(Fixture *f)
{
    g_assert_cmpint(tmem_pool_create(f->client, TMEM_POOL_PERSISTENT,
                                     TMEM_PAGE_SHIFT, &f->persistent),
                    ==, TMEM_STATUS_OK);
    g_assert_cmpint(tmem_pool_create(f->client, TMEM_POOL_EPHEMERAL,
                                     TMEM_PAGE_SHIFT, &f->ephemeral),
                    ==, TMEM_STATUS_OK);
}

void fixture_tear_down(Fixture *f)
{
    TmemClientStats stats;
    TmemStoreStats store_stats;

    test_check(f->store);
    test_check_laws(f->client);
    tmem_client_reset(f->client);
    test_check(f->store);
    tmem_client_get_stats(f->client, &stats);
    g_assert_cmpuint(stats.bytes, ==, 0);
    g_assert_cmpuint(stats.pools, ==, 0);
    g_assert_cmpuint(stats.total.pages, ==, 0);
    g_assert_cmpuint(stats.total.objects, ==, 0);
    tmem_store_get_stats(f->store, &store_stats);
    g_assert_cmpuint(store_stats.used_bytes, ==, f->empty_bytes);
    fixture_leave(f);
    tmem_store_free(f->store);
}

void fixture_leave(Fixture *f)
{
    tmem_context_free(f->ctx);
    tmem_client_free(f->client);
    f->ctx = NULL;
    f->client = NULL;
}

TmemClient *test_new_group(TmemStore *store, const char *name)
{
    TmemClientConfig config = { .name = name, .is_trust_group = true };
    GError *err = NULL;
    TmemClient *group = tmem_client_new(store, &config, &err);

    g_assert_no_error(err);
    return group;
}

/* --- Pages in and out --- */

TmemHandle test_handle(uint64_t pool, uint64_t object, uint64_t index)
{
    return (TmemHandle) {
        .pool = pool, .object = { object, 2, 3 }, .index = index,
    };
}

TmemStatus test_store(TmemContext *ctx, TmemHandle h, TestPage sort,
                      uint64_t tag)
{
    test_page_make(tmem_context_bounce(ctx), sort, tag);
    return tmem_page_store(ctx, &h, tmem_context_bounce(ctx));
}

void test_expect_page(TmemContext *ctx, TmemHandle h, TestPage sort,
                      uint64_t tag)
{
    uint8_t want[TMEM_PAGE_SIZE], got[TMEM_PAGE_SIZE];

    memset(got, 0xee, sizeof(got));
    g_assert_cmpint(tmem_page_load(ctx, &h, got, NULL), ==, TMEM_STATUS_OK);
    test_page_make(want, sort, tag);
    g_assert_cmpmem(got, sizeof(got), want, sizeof(want));
}

void test_expect_status(TmemContext *ctx, TmemHandle h, TmemStatus status)
{
    uint8_t got[TMEM_PAGE_SIZE], zeros[TMEM_PAGE_SIZE] = {};

    memset(got, 0xee, sizeof(got));
    g_assert_cmpint(tmem_page_load(ctx, &h, got, NULL), ==, status);
    g_assert_cmpmem(got, sizeof(got), zeros, sizeof(zeros));
}

/* --- Laws --- */

/*
 * Pages that came and were not seen to go.  In a shared pool a member may drop
 * what another stored, so that this holds for all members together.
 */
static int64_t pages_left(const TmemPoolStats *s)
{
    return s->stores_ok - s->stores_replaced - s->invalidates_found -
           s->object_invalidates_pages - s->taken - s->evicted;
}

static void check_pool_laws(const TmemPoolStats *s)
{
    g_assert_cmpuint(s->stores, ==,
                     s->stores_ok + s->stores_nospc + s->stores_quota +
                     s->stores_host_share + s->stores_too_large +
                     s->stores_mean + s->stores_frozen);
    g_assert_cmpuint(s->stores_ok, ==,
                     s->stores_same_filled + s->stores_compressed +
                     s->stores_raw + s->stores_shared);
    g_assert_cmpuint(s->loads, ==,
                     s->loads_hit + s->loads_miss + s->loads_error);
    g_assert_cmpuint(s->invalidates, >=, s->invalidates_found);
    g_assert_cmpuint(s->pages, ==,
                     s->pages_same_filled + s->pages_compressed +
                     s->pages_raw + s->pages_shared);
    g_assert_cmpuint(s->data_bytes, >=, s->stored_bytes);
    g_assert_cmpuint(s->pages, >=, s->objects);
}

static void pool_laws(const TmemPoolInfo *info, void *opaque)
{
    TmemPoolStats *sum = opaque;

    g_assert_cmpuint(info->id, !=, 0);
    check_pool_laws(&info->stats);
    if (!info->shared) {
        g_assert_cmpint(info->stats.pages, ==, pages_left(&info->stats));
    }
    sum->pages += info->stats.pages;
    sum->data_bytes += info->stats.data_bytes;
    sum->index_bytes += info->stats.index_bytes;
}

void test_check_laws(TmemClient *client)
{
    test_check_laws_of(&client, 1, NULL);
}

/* Returns how many of the client's pages are not accounted for. */
static int64_t check_client_laws(TmemClient *client, uint64_t held)
{
    TmemPoolStats sum = {};
    TmemClientStats stats;

    tmem_client_foreach_pool(client, pool_laws, &sum);
    tmem_client_get_stats(client, &stats);
    check_pool_laws(&stats.total);
    g_assert_cmpuint(stats.total.pages, ==, sum.pages);
    g_assert_cmpuint(stats.bytes, >=, sum.data_bytes + sum.index_bytes);
    g_assert_cmpuint(stats.bytes, <=, MAX(stats.max_bytes, held));
    g_assert_cmpuint(stats.bytes_peak, >=, stats.bytes);
    return pages_left(&stats.total) - (int64_t)stats.total.pages;
}

void test_check_laws_of(TmemClient *const *clients, unsigned nr,
                        const uint64_t *held)
{
    int64_t left = 0;

    for (unsigned i = 0; i < nr; i++) {
        left += check_client_laws(clients[i], held ? held[i] : 0);
    }
    /* Pages that went with their pools are counted nowhere else. */
    g_assert_cmpint(left, >=, 0);
}

uint64_t test_resident_bytes(void)
{
    g_autofree char *text = NULL;
    unsigned long total, resident;

    g_assert_true(g_file_get_contents("/proc/self/statm", &text, NULL, NULL));
    g_assert_cmpint(sscanf(text, "%lu %lu", &total, &resident), ==, 2);
    return (uint64_t)resident * sysconf(_SC_PAGESIZE);
}

TmemClientStats test_stats(TmemClient *client)
{
    TmemClientStats stats;

    tmem_client_get_stats(client, &stats);
    return stats;
}

void test_set_upkeep(TmemStore *store, uint32_t idle_seconds, bool compact)
{
    TmemPolicy policy;
    GError *err = NULL;

    tmem_store_get_policy(store, &policy);
    policy.upkeep.recompress_idle_seconds = idle_seconds;
    policy.upkeep.compact = compact;
    tmem_store_set_policy(store, &policy, &err);
    g_assert_no_error(err);
}

void test_upkeep(TmemStore *store, uint64_t second)
{
    while (tmem_upkeep_step(store, second * TEST_SECOND, TEST_SECOND)) {
        /* More of it. */
    }
}
