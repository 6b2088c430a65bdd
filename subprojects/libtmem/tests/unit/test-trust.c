/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Trust groups: equal cached pages of their members are in memory once
 */
#include "testtrust.h"
#include "tmem-fault.h"
#include "tmem-upkeep.h"

#define PAGES       200

/* --- What it is for --- */

static void test_once(void)
{
    TmemClientStats alone, together;
    Fixture *a, *b;
    TrustWorld w;

    trust_set_up(&w);
    a = &w.member[0];
    b = &w.member[1];
    trust_store_pages(a, 0, PAGES);
    trust_expect_group(&w, PAGES, PAGES);
    alone = test_stats(w.group);
    trust_store_pages(b, 0, PAGES);
    trust_expect_group(&w, PAGES, 2 * PAGES);
    together = test_stats(w.group);
    g_assert_cmpuint(together.bytes, ==, alone.bytes);
    g_assert_cmpuint(together.group_saved_bytes, >, PAGES * 2048);
    /* A member pays for 32 bytes a page, and its index. */
    g_assert_cmpuint(test_stats(b->client).total.data_bytes, ==, 32 * PAGES);
    g_assert_cmpuint(test_stats(b->client).total.pages_shared, ==, PAGES);
    g_assert_cmpuint(test_stats(b->client).total.stores_shared, ==, PAGES);
    trust_expect_pages(a, 0, PAGES);
    trust_expect_pages(b, 0, PAGES);
    /* Equal pages of one member are equal too. */
    for (uint64_t n = 0; n < PAGES; n++) {
        TmemHandle h = test_handle(a->ephemeral, 99, n);

        g_assert_cmpint(test_store(a->ctx, h, trust_sort_of(n), n), ==, 0);
    }
    trust_expect_group(&w, PAGES, 3 * PAGES);
    trust_tear_down(&w);
}

/* A page that compresses to less than what a reference is worth. */
static void store_short(Fixture *m, uint64_t n)
{
    TmemHandle h = test_handle(m->ephemeral, 8, n);
    uint8_t *page = tmem_context_bounce(m->ctx);

    test_page_make(page, TEST_PAGE_NOISE, n);
    memset(page + 100, 0, TMEM_PAGE_SIZE - 100);
    g_assert_cmpint(tmem_page_store(m->ctx, &h, page), ==, 0);
}

/* What is not the group's: each client keeps its own. */
static void test_not_shared(void)
{
    static const uint8_t uuid[16] = { 1 };
    TrustWorld w;
    Fixture *a, *b;
    uint64_t pool[2];

    trust_set_up(&w);
    a = &w.member[0];
    b = &w.member[1];
    trust_store_pages(&w.member[OUTSIDER], 0, PAGES);
    trust_expect_group(&w, 0, 0);
    for (unsigned i = 0; i < 2; i++) {
        Fixture *m = &w.member[i];

        /* Persistent pages, and those that are short or have no record. */
        for (uint64_t n = 0; n < 10; n++) {
            test_store(m->ctx, test_handle(m->persistent, 0, n),
                       TEST_PAGE_NOISE, n);
            test_store(m->ctx, test_handle(m->ephemeral, 7, n),
                       n % TEST_PAGE_TEXT, n / TEST_PAGE_TEXT);
            store_short(m, n);
        }
        g_assert_true(tmem_client_authorize(m->client, uuid, true, NULL));
        g_assert_cmpint(tmem_pool_join(m->client, uuid, TMEM_PAGE_SHIFT,
                                       &pool[i]), ==, 0);
        test_store(m->ctx, test_handle(pool[i], i, 0), TEST_PAGE_NOISE, 1);
    }
    trust_expect_group(&w, 0, 0);
    /* A group that is frozen takes nothing new, and keeps what it has. */
    trust_store_pages(a, 0, 10);
    tmem_client_freeze(w.group, true);
    trust_store_pages(b, 0, 10);
    trust_expect_group(&w, 10, 10);
    trust_expect_pages(a, 0, 10);
    trust_expect_pages(b, 0, 10);
    tmem_client_freeze(w.group, false);
    trust_store_pages(b, 0, 10);
    trust_expect_group(&w, 10, 20);
    /* Two forms of one page are two pages. */
    g_assert_true(tmem_pool_set_codec(a->client, a->ephemeral,
                                      &(TmemCodecChoice) {
                                          TMEM_COMPRESSOR_NONE, 0 }, NULL));
    test_store(a->ctx, trust_page_of(a, 1), trust_sort_of(1), 1);
    trust_expect_group(&w, 11, 20);
    trust_expect_pages(a, 0, 10);
    trust_tear_down(&w);
}

