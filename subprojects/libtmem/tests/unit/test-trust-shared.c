/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Trust groups and shared pools together
 *
 * Guests of two groups, and one of none, have the same pages in caches of their
 * own, which groups keep once, and in a shared pool, which no group touches.
 * What all of them must find is written down beside the store; whatever goes,
 * in whatever order, the rest stays.
 */
#include "testlib.h"
#include "tmem-store.h"
#include "tmem-trust.h"
#include "tmem-upkeep.h"

#define SECOND      1000000000ull
#define NR_GUESTS   4
#define NR_PAGES    48
#define NR_TAGS     24

/* No page is ever evicted from the one, and many are from the other. */
#define SIZE_LARGE  (16u << 20)
#define SIZE_SMALL  TMEM_STORE_SIZE_MIN

static const uint8_t uuid[16] = { 0xaa, 1 };

/* Two of group 0, one of group 1, and one that is of none. */
static const int group_of[NR_GUESTS] = { 0, 0, 1, -1 };

typedef struct Guest {
    TmemClient *client;         /* NULL: not there */
    TmemContext *ctx;
    uint64_t cache;             /* 0: no such pool */
    uint64_t shared;
    unsigned tags[NR_PAGES];    /* of the cache; 0: nothing */
} Guest;

typedef struct World {
    TmemStore *store;
    TmemClient *groups[2];
    Guest guests[NR_GUESTS];
    unsigned tags[NR_PAGES];    /* of the shared pool */
    unsigned owners[NR_PAGES];
    bool exact;                 /* nothing is evicted */
    uint64_t second;
} World;

/* --- Pages --- */

/* One in three is nothing for LZ4, and half as large with zstd. */
static void make_page(uint8_t *page, unsigned tag)
{
    TestRand r = { tag };

    if (tag % 3) {
        test_page_make(page, tag % 3 == 1 ? TEST_PAGE_MIXED : TEST_PAGE_NOISE,
                       tag);
        return;
    }
    for (unsigned i = 0; i < TMEM_PAGE_SIZE; i++) {
        page[i] = "etaoinshrdlucmfw"[test_rand_below(&r, 16)];
    }
}

static TmemHandle handle_of(uint64_t pool, unsigned n)
{
    return test_handle(pool, n / 16, n);
}

static bool store_page(const World *w, const Guest *g, uint64_t pool,
                       unsigned n, unsigned tag)
{
    TmemHandle h = handle_of(pool, n);
    TmemStatus status;

    make_page(tmem_context_bounce(g->ctx), tag);
    status = tmem_page_store(g->ctx, &h, tmem_context_bounce(g->ctx));
    g_assert_true(status == TMEM_STATUS_OK || !w->exact);
    return status == TMEM_STATUS_OK;
}

/* @tag: of the page that is there, or 0.  Returns what is there from now on. */
static unsigned expect_page(const World *w, const Guest *g, uint64_t pool,
                            unsigned n, unsigned tag)
{
    uint8_t got[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];
    TmemHandle h = handle_of(pool, n);
    TmemStatus status = tmem_page_load(g->ctx, &h, got, NULL);

    if (status == TMEM_STATUS_MISS) {
        g_assert_true(!tag || !w->exact);
        return 0;
    }
    g_assert_cmpint(status, ==, TMEM_STATUS_OK);
    g_assert_cmpuint(tag, !=, 0);
    make_page(want, tag);
    g_assert_cmpmem(got, sizeof(got), want, sizeof(want));
    return tag;
}

/* --- What guests do, and what is there after it --- */

static void join(Guest *g)
{
    g_assert_cmpint(tmem_pool_join(g->client, uuid, TMEM_PAGE_SHIFT,
                                   &g->shared), ==, TMEM_STATUS_OK);
}

static void make_cache(Guest *g)
{
    g_assert_cmpint(tmem_pool_create(g->client, TMEM_POOL_EPHEMERAL,
                                     TMEM_PAGE_SHIFT, &g->cache), ==,
                    TMEM_STATUS_OK);
}

static void come(World *w, unsigned i)
{
    g_autofree char *name = g_strdup_printf("guest%u", i);
    TmemClientConfig config = { .name = name };
    Guest *g = &w->guests[i];
    GError *err = NULL;

    g->client = tmem_client_new(w->store, &config, &err);
    g_assert_no_error(err);
    g->ctx = tmem_context_new(g->client, &err);
    g_assert_no_error(err);
    if (group_of[i] >= 0) {
        tmem_client_set_trust_group(g->client, w->groups[group_of[i]], &err);
        g_assert_no_error(err);
    }
    g_assert_true(tmem_client_authorize(g->client, uuid, true, NULL));
    make_cache(g);
    join(g);
}

