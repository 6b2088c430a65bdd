/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Store, load, invalidate: the rules of one page at a time
 */
#include "testpeek.h"

/* Every sort of page comes back as it went, from both kinds of pool. */
static void test_round_trip(void)
{
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (int i = 0; i < 2; i++) {
        uint64_t pool = i ? f.ephemeral : f.persistent;

        for (int sort = 0; sort < TEST_PAGE__MAX; sort++) {
            TmemHandle h = test_handle(pool, sort, 7);

            test_expect_status(f.ctx, h, TMEM_STATUS_MISS);
            g_assert_cmpint(test_store(f.ctx, h, sort, 42), ==,
                            TMEM_STATUS_OK);
            test_expect_page(f.ctx, h, sort, 42);
            test_expect_page(f.ctx, h, sort, 42);
        }
        for (int sort = 0; sort < TEST_PAGE__MAX; sort++) {
            TmemHandle h = test_handle(pool, sort, 7);

            g_assert_cmpint(tmem_page_invalidate(f.ctx, &h), ==,
                            TMEM_STATUS_OK);
            test_expect_status(f.ctx, h, TMEM_STATUS_MISS);
            g_assert_cmpint(tmem_page_invalidate(f.ctx, &h), ==,
                            TMEM_STATUS_OK);
        }
    }
    fixture_tear_down(&f);
}

/* Which levels a page of that sort counts in. */
static void expect_levels(TmemClient *client, TestPage sort)
{
    TmemClientStats stats;
    TmemPoolStats *s = &stats.total;

    tmem_client_get_stats(client, &stats);
    g_assert_cmpuint(s->pages, ==, 1);
    g_assert_cmpuint(s->objects, ==, 1);
    g_assert_cmpuint(s->pages_same_filled, ==, sort <= TEST_PAGE_FILL64);
    g_assert_cmpuint(s->pages_compressed, ==,
                     sort == TEST_PAGE_TEXT || sort == TEST_PAGE_MIXED);
    g_assert_cmpuint(s->pages_raw, ==, sort == TEST_PAGE_NOISE);
    if (sort <= TEST_PAGE_FILL32) {
        g_assert_cmpuint(s->data_bytes, ==, 0);
    }
    if (sort <= TEST_PAGE_FILL64) {
        g_assert_cmpuint(s->stored_bytes, ==, 0);
    } else {
        g_assert_cmpuint(s->stored_bytes, >, 0);
        g_assert_cmpuint(s->stored_bytes, <=, TMEM_PAGE_SIZE);
        g_assert_cmpuint(s->data_bytes, >, s->stored_bytes);
    }
    g_assert_cmpuint(s->index_bytes, >, 0);
}

/* F4: one sort of page over another, in all orders, accounting exact. */
static void test_overwrite(void)
{
    for (int from = 0; from < TEST_PAGE__MAX; from++) {
        for (int to = 0; to < TEST_PAGE__MAX; to++) {
            for (int eph = 0; eph < 2; eph++) {
                TmemHandle h;
                Fixture f;

                fixture_set_up(&f, FIXTURE_SIZE, 0);
                h = test_handle(eph ? f.ephemeral : f.persistent, 1, 1);
                g_assert_cmpint(test_store(f.ctx, h, from, 1), ==, 0);
                expect_levels(f.client, from);
                g_assert_cmpint(test_store(f.ctx, h, to, 2), ==, 0);
                expect_levels(f.client, to);
                test_check(f.store);
                test_expect_page(f.ctx, h, to, 2);
                fixture_tear_down(&f);
            }
        }
    }
}

