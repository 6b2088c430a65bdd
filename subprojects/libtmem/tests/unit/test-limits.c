/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits: the store's size, a client's bytes, eviction, pool ids
 */
#include <time.h>
#include <unistd.h>

#include "testlib.h"
#include "tmem-store.h"

static void expect_within_size(TmemStore *store)
{
    TmemStoreStats stats;

    tmem_store_get_stats(store, &stats);
    g_assert_cmpuint(stats.used_bytes, <=, stats.size_bytes);
    g_assert_cmpuint(stats.overhead_bytes, <=, stats.used_bytes);
}

/* Stores pages until one is refused; returns how many were kept. */
static uint64_t fill(Fixture *f, uint64_t pool, TestPage sort,
                     TmemStatus *status)
{
    for (uint64_t i = 0; ; i++) {
        *status = test_store(f->ctx, test_handle(pool, i / 500, i % 500),
                             sort, i);
        expect_within_size(f->store);
        if (*status != TMEM_STATUS_OK) {
            test_expect_status(f->ctx, test_handle(pool, i / 500, i % 500),
                               TMEM_STATUS_MISS);
            return i;
        }
    }
}

/* B4: what was accepted stays readable, however full the store is. */
static void test_size(gconstpointer opaque)
{
    TestPage sort = GPOINTER_TO_INT(opaque);
    TmemStatus status;
    TmemClientStats stats;
    uint64_t nr;
    Fixture f;

    fixture_set_up(&f, 3u << 20, 0);
    nr = fill(&f, f.persistent, sort, &status);
    g_assert_cmpint(status, ==, TMEM_STATUS_NOSPC);
    if (sort == TEST_PAGE_NOISE) {
        /* At least 4/5 of the size holds pages. */
        g_assert_cmpuint(nr * TMEM_PAGE_SIZE, >, (3u << 20) / 5 * 4);
    }
    tmem_client_get_stats(f.client, &stats);
    g_assert_cmpuint(stats.total.stores_nospc, ==, 1);
    g_assert_cmpuint(stats.total.evicted, ==, 0);
    for (uint64_t i = 0; i < nr; i++) {
        test_expect_page(f.ctx, test_handle(f.persistent, i / 500, i % 500),
                         sort, i);
    }
    /* An invalidated page makes room for another. */
    g_assert_cmpint(tmem_page_invalidate(f.ctx,
                        &(TmemHandle) { f.persistent, { 0, 2, 3 }, 7 }),
                    ==, TMEM_STATUS_OK);
    g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 0, 7), sort,
                               12345), ==, TMEM_STATUS_OK);
    test_expect_page(f.ctx, test_handle(f.persistent, 0, 7), sort, 12345);
    fixture_tear_down(&f);
}

static void test_quota(void)
{
    const uint64_t max = 300 << 10;
    TmemStatus status;
    TmemClientStats stats;
    uint64_t nr;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, max);
    nr = fill(&f, f.persistent, TEST_PAGE_NOISE, &status);
    g_assert_cmpint(status, ==, TMEM_STATUS_QUOTA);
    tmem_client_get_stats(f.client, &stats);
    g_assert_cmpuint(stats.max_bytes, ==, max);
    g_assert_cmpuint(stats.bytes, <=, max);
    g_assert_cmpuint(stats.bytes_peak, <=, max);
    /* Whole segments are what it holds. */
    g_assert_cmpuint(stats.bytes, >, max - (32 << 10));
    g_assert_cmpuint(stats.total.stores_quota, ==, 1);
    /* B1: a larger page over a smaller one that just fitted. */
    g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 0, 0),
                               TEST_PAGE_ZERO, 0), ==, TMEM_STATUS_OK);
    for (uint64_t i = nr; ; i++) {
        TmemHandle h = test_handle(f.persistent, i / 500, i % 500);

        status = test_store(f.ctx, h, TEST_PAGE_TEXT, i);
        if (status != TMEM_STATUS_OK) {
            break;
        }
    }
    g_assert_cmpint(status, ==, TMEM_STATUS_QUOTA);
    g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 0, 0),
                               TEST_PAGE_NOISE, 0), ==, TMEM_STATUS_QUOTA);
    test_expect_status(f.ctx, test_handle(f.persistent, 0, 0),
                       TMEM_STATUS_MISS);
    fixture_tear_down(&f);
}