/* Notes that it is no member any more: what it stored goes with it. */
static void forget_shared(World *w, unsigned i)
{
    w->guests[i].shared = 0;
    for (unsigned n = 0; n < NR_PAGES; n++) {
        if (w->owners[n] == i) {
            w->tags[n] = 0;
        }
    }
}

static void forget_cache(Guest *g)
{
    g->cache = 0;
    memset(g->tags, 0, sizeof(g->tags));
}

static void leave(World *w, unsigned i)
{
    Guest *g = &w->guests[i];

    g_assert_cmpint(tmem_pool_destroy(g->client, g->shared), ==, 0);
    forget_shared(w, i);
}

static void drop_cache(World *w, unsigned i)
{
    Guest *g = &w->guests[i];

    g_assert_cmpint(tmem_pool_destroy(g->client, g->cache), ==, 0);
    forget_cache(g);
}

static void reset(World *w, unsigned i)
{
    tmem_client_reset(w->guests[i].client);
    forget_shared(w, i);
    forget_cache(&w->guests[i]);
}

static void go(World *w, unsigned i)
{
    Guest *g = &w->guests[i];

    tmem_context_free(g->ctx);
    tmem_client_free(g->client);
    g->ctx = NULL;
    g->client = NULL;
    forget_shared(w, i);
    forget_cache(g);
}

static void put_cache(World *w, unsigned i, unsigned n, unsigned tag)
{
    Guest *g = &w->guests[i];

    g->tags[n] = store_page(w, g, g->cache, n, tag) ? tag : 0;
}

static void put_shared(World *w, unsigned i, unsigned n, unsigned tag)
{
    Guest *g = &w->guests[i];

    w->tags[n] = store_page(w, g, g->shared, n, tag) ? tag : 0;
    w->owners[n] = i;
}

static void invalidate(World *w, unsigned i, bool shared, unsigned n)
{
    Guest *g = &w->guests[i];
    TmemHandle h = handle_of(shared ? g->shared : g->cache, n);

    tmem_page_invalidate(g->ctx, &h);
    (shared ? w->tags : g->tags)[n] = 0;
}

static void invalidate_object(World *w, unsigned i, bool shared, unsigned n)
{
    Guest *g = &w->guests[i];
    TmemHandle h = handle_of(shared ? g->shared : g->cache, n);

    g_assert_cmpint(tmem_object_invalidate(g->ctx, &h), ==, 0);
    memset(&(shared ? w->tags : g->tags)[n / 16 * 16], 0,
           16 * sizeof(w->tags[0]));
}

/* Recompression, and compaction, until there is nothing to do. */
static void keep_up(World *w, unsigned seconds)
{
    while (seconds--) {
        w->second++;
        while (tmem_upkeep_step(w->store, w->second * SECOND, SECOND)) {
            /* More of it. */
        }
    }
}

/* --- All of it --- */

static void expect_no_reference(const TmemPoolInfo *info, void *opaque)
{
    if (info->shared) {
        g_assert_cmpuint(info->stats.pages_shared, ==, 0);
        g_assert_cmpuint(info->stats.stores_shared, ==, 0);
    }
}

/* Different pages in the caches of its members, and all of them. */
static void expect_group(World *w, int group)
{
    unsigned nr_contents = 0, nr_references = 0;
    bool seen[NR_TAGS + 1] = { };
    TmemClientStats stats;

    for (unsigned i = 0; i < NR_GUESTS; i++) {
        for (unsigned n = 0; group_of[i] == group && n < NR_PAGES; n++) {
            unsigned tag = w->guests[i].tags[n];

            nr_references += tag != 0;
            nr_contents += tag && !seen[tag];
            seen[tag] = true;
        }
    }
    tmem_client_get_stats(w->groups[group], &stats);
    g_assert_cmpuint(stats.group_pages, ==, nr_contents);
    g_assert_cmpuint(stats.group_references, ==, nr_references);
    g_assert_cmpuint(stats.group_data_bytes, >=, nr_contents * 2048);
}