/* After an invalidate returned, no load finds the data. */
static void test_invalidate_object(void)
{
    TmemClientStats stats;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (uint64_t i = 0; i < 1000; i++) {
        TmemHandle h = test_handle(f.persistent, i % 2, i * 7);

        g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, i), ==, 0);
    }
    g_assert_cmpint(tmem_object_invalidate(f.ctx,
                        &(TmemHandle) { f.persistent, { 0, 2, 3 }, 99 }),
                    ==, TMEM_STATUS_OK);
    test_check(f.store);
    for (uint64_t i = 0; i < 1000; i++) {
        TmemHandle h = test_handle(f.persistent, i % 2, i * 7);

        if (i % 2) {
            test_expect_page(f.ctx, h, TEST_PAGE_TEXT, i);
        } else {
            test_expect_status(f.ctx, h, TMEM_STATUS_MISS);
        }
    }
    tmem_client_get_stats(f.client, &stats);
    g_assert_cmpuint(stats.total.object_invalidates, ==, 1);
    g_assert_cmpuint(stats.total.object_invalidates_pages, ==, 500);
    g_assert_cmpuint(stats.total.pages, ==, 500);
    g_assert_cmpuint(stats.total.objects, ==, 1);
    fixture_tear_down(&f);
}

/* Deliver first, then take; what was stored in between stays. */
static void test_take(void)
{
    uint8_t page[TMEM_PAGE_SIZE];
    uint64_t version, version2;
    TmemHandle h;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (int sort = 0; sort < TEST_PAGE__MAX; sort++) {
        h = test_handle(f.ephemeral, 5, sort);
        g_assert_cmpint(test_store(f.ctx, h, sort, 1), ==, 0);
        g_assert_cmpint(tmem_page_load(f.ctx, &h, page, &version), ==, 0);
        test_expect_page(f.ctx, h, sort, 1);

        /* Replaced by the same contents, in the same place: still another. */
        g_assert_cmpint(tmem_page_invalidate(f.ctx, &h), ==, 0);
        g_assert_cmpint(test_store(f.ctx, h, sort, 1), ==, 0);
        g_assert_cmpint(tmem_page_take(f.ctx, &h, version), ==, 0);
        test_expect_page(f.ctx, h, sort, 1);

        g_assert_cmpint(tmem_page_load(f.ctx, &h, page, &version2), ==, 0);
        g_assert_cmpuint(version, !=, version2);
        g_assert_cmpint(tmem_page_take(f.ctx, &h, version2), ==, 0);
        test_expect_status(f.ctx, h, TMEM_STATUS_MISS);
        g_assert_cmpint(tmem_page_take(f.ctx, &h, version2), ==, 0);
    }

    h = test_handle(f.persistent, 5, 5);
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 1), ==, 0);
    g_assert_cmpint(tmem_page_load(f.ctx, &h, page, &version), ==, 0);
    g_assert_cmpint(tmem_page_take(f.ctx, &h, version), ==,
                    TMEM_STATUS_INVAL);
    test_expect_page(f.ctx, h, TEST_PAGE_TEXT, 1);
    fixture_tear_down(&f);
}

/* What upkeep compressed again, or moved, is still the page that was loaded. */
static void test_take_recompressed(void)
{
    uint8_t page[TMEM_PAGE_SIZE];
    uint64_t version;
    TmemHandle h;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (uint64_t i = 0; i < 20; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.ephemeral, 5, i),
                                   TEST_PAGE_TEXT, i), ==, 0);
    }
    h = test_handle(f.ephemeral, 5, 7);
    g_assert_cmpint(tmem_page_load(f.ctx, &h, page, &version), ==, 0);
    g_assert_cmpuint(tmem_store_recompress(f.store), >, 0);
    test_expect_page(f.ctx, h, TEST_PAGE_TEXT, 7);
    g_assert_cmpint(tmem_page_take(f.ctx, &h, version), ==, 0);
    test_expect_status(f.ctx, h, TMEM_STATUS_MISS);

    /* But what was stored since, is not. */
    h = test_handle(f.ephemeral, 5, 8);
    g_assert_cmpint(tmem_page_load(f.ctx, &h, page, &version), ==, 0);
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 8), ==, 0);
    g_assert_cmpuint(tmem_store_recompress(f.store), >, 0);
    g_assert_cmpint(tmem_page_take(f.ctx, &h, version), ==, 0);
    test_expect_page(f.ctx, h, TEST_PAGE_TEXT, 8);
    fixture_tear_down(&f);
}

