/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Several threads on one small store
 *
 * Each thread has objects of its own, where it knows exactly what must be
 * there, and objects that all threads store to, where every page must be one
 * that somebody stored there: never torn, never of another handle.  Meanwhile
 * one thread creates and destroys pools, reads statistics and checks the store.
 *
 * Meant to be run under ThreadSanitizer too (-Db_sanitize=thread).
 */
#include "testlib.h"

#define THREADS         4
#define OWN_PAGES       64
#define HOT_PAGES       8
#define HOT_TAGS        4

static const unsigned steps = 6000;

typedef struct Shared {
    TmemStore *store;
    TmemClient *client;
    uint64_t persistent;
    uint64_t ephemeral;
    uint64_t shifting;      /* a pool that comes and goes; atomic */
    bool stop;              /* atomic */
    /* All pages that may be under a hot handle. */
    uint8_t hot[HOT_PAGES][TEST_PAGE__MAX][HOT_TAGS][TMEM_PAGE_SIZE];
} Shared;

typedef struct Worker {
    Shared *shared;
    TmemContext *ctx;
    unsigned nr;
    uint64_t seed;
} Worker;

static uint64_t hot_tag(unsigned page, unsigned tag)
{
    return page * 1000 + tag + 1;
}

static bool is_hot_page(Shared *s, unsigned hot, const uint8_t *page)
{
    for (int sort = 0; sort < TEST_PAGE__MAX; sort++) {
        for (int tag = 0; tag < HOT_TAGS; tag++) {
            if (!memcmp(page, s->hot[hot][sort][tag], TMEM_PAGE_SIZE)) {
                return true;
            }
        }
    }
    return false;
}

static void hot_step(Shared *s, TmemContext *ctx, TestRand *r)
{
    unsigned hot = test_rand_below(r, HOT_PAGES);
    uint64_t pool = test_rand_below(r, 2) ? s->persistent : s->ephemeral;
    TmemHandle h = test_handle(pool, 1000, hot * 17);
    uint8_t page[TMEM_PAGE_SIZE];
    uint64_t version;
    TmemStatus status;

    if (test_rand_below(r, 8) == 0) {
        h.pool = __atomic_load_n(&s->shifting, __ATOMIC_RELAXED);
    }
    switch (test_rand_below(r, 8)) {
    case 0:
        tmem_page_invalidate(ctx, &h);
        break;
    case 1:
        if (test_rand_below(r, 8) == 0) {
            tmem_object_invalidate(ctx, &h);
        }
        break;
    case 2:
        if (tmem_page_load(ctx, &h, page, &version) == TMEM_STATUS_OK) {
            g_assert_true(is_hot_page(s, hot, page));
            tmem_page_take(ctx, &h, version);
        }
        break;
    case 3:
    case 4:
        status = tmem_page_load(ctx, &h, page, NULL);
        if (status == TMEM_STATUS_OK) {
            g_assert_true(is_hot_page(s, hot, page));
        } else {
            g_assert_true(status == TMEM_STATUS_MISS ||
                          status == TMEM_STATUS_NOPOOL);
        }
        break;
    default:
        test_store(ctx, h, test_rand_below(r, TEST_PAGE__MAX),
                   hot_tag(hot, test_rand_below(r, HOT_TAGS)));
        break;
    }
}

typedef struct Own {
    bool held;
    TestPage sort;
    uint64_t tag;
} Own;

static void own_step(Worker *w, TmemContext *ctx, TestRand *r, Own *own,
                     uint64_t tag)
{
    unsigned i = test_rand_below(r, OWN_PAGES);
    bool ephemeral = i % 2;
    TmemHandle h = test_handle(ephemeral ? w->shared->ephemeral :
                                           w->shared->persistent,
                               w->nr, i * 5);
    uint8_t page[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];
    TmemStatus status;

    switch (test_rand_below(r, 4)) {
    case 0:
        g_assert_cmpint(tmem_page_invalidate(ctx, &h), ==, TMEM_STATUS_OK);
        own[i].held = false;
        break;
    case 1:
        own[i].sort = test_rand_below(r, TEST_PAGE__MAX);
        own[i].tag = tag;
        status = test_store(ctx, h, own[i].sort, own[i].tag);
        own[i].held = status == TMEM_STATUS_OK;
        break;
    default:
        status = tmem_page_load(ctx, &h, page, NULL);
        if (status == TMEM_STATUS_OK) {
            g_assert_true(own[i].held);
            test_page_make(want, own[i].sort, own[i].tag);
            g_assert_cmpmem(page, sizeof(page), want, sizeof(want));
        } else {
            g_assert_cmpint(status, ==, TMEM_STATUS_MISS);
            g_assert_true(ephemeral || !own[i].held);
            own[i].held = false;
        }
        break;
    }
}