static void expect_all(World *w)
{
    for (unsigned i = 0; i < NR_GUESTS; i++) {
        Guest *g = &w->guests[i];

        for (unsigned n = 0; g->cache && n < NR_PAGES; n++) {
            g->tags[n] = expect_page(w, g, g->cache, n, g->tags[n]);
        }
        for (unsigned n = 0; g->shared && n < NR_PAGES; n++) {
            w->tags[n] = expect_page(w, g, g->shared, n, w->tags[n]);
        }
        if (g->client) {
            tmem_client_foreach_pool(g->client, expect_no_reference, NULL);
        }
    }
    if (w->exact) {
        expect_group(w, 0);
        expect_group(w, 1);
    }
    test_check(w->store);
}

static void set_up(World *w, uint64_t size_bytes)
{
    TmemStoreConfig config = { .size_bytes = size_bytes, .seed = test_seed() };
    GError *err = NULL;

    *w = (World) { .exact = size_bytes == SIZE_LARGE, .second = 1000 };
    tmem_upkeep_by_hand(true);
    w->store = tmem_store_new(&config, &err);
    g_assert_no_error(err);
    test_set_upkeep(w->store, 10, true);
    for (unsigned i = 0; i < 2; i++) {
        TmemClientConfig group = {
            .name = i ? "group1" : "group0", .is_trust_group = true,
        };

        w->groups[i] = tmem_client_new(w->store, &group, &err);
        g_assert_no_error(err);
    }
    for (unsigned i = 0; i < NR_GUESTS; i++) {
        come(w, i);
    }
}

static void tear_down(World *w)
{
    expect_all(w);
    for (unsigned i = 0; i < NR_GUESTS; i++) {
        if (w->guests[i].client) {
            go(w, i);
            expect_all(w);
        }
    }
    g_assert_null(w->store->groups);
    for (unsigned i = 0; i < 2; i++) {
        TmemTrustLevels levels;

        tmem_trust_levels(w->groups[i]->heap.trust, &levels);
        g_assert_cmpuint(levels.contents + levels.references +
                         levels.data_bytes + levels.saved_bytes, ==, 0);
        tmem_client_free(w->groups[i]);
    }
    tmem_store_free(w->store);
}

/* Everybody has all pages; those of the shared pool are of each in turn. */
static void fill(World *w)
{
    for (unsigned n = 0; n < NR_PAGES; n++) {
        for (unsigned i = 0; i < NR_GUESTS; i++) {
            put_cache(w, i, n, 1 + n % NR_TAGS);
        }
        put_shared(w, n % NR_GUESTS, n, 1 + n % NR_TAGS);
    }
    expect_all(w);
}

/* --- Tests --- */

/*
 * Caught: a page of a shared pool that is a reference leads a member of another
 * group, or of none, nowhere, or to another page; or goes with the cache that
 * had the same one.
 */
static void test_apart(void)
{
    World w;

    set_up(&w, SIZE_LARGE);
    fill(&w);
    for (unsigned n = 0; n < NR_PAGES; n++) {
        invalidate(&w, n % NR_GUESTS, n % 2, n);
    }
    expect_all(&w);
    fill(&w);
    /* The pages of one guest go as its group is evicted, and nothing else. */
    while (tmem_client_evict(w.groups[1], UINT64_MAX)) {
        /* More of it. */
    }
    memset(w.guests[2].tags, 0, sizeof(w.guests[2].tags));
    expect_all(&w);
    tear_down(&w);
}

static void count_recompressed(const TmemPoolInfo *info, void *opaque)
{
    ((uint64_t *)opaque)[info->shared] += info->stats.recompressed;
    if (info->shared) {
        g_assert_cmpuint(info->stats.pages_zstd, ==, info->stats.recompressed);
    } else {
        g_assert_cmpuint(info->stats.pages_zstd, ==, 0);
    }
}

/*
 * What a group keeps is not compressed again, and stays what it is; what is in
 * the shared pool is, and all find it.  Caught: a reference that is taken for
 * the data of a page, or a content that nobody finds equal any more.
 */
static void test_recompress(void)
{
    uint64_t recompressed[2] = { };
    World w;

    set_up(&w, SIZE_LARGE);
    /* Who is of no group has its cache recompressed, and is not here. */
    go(&w, 3);
    for (unsigned n = 0; n < NR_PAGES; n++) {
        for (unsigned i = 0; i < 3; i++) {
            put_cache(&w, i, n, 1 + n % NR_TAGS);
        }
        put_shared(&w, n % 3, n, 3);
    }
    keep_up(&w, 30);
    for (unsigned i = 0; i < 3; i++) {
        tmem_client_foreach_pool(w.guests[i].client, count_recompressed,
                                 recompressed);
    }
    g_assert_cmpuint(recompressed[0], ==, 0);
    g_assert_cmpuint(recompressed[1], ==, NR_PAGES);
    expect_all(&w);
    come(&w, 3);
    fill(&w);
    tear_down(&w);
}