/* Sizes and names that cannot be, each with a sentence. */
static void test_bad_config(void)
{
    static const uint64_t sizes[] = {
        0, 1, TMEM_STORE_SIZE_MIN - 1, UINT64_MAX, 1ull << 62,
    };
    TmemStoreConfig config = { .size_bytes = FIXTURE_SIZE };
    TmemClientConfig client_config = { .name = "twice" };
    TmemCodecChoice codec;
    TmemClient *client;
    TmemStore *store;

    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        TmemStoreConfig bad = { .size_bytes = sizes[i] };
        g_autoptr(GError) err = NULL;

        g_assert_null(tmem_store_new(&bad, &err));
        g_assert_nonnull(err);
    }
    for (int i = 0; i < 2; i++) {
        g_autoptr(GError) err = NULL;

        g_assert_true(tmem_codec_choice_parse(i ? "none" : "lz4", &codec,
                                            &err));
        g_assert_cmpstr(tmem_compressor_str(codec.compressor), ==,
                        i ? "none" : "lz4");
        g_assert_false(tmem_codec_choice_parse("lz5", &codec, &err));
        g_assert_nonnull(strstr(err->message, "lz5"));
    }

    store = tmem_store_new(&config, NULL);
    client = tmem_client_new(store, &client_config, NULL);
    g_assert_nonnull(client);
    for (int i = 0; i < 4; i++) {
        TmemClientConfig bad[] = {
            { .name = "twice" },
            { .name = "" },
            { .name = NULL },
            { .name = "x", .max_pools = TMEM_CLIENT_POOLS_MAX + 1 },
        };
        g_autoptr(GError) err = NULL;

        g_assert_null(tmem_client_new(store, &bad[i], &err));
        g_assert_nonnull(err);
    }
    tmem_client_free(client);
    /* The name is free again. */
    client = tmem_client_new(store, &client_config, NULL);
    g_assert_nonnull(client);
    tmem_client_free(client);
    tmem_store_free(store);
}

static void test_compressor_none(void)
{
    TmemPolicy policy;
    TmemStoreConfig config = {
        .size_bytes = FIXTURE_SIZE, .policy = &policy,
    };
    TmemClientConfig client_config = { .name = "raw" };
    TmemClientStats stats;
    TmemStore *store;
    TmemClient *client;
    TmemContext *ctx;
    uint64_t pool;

    tmem_policy_init(&policy);
    policy.codec.compressor = TMEM_COMPRESSOR_NONE;
    store = tmem_store_new(&config, NULL);
    client = tmem_client_new(store, &client_config, NULL);
    ctx = tmem_context_new(client, NULL);

    tmem_pool_create(client, TMEM_POOL_PERSISTENT, TMEM_PAGE_SHIFT, &pool);
    for (int sort = 0; sort < TEST_PAGE__MAX; sort++) {
        TmemHandle h = test_handle(pool, 1, sort);

        g_assert_cmpint(test_store(ctx, h, sort, 3), ==, TMEM_STATUS_OK);
        test_expect_page(ctx, h, sort, 3);
    }
    tmem_client_get_stats(client, &stats);
    g_assert_cmpuint(stats.total.pages_same_filled, ==, 3);
    g_assert_cmpuint(stats.total.pages_compressed, ==, 0);
    g_assert_cmpuint(stats.total.pages_raw, ==, 3);
    test_check(store);
    tmem_context_free(ctx);
    tmem_client_free(client);
    tmem_store_free(store);
}

/* --- Where a page goes that is stored over another --- */

static TmemRef place_of(Fixture *f, TmemHandle h)
{
    TestPeek peek;

    g_assert_true(test_peek(f->ctx, h, &peek));
    return tmem_entry_ref(*peek.entry);
}

