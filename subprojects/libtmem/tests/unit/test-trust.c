/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Trust groups: equal cached pages of their members are in memory once
 */
#include "testpeek.h"
#include "tmem-fault.h"
#include "tmem-trust.h"
#include "tmem-upkeep.h"

#define MEMBERS     3
#define PAGES       200

/* Two members of a group, and one client that is of none. */
typedef struct World {
    TmemStore *store;
    TmemClient *group;
    uint64_t tables_bytes;      /* of a group that keeps nothing */
    Fixture member[MEMBERS];
} World;

#define OUTSIDER    2

static void set_up_sized(World *w, uint64_t size_bytes)
{
    g_autoptr(GError) err = NULL;

    *w = (World) { .store = test_new_store(size_bytes) };
    w->group = test_new_group(w->store, "g");
    w->tables_bytes = tmem_trust_tables_bytes(w->group->heap.trust);
    for (unsigned i = 0; i < MEMBERS; i++) {
        char name[] = { 'a' + i, 0 };
        TmemClientConfig client_config = { .name = name };
        Fixture *m = &w->member[i];

        fixture_join(m, w->store, &client_config);
        if (i != OUTSIDER) {
            g_assert_true(tmem_client_set_trust_group(m->client, w->group,
                                                      &err));
            g_assert_no_error(err);
        }
        fixture_create_pools(m);
    }
}

static void set_up(World *w)
{
    set_up_sized(w, FIXTURE_SIZE);
}

/* All is as it should be, and the group keeps so much. */
static void expect_group(World *w, uint64_t pages, uint64_t references)
{
    TmemClientStats stats = test_stats(w->group);

    test_check(w->store);
    for (unsigned i = 0; i < MEMBERS && w->member[i].client; i++) {
        test_check_laws(w->member[i].client);
    }
    g_assert_cmpuint(stats.group_pages, ==, pages);
    g_assert_cmpuint(stats.group_references, ==, references);
    if (pages == references) {
        g_assert_cmpuint(stats.group_saved_bytes, ==, 0);
    }
    if (!pages) {
        g_assert_cmpuint(stats.bytes, ==, w->tables_bytes);
    }
}

static void tear_down(World *w)
{
    test_check(w->store);
    for (unsigned i = 0; i < MEMBERS; i++) {
        fixture_leave(&w->member[i]);
    }
    expect_group(w, 0, 0);
    tmem_client_free(w->group);
    tmem_store_free(w->store);
}

static TmemHandle page_of(const Fixture *m, uint64_t n)
{
    return test_handle(m->ephemeral, n / 64, n);
}

/* The same pages for every member that stores them; all have a record. */
static TestPage sort_of(uint64_t n)
{
    return n % 3 ? TEST_PAGE_MIXED : TEST_PAGE_NOISE;
}

static void store_pages(Fixture *m, uint64_t first, uint64_t nr)
{
    for (uint64_t n = first; n < first + nr; n++) {
        g_assert_cmpint(test_store(m->ctx, page_of(m, n), sort_of(n), n), ==,
                        TMEM_STATUS_OK);
    }
}

static void expect_pages(Fixture *m, uint64_t first, uint64_t nr)
{
    for (uint64_t n = first; n < first + nr; n++) {
        test_expect_page(m->ctx, page_of(m, n), sort_of(n), n);
    }
}

/* --- What it is for --- */

