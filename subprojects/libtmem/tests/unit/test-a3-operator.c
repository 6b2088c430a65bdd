/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Defects that the ancestors had: weights, freezing, shared pools
 *
 * See test-a3.c, whose other half this is.
 */
#include "testlib.h"

typedef struct Pair {
    TmemStore *store;
    Fixture f[2];
    uint64_t pool[2];
} Pair;

static const uint8_t uuid[16] = { 0xa3 };

/* Two clients of a store, in a pool each or both in a shared one. */
static void pair_set_up(Pair *p, uint64_t size_bytes, const uint32_t *weights,
                        bool shared)
{
    p->store = test_new_store(size_bytes);
    for (int i = 0; i < 2; i++) {
        TmemClientConfig client = {
            .name = i ? "second" : "first",
            .limits.weight = weights ? weights[i] : 0,
        };

        fixture_join(&p->f[i], p->store, &client);
        if (shared) {
            tmem_client_authorize(p->f[i].client, uuid, true, NULL);
            g_assert_cmpint(tmem_pool_join(p->f[i].client, uuid,
                                           TMEM_PAGE_SHIFT, &p->pool[i]), ==,
                            TMEM_STATUS_OK);
        } else {
            g_assert_cmpint(tmem_pool_create(p->f[i].client,
                                             TMEM_POOL_EPHEMERAL,
                                             TMEM_PAGE_SHIFT, &p->pool[i]),
                            ==, TMEM_STATUS_OK);
        }
    }
}

static uint64_t pair_bytes(Pair *p, int i)
{
    return test_stats(p->f[i].client).bytes;
}

static uint64_t pair_pages(Pair *p, int i)
{
    return test_stats(p->f[i].client).total.pages;
}

static void pair_tear_down(Pair *p)
{
    test_check(p->store);
    for (int i = 0; i < 2; i++) {
        tmem_client_reset(p->f[i].client);
        g_assert_cmpuint(pair_bytes(p, i), ==, 0);
        fixture_leave(&p->f[i]);
    }
    tmem_store_free(p->store);
}

static void pair_fill(Pair *p, int i, uint64_t nr)
{
    for (uint64_t at = 0; at < nr; at++) {
        test_store(p->f[i].ctx, test_handle(p->pool[i], i, at), TEST_PAGE_NOISE,
                   at);
    }
}

/*
 * Xen: a client was over its quota when it held less than its share, from 2009
 * to the end.
 *
 * Caught: eviction takes from whoever is furthest below its share.
 */
static void test_weight_direction(void)
{
    static const uint32_t weights[] = { 100, 300 };

    for (int first = 0; first < 2; first++) {
        uint64_t small, large;
        Pair p;

        /* From either side: one has it all when the other comes. */
        pair_set_up(&p, 8u << 20, weights, false);
        pair_fill(&p, first, 6000);
        pair_fill(&p, !first, 6000);
        for (unsigned round = 0; round < 20; round++) {
            pair_fill(&p, round % 2, 500);
        }
        small = pair_bytes(&p, 0);
        large = pair_bytes(&p, 1);
        g_test_message("%" G_GUINT64_FORMAT " : %" G_GUINT64_FORMAT, small,
                       large);
        g_assert_cmpuint(large, >, small * 2);
        g_assert_cmpuint(large, <, small * 4);
        pair_tear_down(&p);
    }
}

/*
 * Xen: destroying thawed the client.  And a frozen store leaves nothing (B1).
 *
 * Caught: tmem_pool_destroy() or tmem_client_reset() clears client->frozen.
 */
static void test_destroy_does_not_thaw(void)
{
    TmemHandle h;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    h = test_handle(f.persistent, 1, 1);
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 1), ==, 0);
    tmem_client_freeze(f.client, true);
    g_assert_cmpint(tmem_pool_destroy(f.client, f.ephemeral), ==, 0);
    g_assert_true(tmem_client_frozen(f.client));
    test_expect_page(f.ctx, h, TEST_PAGE_TEXT, 1);
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 2), ==,
                    TMEM_STATUS_FROZEN);
    test_expect_status(f.ctx, h, TMEM_STATUS_MISS);
    tmem_client_reset(f.client);
    g_assert_true(tmem_client_frozen(f.client));
    fixture_tear_down(&f);
}

/*
 * Xen: a member that left marked the pool as dying for good: its pages could
 * never be evicted again.
 *
 * Caught: eviction passes over pools of groups that someone left.
 */
static void test_evict_after_leaving(void)
{
    Pair p;

    pair_set_up(&p, 4u << 20, NULL, true);
    pair_fill(&p, 0, 100);
    pair_fill(&p, 1, 100);
    g_assert_cmpint(tmem_pool_destroy(p.f[0].client, p.pool[0]), ==, 0);
    g_assert_cmpuint(pair_pages(&p, 0), ==, 0);
    g_assert_cmpuint(pair_pages(&p, 1), ==, 100);
    g_assert_cmpuint(tmem_store_evict(p.store, UINT64_MAX), >, 0);
    g_assert_cmpuint(pair_pages(&p, 1), ==, 0);
    /* And what is stored now is found. */
    g_assert_cmpint(test_store(p.f[1].ctx, test_handle(p.pool[1], 1, 1),
                               TEST_PAGE_TEXT, 1), ==, 0);
    test_expect_page(p.f[1].ctx, test_handle(p.pool[1], 1, 1), TEST_PAGE_TEXT,
                     1);
    pair_tear_down(&p);
}

/*
 * Xen: what was put to a shared pool was billed to the pool's first member, so
 * that cleaning up after one who left hit the wrong objects.
 *
 * Caught: publish() inserts with the pool of the page that was there.
 */