/* --- Each way for a page to go gives its reference back --- */

static void go_replace(Fixture *m)
{
    for (uint64_t n = 0; n < PAGES; n++) {
        g_assert_cmpint(test_store(m->ctx, trust_page_of(m, n),
                                   TEST_PAGE_FILL32, n), ==, 0);
    }
}

static void go_invalidate(Fixture *m)
{
    for (uint64_t n = 0; n < PAGES; n++) {
        TmemHandle h = trust_page_of(m, n);

        g_assert_cmpint(tmem_page_invalidate(m->ctx, &h), ==, 0);
    }
}

static void go_objects(Fixture *m)
{
    for (uint64_t n = 0; n < PAGES; n += 64) {
        TmemHandle h = trust_page_of(m, n);

        g_assert_cmpint(tmem_object_invalidate(m->ctx, &h), ==, 0);
    }
}

static void go_take(Fixture *m)
{
    uint8_t page[TMEM_PAGE_SIZE];
    uint64_t version;

    for (uint64_t n = 0; n < PAGES; n++) {
        TmemHandle h = trust_page_of(m, n);

        g_assert_cmpint(tmem_page_load(m->ctx, &h, page, &version), ==, 0);
        g_assert_cmpint(tmem_page_take(m->ctx, &h, version), ==, 0);
    }
    g_assert_cmpuint(test_stats(m->client).total.taken, ==, PAGES);
}

static void go_pool(Fixture *m)
{
    g_assert_cmpint(tmem_pool_destroy(m->client, m->ephemeral), ==, 0);
}

static void go_reset(Fixture *m)
{
    tmem_client_reset(m->client);
}

static void go_evict(Fixture *m)
{
    while (test_stats(m->client).total.pages) {
        g_assert_cmpuint(tmem_client_evict(m->client, 1), >, 0);
    }
    g_assert_cmpuint(test_stats(m->client).total.evicted, ==, PAGES);
}

typedef struct Way {
    const char *path;
    void (*go)(Fixture *m);
} Way;

static const Way ways[] = {
    { "/tmem/trust/go/replace", go_replace },
    { "/tmem/trust/go/invalidate", go_invalidate },
    { "/tmem/trust/go/invalidate-object", go_objects },
    { "/tmem/trust/go/take", go_take },
    { "/tmem/trust/go/pool", go_pool },
    { "/tmem/trust/go/reset", go_reset },
    { "/tmem/trust/go/evict", go_evict },
    { "/tmem/trust/go/client", fixture_leave },
};

static void test_go(gconstpointer opaque)
{
    const Way *way = opaque;
    TrustWorld w;

    trust_set_up(&w);
    trust_store_pages(&w.member[0], 0, PAGES);
    trust_store_pages(&w.member[1], 0, PAGES);
    way->go(&w.member[1]);
    trust_expect_group(&w, PAGES, PAGES);
    trust_expect_pages(&w.member[0], 0, PAGES);
    way->go(&w.member[0]);
    trust_expect_group(&w, 0, 0);
    trust_tear_down(&w);
}

