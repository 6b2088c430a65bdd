/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest with many pools: which are looked at while others wait
 */
#include "testlib.h"
#include "tmem-store.h"

static void pools_set_up(Fixture *f)
{
    TmemClientConfig config = {
        .name = "guest", .max_pools = 65536, .credit = 64,
    };

    fixture_set_up_client(f, 256u << 20, &config);
}

static uint64_t add_pool(Fixture *f, TmemPoolKind kind)
{
    uint64_t id;

    g_assert_cmpint(tmem_pool_create(f->client, kind, TMEM_PAGE_SHIFT, &id),
                    ==, TMEM_STATUS_OK);
    return id;
}

static void fill_pool(Fixture *f, uint64_t id, uint64_t nr)
{
    for (uint64_t i = 0; i < nr; i++) {
        g_assert_cmpint(test_store(f->ctx, test_handle(id, 1, i),
                                   TEST_PAGE_NOISE, i), ==, TMEM_STATUS_OK);
    }
}

static void set_limits(Fixture *f, uint64_t id, TmemLimits limits)
{
    GError *err = NULL;

    tmem_pool_set_limits(f->client, id, &limits, &err);
    g_assert_no_error(err);
}

static uint64_t ask_often(Fixture *f, unsigned nr)
{
    uint64_t id = 0;

    while (nr--) {
        id = tmem_quota_giver(f->client);
    }
    return id;
}

/* The pool with most gives, wherever among the others it is. */
static void test_giver(void)
{
    uint64_t ids[300], limited;
    Fixture f;

    pools_set_up(&f);
    limited = add_pool(&f, TMEM_POOL_EPHEMERAL);
    fill_pool(&f, limited, 10);
    for (unsigned i = 0; i < G_N_ELEMENTS(ids); i++) {
        ids[i] = add_pool(&f, TMEM_POOL_EPHEMERAL);
        fill_pool(&f, ids[i], i % 3);
    }
    /* Without limits anybody's may go. */
    g_assert_cmpuint(ask_often(&f, 30), ==, 0);
    set_limits(&f, limited, (TmemLimits) { .weight = 1000 });
    fill_pool(&f, ids[290], 40);
    fill_pool(&f, ids[150], 30);
    /* Others wait, so one call does not look that far. */
    for (unsigned i = 0; i < 8; i++) {
        uint64_t id = tmem_quota_giver(f.client);

        g_assert_true(id != ids[150] && id != ids[290]);
    }
    g_assert_cmpuint(ask_often(&f, 30), ==, ids[290]);
    /* It goes, and so does one that is about to be looked at. */
    tmem_pool_destroy(f.client, ids[290]);
    for (unsigned i = 0; i < 100; i++) {
        g_assert_cmpuint(tmem_quota_giver(f.client), !=, ids[290]);
        if (i >= 30) {
            g_assert_cmpuint(tmem_quota_giver(f.client), ==, ids[150]);
        }
        g_assert_cmpint(tmem_pool_destroy(f.client, ids[i]), ==,
                        TMEM_STATUS_OK);
        test_check(f.store);
    }
    /* One with limits is seen at once. */
    set_limits(&f, limited, (TmemLimits) { .weight = 1 });
    g_assert_cmpuint(tmem_quota_giver(f.client), ==, limited);
    set_limits(&f, limited, (TmemLimits) { .min_bytes = 8 << 20 });
    g_assert_cmpuint(tmem_quota_giver(f.client), ==, ids[150]);
    set_limits(&f, limited, (TmemLimits) { });
    g_assert_cmpuint(tmem_quota_giver(f.client), ==, 0);
    fixture_tear_down(&f);
}

/* Limits come and go in any order, and with their pools. */
static void test_list(void)
{
    uint64_t ids[6];
    Fixture f;

    pools_set_up(&f);
    for (unsigned first = 0; first < 6; first++) {
        for (unsigned i = 0; i < 6; i++) {
            ids[i] = add_pool(&f, i % 2 ? TMEM_POOL_PERSISTENT :
                                          TMEM_POOL_EPHEMERAL);
            set_limits(&f, ids[i], (TmemLimits) {
                .min_bytes = i << 20, .max_bytes = 8 << 20,
            });
        }
        set_limits(&f, ids[first], (TmemLimits) { });
        test_check(f.store);
        set_limits(&f, ids[first], (TmemLimits) { .weight = 7 });
        for (unsigned i = 0; i < 6; i++) {
            g_assert_cmpint(tmem_pool_destroy(f.client, ids[(first + i * 5) %
                                                            6]),
                            ==, TMEM_STATUS_OK);
            test_check(f.store);
        }
        g_assert_cmpuint(f.client->nr_quotas, ==, 0);
    }
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/many-pools/giver", test_giver);
    g_test_add_func("/tmem/many-pools/list", test_list);
    return g_test_run();
}
