/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a driver is told of stores that are likely to be refused
 *
 * DEV-n is a requirement of docs/specs/virtio-tmem.rst.
 */
#include "testlib.h"
#include "testreq.h"

#define PERSISTENT  TMEM_HINT_PERSISTENT
#define EPHEMERAL   TMEM_HINT_EPHEMERAL
#define LIMIT       (2u << 20)

static void count(void *opaque)
{
    (*(unsigned *)opaque)++;
}

static void set_up(Fixture *f, uint64_t max_bytes, unsigned *nr_told)
{
    TmemClientConfig config = {
        .name = "test", .limits.max_bytes = max_bytes, .credit = 16,
    };

    fixture_set_up_client(f, FIXTURE_SIZE, &config);
    *nr_told = 0;
    tmem_client_set_hint_func(f->client, count, nr_told);
    g_assert_cmpuint(tmem_client_hints(f->client), ==, 0);
}

static TmemStatus fill_up(TmemContext *ctx, uint64_t pool)
{
    TmemStatus status = TMEM_STATUS_OK;

    for (uint64_t i = 0; status == TMEM_STATUS_OK; i++) {
        g_assert_cmpuint(i, <, 100000);
        status = test_store(ctx, test_handle(pool, 1, i), TEST_PAGE_NOISE, i);
    }
    return status;
}

static void empty(TmemContext *ctx, uint64_t pool)
{
    TmemHandle h = test_handle(pool, 1, 0);

    g_assert_cmpint(tmem_object_invalidate(ctx, &h), ==, TMEM_STATUS_OK);
}

/* DEV-27: told once when it begins and once when it ends, by kind. */
static void test_limit(void)
{
    unsigned nr_told;
    Fixture f;

    set_up(&f, LIMIT, &nr_told);
    g_assert_cmpint(fill_up(f.ctx, f.persistent), ==, TMEM_STATUS_QUOTA);
    g_assert_cmpuint(tmem_client_hints(f.client), ==, PERSISTENT);
    g_assert_cmpuint(nr_told, ==, 1);
    g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 2, 2),
                               TEST_PAGE_NOISE, 1), ==, TMEM_STATUS_QUOTA);
    g_assert_cmpuint(nr_told, ==, 1);
    g_assert_cmpint(fill_up(f.ctx, f.ephemeral), ==, TMEM_STATUS_QUOTA);
    g_assert_cmpuint(tmem_client_hints(f.client), ==, PERSISTENT | EPHEMERAL);
    g_assert_cmpuint(nr_told, ==, 2);
    empty(f.ctx, f.persistent);
    g_assert_cmpuint(tmem_client_hints(f.client), ==, 0);
    g_assert_cmpuint(nr_told, ==, 3);
    fixture_tear_down(&f);
}

/* The store is full: whoever frees, all are told. */
static void test_full(void)
{
    TmemClientConfig config = { .name = "another" };
    Fixture f, another;
    unsigned nr_told;

    set_up(&f, 0, &nr_told);
    fixture_join(&another, f.store, &config);
    fixture_create_pools(&another);
    g_assert_cmpint(fill_up(another.ctx, another.persistent), ==,
                    TMEM_STATUS_NOSPC);
    /* It is their business until a store of ours is refused. */
    g_assert_cmpuint(tmem_client_hints(f.client), ==, 0);
    fill_up(f.ctx, f.persistent);
    g_assert_cmpuint(tmem_client_hints(f.client), ==, PERSISTENT);
    g_assert_cmpuint(nr_told, ==, 1);
    empty(another.ctx, another.persistent);
    g_assert_cmpuint(tmem_client_hints(f.client), ==, 0);
    g_assert_cmpuint(nr_told, ==, 2);
    fixture_leave(&another);
    fixture_tear_down(&f);
}

/* A minimum that nobody used goes with its client. */
static void test_client_leaves(void)
{
    TmemClientConfig config = {
        .name = "another", .limits.min_bytes = FIXTURE_SIZE / 2,
    };
    TmemClient *another;
    unsigned nr_told;
    Fixture f;

    set_up(&f, 0, &nr_told);
    another = tmem_client_new(f.store, &config, NULL);
    g_assert_cmpint(fill_up(f.ctx, f.persistent), ==, TMEM_STATUS_NOSPC);
    g_assert_cmpuint(tmem_client_hints(f.client), ==, PERSISTENT);
    tmem_client_free(another);
    g_assert_cmpuint(tmem_client_hints(f.client), ==, 0);
    g_assert_cmpuint(nr_told, ==, 2);
    fixture_tear_down(&f);
}

/*
 * Caught: with minimums that leave less of the store than must be free for it
 * to be said, nobody was told that there was room again, with all of it free.
 */
static void test_promised(void)
{
    TmemClientConfig config[2] = {
        { .name = "a", .limits.min_bytes = FIXTURE_SIZE / 64 * 30 },
        { .name = "b", .limits.min_bytes = FIXTURE_SIZE / 64 * 30 },
    };
    TmemStore *store = test_new_store(FIXTURE_SIZE);
    unsigned nr_told[2] = {};
    Fixture f[2];

    for (int i = 0; i < 2; i++) {
        fixture_join(&f[i], store, &config[i]);
        fixture_create_pools(&f[i]);
        tmem_client_set_hint_func(f[i].client, count, &nr_told[i]);
    }
    for (int i = 0; i < 2; i++) {
        g_assert_cmpint(fill_up(f[i].ctx, f[i].persistent), ==,
                        TMEM_STATUS_NOSPC);
        g_assert_cmpuint(tmem_client_hints(f[i].client), ==, PERSISTENT);
    }
    /* The first has what is its own, and more: nothing is due to it. */
    g_assert_cmpint(fill_up(f[0].ctx, f[0].ephemeral), ==, TMEM_STATUS_NOSPC);
    g_assert_cmpuint(tmem_client_hints(f[0].client), ==,
                     PERSISTENT | EPHEMERAL);
    empty(f[1].ctx, f[1].persistent);
    g_assert_cmpuint(tmem_client_hints(f[1].client), ==, 0);
    g_assert_cmpuint(nr_told[1], ==, 2);
    g_assert_cmpuint(tmem_client_hints(f[0].client), !=, 0);
    empty(f[0].ctx, f[0].persistent);
    g_assert_cmpuint(tmem_client_hints(f[0].client), ==, 0);
    g_assert_cmpuint(nr_told[0], ==, 3);
    fixture_leave(&f[1]);
    fixture_tear_down(&f[0]);
}