/* F3: the store is full to the last slot, and an older copy is there. */
static void test_replace_when_full(void)
{
    TmemHandle h = {};
    TmemStatus status;
    Fixture f;

    fixture_set_up(&f, TMEM_STORE_SIZE_MIN, 0);
    h = test_handle(f.persistent, 99, 99);
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 1), ==, 0);
    fill(&f, f.persistent, TEST_PAGE_NOISE, &status);
    g_assert_cmpint(status, ==, TMEM_STATUS_NOSPC);
    while (test_store(f.ctx, test_handle(f.persistent, 98, 0), TEST_PAGE_TEXT,
                      1) == TMEM_STATUS_OK &&
           test_store(f.ctx, test_handle(f.persistent, 97, 0), TEST_PAGE_MIXED,
                      1) == TMEM_STATUS_OK) {
        static uint64_t index;

        index++;
        if (test_store(f.ctx, test_handle(f.persistent, 96, index),
                       TEST_PAGE_TEXT, index) != TMEM_STATUS_OK) {
            break;
        }
    }
    test_expect_page(f.ctx, h, TEST_PAGE_TEXT, 1);

    /* What fits the older copy's slot is kept in it ... */
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 2), ==,
                    TMEM_STATUS_OK);
    test_expect_page(f.ctx, h, TEST_PAGE_TEXT, 2);
    /* ... what does not is refused, and leaves nothing. */
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_NOISE, 3), ==,
                    TMEM_STATUS_NOSPC);
    test_expect_status(f.ctx, h, TMEM_STATUS_MISS);
    fixture_tear_down(&f);
}

/* --- Eviction --- */

/* B4: ephemeral pages make room, persistent ones never go. */
static void test_evict(void)
{
    uint64_t nr = 0, held = 0;
    TmemClientStats stats;
    uint8_t page[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];
    Fixture f;

    fixture_set_up(&f, 3u << 20, 0);
    for (uint64_t i = 0; i < 100; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 1, i),
                                   TEST_PAGE_MIXED, i), ==, 0);
    }
    /* Three times as much as fits: none is refused. */
    for (; nr < 2500; nr++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.ephemeral, nr / 64,
                                                      nr), TEST_PAGE_NOISE,
                                   nr), ==, TMEM_STATUS_OK);
        expect_within_size(f.store);
    }
    test_check(f.store);
    for (uint64_t i = 0; i < 100; i++) {
        test_expect_page(f.ctx, test_handle(f.persistent, 1, i),
                         TEST_PAGE_MIXED, i);
    }
    for (uint64_t i = 0; i < nr; i++) {
        TmemHandle h = test_handle(f.ephemeral, i / 64, i);
        TmemStatus status = tmem_page_load(f.ctx, &h, page, NULL);

        if (status == TMEM_STATUS_OK) {
            test_page_make(want, TEST_PAGE_NOISE, i);
            g_assert_cmpmem(page, sizeof(page), want, sizeof(want));
            held++;
        } else {
            g_assert_cmpint(status, ==, TMEM_STATUS_MISS);
        }
    }
    tmem_client_get_stats(f.client, &stats);
    g_assert_cmpuint(stats.total.evicted, ==, nr - held);
    g_assert_cmpuint(held, >, 300);
    /* The youngest is there. */
    test_expect_page(f.ctx, test_handle(f.ephemeral, (nr - 1) / 64, nr - 1),
                     TEST_PAGE_NOISE, nr - 1);

    /* Persistent pages push all of the rest out. */
    for (uint64_t i = 0; ; i++) {
        if (test_store(f.ctx, test_handle(f.persistent, 2, i),
                       TEST_PAGE_NOISE, i) != TMEM_STATUS_OK) {
            g_assert_cmpuint(i, >, 400);
            break;
        }
        expect_within_size(f.store);
    }
    test_check(f.store);
    fixture_tear_down(&f);
}

