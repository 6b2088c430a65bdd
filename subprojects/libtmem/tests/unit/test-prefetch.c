/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Prefetching changes nothing, whatever it is given and whoever runs; and the
 * chains that it follows stay short, whatever handles a guest makes up
 */
#include "testlib.h"
#include "tmem-store.h"

/* --- Chains --- */

#define NR_HANDLES  20000

typedef TmemHandle MakeHandle(uint64_t pool, uint64_t n);

/* As a swap disk does it. */
static TmemHandle make_fair(uint64_t pool, uint64_t n)
{
    return (TmemHandle) { .pool = pool, .object = { n / 4 },
                          .index = n % 4 * 64 };
}

/* The same words in another place each time. */
static TmemHandle make_permuted(uint64_t pool, uint64_t n)
{
    TmemHandle h = { .pool = pool };

    h.object[n % 3] = n / 6 + 1;
    h.object[(n + 1 + n / 3 % 2) % 3] = ~(n / 6);
    return h;
}

/* All ones but for what tells them apart. */
static TmemHandle make_all_ones(uint64_t pool, uint64_t n)
{
    return (TmemHandle) {
        .pool = pool, .object = { ~0ull, ~0ull, ~0ull },
        .index = ~0ull - n * 64,
    };
}

/* Indices of growing height: what a tree would grow levels for. */
static TmemHandle make_growing(uint64_t pool, uint64_t n)
{
    return (TmemHandle) {
        .pool = pool, .object = { n / 58 },
        .index = 1ull << (n % 58 + 6),
    };
}

/* Differs in the high bits only, which a poor hash loses. */
static TmemHandle make_high_bits(uint64_t pool, uint64_t n)
{
    return (TmemHandle) {
        .pool = pool, .object = { n << 40, n << 44, n << 48 },
    };
}

/* Words that cancel out when they are added or exclusive-ored. */
static TmemHandle make_cancelling(uint64_t pool, uint64_t n)
{
    return (TmemHandle) { .pool = pool, .object = { n, n, -n } };
}

typedef struct Chains {
    uint32_t longest;
    uint64_t steps;         /* to find each node once */
    uint64_t nodes;
} Chains;

static Chains measure(TmemStore *store)
{
    TmemIndex *index = &store->index;
    Chains chains = {};

    for (uint32_t i = 0; i < index->nr_shards; i++) {
        TmemShard *shard = &index->shards[i];

        for (uint32_t b = 0; b < shard->nr_buckets; b++) {
            uint32_t len = 0;

            for (TmemRef ref = *tmem_shard_chain(shard, b); ref;) {
                TmemNode *node = tmem_arena_ptr(&store->arena, ref);

                chains.steps += ++len;
                ref = node->next;
            }
            chains.nodes += len;
            chains.longest = MAX(chains.longest, len);
        }
    }
    return chains;
}

typedef struct Pattern {
    const char *path;
    MakeHandle *make;
} Pattern;

static void test_chains(gconstpointer opaque)
{
    const Pattern *p = opaque;
    Chains chains;
    Fixture f;

    fixture_set_up(&f, 4 * FIXTURE_SIZE, 0);
    for (uint64_t n = 0; n < NR_HANDLES; n++) {
        g_assert_cmpint(test_store(f.ctx, p->make(f.persistent, n),
                                   TEST_PAGE_FILL32, n), ==, TMEM_STATUS_OK);
    }
    chains = measure(f.store);
    g_assert_cmpuint(chains.nodes, ==, NR_HANDLES);
    /*
     * With one bucket for each node a node is found after 1.5 steps on
     * average, and among 20000 a chain of 13 is seen once in 10^5 runs.
     */
    g_assert_cmpfloat((double)chains.steps / chains.nodes, <, 1.8);
    g_assert_cmpuint(chains.longest, <=, 13);
    for (uint64_t n = 0; n < NR_HANDLES; n += 97) {
        test_expect_page(f.ctx, p->make(f.persistent, n), TEST_PAGE_FILL32,
                         n);
    }
    g_test_message("%.3f steps, %u at most",
                   (double)chains.steps / chains.nodes, chains.longest);
    fixture_tear_down(&f);
}

/* --- Prefetching --- */

/* Any handle, any number, at any time. */
static void test_harmless(void)
{
    TmemHandle handles[TMEM_PREFETCH_MAX + 10];
    TmemClientStats before, after;
    TestRand r = { test_seed() };
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (int i = 0; i < 500; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, i / 100,
                                                      i), i % 6, i), ==, 0);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(handles); i++) {
        handles[i] = i % 3 == 0 ?
            test_handle(f.persistent, i % 5, i * 7) :
            test_handle(i % 3 == 1 ? f.ephemeral : test_rand(&r),
                        test_rand(&r), test_rand(&r));
    }
    tmem_client_get_stats(f.client, &before);
    for (unsigned nr = 0; nr <= G_N_ELEMENTS(handles); nr++) {
        tmem_page_prefetch(f.ctx, handles, nr);
    }
    tmem_client_get_stats(f.client, &after);
    g_assert_cmpmem(&before, sizeof(before), &after, sizeof(after));
    for (int i = 0; i < 500; i++) {
        test_expect_page(f.ctx, test_handle(f.persistent, i / 100, i), i % 6,
                         i);
    }
    fixture_tear_down(&f);
}

#define STEPS   (TMEM_TEST_TSAN ? 20000 : 100000)

static void *prefetch_main(void *opaque)
{
    Fixture *f = opaque;
    TmemContext *ctx = tmem_context_new(f->client, NULL);
    TestRand r = { test_seed() + 1 };

    g_assert_nonnull(ctx);
    for (int i = 0; i < STEPS; i++) {
        TmemHandle handles[4];

        for (int k = 0; k < 4; k++) {
            handles[k] = test_handle(k & 1 ? f->persistent : f->ephemeral,
                                     test_rand_below(&r, 4),
                                     test_rand_below(&r, 1000));
        }
        tmem_page_prefetch(ctx, handles, 4);
    }
    tmem_context_free(ctx);
    return NULL;
}

/* While tables grow and shrink, slots change hands, and memory goes back. */
static void test_threads(void)
{
    TestRand r = { test_seed() };
    GThread *thread;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    thread = g_thread_new("prefetch", prefetch_main, &f);
    for (int i = 0; i < STEPS / 4; i++) {
        TmemHandle h = test_handle(i & 1 ? f.persistent : f.ephemeral,
                                   test_rand_below(&r, 4),
                                   test_rand_below(&r, 1000));

        if (i % 1000 == 999) {
            tmem_object_invalidate(f.ctx, &h);
        } else {
            test_store(f.ctx, h, i % 6, i);
        }
    }
    g_thread_join(thread);
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    static const Pattern patterns[] = {
        { "/tmem/chains/fair", make_fair },
        { "/tmem/chains/permuted", make_permuted },
        { "/tmem/chains/all-ones", make_all_ones },
        { "/tmem/chains/growing", make_growing },
        { "/tmem/chains/high-bits", make_high_bits },
        { "/tmem/chains/cancelling", make_cancelling },
    };

    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(patterns); i++) {
        g_test_add_data_func(patterns[i].path, &patterns[i], test_chains);
    }
    g_test_add_func("/tmem/prefetch/harmless", test_harmless);
    g_test_add_func("/tmem/prefetch/threads", test_threads);
    return g_test_run();
}