static void test_frozen(void)
{
    unsigned nr_told;
    Fixture f;

    set_up(&f, 0, &nr_told);
    tmem_client_freeze(f.client, true);
    tmem_client_freeze(f.client, true);
    g_assert_cmpuint(tmem_client_hints(f.client), ==, PERSISTENT | EPHEMERAL);
    g_assert_cmpuint(nr_told, ==, 1);
    tmem_store_freeze(f.store, true);
    tmem_client_freeze(f.client, false);
    g_assert_cmpuint(tmem_client_hints(f.client), ==, PERSISTENT | EPHEMERAL);
    tmem_store_freeze(f.store, false);
    g_assert_cmpuint(tmem_client_hints(f.client), ==, 0);
    g_assert_cmpuint(nr_told, ==, 4);
    tmem_client_set_hint_func(f.client, NULL, NULL);
    tmem_client_freeze(f.client, true);
    g_assert_cmpuint(nr_told, ==, 4);
    fixture_tear_down(&f);
}

/* At the limit, and yet there is room in what the client has. */
static void test_kept(void)
{
    TmemHandle h;
    unsigned nr_told;
    Fixture f;

    set_up(&f, LIMIT, &nr_told);
    g_assert_cmpint(fill_up(f.ctx, f.persistent), ==, TMEM_STATUS_QUOTA);
    h = test_handle(f.persistent, 1, 7);
    for (unsigned i = 0; i < 63; i++) {
        g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_NOISE, i), ==,
                        TMEM_STATUS_OK);
    }
    g_assert_cmpuint(tmem_client_hints(f.client), ==, PERSISTENT);
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_NOISE, 64), ==,
                    TMEM_STATUS_OK);
    g_assert_cmpuint(tmem_client_hints(f.client), ==, 0);
    g_assert_cmpuint(nr_told, ==, 2);
    /* One that is refused says it again. */
    g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 2, 2),
                               TEST_PAGE_NOISE, 1), ==, TMEM_STATUS_QUOTA);
    g_assert_cmpuint(tmem_client_hints(f.client), ==, PERSISTENT);
    g_assert_cmpuint(nr_told, ==, 3);
    fixture_tear_down(&f);
}

/* A store that credit alone has saved tells as much as a refused one. */
static void test_credit(void)
{
    unsigned nr_told;
    TmemHandle h;
    Fixture f;

    set_up(&f, LIMIT, &nr_told);
    g_assert_cmpuint(tmem_client_grant_credit(f.ctx), ==, 16);
    fill_up(f.ctx, f.persistent);
    for (unsigned i = 0; i < 64; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 1, 7),
                                   TEST_PAGE_NOISE, i), ==, TMEM_STATUS_OK);
    }
    g_assert_cmpuint(tmem_client_hints(f.client), ==, 0);
    h = test_handle(f.persistent, 3, 3);
    test_page_make(tmem_context_bounce(f.ctx), TEST_PAGE_NOISE, 9);
    g_assert_cmpint(tmem_page_store_with_credit(f.ctx, &h,
                                                tmem_context_bounce(f.ctx)),
                    ==, TMEM_STATUS_OK);
    g_assert_cmpuint(tmem_client_hints(f.client), ==, PERSISTENT);
    fixture_tear_down(&f);
}

/* DEV-27, DEV-3: in the response to the store itself, if that was asked for. */
static void test_response(void)
{
    uint8_t page[TMEM_PAGE_SIZE];
    TmemHandle h;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, LIMIT);
    fill_up(f.ctx, f.persistent);
    h = test_handle(f.persistent, 2, 2);
    test_page_make(page, TEST_PAGE_NOISE, 5);
    for (int hint = 0; hint < 2; hint++) {
        TestReq r;

        test_req_init(&r);
        test_req_add(&r, VIRTIO_TMEM_OP_STORE, 0, &h, page);
        test_req_submit(&r, f.ctx, TEST_REQ_FEATURES |
                        (uint64_t)hint << VIRTIO_TMEM_F_HINT);
        g_assert_cmpint(test_req_status(&r, 0), ==, VIRTIO_TMEM_S_QUOTA);
        g_assert_cmpuint(test_req_resp(&r)->hints, ==,
                         hint ? VIRTIO_TMEM_HINT_PERSISTENT : 0);
        test_req_clear(&r);
    }
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/hints/DEV-27/limit", test_limit);
    g_test_add_func("/tmem/hints/DEV-27/full", test_full);
    g_test_add_func("/tmem/hints/client-leaves", test_client_leaves);
    g_test_add_func("/tmem/hints/promised", test_promised);
    g_test_add_func("/tmem/hints/frozen", test_frozen);
    g_test_add_func("/tmem/hints/kept", test_kept);
    g_test_add_func("/tmem/hints/credit", test_credit);
    g_test_add_func("/tmem/hints/DEV-27/response", test_response);
    return g_test_run();
}