static void test_once(void)
{
    TmemClientStats alone, together;
    Fixture *a, *b;
    World w;

    set_up(&w);
    a = &w.member[0];
    b = &w.member[1];
    store_pages(a, 0, PAGES);
    expect_group(&w, PAGES, PAGES);
    alone = test_stats(w.group);
    store_pages(b, 0, PAGES);
    expect_group(&w, PAGES, 2 * PAGES);
    together = test_stats(w.group);
    g_assert_cmpuint(together.bytes, ==, alone.bytes);
    g_assert_cmpuint(together.group_saved_bytes, >, PAGES * 2048);
    /* A member pays for 32 bytes a page, and its index. */
    g_assert_cmpuint(test_stats(b->client).total.data_bytes, ==, 32 * PAGES);
    g_assert_cmpuint(test_stats(b->client).total.pages_shared, ==, PAGES);
    g_assert_cmpuint(test_stats(b->client).total.stores_shared, ==, PAGES);
    expect_pages(a, 0, PAGES);
    expect_pages(b, 0, PAGES);
    /* Equal pages of one member are equal too. */
    for (uint64_t n = 0; n < PAGES; n++) {
        TmemHandle h = test_handle(a->ephemeral, 99, n);

        g_assert_cmpint(test_store(a->ctx, h, sort_of(n), n), ==, 0);
    }
    expect_group(&w, PAGES, 3 * PAGES);
    tear_down(&w);
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
    World w;
    Fixture *a, *b;
    uint64_t pool[2];

    set_up(&w);
    a = &w.member[0];
    b = &w.member[1];
    store_pages(&w.member[OUTSIDER], 0, PAGES);
    expect_group(&w, 0, 0);
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
    expect_group(&w, 0, 0);
    /* A group that is frozen takes nothing new, and keeps what it has. */
    store_pages(a, 0, 10);
    tmem_client_freeze(w.group, true);
    store_pages(b, 0, 10);
    expect_group(&w, 10, 10);
    expect_pages(a, 0, 10);
    expect_pages(b, 0, 10);
    tmem_client_freeze(w.group, false);
    store_pages(b, 0, 10);
    expect_group(&w, 10, 20);
    /* Two forms of one page are two pages. */
    g_assert_true(tmem_pool_set_codec(a->client, a->ephemeral,
                                      &(TmemCodecChoice) {
                                          TMEM_COMPRESSOR_NONE, 0 }, NULL));
    test_store(a->ctx, page_of(a, 1), sort_of(1), 1);
    expect_group(&w, 11, 20);
    expect_pages(a, 0, 10);
    tear_down(&w);
}

/* --- Each way for a page to go gives its reference back --- */

static void go_replace(Fixture *m)
{
    for (uint64_t n = 0; n < PAGES; n++) {
        g_assert_cmpint(test_store(m->ctx, page_of(m, n), TEST_PAGE_FILL32, n),
                        ==, 0);
    }
}

static void go_invalidate(Fixture *m)
{
    for (uint64_t n = 0; n < PAGES; n++) {
        TmemHandle h = page_of(m, n);

        g_assert_cmpint(tmem_page_invalidate(m->ctx, &h), ==, 0);
    }
}

static void go_objects(Fixture *m)
{
    for (uint64_t n = 0; n < PAGES; n += 64) {
        TmemHandle h = page_of(m, n);

        g_assert_cmpint(tmem_object_invalidate(m->ctx, &h), ==, 0);
    }
}

