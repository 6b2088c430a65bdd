/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared pools: who may join, what all see, what goes with whom
 */
#include "testreq.h"
#include "tmem-drop.h"
#include "tmem-store.h"

#define NR_MEMBERS  3

static const uint8_t uuid_a[16] = { 0xaa, 1 };
static const uint8_t uuid_b[16] = { 0xbb, 2 };

typedef struct Member {
    TmemClient *client;
    TmemContext *ctx;
    uint64_t id;
} Member;

typedef struct Club {
    TmemStore *store;
    Member m[NR_MEMBERS];
} Club;

static void join(Member *m)
{
    g_assert_cmpint(tmem_pool_join(m->client, uuid_a, TMEM_PAGE_SHIFT,
                                   &m->id), ==, TMEM_STATUS_OK);
    g_assert_cmpuint(m->id, !=, 0);
}

static void club_set_up(Club *club, uint64_t size)
{
    club->store = test_new_store(size);
    for (int i = 0; i < NR_MEMBERS; i++) {
        g_autofree char *name = g_strdup_printf("member%d", i);
        TmemClientConfig client_config = { .name = name };
        Member *m = &club->m[i];

        m->client = tmem_client_new(club->store, &client_config, NULL);
        g_assert_nonnull(m->client);
        m->ctx = tmem_context_new(m->client, NULL);
        g_assert_nonnull(m->ctx);
        g_assert_true(tmem_client_authorize(m->client, uuid_a, true, NULL));
        join(m);
    }
}

static void leave_store(Member *m)
{
    tmem_context_free(m->ctx);
    tmem_client_free(m->client);
    m->ctx = NULL;
    m->client = NULL;
}

static void club_tear_down(Club *club)
{
    test_check(club->store);
    for (int i = 0; i < NR_MEMBERS; i++) {
        if (club->m[i].client) {
            leave_store(&club->m[i]);
            test_check(club->store);
        }
    }
    g_assert_null(club->store->groups);
    tmem_store_free(club->store);
}

static uint64_t pages(const Member *m)
{
    return test_stats(m->client).total.pages;
}

static TmemStatus store(Member *m, uint64_t object, uint64_t index,
                        TestPage sort, uint64_t tag)
{
    return test_store(m->ctx, test_handle(m->id, object, index), sort, tag);
}

static void expect(Member *m, uint64_t object, uint64_t index, TestPage sort,
                   uint64_t tag)
{
    test_expect_page(m->ctx, test_handle(m->id, object, index), sort, tag);
}

static void expect_miss(Member *m, uint64_t object, uint64_t index)
{
    test_expect_status(m->ctx, test_handle(m->id, object, index),
                       TMEM_STATUS_MISS);
}

/* --- Joining --- */

static void test_authorize(void)
{
    g_autoptr(GError) err = NULL;
    TmemClientStats stats;
    Fixture f;
    uint64_t id = 1;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    g_assert_cmpint(tmem_pool_join(f.client, uuid_a, TMEM_PAGE_SHIFT, &id),
                    ==, TMEM_STATUS_PERM);
    g_assert_cmpuint(id, ==, 0);
    tmem_client_get_stats(f.client, &stats);
    g_assert_cmpuint(stats.joins_refused, ==, 1);
    g_assert_cmpuint(stats.pools, ==, 2);

    g_assert_true(tmem_client_authorize(f.client, uuid_a, true, &err));
    g_assert_cmpint(tmem_pool_join(f.client, uuid_b, TMEM_PAGE_SHIFT, &id),
                    ==, TMEM_STATUS_PERM);
    g_assert_cmpint(tmem_pool_join(f.client, uuid_a, 13, &id), ==,
                    TMEM_STATUS_UNSUPP);
    g_assert_cmpint(tmem_pool_join(f.client, uuid_a, TMEM_PAGE_SHIFT, &id),
                    ==, TMEM_STATUS_OK);
    g_assert_cmpint(tmem_pool_join(f.client, uuid_a, TMEM_PAGE_SHIFT,
                                   &(uint64_t) { 0 }), ==, TMEM_STATUS_INVAL);
    /* Who is in stays in. */
    g_assert_true(tmem_client_authorize(f.client, uuid_a, false, &err));
    g_assert_cmpint(test_store(f.ctx, test_handle(id, 1, 1), TEST_PAGE_TEXT,
                               1), ==, TMEM_STATUS_OK);
    test_expect_page(f.ctx, test_handle(id, 1, 1), TEST_PAGE_TEXT, 1);
    g_assert_cmpint(tmem_pool_destroy(f.client, id), ==, TMEM_STATUS_OK);
    g_assert_cmpint(tmem_pool_join(f.client, uuid_a, TMEM_PAGE_SHIFT, &id),
                    ==, TMEM_STATUS_PERM);
    fixture_tear_down(&f);
}