/* Noise to keep the store full and evicting. */
static void filler_step(Worker *w, TmemContext *ctx, TestRand *r)
{
    TmemHandle h = test_handle(test_rand_below(r, 4) ? w->shared->ephemeral :
                                                       w->shared->persistent,
                               2000 + test_rand_below(r, 50),
                               test_rand_below(r, 100));

    test_store(ctx, h, TEST_PAGE_MIXED, test_rand(r));
    if (h.pool == w->shared->persistent) {
        tmem_page_invalidate(ctx, &h);
    }
}

static gpointer work(gpointer opaque)
{
    Worker *w = opaque;
    TestRand r = { w->seed };
    TmemContext *ctx = w->ctx;
    Own own[OWN_PAGES] = {};

    for (unsigned i = 0; i < steps; i++) {
        switch (test_rand_below(&r, 3)) {
        case 0:
            hot_step(w->shared, ctx, &r);
            break;
        case 1:
            own_step(w, ctx, &r, own, (uint64_t)w->nr << 32 | i);
            break;
        default:
            filler_step(w, ctx, &r);
            break;
        }
    }
    tmem_context_free(ctx);
    return NULL;
}

static void note_pool(const TmemPoolInfo *info, void *opaque)
{
    g_assert_cmpuint(info->id, !=, 0);
}

/* What an operator and a guest's control queue do meanwhile. */
static gpointer control(gpointer opaque)
{
    Shared *s = opaque;
    unsigned round = 0;

    while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
        uint64_t old = __atomic_load_n(&s->shifting, __ATOMIC_RELAXED);
        TmemClientStats stats;
        TmemStoreStats store_stats;
        uint64_t id;

        if (tmem_pool_create(s->client, round % 2 ? TMEM_POOL_EPHEMERAL :
                             TMEM_POOL_PERSISTENT, TMEM_PAGE_SHIFT, &id) ==
            TMEM_STATUS_OK) {
            __atomic_store_n(&s->shifting, id, __ATOMIC_RELAXED);
            if (old) {
                g_assert_cmpint(tmem_pool_destroy(s->client, old), ==,
                                TMEM_STATUS_OK);
            }
        }
        tmem_client_get_stats(s->client, &stats);
        tmem_client_foreach_pool(s->client, note_pool, NULL);
        tmem_store_get_stats(s->store, &store_stats);
        g_assert_cmpuint(store_stats.used_bytes, <=, store_stats.size_bytes);
        if (round++ % 8 == 0) {
            test_check(s->store);
        }
        g_usleep(500);
    }
    return NULL;
}