/* Pages that have no record at all are evictable too: their nodes are. */
static void test_evict_same_filled(void)
{
    TmemClientStats stats;
    Fixture f;

    fixture_set_up(&f, TMEM_STORE_SIZE_MIN, 0);
    for (uint64_t i = 0; i < 50000; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.ephemeral, i, i * 77),
                                   TEST_PAGE_ZERO, 0), ==, TMEM_STATUS_OK);
    }
    tmem_client_get_stats(f.client, &stats);
    g_assert_cmpuint(stats.total.evicted, >, 40000);
    for (uint64_t i = 0; i < 100; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, i, 0),
                                   TEST_PAGE_NOISE, i), ==, TMEM_STATUS_OK);
    }
    fixture_tear_down(&f);
}

static uint64_t cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* F8: one object larger than the store; each store ends in bounded time. */
static void test_evict_one_object(void)
{
    uint64_t longest = 0;
    Fixture f;

    fixture_set_up(&f, 2u << 20, 0);
    for (uint64_t i = 0; i < 5000; i++) {
        uint64_t before = cpu_ns();

        g_assert_cmpint(test_store(f.ctx, test_handle(f.ephemeral, 1, i),
                                   TEST_PAGE_NOISE, i), ==, TMEM_STATUS_OK);
        longest = MAX(longest, cpu_ns() - before);
    }
    /* CPU time: the machine may do something else meanwhile. */
    g_assert_cmpuint(longest, <, 250000000);
    fixture_tear_down(&f);
}

/* A page that is loaded again and again outlives those that are not. */
static void test_evict_second_chance(void)
{
    Fixture f;

    fixture_set_up(&f, 2u << 20, 0);
    g_assert_cmpint(test_store(f.ctx, test_handle(f.ephemeral, 1, 0),
                               TEST_PAGE_NOISE, 1), ==, 0);
    for (uint64_t i = 1; i < 3000; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.ephemeral, 2, i),
                                   TEST_PAGE_NOISE, i), ==, 0);
        test_expect_page(f.ctx, test_handle(f.ephemeral, 1, 0),
                         TEST_PAGE_NOISE, 1);
    }
    /* Not of its segment. */
    test_expect_status(f.ctx, test_handle(f.ephemeral, 2, 100),
                       TMEM_STATUS_MISS);
    fixture_tear_down(&f);
}

/* --- Memory goes back --- */

static void test_give_back(void)
{
    uint64_t before, full, after;
    const uint64_t nr = 20000;
    Fixture f;

    fixture_set_up(&f, 256u << 20, 0);
    before = test_resident_bytes();
    for (uint64_t i = 0; i < nr; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, i / 64, i),
                                   TEST_PAGE_NOISE, i), ==, TMEM_STATUS_OK);
    }
    full = test_resident_bytes();
    g_assert_cmpuint(full - before, >, nr * 4000);
    for (uint64_t i = 0; i < nr; i++) {
        TmemHandle h = test_handle(f.persistent, i / 64, i);

        g_assert_cmpint(tmem_page_invalidate(f.ctx, &h), ==, TMEM_STATUS_OK);
    }
    after = test_resident_bytes();
    /* A sanitiser keeps notes on all memory that was ever used. */
    if (!TMEM_TEST_TSAN) {
        g_assert_cmpuint(after - before, <, (full - before) / 20);
    }
    fixture_tear_down(&f);
}

/* --- Pools --- */