typedef void Way(World *w, unsigned i);

/* In every order: pools of one guest, another guest, and one of no group. */
static void test_leave(void)
{
    static const struct {
        Way *way;
        unsigned guest;
    } steps[] = {
        { leave, 0 }, { drop_cache, 0 }, { go, 1 }, { reset, 2 }, { leave, 3 },
    };
    unsigned nr = G_N_ELEMENTS(steps);
    unsigned orders = 1;

    for (unsigned i = 2; i <= nr; i++) {
        orders *= i;
    }
    for (unsigned order = 0; order < orders; order++) {
        unsigned left[G_N_ELEMENTS(steps)] = { 0, 1, 2, 3, 4 };
        unsigned rest = order;
        World w;

        set_up(&w, SIZE_LARGE);
        fill(&w);
        for (unsigned k = nr; k; k--) {
            unsigned at = rest % k;

            steps[left[at]].way(&w, steps[left[at]].guest);
            left[at] = left[k - 1];
            rest /= k;
            expect_all(&w);
        }
        tear_down(&w);
    }
}

/* What is not there comes, or else something happens to what is. */
static void do_life(World *w, TestRand *r, unsigned i)
{
    static Way *const ways[] = { leave, drop_cache, reset, go };
    Guest *g = &w->guests[i];

    if (!g->client) {
        come(w, i);
    } else if (!g->cache) {
        make_cache(g);
    } else if (!g->shared) {
        join(g);
    } else {
        ways[test_rand_below(r, G_N_ELEMENTS(ways))](w, i);
    }
}

/* Something of what the host does.  In a large store nothing is evicted. */
static void do_host(World *w, TestRand *r, unsigned i)
{
    if (w->exact || test_rand_below(r, 2)) {
        keep_up(w, test_rand_below(r, 15));
    } else if (test_rand_below(r, 2)) {
        tmem_client_evict(w->groups[i % 2], 1 + test_rand_below(r, 65536));
    } else if (w->guests[i].client) {
        tmem_client_evict(w->guests[i].client, 1 + test_rand_below(r, 65536));
    }
}

static void do_page(World *w, TestRand *r, unsigned i)
{
    unsigned n = test_rand_below(r, NR_PAGES);
    unsigned tag = 1 + test_rand_below(r, NR_TAGS);
    bool shared = test_rand_below(r, 2);
    Guest *g = &w->guests[i];

    if (!(shared ? g->shared : g->cache)) {
        return;
    }
    switch (test_rand_below(r, 20)) {
    case 0:
        invalidate_object(w, i, shared, n);
        break;
    case 1 ... 3:
        invalidate(w, i, shared, n);
        break;
    case 4 ... 14:
        (shared ? put_shared : put_cache)(w, i, n, tag);
        break;
    default:
        if (shared) {
            w->tags[n] = expect_page(w, g, g->shared, n, w->tags[n]);
        } else {
            g->tags[n] = expect_page(w, g, g->cache, n, g->tags[n]);
        }
        break;
    }
}

/* Anything, in any order: no page is ever another one, and no byte is left. */
static void test_random(gconstpointer size)
{
    TestRand r = { test_seed() };
    World w;

    set_up(&w, GPOINTER_TO_SIZE(size));
    fill(&w);
    for (unsigned step = 0; step < 20000; step++) {
        unsigned i = test_rand_below(&r, NR_GUESTS);

        switch (test_rand_below(&r, 100)) {
        case 0 ... 1:
            do_life(&w, &r, i);
            break;
        case 2:
            do_host(&w, &r, i);
            break;
        default:
            do_page(&w, &r, i);
            break;
        }
        if (step % 500 == 0) {
            expect_all(&w);
        }
    }
    if (!w.exact) {
        TmemClientStats stats;

        tmem_client_get_stats(w.groups[0], &stats);
        g_assert_cmpuint(stats.group_evicted, >, 0);
    }
    tear_down(&w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/trust-shared/apart", test_apart);
    g_test_add_func("/tmem/trust-shared/recompress", test_recompress);
    g_test_add_func("/tmem/trust-shared/leave", test_leave);
    g_test_add_data_func("/tmem/trust-shared/random",
                         GSIZE_TO_POINTER(SIZE_LARGE), test_random);
    g_test_add_data_func("/tmem/trust-shared/random-evicted",
                         GSIZE_TO_POINTER(SIZE_SMALL), test_random);
    return g_test_run();
}