static void test_authorize_many(void)
{
    g_autoptr(GError) err = NULL;
    uint8_t uuids[TMEM_CLIENT_UUIDS_MAX][16];
    uint8_t uuid[16] = {};
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    g_assert_cmpuint(tmem_client_get_authorized(f.client, uuids), ==, 0);
    for (int i = 0; i < TMEM_CLIENT_UUIDS_MAX; i++) {
        uuid[7] = i;
        g_assert_true(tmem_client_authorize(f.client, uuid, true, &err));
        g_assert_true(tmem_client_authorize(f.client, uuid, true, &err));
    }
    uuid[7] = TMEM_CLIENT_UUIDS_MAX;
    g_assert_false(tmem_client_authorize(f.client, uuid, true, &err));
    g_assert_nonnull(strstr(err->message, "64"));
    uuid[7] = 5;
    g_assert_true(tmem_client_authorize(f.client, uuid, false, NULL));
    g_assert_cmpuint(tmem_client_get_authorized(f.client, uuids), ==,
                     TMEM_CLIENT_UUIDS_MAX - 1);
    for (int i = 0; i < TMEM_CLIENT_UUIDS_MAX - 1; i++) {
        g_assert_cmpuint(uuids[i][7], !=, 5);
    }
    uuid[7] = TMEM_CLIENT_UUIDS_MAX;
    g_assert_true(tmem_client_authorize(f.client, uuid, true, NULL));
    fixture_tear_down(&f);
}

static void note_pool(const TmemPoolInfo *info, void *opaque)
{
    *(TmemPoolInfo *)opaque = *info;
}

static void test_info(void)
{
    TmemPoolInfo info;
    Club c;

    club_set_up(&c, FIXTURE_SIZE);
    tmem_client_foreach_pool(c.m[0].client, note_pool, &info);
    g_assert_true(info.shared);
    g_assert_cmpint(info.kind, ==, TMEM_POOL_EPHEMERAL);
    g_assert_cmpmem(info.uuid, 16, uuid_a, 16);
    g_assert_cmpuint(info.id, ==, c.m[0].id);
    g_assert_cmpuint(c.m[0].id, !=, c.m[1].id);
    club_tear_down(&c);
}

/* --- Pages --- */

static void test_pages(void)
{
    Member *a, *b;
    Club c;

    club_set_up(&c, FIXTURE_SIZE);
    a = &c.m[0];
    b = &c.m[1];
    for (int sort = 0; sort < TEST_PAGE__MAX; sort++) {
        g_assert_cmpint(store(a, 1, sort * 40, sort, sort), ==, 0);
        expect(b, 1, sort * 40, sort, sort);
        /* Loads never remove. */
        expect(b, 1, sort * 40, sort, sort);
        expect(a, 1, sort * 40, sort, sort);
    }
    g_assert_cmpuint(pages(a), ==, TEST_PAGE__MAX);
    g_assert_cmpuint(pages(b), ==, 0);
    /* A page is billed to whoever stored it last. */
    g_assert_cmpint(store(b, 1, 0, TEST_PAGE_TEXT, 7), ==, 0);
    expect(a, 1, 0, TEST_PAGE_TEXT, 7);
    g_assert_cmpuint(pages(a), ==, TEST_PAGE__MAX - 1);
    g_assert_cmpuint(pages(b), ==, 1);
    test_check(c.store);
    /* One invalidates what another stored. */
    g_assert_cmpint(tmem_page_invalidate(
        a->ctx, &(TmemHandle) { .pool = a->id, .object = { 1, 2, 3 } }), ==,
        TMEM_STATUS_OK);
    expect_miss(b, 1, 0);
    g_assert_cmpuint(pages(b), ==, 0);
    /* A refused store drops what another stored. */
    tmem_client_freeze(b->client, true);
    g_assert_cmpint(store(b, 1, 40, TEST_PAGE_TEXT, 1), ==,
                    TMEM_STATUS_FROZEN);
    expect_miss(a, 1, 40);
    club_tear_down(&c);
}

#define OLD_NODES   60
#define NODE_PAGES  64

/*
 * While an object is dropped in slices, others go on to store to it: all that
 * was there before goes, and what came meanwhile does not count for it.
 */