/* B24: ids are not used again, and differ in a store with another seed. */
static void test_pool_ids(void)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_int64_hash,
                                                  g_int64_equal);
    static uint64_t ids[3000];
    unsigned nr = 0;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (unsigned i = 0; i < 1000; i++) {
        for (unsigned j = 0; j < 3; j++) {
            g_assert_cmpint(tmem_pool_create(f.client, j % 2,
                                             TMEM_PAGE_SHIFT, &ids[nr + j]),
                            ==, TMEM_STATUS_OK);
            g_assert_cmpuint(ids[nr + j], !=, 0);
            g_assert_true(g_hash_table_add(seen, &ids[nr + j]));
        }
        for (unsigned j = 0; j < 3; j++) {
            TmemHandle h = test_handle(ids[nr + j], 1, 1);

            g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 1), ==, 0);
            g_assert_cmpint(tmem_pool_destroy(f.client, ids[nr + j]), ==, 0);
            test_expect_status(f.ctx, h, TMEM_STATUS_NOPOOL);
            g_assert_cmpint(tmem_pool_destroy(f.client, ids[nr + j]), ==,
                            TMEM_STATUS_NOPOOL);
        }
        nr += 3;
    }
    fixture_tear_down(&f);

    for (int i = 0; i < 3; i++) {
        TmemStoreConfig config = {
            .size_bytes = FIXTURE_SIZE, .seed = i == 2 ? 0 : i + 1,
        };
        TmemClientConfig client_config = { .name = "ids" };
        TmemStore *store = tmem_store_new(&config, NULL);
        TmemClient *client = tmem_client_new(store, &client_config, NULL);
        static uint64_t other[3];

        g_assert_cmpint(tmem_pool_create(client, TMEM_POOL_PERSISTENT,
                                         TMEM_PAGE_SHIFT, &other[i]), ==, 0);
        g_assert_true(g_hash_table_add(seen, &other[i]));
        tmem_client_free(client);
        tmem_store_free(store);
    }
}

typedef struct Order {
    uint64_t last;
    unsigned nr;
} Order;

static void expect_order(const TmemPoolInfo *info, void *opaque)
{
    Order *o = opaque;

    g_assert_cmpuint(info->id >> 17, >, o->last >> 17);
    g_assert_cmpuint(info->page_shift, ==, TMEM_PAGE_SHIFT);
    g_assert_cmpint(info->kind, ==, o->nr % 2 ? TMEM_POOL_EPHEMERAL :
                                                TMEM_POOL_PERSISTENT);
    o->last = info->id;
    o->nr++;
}

/* What a device is offered that comes after a host's pools. */
static void test_device(void)
{
    TmemStoreConfig config = { .size_bytes = FIXTURE_SIZE, .seed = 1 };
    TmemClientConfig client_config = { .name = "late", .max_pools = 1 };
    TmemStore *store = tmem_store_new(&config, NULL);
    TmemClient *client = tmem_client_new(store, &client_config, NULL);
    TmemContext *ctx = tmem_context_new(client, NULL);
    GError *err = NULL;
    uint64_t host[3], id;

    for (size_t i = 0; i < G_N_ELEMENTS(host); i++) {
        g_assert_cmpint(tmem_pool_create_host(client, &host[i]), ==,
                        TMEM_STATUS_OK);
    }
    g_assert_cmpint(tmem_pool_create(client, 0, TMEM_PAGE_SHIFT, &id), ==,
                    TMEM_STATUS_OK);
    g_assert_cmpint(tmem_pool_create(client, 0, TMEM_PAGE_SHIFT, &id), ==,
                    TMEM_STATUS_QUOTA);
    g_assert_cmpint(tmem_pool_destroy(client, host[0]), ==, TMEM_STATUS_OK);
    g_assert_cmpint(tmem_pool_create(client, 0, TMEM_PAGE_SHIFT, &id), ==,
                    TMEM_STATUS_QUOTA);
    g_assert_cmpuint(tmem_client_grant_credit(ctx), ==, 0);

    g_assert_true(tmem_client_set_device(client, 5000, 7, &err));
    g_assert_no_error(err);
    for (unsigned i = 1; i < 5000; i++) {
        g_assert_cmpint(tmem_pool_create(client, 0, TMEM_PAGE_SHIFT, &id), ==,
                        TMEM_STATUS_OK);
    }
    g_assert_cmpint(tmem_pool_create(client, 0, TMEM_PAGE_SHIFT, &id), ==,
                    TMEM_STATUS_QUOTA);
    g_assert_cmpuint(tmem_client_grant_credit(ctx), ==, 7);

    g_assert_false(tmem_client_set_device(client, TMEM_CLIENT_POOLS_MAX + 1, 0,
                                          &err));
    g_assert_nonnull(err);
    g_clear_error(&err);
    g_assert_false(tmem_client_set_device(client, 0,
                                          TMEM_CLIENT_CREDIT_MAX + 1, &err));
    g_assert_nonnull(err);
    g_clear_error(&err);
    test_check(store);
    tmem_context_free(ctx);
    tmem_client_free(client);
    tmem_store_free(store);
}