static void test_billed_to_who_stored(void)
{
    uint64_t before;
    TmemHandle a, b;
    Pair p;

    pair_set_up(&p, 8u << 20, NULL, true);
    before = pair_bytes(&p, 0);
    pair_fill(&p, 1, 400);
    g_assert_cmpuint(pair_pages(&p, 0), ==, 0);
    g_assert_cmpuint(pair_pages(&p, 1), ==, 400);
    g_assert_cmpuint(pair_bytes(&p, 0), ==, before);
    g_assert_cmpuint(pair_bytes(&p, 1), >, 400 * TMEM_PAGE_SIZE);

    /* Replaced by the other: it changes hands, with its bytes. */
    a = test_handle(p.pool[0], 1, 7);
    b = test_handle(p.pool[1], 1, 7);
    g_assert_cmpint(test_store(p.f[0].ctx, a, TEST_PAGE_TEXT, 1), ==, 0);
    g_assert_cmpuint(pair_pages(&p, 0), ==, 1);
    g_assert_cmpuint(pair_pages(&p, 1), ==, 399);
    test_expect_page(p.f[1].ctx, b, TEST_PAGE_TEXT, 1);

    /* Who leaves takes its own, and nothing else. */
    g_assert_cmpint(tmem_pool_destroy(p.f[1].client, p.pool[1]), ==, 0);
    test_expect_page(p.f[0].ctx, a, TEST_PAGE_TEXT, 1);
    test_expect_status(p.f[0].ctx, test_handle(p.pool[0], 1, 8),
                       TMEM_STATUS_MISS);
    pair_tear_down(&p);
}

/*
 * zcache: pages were decompressed with the host client's memory, whoever's they
 * were.  Here: every page is read as it was written, whatever its pool's codec
 * is now.
 *
 * Caught: the kind of an entry is taken from the pool's codec of today.
 */
static void test_codec_of_the_page(void)
{
    static const TmemCodecChoice codecs[] = {
        { TMEM_COMPRESSOR_LZ4, 1 }, { TMEM_COMPRESSOR_ZSTD, 1 },
        { TMEM_COMPRESSOR_NONE, 0 }, { TMEM_COMPRESSOR_ZSTD, 9 },
        { TMEM_COMPRESSOR_LZ4, 20 },
    };
    const unsigned nr = G_N_ELEMENTS(codecs) * TEST_PAGE__MAX;
    Pair p;

    pair_set_up(&p, 8u << 20, NULL, false);
    for (unsigned i = 0; i < nr; i++) {
        unsigned who = i % 2;

        g_assert_true(tmem_pool_set_codec(p.f[who].client, p.pool[who],
                                          &codecs[i / TEST_PAGE__MAX], NULL));
        g_assert_cmpint(test_store(p.f[who].ctx, test_handle(p.pool[who], 1, i),
                                   i % TEST_PAGE__MAX, i), ==, 0);
    }
    for (unsigned i = 0; i < nr; i++) {
        test_expect_page(p.f[i % 2].ctx, test_handle(p.pool[i % 2], 1, i),
                         i % TEST_PAGE__MAX, i);
    }
    pair_tear_down(&p);
}

/*
 * zcache: a page that was refused because it was "not active" left the older
 * one behind.  Every cause there is.
 *
 * Caught: refuse() or refuse_page() does not remove.
 */
static void test_every_refusal_drops(void)
{
    TmemPolicy defaults, picky;
    TmemHandle h;
    Fixture f;

    tmem_policy_init(&defaults);
    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (int ephemeral = 0; ephemeral < 2; ephemeral++) {
        h = test_handle(ephemeral ? f.ephemeral : f.persistent, 1, 1);

        g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 1), ==, 0);
        tmem_store_freeze(f.store, true);
        g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 2), ==,
                        TMEM_STATUS_FROZEN);
        tmem_store_freeze(f.store, false);
        test_expect_status(f.ctx, h, TMEM_STATUS_MISS);

        g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 1), ==, 0);
        picky = defaults;
        picky.admission.refuse_incompressible = true;
        g_assert_true(tmem_store_set_policy(f.store, &picky, NULL));
        g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_NOISE, 2), ==,
                        TMEM_STATUS_REFUSED);
        test_expect_status(f.ctx, h, TMEM_STATUS_MISS);

        /* One larger than the mean, so that the next such is refused. */
        picky = defaults;
        g_assert_true(tmem_store_set_policy(f.store, &picky, NULL));
        g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_NOISE, 1), ==, 0);
        picky.admission.max_mean_bytes = 500;
        g_assert_true(tmem_store_set_policy(f.store, &picky, NULL));
        g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_NOISE, 2), ==,
                        TMEM_STATUS_REFUSED);
        test_expect_status(f.ctx, h, TMEM_STATUS_MISS);
        g_assert_true(tmem_store_set_policy(f.store, &defaults, NULL));
    }
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/A3/1-weight-direction", test_weight_direction);
    g_test_add_func("/tmem/A3/4-destroy-does-not-thaw",
                    test_destroy_does_not_thaw);
    g_test_add_func("/tmem/A3/6-evict-after-leaving",
                    test_evict_after_leaving);
    g_test_add_func("/tmem/A3/7-billed-to-who-stored",
                    test_billed_to_who_stored);
    g_test_add_func("/tmem/A3/13-codec-of-the-page", test_codec_of_the_page);
    g_test_add_func("/tmem/A3/17-every-refusal-drops",
                    test_every_refusal_drops);
    return g_test_run();
}
