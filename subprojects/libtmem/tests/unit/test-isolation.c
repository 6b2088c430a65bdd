/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nothing that a client can see depends on whether its pages equal another's
 *
 * Two runs of the same operations of two clients: in the one their pages are
 * equal, in the other they differ, but need as much memory.  What the second
 * client gets to see must be the same, byte for byte.  What its operations take
 * is left out: a clock never says the same twice.
 */
#include "testlib.h"
#include "tmem-upkeep.h"

#define STORE_SIZE  (2u << 20)
#define STEPS       3000
#define SECOND      1000000000ull
#define OTHER       (1 << 20)   /* tags of pages that equal no other's */

static void guest_set_up(Fixture *g, TmemStore *store, const char *name)
{
    TmemClientConfig config = { .name = name };

    fixture_join(g, store, &config);
    fixture_create_pools(g);
}

/*
 * Pages whose size does not depend on the tag: of one word, of noise, and of a
 * little noise that is repeated; in both pools.
 */
static void make_page(uint8_t *page, uint64_t n, uint64_t tag)
{
    size_t noise = 128 << n / 2 % 3;

    switch (n / 2 % 4) {
    case 0:
        test_page_make(page, TEST_PAGE_FILL32, tag);
        break;
    case 1:
        test_page_make(page, TEST_PAGE_NOISE, tag);
        break;
    default:
        test_page_make(page, TEST_PAGE_NOISE, tag);
        for (size_t at = noise; at < TMEM_PAGE_SIZE; at += noise) {
            memcpy(page + at, page, noise);
        }
        break;
    }
}

static TmemHandle handle_of(const Fixture *g, uint64_t n)
{
    return test_handle(n & 1 ? g->ephemeral : g->persistent, n / 64, n);
}

/* --- What a client sees --- */

static void see(GByteArray *seen, const void *data, size_t bytes)
{
    g_byte_array_append(seen, data, bytes);
}

static void see_pool(const TmemPoolInfo *info, void *opaque)
{
    /* Not its ID, which is drawn at random. */
    see(opaque, &info->kind, sizeof(info->kind));
    see(opaque, &info->stats, sizeof(info->stats));
}

static void see_statistics(Fixture *g, GByteArray *seen)
{
    uint32_t hints = tmem_client_hints(g->client);
    TmemClientStats stats;
    TmemSizeStats sizes;

    tmem_client_get_stats(g->client, &stats);
    see(seen, &stats, sizeof(stats));
    tmem_client_get_sizes(g->client, &sizes);
    see(seen, &sizes, sizeof(sizes));
    see(seen, &hints, sizeof(hints));
    tmem_client_foreach_pool(g->client, see_pool, seen);
}

/* --- A run --- */

static void operate(Fixture *g, TestRand *rand, uint64_t n, uint64_t shift,
                    GByteArray *seen)
{
    uint64_t old = test_rand_below(rand, n + 1), version;
    TmemHandle h = handle_of(g, old);
    uint8_t page[TMEM_PAGE_SIZE];
    TmemHandle new = handle_of(g, n);
    TmemStatus status;

    make_page(tmem_context_bounce(g->ctx), n, n + shift);
    status = tmem_page_store(g->ctx, &new, tmem_context_bounce(g->ctx));
    see(seen, &status, sizeof(status));
    status = tmem_page_load(g->ctx, &h, page, &version);
    see(seen, &status, sizeof(status));
    if (!shift) {
        see(seen, page, sizeof(page));
    }
    if (test_rand_below(rand, 4) == 0) {
        status = tmem_page_invalidate(g->ctx, &h);
        see(seen, &status, sizeof(status));
    }
}

/* @g is in a group with another, which has the same pages. */
static TmemClient *set_up_group(TmemStore *store, Fixture *g, Fixture *partner)
{
    TmemClient *group = test_new_group(store, "group");

    guest_set_up(partner, store, "partner");
    tmem_client_reset(g->client);
    g_assert_true(tmem_client_set_trust_group(g->client, group, NULL));
    tmem_client_reset(partner->client);
    g_assert_true(tmem_client_set_trust_group(partner->client, group, NULL));
    fixture_create_pools(g);
    fixture_create_pools(partner);
    return group;
}

/*
 * @shift: how far the first client's tags are from the second's
 * @has_group: the first is in a trust group, of which the second is not
 */
static GByteArray *run(uint64_t shift, bool has_group, TmemClientStats *first)
{
    TmemStoreConfig config = { .size_bytes = STORE_SIZE, .seed = 1 };
    GByteArray *seen = g_byte_array_new();
    g_autoptr(GByteArray) ignored = g_byte_array_new();
    TestRand rand[3] = { { 1 }, { 2 }, { 3 } };
    TmemClient *group = NULL;
    g_autoptr(GError) err = NULL;
    TmemStore *store;
    Fixture g[3];

    store = tmem_store_new(&config, &err);
    g_assert_no_error(err);
    guest_set_up(&g[0], store, "one");
    guest_set_up(&g[1], store, "two");
    if (has_group) {
        group = set_up_group(store, &g[0], &g[2]);
    }
    for (uint64_t n = 0; n < STEPS; n++) {
        operate(&g[0], &rand[0], n, shift, ignored);
        if (has_group) {
            operate(&g[2], &rand[2], n, shift, ignored);
        }
        operate(&g[1], &rand[1], n, 0, seen);
        if (n % 100 == 99) {
            while (tmem_upkeep_step(store, n * SECOND, 60 * SECOND)) {
                /* More of it. */
            }
            see_statistics(&g[1], seen);
        }
    }
    *first = test_stats(g[0].client);
    test_check(store);
    fixture_leave(&g[0]);
    fixture_leave(&g[1]);
    if (has_group) {
        fixture_leave(&g[2]);
        tmem_client_free(group);
    }
    tmem_store_free(store);
    return seen;
}

static void test_equal_pages(gconstpointer has_group)
{
    TmemClientStats equal, other;
    g_autoptr(GByteArray) with_equal = run(0, has_group, &equal);
    g_autoptr(GByteArray) with_other = run(OTHER, has_group, &other);

    g_assert_true(!has_group == !equal.total.stores_shared);
    /* Else the runs would differ for another reason. */
    g_assert_cmpuint(equal.total.stored_bytes, ==, other.total.stored_bytes);
    g_assert_cmpuint(equal.total.stores_same_filled, >, 0);
    g_assert_cmpuint(equal.total.stores_compressed, >, 0);
    g_assert_cmpuint(equal.total.stores_raw, >, 0);
    /* The store was full, and pages of both were evicted. */
    g_assert_cmpuint(equal.total.evicted, >, 0);
    g_assert_cmpuint(equal.total.stores_nospc, >, 0);
    g_assert_cmpmem(with_equal->data, with_equal->len, with_other->data,
                    with_other->len);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    tmem_upkeep_by_hand(true);
    g_test_add_data_func("/tmem/isolation/equal-pages", NULL,
                         test_equal_pages);
    g_test_add_data_func("/tmem/isolation/outside-of-a-group", "",
                         test_equal_pages);
    return g_test_run();
}