/* As many pools as allowed; descriptors are charged; order of creation. */
static void test_pool_table(void)
{
    TmemStoreConfig config = { .size_bytes = FIXTURE_SIZE, .seed = 1 };
    TmemClientConfig client_config = { .name = "table", .max_pools = 100 };
    TmemStore *store = tmem_store_new(&config, NULL);
    TmemClient *client = tmem_client_new(store, &client_config, NULL);
    TmemContext *ctx;
    TmemClientStats stats;
    uint64_t id, first = 0, bytes;
    Order order = {};

    for (unsigned i = 0; i < 100; i++) {
        g_assert_cmpint(tmem_pool_create(client, i % 2, TMEM_PAGE_SHIFT, &id),
                        ==, TMEM_STATUS_OK);
        first = first ? first : id;
    }
    g_assert_cmpint(tmem_pool_create(client, 0, TMEM_PAGE_SHIFT, &id), ==,
                    TMEM_STATUS_QUOTA);
    g_assert_cmpuint(id, ==, 0);
    g_assert_cmpint(tmem_pool_create(client, 0, 13, &id), ==,
                    TMEM_STATUS_UNSUPP);
    tmem_client_foreach_pool(client, expect_order, &order);
    g_assert_cmpuint(order.nr, ==, 100);
    tmem_client_get_stats(client, &stats);
    g_assert_cmpuint(stats.pools, ==, 100);
    bytes = stats.bytes;
    g_assert_cmpuint(bytes, >=, 100 * sizeof(TmemPoolStats));

    /* A context has counters of its own for each pool. */
    ctx = tmem_context_new(client, NULL);
    tmem_client_get_stats(client, &stats);
    g_assert_cmpuint(stats.bytes, >=, bytes + 100 * sizeof(TmemPoolStats));
    g_assert_cmpuint(stats.bytes, <, bytes + 100 * sizeof(TmemPoolStats) +
                                     sysconf(_SC_PAGESIZE));
    test_check(store);
    /* The slot of the first is used again; its id is not. */
    g_assert_cmpint(tmem_pool_destroy(client, first), ==, TMEM_STATUS_OK);
    g_assert_cmpint(tmem_pool_create(client, 0, TMEM_PAGE_SHIFT, &id), ==,
                    TMEM_STATUS_OK);
    g_assert_cmpuint(id & 0xffff, ==, first & 0xffff);
    test_expect_status(ctx, test_handle(first, 1, 1), TMEM_STATUS_NOPOOL);
    tmem_context_free(ctx);
    tmem_client_reset(client);
    tmem_client_get_stats(client, &stats);
    g_assert_cmpuint(stats.bytes, ==, 0);
    test_check(store);
    tmem_client_free(client);
    tmem_store_free(store);
}

/* Whose fault it is that there is no further queue is said. */
static void test_no_queue(void)
{
    const TmemLimits none = { .max_bytes = 128 << 10 };
    g_autoptr(GError) err = NULL;
    uint64_t i;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (i = 0; i < 100; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 1, i),
                                   TEST_PAGE_NOISE, i), ==, TMEM_STATUS_OK);
    }
    g_assert_true(tmem_client_set_limits(f.client, &none, NULL));
    g_assert_null(tmem_context_new(f.client, &err));
    g_assert_nonnull(strstr(err->message, "client 'test': another queue needs "
                            "4096 bytes, for which there is no room within "
                            "the client's maximum; raise that"));
    g_assert_true(tmem_client_set_limits(f.client,
        &(TmemLimits) { .max_bytes = FIXTURE_SIZE }, NULL));
    fixture_tear_down(&f);
}