/* A page over itself, and over another that both have. */
static void test_replace_shared(void)
{
    TrustWorld w;
    Fixture *a, *b;

    trust_set_up(&w);
    a = &w.member[0];
    b = &w.member[1];
    for (unsigned round = 0; round < 3; round++) {
        trust_store_pages(a, 0, PAGES);
        trust_store_pages(b, 0, PAGES);
        trust_expect_group(&w, PAGES, 2 * PAGES);
    }
    for (uint64_t n = 0; n < PAGES; n++) {
        uint64_t other = PAGES - 1 - n;

        g_assert_cmpint(test_store(b->ctx, trust_page_of(b, n),
                                   trust_sort_of(other), other), ==, 0);
    }
    trust_expect_group(&w, PAGES, 2 * PAGES);
    for (uint64_t n = 0; n < PAGES; n++) {
        test_expect_page(b->ctx, trust_page_of(b, n),
                         trust_sort_of(PAGES - 1 - n), PAGES - 1 - n);
    }
    trust_tear_down(&w);
}

/*
 * Caught: where there is no memory, a page takes the slot of the reference that
 * was there, which then cannot be given back.
 */
static void test_over_reference(void)
{
    /* One that the group has, and one that needs less than a reference. */
    static const TestPage sorts[] = { TEST_PAGE_MIXED, TEST_PAGE_FILL64 };
    TrustWorld w;
    Fixture *a, *b;

    trust_set_up(&w);
    a = &w.member[0];
    b = &w.member[1];
    /* Whose pages go in vain. */
    trust_store_pages(&w.member[OUTSIDER], 0, 1000);
    trust_store_pages(b, 0, 2);
    g_assert_cmpint(trust_sort_of(1), ==, sorts[0]);
    for (unsigned i = 0; i < G_N_ELEMENTS(sorts); i++) {
        TmemStatus status;

        trust_store_pages(a, 0, 1);
        trust_expect_group(&w, 2, 3);
        tmem_fault_arm_from("arena-slot", 1);
        status = test_store(a->ctx, trust_page_of(a, 0), sorts[i], 1);
        tmem_fault_disarm();
        g_assert_cmpint(status, ==, TMEM_STATUS_NOSPC);
        test_expect_status(a->ctx, trust_page_of(a, 0), TMEM_STATUS_MISS);
        trust_expect_group(&w, 2, 2);
        trust_expect_pages(b, 0, 2);
    }
    trust_tear_down(&w);
}

/* --- Eviction of what the group keeps --- */

static void test_evicted(void)
{
    TrustWorld w;
    Fixture *a, *b;

    trust_set_up(&w);
    a = &w.member[0];
    b = &w.member[1];
    trust_store_pages(a, 0, PAGES);
    trust_store_pages(b, 0, PAGES);
    while (test_stats(w.group).group_pages) {
        g_assert_cmpuint(tmem_client_evict(w.group, 1), >, 0);
    }
    trust_expect_group(&w, 0, 0);
    g_assert_cmpuint(test_stats(w.group).group_evicted, ==, PAGES);
    /* Others came meanwhile, and equal ones: no reference leads to these. */
    trust_store_pages(b, 1024, PAGES);
    for (uint64_t n = 0; n < 10; n++) {
        g_assert_cmpint(test_store(b->ctx, trust_page_of(b, 2048 + n),
                                   trust_sort_of(n), n), ==, 0);
    }
    for (uint64_t n = 0; n < PAGES; n++) {
        test_expect_status(a->ctx, trust_page_of(a, n), TMEM_STATUS_MISS);
        test_expect_status(a->ctx, trust_page_of(a, n), TMEM_STATUS_MISS);
    }
    /* Each was evicted once, which is known by now. */
    g_assert_cmpuint(test_stats(a->client).total.evicted, ==, PAGES);
    g_assert_cmpuint(test_stats(a->client).total.loads_miss, ==, 2 * PAGES);
    g_assert_cmpuint(test_stats(a->client).total.loads_hit, ==, 0);
    g_assert_cmpuint(test_stats(a->client).total.pages, ==, 0);
    /* What leads nowhere can go in any way, and be stored again. */
    go_objects(b);
    trust_store_pages(a, 0, PAGES);
    trust_store_pages(b, 0, PAGES);
    trust_expect_group(&w, 2 * PAGES, 3 * PAGES + 10);
    trust_expect_pages(a, 0, PAGES);
    trust_expect_pages(b, 0, PAGES);
    trust_expect_pages(b, 1024, PAGES);
    trust_tear_down(&w);
}