static void test_object_slices(void)
{
    unsigned nr_new = 0;
    uint32_t budget;
    TmemHandle h;
    TmemDrop drop;
    Club c;

    club_set_up(&c, FIXTURE_SIZE);
    for (uint64_t i = 0; i < OLD_NODES; i++) {
        g_assert_cmpint(store(&c.m[i % 2], 1, i * NODE_PAGES, TEST_PAGE_TEXT,
                              i), ==, 0);
    }
    h = test_handle(c.m[0].id, 1, 0);
    g_assert_cmpint(tmem_object_invalidate_begin(c.m[0].ctx, &h, &drop), ==,
                    TMEM_STATUS_OK);
    do {
        TmemDropped dropped;

        budget = 8;
        dropped = tmem_drop_some(&drop, &budget);
        g_assert_cmpint(dropped, !=, TMEM_DROPPED_NO_POOL);
        if (dropped == TMEM_DROPPED_ALL) {
            break;
        }
        for (unsigned i = 0; i < 12; i++, nr_new++) {
            g_assert_cmpint(store(&c.m[i % 3], 1,
                                  (OLD_NODES + nr_new) * NODE_PAGES,
                                  TEST_PAGE_MIXED, nr_new), ==, 0);
        }
    } while (true);
    g_assert_cmpuint(nr_new, >=, 12 * (OLD_NODES / 16));
    for (uint64_t i = 0; i < OLD_NODES; i++) {
        expect_miss(&c.m[2], 1, i * NODE_PAGES);
    }
    /* Nothing else evicts here: these are young. */
    for (uint64_t i = 0; i < nr_new; i++) {
        expect(&c.m[2], 1, (OLD_NODES + i) * NODE_PAGES, TEST_PAGE_MIXED, i);
    }
    /* These came while the first was under way, and go with the next. */
    g_assert_cmpint(tmem_object_invalidate(c.m[0].ctx, &h), ==,
                    TMEM_STATUS_OK);
    for (uint64_t i = 0; i < nr_new; i++) {
        expect_miss(&c.m[2], 1, (OLD_NODES + i) * NODE_PAGES);
    }
    club_tear_down(&c);
}

static void test_object(void)
{
    TmemClientStats stats;
    Club c;

    club_set_up(&c, FIXTURE_SIZE);
    for (int i = 0; i < 600; i++) {
        g_assert_cmpint(store(&c.m[i % 3], 1, i * 7, TEST_PAGE_TEXT, i), ==,
                        0);
        g_assert_cmpint(store(&c.m[i % 3], 2, i * 7, TEST_PAGE_TEXT, i), ==,
                        0);
    }
    test_check(c.store);
    g_assert_cmpint(tmem_object_invalidate(
        c.m[1].ctx, &(TmemHandle) { .pool = c.m[1].id,
                                    .object = { 1, 2, 3 } }), ==, 0);
    tmem_client_get_stats(c.m[1].client, &stats);
    g_assert_cmpuint(stats.total.object_invalidates_pages, ==, 600);
    for (int i = 0; i < 600; i++) {
        expect_miss(&c.m[(i + 1) % 3], 1, i * 7);
        expect(&c.m[(i + 1) % 3], 2, i * 7, TEST_PAGE_TEXT, i);
    }
    club_tear_down(&c);
}

/* A handle reaches a page of others through a pool that both joined only. */
static void test_isolation(void)
{
    uint64_t other, private;
    Club c;

    club_set_up(&c, FIXTURE_SIZE);
    g_assert_true(tmem_client_authorize(c.m[1].client, uuid_b, true, NULL));
    g_assert_cmpint(tmem_pool_join(c.m[1].client, uuid_b, TMEM_PAGE_SHIFT,
                                   &other), ==, 0);
    g_assert_cmpint(tmem_pool_create(c.m[1].client, TMEM_POOL_EPHEMERAL,
                                     TMEM_PAGE_SHIFT, &private), ==, 0);
    g_assert_cmpint(store(&c.m[0], 1, 1, TEST_PAGE_TEXT, 1), ==, 0);
    test_expect_status(c.m[1].ctx, test_handle(other, 1, 1),
                       TMEM_STATUS_MISS);
    test_expect_status(c.m[1].ctx, test_handle(private, 1, 1),
                       TMEM_STATUS_MISS);
    /* The id of another member is no id of ours. */
    if (c.m[0].id != c.m[1].id) {
        test_expect_status(c.m[1].ctx, test_handle(c.m[0].id, 1, 1),
                           TMEM_STATUS_NOPOOL);
    }
    club_tear_down(&c);
}