/* Counters of pools and contexts that are gone live on with the client. */
static void test_counters_live_on(void)
{
    TmemClientStats stats;
    TmemContext *ctx;
    TmemHandle h;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    h = test_handle(f.persistent, 1, 1);
    ctx = tmem_context_new(f.client, NULL);
    g_assert_cmpint(test_store(ctx, h, TEST_PAGE_TEXT, 1), ==, 0);
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_NOISE, 2), ==, 0);
    tmem_context_count_kick(ctx);
    tmem_context_count_interrupt(ctx);
    tmem_context_free(ctx);
    g_assert_cmpint(tmem_pool_destroy(f.client, f.persistent), ==, 0);
    tmem_client_get_stats(f.client, &stats);
    g_assert_cmpuint(stats.total.stores, ==, 2);
    g_assert_cmpuint(stats.total.stores_replaced, ==, 1);
    g_assert_cmpuint(stats.total.stores_compressed, ==, 1);
    g_assert_cmpuint(stats.total.stores_raw, ==, 1);
    g_assert_cmpuint(stats.total.pages, ==, 0);
    g_assert_cmpuint(stats.kicks, ==, 1);
    g_assert_cmpuint(stats.interrupts, ==, 1);
    fixture_tear_down(&f);
}

#define NR_LOOKED_AT    3

/* One look at the pages of a client, in which another page takes one's place */
typedef struct Look {
    Fixture f;
    TmemContext *ctx[NR_LOOKED_AT];
    unsigned storing;       /* which of these */
    unsigned dropping;
    unsigned nr_between;    /* moments that the look has had */
    unsigned when;          /* at which of them */
    uint64_t page;          /* the one that is held */
} Look;

static void *take_its_place(void *opaque)
{
    Look *look = opaque;
    TmemHandle old = test_handle(look->f.persistent, 0, look->page++);

    g_assert_cmpint(test_store(look->ctx[look->storing],
                               test_handle(look->f.persistent, 0, look->page),
                               TEST_PAGE_ZERO, 0), ==, TMEM_STATUS_OK);
    tmem_page_invalidate(look->ctx[look->dropping], &old);
    return NULL;
}

/* In a thread of its own, as it would be: this one has the client locked. */
static void between_two(void *opaque)
{
    Look *look = opaque;

    if (look->nr_between++ == look->when) {
        g_thread_join(g_thread_new("other", take_its_place, look));
    }
}

/*
 * Caught: a client that always holds a page is found to hold none, as one
 * context stores and another drops while their counters are summed up.
 */
static void test_never_too_few(void)
{
    Look look = { .nr_between = 1 };

    fixture_set_up(&look.f, FIXTURE_SIZE, 0);
    for (unsigned i = 0; i < NR_LOOKED_AT; i++) {
        look.ctx[i] = tmem_context_new(look.f.client, NULL);
        g_assert_nonnull(look.ctx[i]);
    }
    test_store(look.f.ctx, test_handle(look.f.persistent, 0, 0),
               TEST_PAGE_ZERO, 0);
    for (look.when = 0; look.when < look.nr_between; look.when++) {
        for (unsigned i = 0; i < NR_LOOKED_AT * NR_LOOKED_AT; i++) {
            look.storing = i / NR_LOOKED_AT;
            look.dropping = i % NR_LOOKED_AT;
            look.nr_between = 0;
            tmem_stats_set_between(between_two, &look);
            g_assert_cmpuint(tmem_client_persistent_pages(look.f.client), >=,
                             1);
            tmem_stats_set_between(NULL, NULL);
            g_assert_cmpuint(tmem_client_persistent_pages(look.f.client), ==,
                             1);
        }
    }
    g_assert_cmpuint(look.when, >, 2 * NR_LOOKED_AT);
    for (unsigned i = 0; i < NR_LOOKED_AT; i++) {
        tmem_context_free(look.ctx[i]);
    }
    g_assert_cmpuint(tmem_client_persistent_pages(look.f.client), ==, 1);
    fixture_tear_down(&look.f);
}

static void test_persistent_pages(void)
{
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    g_assert_cmpuint(tmem_client_persistent_pages(f.client), ==, 0);
    for (uint64_t i = 0; i < 10; i++) {
        test_store(f.ctx, test_handle(f.persistent, i, i), TEST_PAGE_ZERO, 0);
        test_store(f.ctx, test_handle(f.ephemeral, i, i), TEST_PAGE_ZERO, 0);
    }
    g_assert_cmpuint(tmem_client_persistent_pages(f.client), ==, 10);
    tmem_client_reset(f.client);
    g_assert_cmpuint(tmem_client_persistent_pages(f.client), ==, 0);
    fixture_tear_down(&f);
}

