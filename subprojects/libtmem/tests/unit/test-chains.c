/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Handles that a hostile guest might choose cost no more to find than any
 * other: the nodes of the index are as evenly spread over its hash table
 */
#include "testlib.h"
#include "tmem-store.h"

#define OBJECTS     60000

/* Of a table with about a node for each bucket; by chance it is below 10. */
#define LONGEST     12

typedef void MakeHandle(uint64_t i, TmemHandle *h);

/* One after the other, as a guest that means no harm. */
static void make_fair(uint64_t i, TmemHandle *h)
{
    h->object[0] = i;
}

/* The same three words in all orders: equal for a sum or an exclusive or. */
static void make_permuted(uint64_t i, TmemHandle *h)
{
    static const uint8_t order[6][3] = {
        { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
        { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 },
    };
    uint64_t words[3] = { i / 6, ~(i / 6), (i / 6) << 32 | 1 };

    for (unsigned k = 0; k < 3; k++) {
        h->object[k] = words[order[i % 6][k]];
    }
}

/* All ones, but for a few bits that go through all places. */
static void make_ones(uint64_t i, TmemHandle *h)
{
    h->object[0] = h->object[1] = h->object[2] = h->index = UINT64_MAX;
    h->object[i % 3] ^= 1ull << i / 3 % 64;
    h->object[(i + 1) % 3] ^= 1ull << i / 192 % 64;
    h->index ^= i / 12288 << 6;
}

/* Pages of one object ever further apart: a tree would grow with each. */
static void make_heights(uint64_t i, TmemHandle *h)
{
    h->index = (2 * (i % 1000) + 1) << (6 + i / 1000 % 48);
    h->object[2] = i / 48000;
}

/* Differ in high bits only, which a weak hash would lose. */
static void make_high(uint64_t i, TmemHandle *h)
{
    h->object[i % 3] = i << 48;
    h->object[(i + 1) % 3] = i >> 16 << 40 | i % 3;
}

typedef struct Chains {
    uint64_t nodes;
    uint64_t buckets;
    uint64_t longest;
    double mean;            /* nodes that a search for one of them looks at */
} Chains;

static Chains count(TmemStore *store)
{
    TmemIndex *index = &store->index;
    Chains c = {};
    double looked_at = 0;

    for (uint32_t i = 0; i < index->nr_shards; i++) {
        TmemShard *shard = &index->shards[i];

        for (uint32_t bucket = 0; bucket < shard->nr_buckets; bucket++) {
            uint64_t len = 0;

            for (TmemRef ref = *tmem_shard_chain(shard, bucket); ref;
                 ref = ((TmemNode *)tmem_arena_ptr(index->arena, ref))->next) {
                len++;
            }
            c.longest = MAX(c.longest, len);
            c.nodes += len;
            looked_at += len * (len + 1) / 2.0;
        }
        c.buckets += shard->nr_buckets;
    }
    c.mean = looked_at / c.nodes;
    return c;
}

static Chains chains_of(MakeHandle *make, uint64_t seed)
{
    TmemStoreConfig config = { .size_bytes = 64u << 20, .seed = seed };
    TmemClientConfig client_config = { .name = "hostile" };
    TmemStore *store = tmem_store_new(&config, NULL);
    TmemClient *client = tmem_client_new(store, &client_config, NULL);
    TmemContext *ctx = tmem_context_new(client, NULL);
    TmemClientStats stats;
    uint64_t pool;
    Chains c;

    g_assert_cmpint(tmem_pool_create(client, TMEM_POOL_PERSISTENT,
                                     TMEM_PAGE_SHIFT, &pool), ==, 0);
    for (uint64_t i = 0; i < OBJECTS; i++) {
        TmemHandle h = { .pool = pool };

        make(i, &h);
        g_assert_cmpint(test_store(ctx, h, TEST_PAGE_ZERO, 0), ==,
                        TMEM_STATUS_OK);
    }
    tmem_client_get_stats(client, &stats);
    /* No two were the same, so that this says something. */
    g_assert_cmpuint(stats.total.pages, ==, OBJECTS);
    c = count(store);
    g_assert_cmpuint(c.nodes, >=, OBJECTS / 2);
    tmem_context_free(ctx);
    tmem_client_free(client);
    tmem_store_free(store);
    return c;
}

static void test_chains(void)
{
    static const struct {
        const char *name;
        MakeHandle *make;
    } kinds[] = {
        { "fair", make_fair }, { "permuted", make_permuted },
        { "all ones", make_ones }, { "heights", make_heights },
        { "high bits", make_high },
    };
    /* Deterministic: the same in each run. */
    static const uint64_t seeds[] = { 1, 0x1234567 };

    for (unsigned s = 0; s < G_N_ELEMENTS(seeds); s++) {
        double fair = 0;

        for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
            Chains c = chains_of(kinds[i].make, seeds[s]);

            g_test_message("%s: %" G_GUINT64_FORMAT " nodes in %"
                           G_GUINT64_FORMAT " buckets, longest %"
                           G_GUINT64_FORMAT ", mean %.3f", kinds[i].name,
                           c.nodes, c.buckets, c.longest, c.mean);
            fair = i ? fair : c.mean;
            g_assert_cmpuint(c.longest, <=, LONGEST);
            g_assert_cmpfloat(c.mean, <, fair * 1.05);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/chains/hostile-handles", test_chains);
    return g_test_run();
}