/* A group makes room as any client does, within its limit and the store. */
static void test_full(gconstpointer opaque)
{
    TmemLimits limits = { .max_bytes = GPOINTER_TO_SIZE(opaque) };
    uint64_t found = 0;
    TrustWorld w;

    trust_set_up_sized(&w, 2u << 20);
    g_assert_true(tmem_client_set_limits(w.group, &limits, NULL));
    for (uint64_t n = 0; n < 3000; n++) {
        Fixture *m = &w.member[n & 1];

        g_assert_cmpint(test_store(m->ctx, trust_page_of(m, n / 2),
                                   TEST_PAGE_NOISE, n / 2), ==,
                        TMEM_STATUS_OK);
    }
    test_check(w.store);
    if (limits.max_bytes) {
        g_assert_cmpuint(test_stats(w.group).bytes, <=, limits.max_bytes);
    }
    g_assert_cmpuint(test_stats(w.group).group_evicted, >, 100);
    for (uint64_t n = 0; n < 3000; n++) {
        Fixture *m = &w.member[n & 1];
        TmemHandle h = trust_page_of(m, n / 2);
        uint8_t page[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];
        TmemStatus status = tmem_page_load(m->ctx, &h, page, NULL);

        if (status == TMEM_STATUS_OK) {
            test_page_make(want, TEST_PAGE_NOISE, n / 2);
            g_assert_cmpmem(page, sizeof(page), want, sizeof(want));
            found++;
        } else {
            g_assert_cmpint(status, ==, TMEM_STATUS_MISS);
        }
    }
    g_assert_cmpuint(found, >, 10);
    for (unsigned i = 0; i < 2; i++) {
        test_check_laws(w.member[i].client);
    }
    trust_tear_down(&w);
}

/* Groups come into being in a store that is full of cache. */
static void test_full_new(void)
{
    TmemClient *group[3];
    TrustWorld w;
    Fixture *m;

    trust_set_up_sized(&w, 2u << 20);
    m = &w.member[OUTSIDER];
    trust_store_pages(m, 0, 3000);
    for (unsigned i = 0; i < G_N_ELEMENTS(group); i++) {
        char name[] = { 'h' + i, 0 };

        g_assert_cmpuint(test_stats(m->client).total.evicted, >, 100);
        group[i] = test_new_group(w.store, name);
        test_check(w.store);
        trust_store_pages(m, 3000 * (i + 1), 3000);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(group); i++) {
        tmem_client_free(group[i]);
    }
    trust_tear_down(&w);
}

/* A page that both have, of about that many bytes. */
static void store_sized(TrustWorld *w, uint64_t n, size_t bytes)
{
    for (unsigned i = 0; i < 2; i++) {
        Fixture *m = &w->member[i];
        TmemHandle h = trust_page_of(m, n);
        uint8_t *page = tmem_context_bounce(m->ctx);

        test_page_make(page, TEST_PAGE_NOISE, n);
        memset(page + bytes, 0, TMEM_PAGE_SIZE - bytes);
        g_assert_cmpint(tmem_page_store(m->ctx, &h, page), ==, 0);
    }
}