/* What is pinned is what is left when all has been evicted. */
static void test_pinned(void)
{
    TmemClientStats stats;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (uint64_t i = 0; i < 600; i++) {
        test_store(f.ctx, test_handle(f.persistent, i / 64, i),
                   i % 3 ? TEST_PAGE_NOISE : TEST_PAGE_ZERO, i);
        test_store(f.ctx, test_handle(f.ephemeral, i / 64, i),
                   i % 3 ? TEST_PAGE_TEXT : TEST_PAGE_ZERO, i);
    }
    tmem_client_get_stats(f.client, &stats);
    g_assert_cmpuint(stats.total.evicted, ==, 0);
    g_assert_cmpuint(stats.pinned_bytes, >, 400 * TMEM_PAGE_SIZE);
    g_assert_cmpuint(stats.pinned_bytes, <, stats.bytes);

    tmem_client_evict(f.client, UINT64_MAX);
    tmem_client_get_stats(f.client, &stats);
    g_assert_cmpuint(stats.total.evicted, ==, 600);
    g_assert_cmpuint(stats.pinned_bytes, ==, stats.bytes);
    fixture_tear_down(&f);
}

/*
 * Caught: the first slot of a segment lies behind the owner words of all, which
 * may cost more than a limit allows; then the segment, opened for nothing,
 * stayed with the client for good.
 */
static void test_segment_for_nothing(void)
{
    TmemLimits limits = {};
    TmemClientStats stats;
    uint64_t base;
    Fixture f;

    fixture_set_up(&f, 512 << 20, 0);
    tmem_client_get_stats(f.client, &stats);
    base = stats.bytes;
    for (uint64_t more = 36 << 10; more < 256 << 10; more += 4 << 10) {
        bool stored;

        limits.max_bytes = base + more;
        g_assert_true(tmem_client_set_limits(f.client, &limits, NULL));
        stored = test_store(f.ctx, test_handle(f.ephemeral, 1, 1),
                            TEST_PAGE_FILL64, more) == TMEM_STATUS_OK;
        tmem_client_get_stats(f.client, &stats);
        g_assert_true(stored || stats.bytes == base);
        /* A step for the node, three for the owner words of 5461 slots. */
        g_assert_true(stored || more < 64 << 10);
        tmem_client_evict(f.client, UINT64_MAX);
        tmem_client_get_stats(f.client, &stats);
        g_assert_cmpuint(stats.bytes, ==, base);
    }
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/tmem/B4/size/noise",
                         GINT_TO_POINTER(TEST_PAGE_NOISE), test_size);
    g_test_add_data_func("/tmem/B4/size/text",
                         GINT_TO_POINTER(TEST_PAGE_TEXT), test_size);
    g_test_add_data_func("/tmem/B4/size/zero",
                         GINT_TO_POINTER(TEST_PAGE_ZERO), test_size);
    g_test_add_func("/tmem/B1/refused-store-leaves-nothing/quota",
                    test_quota);
    g_test_add_func("/tmem/B1/refused-store-leaves-nothing/full",
                    test_replace_when_full);
    g_test_add_func("/tmem/B4/evict", test_evict);
    g_test_add_func("/tmem/evict/same-filled", test_evict_same_filled);
    g_test_add_func("/tmem/evict/one-object", test_evict_one_object);
    g_test_add_func("/tmem/evict/second-chance", test_evict_second_chance);
    g_test_add_func("/tmem/B8/give-back", test_give_back);
    g_test_add_func("/tmem/B24/pool-ids", test_pool_ids);
    g_test_add_func("/tmem/B8/pool-table", test_pool_table);
    g_test_add_func("/tmem/limits/device", test_device);
    g_test_add_func("/tmem/limits/no-queue", test_no_queue);
    g_test_add_func("/tmem/limits/segment-for-nothing",
                    test_segment_for_nothing);
    g_test_add_func("/tmem/stats/live-on", test_counters_live_on);
    g_test_add_func("/tmem/stats/persistent-pages", test_persistent_pages);
    g_test_add_func("/tmem/stats/never-too-few", test_never_too_few);
    g_test_add_func("/tmem/stats/pinned", test_pinned);
    return g_test_run();
}