static void test_take(void)
{
    uint8_t page[TMEM_PAGE_SIZE];
    uint64_t version;
    TmemHandle h;
    TestReq r;
    Club c;

    club_set_up(&c, FIXTURE_SIZE);
    h = test_handle(c.m[0].id, 1, 1);
    g_assert_cmpint(store(&c.m[0], 1, 1, TEST_PAGE_TEXT, 1), ==, 0);
    g_assert_cmpint(tmem_page_load(c.m[0].ctx, &h, page, &version), ==, 0);
    g_assert_cmpint(tmem_page_take(c.m[0].ctx, &h, version), ==,
                    TMEM_STATUS_INVAL);
    test_req_init(&r);
    test_req_add(&r, VIRTIO_TMEM_OP_LOAD, VIRTIO_TMEM_OP_F_EXCLUSIVE, &h,
                 NULL);
    test_req_submit(&r, c.m[0].ctx, TEST_REQ_FEATURES);
    g_assert_cmpuint(test_req_status(&r, 0), ==, VIRTIO_TMEM_S_INVAL);
    test_req_clear(&r);
    expect(&c.m[1], 1, 1, TEST_PAGE_TEXT, 1);
    club_tear_down(&c);
}

static void test_request(void)
{
    const uint64_t features = 1ull << VIRTIO_TMEM_F_EPHEMERAL |
                              1ull << VIRTIO_TMEM_F_SHARED;
    struct virtio_tmem_create_pool cmd = {
        .type = VIRTIO_TMEM_T_CREATE_POOL, .page_shift = TMEM_PAGE_SHIFT,
        .flags = GUINT16_TO_LE(VIRTIO_TMEM_POOL_EPHEMERAL |
                               VIRTIO_TMEM_POOL_SHARED),
    };
    struct virtio_tmem_ctrl_resp *resp;
    TestReq r;
    Club c;

    club_set_up(&c, FIXTURE_SIZE);
    memcpy(cmd.uuid, uuid_b, sizeof(cmd.uuid));
    test_req_init(&r);
    test_req_control(&r, c.m[0].ctx, features, &cmd, sizeof(cmd));
    resp = (struct virtio_tmem_ctrl_resp *)r.in;
    g_assert_cmpuint(resp->status, ==, VIRTIO_TMEM_S_PERM);
    g_assert_cmpuint(resp->pool, ==, 0);
    g_assert_true(tmem_client_authorize(c.m[0].client, uuid_b, true, NULL));
    test_req_control(&r, c.m[0].ctx, features, &cmd, sizeof(cmd));
    g_assert_cmpuint(resp->status, ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpint(test_store(c.m[0].ctx,
                               test_handle(GUINT64_FROM_LE(resp->pool), 1, 1),
                               TEST_PAGE_TEXT, 1), ==, TMEM_STATUS_OK);
    test_req_control(&r, c.m[0].ctx, features, &cmd, sizeof(cmd));
    g_assert_cmpuint(resp->status, ==, VIRTIO_TMEM_S_INVAL);
    test_req_clear(&r);
    club_tear_down(&c);
}

/* --- Leaving --- */

/* In every order, some by destroying, some by going; pages go with each. */
static void test_leave(void)
{
    static const int order[][3] = {
        { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
        { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 },
    };

    for (unsigned o = 0; o < G_N_ELEMENTS(order); o++) {
        bool here[NR_MEMBERS] = { true, true, true };
        Club c;

        club_set_up(&c, FIXTURE_SIZE);
        for (int i = 0; i < 300; i++) {
            g_assert_cmpint(store(&c.m[i % 3], i / 150, i, i % 6, i), ==, 0);
        }
        for (int k = 0; k < NR_MEMBERS; k++) {
            Member *m = &c.m[order[o][k]];

            if ((o + k) & 1) {
                g_assert_cmpint(tmem_pool_destroy(m->client, m->id), ==, 0);
                g_assert_cmpuint(pages(m), ==, 0);
            } else {
                leave_store(m);
            }
            here[order[o][k]] = false;
            test_check(c.store);
            for (int i = 0; i < 300; i++) {
                for (int n = 0; n < NR_MEMBERS; n++) {
                    if (!here[n]) {
                        continue;
                    }
                    if (here[i % 3]) {
                        expect(&c.m[n], i / 150, i, i % 6, i);
                    } else {
                        expect_miss(&c.m[n], i / 150, i);
                    }
                }
            }
        }
        club_tear_down(&c);
    }
}

/* Who comes back finds what the others kept, and the last takes all along. */
static void test_rejoin(void)
{
    Club c;

    club_set_up(&c, FIXTURE_SIZE);
    g_assert_cmpint(store(&c.m[0], 1, 0, TEST_PAGE_TEXT, 1), ==, 0);
    g_assert_cmpint(store(&c.m[1], 1, 1, TEST_PAGE_TEXT, 2), ==, 0);
    g_assert_cmpint(tmem_pool_destroy(c.m[0].client, c.m[0].id), ==, 0);
    join(&c.m[0]);
    expect_miss(&c.m[0], 1, 0);
    expect(&c.m[0], 1, 1, TEST_PAGE_TEXT, 2);
    for (int i = 0; i < NR_MEMBERS; i++) {
        g_assert_cmpint(tmem_pool_destroy(c.m[i].client, c.m[i].id), ==, 0);
    }
    g_assert_null(c.store->groups);
    join(&c.m[2]);
    expect_miss(&c.m[2], 1, 1);
    club_tear_down(&c);
}

/* --- Eviction and threads --- */

/* Each holds what it stored, whoever is evicted. */
static void test_evict(void)
{
    Club c;

    club_set_up(&c, TMEM_STORE_SIZE_MIN * 2);
    for (int i = 0; i < 3000; i++) {
        Member *m = &c.m[i % 3];

        g_assert_cmpint(store(m, i / 64, i, TEST_PAGE_NOISE, i), ==, 0);
        expect(&c.m[(i + 1) % 3], i / 64, i, TEST_PAGE_NOISE, i);
    }
    test_check(c.store);
    club_tear_down(&c);
}

#define THREAD_ROUNDS   (TMEM_TEST_TSAN ? 1500 : 6000)

typedef struct Worker {
    Member *m;
    uint64_t seed;
    GThread *thread;
} Worker;

/* Handles of few objects; a page says which it is, so any hit is checked. */
static void *work(void *opaque)
{
    Worker *w = opaque;
    Member *m = w->m;
    TestRand rnd = { w->seed };
    uint8_t want[TMEM_PAGE_SIZE], got[TMEM_PAGE_SIZE];

    for (int i = 0; i < THREAD_ROUNDS; i++) {
        uint64_t object = test_rand_below(&rnd, 3);
        uint64_t index = test_rand_below(&rnd, 200);
        TmemHandle h = test_handle(m->id, object, index);

        switch (test_rand_below(&rnd, 64)) {
        case 0:
            tmem_object_invalidate(m->ctx, &h);
            break;
        case 1:
            g_assert_cmpint(tmem_pool_destroy(m->client, m->id), ==, 0);
            join(m);
            break;
        case 2 ... 10:
            tmem_page_invalidate(m->ctx, &h);
            break;
        case 11 ... 35:
            test_store(m->ctx, h, index % 2 ? TEST_PAGE_TEXT :
                       TEST_PAGE_NOISE, object * 1000 + index);
            break;
        default:
            tmem_page_prefetch(m->ctx, &h, 1);
            if (tmem_page_load(m->ctx, &h, got, NULL) == TMEM_STATUS_OK) {
                test_page_make(want, index % 2 ? TEST_PAGE_TEXT :
                               TEST_PAGE_NOISE, object * 1000 + index);
                g_assert_cmpmem(got, sizeof(got), want, sizeof(want));
            }
            break;
        }
    }
    return NULL;
}

static void test_threads(void)
{
    Worker workers[NR_MEMBERS];
    TestRand rnd = { test_seed() };
    Club c;

    club_set_up(&c, TMEM_STORE_SIZE_MIN * 2);
    for (int i = 0; i < NR_MEMBERS; i++) {
        workers[i] = (Worker) { .m = &c.m[i], .seed = test_rand(&rnd) };
        workers[i].thread = g_thread_new("member", work, &workers[i]);
    }
    for (int i = 0; i < 20; i++) {
        test_check(c.store);
        g_usleep(1000);
    }
    for (int i = 0; i < NR_MEMBERS; i++) {
        g_thread_join(workers[i].thread);
    }
    club_tear_down(&c);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/shared/authorize", test_authorize);
    g_test_add_func("/tmem/shared/authorize/many", test_authorize_many);
    g_test_add_func("/tmem/shared/info", test_info);
    g_test_add_func("/tmem/shared/pages", test_pages);
    g_test_add_func("/tmem/shared/object", test_object);
    g_test_add_func("/tmem/shared/object/slices", test_object_slices);
    g_test_add_func("/tmem/shared/isolation", test_isolation);
    g_test_add_func("/tmem/shared/take", test_take);
    g_test_add_func("/tmem/shared/request", test_request);
    g_test_add_func("/tmem/shared/leave", test_leave);
    g_test_add_func("/tmem/shared/rejoin", test_rejoin);
    g_test_add_func("/tmem/shared/evict", test_evict);
    g_test_add_func("/tmem/shared/threads", test_threads);
    return g_test_run();
}