/* One of the same size needs no memory, unless its place is not to stay. */
static void test_over_in_place(void)
{
    TmemClientStats stats;
    TmemHandle h, e;
    TmemRef ref = 0;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    h = test_handle(f.persistent, 0, 1);
    e = test_handle(f.ephemeral, 0, 1);
    for (int tag = 1; tag < 4; tag++) {
        g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_NOISE, tag), ==, 0);
        test_expect_page(f.ctx, h, TEST_PAGE_NOISE, tag);
        if (tag > 1) {
            g_assert_cmpuint(place_of(&f, h), ==, ref);
        }
        ref = place_of(&f, h);
    }
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 4), ==, 0);
    test_expect_page(f.ctx, h, TEST_PAGE_TEXT, 4);
    g_assert_cmpuint(place_of(&f, h), !=, ref);

    g_assert_cmpint(test_store(f.ctx, e, TEST_PAGE_NOISE, 1), ==, 0);
    ref = place_of(&f, e);
    g_assert_cmpint(test_store(f.ctx, e, TEST_PAGE_NOISE, 2), ==, 0);
    g_assert_cmpuint(place_of(&f, e), !=, ref);
    tmem_client_get_stats(f.client, &stats);
    g_assert_cmpuint(stats.total.stores_replaced, ==, 4);
    g_assert_cmpuint(stats.total.pages, ==, 2);
    test_check_laws(f.client);
    fixture_tear_down(&f);
}

#define SPARSE  600u

/* What is stored meanwhile does not keep a marked segment from emptying. */
static void test_over_marked(void)
{
    unsigned nr_marked = 0;
    uint32_t class_nr;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    test_set_upkeep(f.store, 0, false);
    for (unsigned i = 0; i < SPARSE; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 0, i),
                                   TEST_PAGE_NOISE, i), ==, 0);
    }
    for (unsigned i = 0; i < SPARSE; i++) {
        TmemHandle h = test_handle(f.persistent, 0, i);

        if (i % 3) {
            tmem_page_invalidate(f.ctx, &h);
        }
    }
    class_nr = tmem_sizes_class(tmem_arena_sizes(&f.store->arena,
                                                 TMEM_SPACE_PERSISTENT),
                                TMEM_SLOT_BYTES_MAX - TMEM_UNIT + 4);
    g_assert_cmpuint(tmem_heap_drain(&f.client->heap, TMEM_SPACE_PERSISTENT,
                                     class_nr), >, 0);
    for (unsigned i = 0; i < SPARSE; i += 3) {
        TmemHandle h = test_handle(f.persistent, 0, i);
        bool marked = tmem_arena_draining(&f.store->arena, place_of(&f, h));

        g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_NOISE, i + 1), ==, 0);
        if (marked) {
            g_assert_false(tmem_arena_draining(&f.store->arena,
                                               place_of(&f, h)));
            nr_marked++;
        }
        test_expect_page(f.ctx, h, TEST_PAGE_NOISE, i + 1);
    }
    g_assert_cmpuint(nr_marked, >, 0);
    fixture_tear_down(&f);
}

/* --- Damage --- */

/*
 * The record of one page in the place of another's is damage, also if the words
 * of their handles are the same ones.
 */
static void test_exchanged_records(void)
{
    TmemHandle a, b;
    TestPeek from, to;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    a = test_handle(f.persistent, 0, 1);
    b = test_handle(f.persistent, 1, 0);
    g_assert_cmpint(test_store(f.ctx, a, TEST_PAGE_NOISE, 1), ==, 0);
    g_assert_cmpint(test_store(f.ctx, b, TEST_PAGE_NOISE, 2), ==, 0);
    g_assert_true(test_peek(f.ctx, a, &from));
    g_assert_true(test_peek(f.ctx, b, &to));
    test_copy_record(&from, &to);
    test_expect_status(f.ctx, b, TMEM_STATUS_IO);
    test_expect_page(f.ctx, a, TEST_PAGE_NOISE, 1);
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/store/round-trip", test_round_trip);
    g_test_add_func("/tmem/store/overwrite", test_overwrite);
    g_test_add_func("/tmem/store/over/in-place", test_over_in_place);
    g_test_add_func("/tmem/store/over/marked", test_over_marked);
    g_test_add_func("/tmem/B2/invalidate-object", test_invalidate_object);
    g_test_add_func("/tmem/B5/take", test_take);
    g_test_add_func("/tmem/B5/take-recompressed", test_take_recompressed);
    g_test_add_func("/tmem/store/bad-config", test_bad_config);
    g_test_add_func("/tmem/store/compressor-none", test_compressor_none);
    g_test_add_func("/tmem/damage/exchanged-records", test_exchanged_records);
    return g_test_run();
}
