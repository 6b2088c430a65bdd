/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an operator does to a store while guests use it, drawn at random
 */
#include "operator.h"

void operator_init(Operator *o, TmemStore *store)
{
    memset(o, 0, sizeof(*o));
    o->store = store;
}

void operator_add_client(Operator *o, TmemClient *client)
{
    g_assert_cmpuint(o->nr_clients, <, OPERATOR_CLIENTS_MAX);
    o->clients[o->nr_clients++] = client;
}

static uint64_t client_bytes(TmemClient *client)
{
    TmemClientStats stats;

    tmem_client_get_stats(client, &stats);
    return stats.bytes;
}

/* --- Policy --- */

static TmemCodecChoice draw_codec(TestRand *r)
{
    switch (test_rand_below(r, 5)) {
    case 0:
    case 1:
        return (TmemCodecChoice) {
            TMEM_COMPRESSOR_LZ4, test_rand_below(r, 65),
        };
    case 2:
    case 3:
        /* Its higher levels take milliseconds a page. */
        return (TmemCodecChoice) {
            TMEM_COMPRESSOR_ZSTD, (int)test_rand_below(r, 16) - 7,
        };
    default:
        return (TmemCodecChoice) { TMEM_COMPRESSOR_NONE, 0 };
    }
}

static void change_policy(Operator *o, TestRand *r)
{
    TmemPolicy policy, got;
    GError *err = NULL;

    tmem_store_get_policy(o->store, &policy);
    policy.codec = draw_codec(r);
    tmem_store_set_policy(o->store, &policy, &err);
    g_assert_no_error(err);
    tmem_store_get_policy(o->store, &got);
    g_assert_cmpint(got.codec.compressor, ==, policy.codec.compressor);
    g_assert_cmpint(got.codec.level, ==, policy.codec.level);

    /* What cannot be changes nothing. */
    policy.codec.level = 1000;
    g_assert_false(tmem_store_set_policy(o->store, &policy, &err));
    g_assert_nonnull(err);
    g_error_free(err);
    tmem_store_get_policy(o->store, &policy);
    g_assert_cmpint(got.codec.level, ==, policy.codec.level);
}

typedef struct PickPool {
    uint64_t nr;
    uint64_t id;
} PickPool;

static void pick_pool(const TmemPoolInfo *info, void *opaque)
{
    PickPool *pick = opaque;

    if (pick->nr-- == 0) {
        pick->id = info->id;
    }
}

static void change_pool(TmemClient *client, TestRand *r)
{
    PickPool pick = { .nr = test_rand_below(r, 6) };
    TmemCodecChoice codec = draw_codec(r);
    GError *err = NULL;

    tmem_client_foreach_pool(client, pick_pool, &pick);
    tmem_pool_set_codec(client, pick.id, test_rand_below(r, 4) ? &codec : NULL,
                        &err);
    if (pick.id) {
        g_assert_no_error(err);
    } else {
        g_assert_nonnull(err);
        g_error_free(err);
    }
}

/* --- Memory --- */

static void change_limits(Operator *o, unsigned nr, TestRand *r)
{
    TmemClient *client = o->clients[nr];
    TmemLimits limits = {
        .max_bytes = test_rand_below(r, 3) ?
                     test_rand_below(r, 1u << (16 + nr * 2)) : 0,
        .weight = test_rand_below(r, 3) ? 1 + test_rand_below(r, 1000) : 0,
    };
    TmemLimits before, after;
    GError *err = NULL;

    if (test_rand_below(r, 4) == 0) {
        limits.min_bytes = test_rand_below(r, 1u << 20);
    }
    tmem_client_get_limits(client, &before);
    if (tmem_client_set_limits(client, &limits, &err)) {
        g_assert_no_error(err);
        g_assert_true(!limits.max_bytes ||
                      limits.min_bytes <= limits.max_bytes);
        o->held[nr] = client_bytes(client);
        return;
    }
    /* Contradictions are refused, and nothing is changed. */
    g_assert_nonnull(err);
    g_error_free(err);
    g_assert_cmpuint(limits.min_bytes, >, 0);
    tmem_client_get_limits(client, &after);
    g_assert_cmpuint(before.min_bytes, ==, after.min_bytes);
    g_assert_cmpuint(before.max_bytes, ==, after.max_bytes);
    g_assert_cmpuint(before.weight, ==, after.weight);
}

static void evict(Operator *o, unsigned nr, TestRand *r)
{
    uint64_t bytes = test_rand_below(r, 1ull << test_rand_below(r, 22));
    uint64_t persistent = 0, used, went;
    TmemStoreStats stats;

    for (unsigned i = 0; i < o->nr_clients; i++) {
        persistent += tmem_client_persistent_pages(o->clients[i]);
    }
    tmem_store_get_stats(o->store, &stats);
    used = stats.used_bytes;
    went = test_rand_below(r, 2) ? tmem_store_evict(o->store, bytes) :
                                   tmem_client_evict(o->clients[nr], bytes);
    tmem_store_get_stats(o->store, &stats);
    /* Tables of the index shrink too. */
    g_assert_cmpuint(stats.used_bytes + went, <=, used);
    o->evicted += went;
    for (unsigned i = 0; i < o->nr_clients; i++) {
        persistent -= tmem_client_persistent_pages(o->clients[i]);
    }
    g_assert_cmpuint(persistent, ==, 0);
}

/* --- All of it --- */

void operator_act(Operator *o, TestRand *r)
{
    unsigned nr = test_rand_below(r, o->nr_clients);

    switch (test_rand_below(r, 4)) {
    case 0:
        change_policy(o, r);
        break;
    case 1:
        change_pool(o->clients[nr], r);
        break;
    case 2:
        change_limits(o, nr, r);
        break;
    default:
        evict(o, nr, r);
        break;
    }
}

void operator_check_laws(Operator *o)
{
    for (unsigned i = 0; i < o->nr_clients; i++) {
        test_check_laws_lowered(o->clients[i], o->held[i]);
    }
}