/* @opaque: the client's limit in KiB, 0: none.  Own pages make room there. */
static void test_threads(gconstpointer opaque)
{
    TmemStoreConfig config = { .size_bytes = 2u << 20, .seed = test_seed() };
    TmemClientConfig client_config = {
        .name = "threads", .limits.max_bytes = GPOINTER_TO_SIZE(opaque) << 10,
    };
    Shared *s = g_new0(Shared, 1);
    Worker workers[THREADS];
    GThread *threads[THREADS], *control_thread;
    TmemClientStats stats;

    for (int i = 0; i < HOT_PAGES; i++) {
        for (int sort = 0; sort < TEST_PAGE__MAX; sort++) {
            for (int tag = 0; tag < HOT_TAGS; tag++) {
                test_page_make(s->hot[i][sort][tag], sort, hot_tag(i, tag));
            }
        }
    }
    s->store = tmem_store_new(&config, NULL);
    s->client = tmem_client_new(s->store, &client_config, NULL);
    tmem_pool_create(s->client, TMEM_POOL_PERSISTENT, TMEM_PAGE_SHIFT,
                     &s->persistent);
    tmem_pool_create(s->client, TMEM_POOL_EPHEMERAL, TMEM_PAGE_SHIFT,
                     &s->ephemeral);
    /* Now: a client at its limit has no memory for another context. */
    for (unsigned i = 0; i < THREADS; i++) {
        TmemContext *ctx = tmem_context_new(s->client, NULL);

        g_assert_nonnull(ctx);
        workers[i] = (Worker) { s, ctx, i, test_seed() + i };
    }
    control_thread = g_thread_new("control", control, s);
    for (unsigned i = 0; i < THREADS; i++) {
        threads[i] = g_thread_new("worker", work, &workers[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        g_thread_join(threads[i]);
    }
    __atomic_store_n(&s->stop, true, __ATOMIC_RELAXED);
    g_thread_join(control_thread);

    test_check(s->store);
    test_check_laws(s->client);
    tmem_client_get_stats(s->client, &stats);
    g_assert_cmpuint(stats.total.evicted, >, 0);
    g_assert_cmpuint(stats.total.loads_hit, >, 0);
    g_assert_cmpuint(stats.total.loads_error, ==, 0);
    tmem_client_reset(s->client);
    test_check(s->store);
    tmem_client_get_stats(s->client, &stats);
    g_assert_cmpuint(stats.bytes, ==, 0);
    tmem_client_free(s->client);
    tmem_store_free(s->store);
    g_free(s);
}

/* --- The client's last pool goes while others use it --- */

#define LEAVES      400

typedef struct Leaving {
    TmemClient *client;
    uint64_t id;            /* of the pool that is there now; atomic */
    bool stop;              /* atomic */
} Leaving;

static uint64_t leaving_pool(Leaving *l)
{
    return __atomic_load_n(&l->id, __ATOMIC_ACQUIRE);
}

/* A pool that is at its limit, so that each store evicts from it. */
static void *presser(void *opaque)
{
    Leaving *l = opaque;
    TmemContext *ctx = tmem_context_new(l->client, NULL);

    g_assert_nonnull(ctx);
    for (uint64_t i = 0; !__atomic_load_n(&l->stop, __ATOMIC_RELAXED); i++) {
        test_store(ctx, test_handle(leaving_pool(l), 2 + i % 64, i),
                   TEST_PAGE_NOISE, i);
    }
    tmem_context_free(ctx);
    return NULL;
}

static void test_pool_goes(void)
{
    TmemStoreConfig config = { .size_bytes = 16u << 20, .seed = test_seed() };
    TmemClientConfig client_config = { .name = "threads" };
    const TmemLimits limits = { .max_bytes = 32 << 10 };
    TmemStore *store = tmem_store_new(&config, NULL);
    GThread *threads[3];
    Leaving l = {};

    g_assert_nonnull(store);
    l.client = tmem_client_new(store, &client_config, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++) {
        threads[i] = g_thread_new("worker", presser, &l);
    }
    for (unsigned i = 0; i < LEAVES; i++) {
        uint64_t id;

        g_assert_cmpint(tmem_pool_create(l.client, TMEM_POOL_EPHEMERAL,
                                         TMEM_PAGE_SHIFT, &id), ==,
                        TMEM_STATUS_OK);
        g_assert_true(tmem_pool_set_limits(l.client, id, &limits, NULL));
        __atomic_store_n(&l.id, id, __ATOMIC_RELEASE);
        g_usleep(200);
        g_assert_cmpint(tmem_pool_destroy(l.client, id), ==, TMEM_STATUS_OK);
    }
    __atomic_store_n(&l.stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++) {
        g_thread_join(threads[i]);
    }
    test_check(store);
    tmem_client_free(l.client);
    tmem_store_free(store);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/tmem/B6/threads/full", GSIZE_TO_POINTER(0),
                         test_threads);
    g_test_add_data_func("/tmem/B6/threads/quota", GSIZE_TO_POINTER(1024),
                         test_threads);
    g_test_add_func("/tmem/B6/threads/last-pool-goes", test_pool_goes);
    return g_test_run();
}