static void go_take(Fixture *m)
{
    uint8_t page[TMEM_PAGE_SIZE];
    uint64_t version;

    for (uint64_t n = 0; n < PAGES; n++) {
        TmemHandle h = page_of(m, n);

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
    World w;

    set_up(&w);
    store_pages(&w.member[0], 0, PAGES);
    store_pages(&w.member[1], 0, PAGES);
    way->go(&w.member[1]);
    expect_group(&w, PAGES, PAGES);
    expect_pages(&w.member[0], 0, PAGES);
    way->go(&w.member[0]);
    expect_group(&w, 0, 0);
    tear_down(&w);
}

/* A page over itself, and over another that both have. */
static void test_replace_shared(void)
{
    World w;
    Fixture *a, *b;

    set_up(&w);
    a = &w.member[0];
    b = &w.member[1];
    for (unsigned round = 0; round < 3; round++) {
        store_pages(a, 0, PAGES);
        store_pages(b, 0, PAGES);
        expect_group(&w, PAGES, 2 * PAGES);
    }
    for (uint64_t n = 0; n < PAGES; n++) {
        uint64_t other = PAGES - 1 - n;

        g_assert_cmpint(test_store(b->ctx, page_of(b, n), sort_of(other),
                                   other), ==, 0);
    }
    expect_group(&w, PAGES, 2 * PAGES);
    for (uint64_t n = 0; n < PAGES; n++) {
        test_expect_page(b->ctx, page_of(b, n), sort_of(PAGES - 1 - n),
                         PAGES - 1 - n);
    }
    tear_down(&w);
}

/*
 * Caught: where there is no memory, a page takes the slot of the reference that
 * was there, which then cannot be given back.
 */
static void test_over_reference(void)
{
    /* One that the group has, and one that needs less than a reference. */
    static const TestPage sorts[] = { TEST_PAGE_MIXED, TEST_PAGE_FILL64 };
    World w;
    Fixture *a, *b;

    set_up(&w);
    a = &w.member[0];
    b = &w.member[1];
    /* Whose pages go in vain. */
    store_pages(&w.member[OUTSIDER], 0, 1000);
    store_pages(b, 0, 2);
    g_assert_cmpint(sort_of(1), ==, sorts[0]);
    for (unsigned i = 0; i < G_N_ELEMENTS(sorts); i++) {
        TmemStatus status;

        store_pages(a, 0, 1);
        expect_group(&w, 2, 3);
        tmem_fault_arm_from("arena-slot", 1);
        status = test_store(a->ctx, page_of(a, 0), sorts[i], 1);
        tmem_fault_disarm();
        g_assert_cmpint(status, ==, TMEM_STATUS_NOSPC);
        test_expect_status(a->ctx, page_of(a, 0), TMEM_STATUS_MISS);
        expect_group(&w, 2, 2);
        expect_pages(b, 0, 2);
    }
    tear_down(&w);
}

/* --- Eviction of what the group keeps --- */

static void test_evicted(void)
{
    World w;
    Fixture *a, *b;

    set_up(&w);
    a = &w.member[0];
    b = &w.member[1];
    store_pages(a, 0, PAGES);
    store_pages(b, 0, PAGES);
    while (test_stats(w.group).group_pages) {
        g_assert_cmpuint(tmem_client_evict(w.group, 1), >, 0);
    }
    expect_group(&w, 0, 0);
    g_assert_cmpuint(test_stats(w.group).group_evicted, ==, PAGES);
    /* Others came meanwhile, and equal ones: no reference leads to these. */
    store_pages(b, 1024, PAGES);
    for (uint64_t n = 0; n < 10; n++) {
        g_assert_cmpint(test_store(b->ctx, page_of(b, 2048 + n), sort_of(n),
                                   n), ==, 0);
    }
    for (uint64_t n = 0; n < PAGES; n++) {
        test_expect_status(a->ctx, page_of(a, n), TMEM_STATUS_MISS);
        test_expect_status(a->ctx, page_of(a, n), TMEM_STATUS_MISS);
    }
    /* Each was evicted once, which is known by now. */
    g_assert_cmpuint(test_stats(a->client).total.evicted, ==, PAGES);
    g_assert_cmpuint(test_stats(a->client).total.loads_miss, ==, 2 * PAGES);
    g_assert_cmpuint(test_stats(a->client).total.loads_hit, ==, 0);
    g_assert_cmpuint(test_stats(a->client).total.pages, ==, 0);
    /* What leads nowhere can go in any way, and be stored again. */
    go_objects(b);
    store_pages(a, 0, PAGES);
    store_pages(b, 0, PAGES);
    expect_group(&w, 2 * PAGES, 3 * PAGES + 10);
    expect_pages(a, 0, PAGES);
    expect_pages(b, 0, PAGES);
    expect_pages(b, 1024, PAGES);
    tear_down(&w);
}

/* A group makes room as any client does, within its limit and the store. */
static void test_full(gconstpointer opaque)
{
    TmemLimits limits = { .max_bytes = GPOINTER_TO_SIZE(opaque) };
    uint64_t found = 0;
    World w;

    set_up_sized(&w, 2u << 20);
    g_assert_true(tmem_client_set_limits(w.group, &limits, NULL));
    for (uint64_t n = 0; n < 3000; n++) {
        Fixture *m = &w.member[n & 1];

        g_assert_cmpint(test_store(m->ctx, page_of(m, n / 2), TEST_PAGE_NOISE,
                                   n / 2), ==, TMEM_STATUS_OK);
    }
    test_check(w.store);
    if (limits.max_bytes) {
        g_assert_cmpuint(test_stats(w.group).bytes, <=, limits.max_bytes);
    }
    g_assert_cmpuint(test_stats(w.group).group_evicted, >, 100);
    for (uint64_t n = 0; n < 3000; n++) {
        Fixture *m = &w.member[n & 1];
        TmemHandle h = page_of(m, n / 2);
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
    tear_down(&w);
}

/* Groups come into being in a store that is full of cache. */
static void test_full_new(void)
{
    TmemClient *group[3];
    World w;
    Fixture *m;

    set_up_sized(&w, 2u << 20);
    m = &w.member[OUTSIDER];
    store_pages(m, 0, 3000);
    for (unsigned i = 0; i < G_N_ELEMENTS(group); i++) {
        char name[] = { 'h' + i, 0 };

        g_assert_cmpuint(test_stats(m->client).total.evicted, >, 100);
        group[i] = test_new_group(w.store, name);
        test_check(w.store);
        store_pages(m, 3000 * (i + 1), 3000);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(group); i++) {
        tmem_client_free(group[i]);
    }
    tear_down(&w);
}

/* A page that both have, of about that many bytes. */
static void store_sized(World *w, uint64_t n, size_t bytes)
{
    for (unsigned i = 0; i < 2; i++) {
        Fixture *m = &w->member[i];
        TmemHandle h = page_of(m, n);
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
    World w;

    set_up_sized(&w, 2 * FIXTURE_SIZE);
    m = &w.member[OUTSIDER];
    store_pages(m, 0, 8000);
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
    tear_down(&w);
}

/* One that may not even have its tables is refused. */
static void test_small_limit(void)
{
    TmemClientConfig config = {
        .name = "h", .is_trust_group = true, .limits.max_bytes = 48 << 10,
    };
    g_autoptr(GError) err = NULL;
    g_autofree char *sentence = NULL;
    World w;

    set_up(&w);
    g_assert_null(tmem_client_new(w.store, &config, &err));
    sentence = g_strdup_printf("the tables of the trust group 'h' take %"
                               G_GUINT64_FORMAT " bytes, and its maximum is "
                               "49152 bytes; give it more", w.tables_bytes);
    g_assert_cmpstr(err->message, ==, sentence);
    tear_down(&w);
}

/* --- Pages that went bad --- */

static TmemRef content_ref(World *w, Fixture *m, uint64_t n)
{
    TmemReference reference;
    TestPeek peek;

    g_assert_true(test_peek(m->ctx, page_of(m, n), &peek));
    g_assert_cmpint(tmem_entry_kind(*peek.entry), ==, TMEM_KIND_SHARED);
    memcpy(&reference, peek.data, sizeof(reference));
    for (unsigned i = 0; i < w->group->heap.trust->nr_shards; i++) {
        const TmemTrustShard *shard = &w->group->heap.trust->shards[i];

        for (uint32_t bucket = 0; bucket < shard->nr_buckets; bucket++) {
            TmemRef ref = shard->buckets[bucket];

            while (ref) {
                TmemContent *content = tmem_arena_ptr(&w->store->arena, ref);

                if (content->id == reference.id) {
                    return ref;
                }
                ref = content->next;
            }
        }
    }
    g_assert_not_reached();
}

static TmemContent *content_of(World *w, Fixture *m, uint64_t n)
{
    return tmem_arena_ptr(&w->store->arena, content_ref(w, m, n));
}

/* An error for all who have the page, and never a miss or another page. */
static void test_damaged_content(void)
{
    TmemContent *content;
    World w;
    Fixture *a, *b;

    set_up(&w);
    a = &w.member[0];
    b = &w.member[1];
    store_pages(a, 0, 10);
    store_pages(b, 0, 10);
    content = content_of(&w, a, 4);
    content->data[content->len / 2] ^= 1;
    test_expect_status(a->ctx, page_of(a, 4), TMEM_STATUS_IO);
    content->data[content->len / 2] ^= 1;
    test_expect_status(a->ctx, page_of(a, 4), TMEM_STATUS_IO);
    test_expect_status(b->ctx, page_of(b, 4), TMEM_STATUS_IO);
    g_assert_cmpuint(test_stats(a->client).total.pages_damaged, ==, 1);
    g_assert_cmpuint(test_stats(a->client).total.loads_error, ==, 2);
    g_assert_cmpuint(test_stats(a->client).total.loads_hit, ==, 0);
    expect_group(&w, 10, 20);
    /* Whoever stores the page again has it. */
    store_pages(b, 4, 1);
    test_expect_page(b->ctx, page_of(b, 4), sort_of(4), 4);
    test_expect_status(a->ctx, page_of(a, 4), TMEM_STATUS_IO);
    expect_group(&w, 11, 20);
    store_pages(a, 4, 1);
    expect_group(&w, 10, 20);
    expect_pages(a, 0, 10);
    expect_pages(b, 0, 10);
    tear_down(&w);
}

/* Caught: what zstd made was taken for a page as it is, and what came after. */
static void test_damaged_kind(void)
{
    TmemCodecChoice codec = { .compressor = TMEM_COMPRESSOR_ZSTD };
    Fixture *a;
    World w;

    set_up(&w);
    a = &w.member[0];
    g_assert_true(tmem_pool_set_codec(a->client, a->ephemeral, &codec, NULL));
    for (unsigned bit = 0; bit < 3; bit++) {
        TmemContent *content;

        store_pages(a, 4, 1);
        content = content_of(&w, a, 4);
        g_assert_cmpint(content->kind, ==, TMEM_KIND_ZSTD);
        content->kind ^= 1u << bit;
        test_expect_status(a->ctx, page_of(a, 4), TMEM_STATUS_IO);
        content->kind ^= 1u << bit;
    }
    store_pages(a, 4, 1);
    expect_pages(a, 4, 1);
    tear_down(&w);
}

/* Caught: what was freed stayed in its chain. */
static void test_damaged_hash(void)
{
    World w;

    set_up(&w);
    for (unsigned bit = 0; bit < 64; bit++) {
        for (unsigned i = 0; i < 2; i++) {
            store_pages(&w.member[i], 0, 10);
        }
        content_of(&w, &w.member[0], 4)->hash ^= 1ull << bit;
        expect_pages(&w.member[0], 0, 10);
        expect_pages(&w.member[1], 0, 10);
        for (unsigned i = 0; i < 2; i++) {
            TmemHandle h = page_of(&w.member[i], 0);

            g_assert_cmpint(tmem_object_invalidate(w.member[i].ctx, &h), ==,
                            TMEM_STATUS_OK);
        }
        expect_group(&w, 0, 0);
    }
    tear_down(&w);
}

static void test_damaged_reference(void)
{
    TestPeek peek;
    World w;
    Fixture *a;

    set_up(&w);
    a = &w.member[0];
    store_pages(a, 0, 10);
    store_pages(&w.member[1], 0, 10);
    g_assert_true(test_peek(a->ctx, page_of(a, 4), &peek));
    peek.data[9] ^= 1;
    test_expect_status(a->ctx, page_of(a, 4), TMEM_STATUS_IO);
    test_expect_status(a->ctx, page_of(a, 4), TMEM_STATUS_IO);
    test_check(w.store);
    g_assert_cmpuint(test_stats(a->client).total.pages_damaged, ==, 1);
    expect_pages(&w.member[1], 0, 10);
    peek.data[9] ^= 1;
    tear_down(&w);
}

/* What tmem_store_check() says of each thing that is wrong. */
static void test_check_finds(void)
{
    TmemTrustShard *shard;
    TmemContent *content;
    uint64_t *owner;
    World w;

    set_up(&w);
    store_pages(&w.member[0], 0, 10);
    store_pages(&w.member[1], 0, 5);
    content = content_of(&w, &w.member[0], 4);
    owner = tmem_slot_owner(&w.store->arena,
                            content_ref(&w, &w.member[0], 4));
    shard = &w.group->heap.trust->shards[tmem_owner_shard(*owner)];
#define EXPECT(place, sentence) do {                                          \
        g_autoptr(GError) err = NULL;                                         \
                                                                              \
        place ^= 1;                                                           \
        g_assert_false(tmem_store_check(w.store, &err));                      \
        g_assert_nonnull(strstr(err->message, sentence));                     \
        place ^= 1;                                                           \
        test_check(w.store);                                                  \
    } while (0)
    EXPECT(content->nr_refs, "counts 3 references to a page, 2 found");
    EXPECT(content->data[10], "does not match its hash or its checksum");
    EXPECT(content->checksum, "does not match its hash or its checksum");
    EXPECT(*owner, "in the wrong place");
    EXPECT(shard->levels.contents, "a trust group counts");
    EXPECT(shard->levels.references, "a trust group counts");
    EXPECT(shard->levels.data_bytes, "a trust group counts");
    EXPECT(shard->levels.saved_bytes, "a trust group counts");
#undef EXPECT
    tear_down(&w);
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
    World w;

    set_up(&w);
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
    store_pages(&w.member[0], 0, 10);
    store_pages(&w.member[1], 0, 10);
    expect_group(&w, 10, 10);
    g_assert_cmpuint(test_stats(other).group_pages, ==, 10);
    tmem_client_reset(a);
    g_assert_cmpuint(test_stats(other).bytes, ==, w.tables_bytes);
    g_assert_true(tmem_client_set_trust_group(a, NULL, NULL));
    tmem_client_free(other);
    tear_down(&w);
}

/* --- Many pages, compaction, recompression --- */

/* A page of this kind that both members have. */
static void store_both(World *w, TestPage kind, uint64_t n)
{
    for (unsigned i = 0; i < 2; i++) {
        Fixture *m = &w->member[i];

        g_assert_cmpint(test_store(m->ctx, page_of(m, n), kind, n), ==, 0);
    }
}

static void invalidate_both(World *w, uint64_t n)
{
    for (unsigned i = 0; i < 2; i++) {
        TmemHandle h = page_of(&w->member[i], n);

        g_assert_cmpint(tmem_page_invalidate(w->member[i].ctx, &h), ==, 0);
    }
}

/* What is left, and the references to it, moves to fewer segments. */
static void compact(World *w)
{
    test_set_upkeep(w->store, 10, true);
    for (uint64_t s = 1; s < 100; s++) {
        test_upkeep(w->store, s);
    }
}

static void test_many(void)
{
    const uint64_t nr = 20000;
    uint64_t bytes;
    World w;

    set_up_sized(&w, 128u << 20);
    for (uint64_t n = 0; n < nr; n++) {
        store_both(&w, TEST_PAGE_MIXED, n);
    }
    expect_group(&w, nr, 2 * nr);
    bytes = test_stats(w.group).bytes;
    for (uint64_t n = 0; n < nr; n++) {
        if (n % 10) {
            invalidate_both(&w, n);
        }
    }
    compact(&w);
    g_assert_cmpuint(test_stats(w.member[0].client).total.moved, >, 0);
    g_assert_cmpuint(test_stats(w.group).bytes, <, bytes / 8);
    expect_group(&w, nr / 10, nr / 5);
    for (uint64_t n = 0; n < nr; n += 10) {
        for (unsigned i = 0; i < 2; i++) {
            test_expect_page(w.member[i].ctx, page_of(&w.member[i], n),
                             TEST_PAGE_MIXED, n);
        }
    }
    tear_down(&w);
}

/* A length that went bad leads no mover beyond the slot. */
static void damage_length(TestPage kind, unsigned mask)
{
    const uint64_t nr = 4000, left = 20;
    TmemContent *content[4000 / 20];
    World w;

    set_up_sized(&w, 128u << 20);
    for (uint64_t n = 0; n < nr; n++) {
        store_both(&w, kind, n);
    }
    for (uint64_t n = 0; n < nr; n++) {
        if (n % left) {
            invalidate_both(&w, n);
        }
    }
    for (uint64_t n = 0; n < nr; n += 4 * left) {
        content[n / left] = content_of(&w, &w.member[0], n);
        content[n / left]->len ^= mask;
    }
    compact(&w);
    for (uint64_t n = 0; n < nr; n += left) {
        for (unsigned i = 0; i < 2; i++) {
            Fixture *m = &w.member[i];

            if (n % (4 * left)) {
                test_expect_page(m->ctx, page_of(m, n), kind, n);
            } else {
                test_expect_status(m->ctx, page_of(m, n), TMEM_STATUS_IO);
            }
        }
    }
    for (uint64_t n = 0; n < nr; n += 4 * left) {
        content[n / left]->len ^= mask;
    }
    expect_group(&w, nr / left, 2 * nr / left);
    tear_down(&w);
}

static void test_damaged_length(void)
{
    damage_length(TEST_PAGE_MIXED, TMEM_PAGE_SIZE);
}

/* Caught: more than a page, but still inside of the slot, ended the process. */
static void test_damaged_length_raw(void)
{
    damage_length(TEST_PAGE_NOISE, 8);
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
    World w;

    set_up_sized(&w, 128u << 20);
    for (uint64_t n = 0; n < large; n++) {
        store_both(&w, TEST_PAGE_NOISE, n);
    }
    /* Into the holes that these leave, and to segments of their own. */
    for (uint64_t n = 0; n < large; n += holes) {
        invalidate_both(&w, n);
    }
    for (uint64_t n = 0; n < small; n++) {
        store_sized(&w, large + n, bytes);
    }
    /* Then most of the large ones go, and some of their own slots are free. */
    for (uint64_t n = 0; n < large; n++) {
        if (n % holes) {
            invalidate_both(&w, n);
        }
    }
    for (uint64_t n = small / 2; n < small; n += 2) {
        invalidate_both(&w, large + n);
    }
    tmem_trust_levels(w.group->heap.trust, &before);
    compact(&w);
    tmem_trust_levels(w.group->heap.trust, &after);
    g_assert_cmpuint(after.contents, ==, before.contents);
    g_assert_cmpuint(after.data_bytes, <, before.data_bytes);
    g_assert_cmpuint(after.saved_bytes, ==, after.data_bytes);
    expect_group(&w, small * 3 / 4, small * 3 / 2);
    tear_down(&w);
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
    g_test_add_func("/tmem/trust/damaged-content", test_damaged_content);
    g_test_add_func("/tmem/trust/damaged-kind", test_damaged_kind);
    g_test_add_func("/tmem/trust/damaged-hash", test_damaged_hash);
    g_test_add_func("/tmem/trust/damaged-reference", test_damaged_reference);
    g_test_add_func("/tmem/trust/check", test_check_finds);
    g_test_add_func("/tmem/trust/membership", test_membership);
    g_test_add_func("/tmem/trust/many", test_many);
    g_test_add_func("/tmem/trust/damaged-length", test_damaged_length);
    g_test_add_func("/tmem/trust/damaged-length-raw", test_damaged_length_raw);
    g_test_add_func("/tmem/trust/move-smaller", test_move_smaller);
    return g_test_run();
}