/* The table of a group grows with it also where others left no room. */
static void test_full_grow(void)
{
    const TmemTrustShard *shard;
    uint64_t contents = 0;
    TmemTrust *trust;
    Fixture *m;
    TrustWorld w;

    trust_set_up_sized(&w, 2 * FIXTURE_SIZE);
    m = &w.member[OUTSIDER];
    trust_store_pages(m, 0, 8000);
    g_assert_cmpuint(test_stats(m->client).total.evicted, >, 100);
    trust = w.group->heap.trust;
    for (uint64_t n = 0; n < 20000; n++) {
        store_sized(&w, n, TMEM_TRUST_BYTES_MIN);
    }
    test_check(w.store);
    for (unsigned i = 0; i < trust->nr_shards; i++) {
        shard = &trust->shards[i];
        g_assert_cmpuint(shard->nr_buckets + 100, >, shard->levels.contents);
        contents += shard->levels.contents;
    }
    /* Far more than there were buckets to begin with. */
    g_assert_cmpuint(contents, >,
                     w.tables_bytes / sizeof(*shard->buckets) * 3 / 2);
    trust_tear_down(&w);
}

/* One that may not even have its tables is refused. */
static void test_small_limit(void)
{
    TmemClientConfig config = {
        .name = "h", .is_trust_group = true, .limits.max_bytes = 48 << 10,
    };
    g_autoptr(GError) err = NULL;
    g_autofree char *sentence = NULL;
    TrustWorld w;

    trust_set_up(&w);
    g_assert_null(tmem_client_new(w.store, &config, &err));
    sentence = g_strdup_printf("the tables of the trust group 'h' take %"
                               G_GUINT64_FORMAT " bytes, and its maximum is "
                               "49152 bytes; give it more", w.tables_bytes);
    g_assert_cmpstr(err->message, ==, sentence);
    trust_tear_down(&w);
}

/* --- Who is in --- */

static void expect_refusal(TmemClient *client, TmemClient *group,
                           const char *sentence)
{
    g_autoptr(GError) err = NULL;

    g_assert_false(tmem_client_set_trust_group(client, group, &err));
    g_assert_cmpstr(err->message, ==, sentence);
}

static void test_membership(void)
{
    TmemClient *other;
    TmemClient *a;
    uint64_t id;
    TrustWorld w;

    trust_set_up(&w);
    a = w.member[0].client;
    other = test_new_group(w.store, "h");
    g_assert_true(tmem_client_is_trust_group(other));
    g_assert_false(tmem_client_is_trust_group(a));
    g_assert_true(tmem_client_trust_group(a) == w.group);
    g_assert_null(tmem_client_trust_group(other));
    expect_refusal(a, w.member[1].client, "client 'b' is no trust group");
    expect_refusal(other, w.group, "client 'h' is a trust group itself, and "
                   "cannot be a member of one");
    expect_refusal(a, other, "client 'a' has pools; it can join or leave a "
                   "trust group only while it has none");
    expect_refusal(a, NULL, "client 'a' has pools; it can join or leave a "
                   "trust group only while it has none");
    g_assert_true(tmem_client_trust_group(a) == w.group);
    g_assert_cmpint(tmem_pool_create(w.group, TMEM_POOL_EPHEMERAL,
                                     TMEM_PAGE_SHIFT, &id), ==,
                    TMEM_STATUS_PERM);
    /* Groups keep apart what is equal in both. */
    tmem_client_reset(a);
    g_assert_true(tmem_client_set_trust_group(a, other, NULL));
    fixture_create_pools(&w.member[0]);
    trust_store_pages(&w.member[0], 0, 10);
    trust_store_pages(&w.member[1], 0, 10);
    trust_expect_group(&w, 10, 10);
    g_assert_cmpuint(test_stats(other).group_pages, ==, 10);
    tmem_client_reset(a);
    g_assert_cmpuint(test_stats(other).bytes, ==, w.tables_bytes);
    g_assert_true(tmem_client_set_trust_group(a, NULL, NULL));
    tmem_client_free(other);
    trust_tear_down(&w);
}

/* --- Many pages, compaction, recompression --- */

static void test_many(void)
{
    const uint64_t nr = 20000;
    uint64_t bytes;
    TrustWorld w;

    trust_set_up_sized(&w, 128u << 20);
    for (uint64_t n = 0; n < nr; n++) {
        trust_store_both(&w, TEST_PAGE_MIXED, n);
    }
    trust_expect_group(&w, nr, 2 * nr);
    bytes = test_stats(w.group).bytes;
    for (uint64_t n = 0; n < nr; n++) {
        if (n % 10) {
            trust_invalidate_both(&w, n);
        }
    }
    trust_compact(&w);
    g_assert_cmpuint(test_stats(w.member[0].client).total.moved, >, 0);
    g_assert_cmpuint(test_stats(w.group).bytes, <, bytes / 8);
    trust_expect_group(&w, nr / 10, nr / 5);
    for (uint64_t n = 0; n < nr; n += 10) {
        for (unsigned i = 0; i < 2; i++) {
            test_expect_page(w.member[i].ctx, trust_page_of(&w.member[i], n),
                             TEST_PAGE_MIXED, n);
        }
    }
    trust_tear_down(&w);
}

/*
 * What had to take a slot of a larger class moves to one of its own, and is
 * booked as what it takes there.
 */
static void test_move_smaller(void)
{
    /* So few that a hole of a segment is used before one is opened. */
    const uint64_t large = 45, small = 100, holes = 5;
    const size_t bytes = 3540;
    TmemTrustLevels before, after;
    TrustWorld w;

    trust_set_up_sized(&w, 128u << 20);
    for (uint64_t n = 0; n < large; n++) {
        trust_store_both(&w, TEST_PAGE_NOISE, n);
    }
    /* Into the holes that these leave, and to segments of their own. */
    for (uint64_t n = 0; n < large; n += holes) {
        trust_invalidate_both(&w, n);
    }
    for (uint64_t n = 0; n < small; n++) {
        store_sized(&w, large + n, bytes);
    }
    /* Then most of the large ones go, and some of their own slots are free. */
    for (uint64_t n = 0; n < large; n++) {
        if (n % holes) {
            trust_invalidate_both(&w, n);
        }
    }
    for (uint64_t n = small / 2; n < small; n += 2) {
        trust_invalidate_both(&w, large + n);
    }
    tmem_trust_levels(w.group->heap.trust, &before);
    trust_compact(&w);
    tmem_trust_levels(w.group->heap.trust, &after);
    g_assert_cmpuint(after.contents, ==, before.contents);
    g_assert_cmpuint(after.data_bytes, <, before.data_bytes);
    g_assert_cmpuint(after.saved_bytes, ==, after.data_bytes);
    trust_expect_group(&w, small * 3 / 4, small * 3 / 2);
    trust_tear_down(&w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/trust/once", test_once);
    g_test_add_func("/tmem/trust/not-shared", test_not_shared);
    for (unsigned i = 0; i < G_N_ELEMENTS(ways); i++) {
        g_test_add_data_func(ways[i].path, &ways[i], test_go);
    }
    g_test_add_func("/tmem/trust/replace", test_replace_shared);
    g_test_add_func("/tmem/trust/over-reference", test_over_reference);
    g_test_add_func("/tmem/trust/evicted", test_evicted);
    g_test_add_data_func("/tmem/trust/full/store", GSIZE_TO_POINTER(0),
                         test_full);
    g_test_add_data_func("/tmem/trust/full/limit", GSIZE_TO_POINTER(512 << 10),
                         test_full);
    g_test_add_func("/tmem/trust/full/new", test_full_new);
    g_test_add_func("/tmem/trust/full/grow", test_full_grow);
    g_test_add_func("/tmem/trust/small-limit", test_small_limit);
    g_test_add_func("/tmem/trust/membership", test_membership);
    g_test_add_func("/tmem/trust/many", test_many);
    g_test_add_func("/tmem/trust/move-smaller", test_move_smaller);
    return g_test_run();
}
