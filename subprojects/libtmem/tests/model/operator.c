/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an operator does to a store while guests use it, drawn at random
 */
#include "operator.h"
#include "tmem-upkeep.h"

#define SECOND  1000000000ull

void operator_prepare(void)
{
    tmem_upkeep_by_hand(true);
}

void operator_init(Operator *o, TmemStore *store, Model *model)
{
    memset(o, 0, sizeof(*o));
    o->store = store;
    o->model = model;
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

/* Half of the time the defaults, so that pages do come in. */
static void draw_admission(TmemAdmission *admission, TestRand *r)
{
    TmemPolicy defaults;

    tmem_policy_init(&defaults);
    *admission = defaults.admission;
    if (test_rand_below(r, 2)) {
        return;
    }
    admission->max_stored_bytes = 1 + test_rand_below(r, TMEM_PAGE_SIZE);
    admission->refuse_incompressible = test_rand_below(r, 2);
    admission->max_mean_bytes = test_rand_below(r, 2) ?
                                test_rand_below(r, TMEM_PAGE_SIZE) : 0;
}

static void change_policy(Operator *o, TestRand *r)
{
    TmemPolicy policy, got;
    GError *err = NULL;

    tmem_store_get_policy(o->store, &policy);
    policy.codec = draw_codec(r);
    draw_admission(&policy.admission, r);
    policy.upkeep.recompress_idle_seconds = test_rand_below(r, 3) * 10;
    policy.upkeep.recompress_level = (int)test_rand_below(r, 8) - 3;
    policy.upkeep.compact = test_rand_below(r, 2);
    tmem_store_set_policy(o->store, &policy, &err);
    g_assert_no_error(err);
    tmem_store_get_policy(o->store, &got);
    g_assert_cmpmem(&got.codec, sizeof(got.codec), &policy.codec,
                    sizeof(policy.codec));
    model_set_picky(o->model, policy.admission.refuse_incompressible ||
                              policy.admission.max_mean_bytes);

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
    if (test_rand_below(r, 2)) {
        TmemLimits limits = {
            .max_bytes = test_rand_below(r, 1u << test_rand_below(r, 21)),
            .weight = test_rand_below(r, 1000),
        };

        if (test_rand_below(r, 3) == 0) {
            limits.min_bytes = test_rand_below(r, 1u << 18);
        }
        if (!tmem_pool_set_limits(client, pick.id, &limits, &err) &&
            limits.min_bytes) {
            /* More than it may have, or than siblings leave. */
            g_assert_nonnull(err);
            g_clear_error(&err);
            limits.min_bytes = 0;
            tmem_pool_set_limits(client, pick.id, &limits, &err);
        }
    } else {
        tmem_pool_set_codec(client, pick.id,
                            test_rand_below(r, 4) ? &codec : NULL, &err);
    }
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
        /* Mostly above the least that is possible. */
        .max_bytes = test_rand_below(r, 3) ?
                     test_rand_below(r, 1u << (16 + nr * 2)) +
                     (test_rand_below(r, 8) ? 40u << 10 : 0) : 0,
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
    g_assert_true(limits.min_bytes || limits.max_bytes);
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

/* --- Freezing and upkeep --- */

static void freeze(Operator *o, unsigned nr, TestRand *r)
{
    /* Mostly thawed. */
    bool frozen = test_rand_below(r, 3) == 0;

    if (test_rand_below(r, 3) == 0) {
        tmem_store_freeze(o->store, frozen);
        o->all_frozen = frozen;
    } else {
        tmem_client_freeze(o->clients[nr], frozen);
        o->frozen[nr] = frozen;
    }
    for (unsigned i = 0; i < o->nr_clients; i++) {
        model_set_frozen(o->model, i, o->all_frozen || o->frozen[i]);
        g_assert_true(tmem_client_frozen(o->clients[i]) == o->frozen[i]);
    }
}

static void keep_up(Operator *o, TestRand *r)
{
    if (test_rand_below(r, 8) == 0) {
        o->smaller += tmem_store_recompress(o->store);
        return;
    }
    o->now_ns += test_rand_below(r, 30 * SECOND);
    /*
     * Whole passes, or a part of one.  In the smallest steps: how far those get
     * that are given time depends on the machine, and no seed repeats that.
     */
    for (unsigned i = test_rand_below(r, 4) ? test_rand_below(r, 100) :
                                              UINT_MAX; i; i--) {
        if (!tmem_upkeep_step(o->store, o->now_ns, 0)) {
            break;
        }
    }
}

/* --- All of it --- */

void operator_act(Operator *o, TestRand *r)
{
    unsigned nr = test_rand_below(r, o->nr_clients);

    switch (test_rand_below(r, 8)) {
    case 0:
        change_policy(o, r);
        break;
    case 1:
        change_pool(o->clients[nr], r);
        break;
    case 2:
        change_limits(o, nr, r);
        break;
    case 3:
        freeze(o, nr, r);
        break;
    case 4:
        evict(o, nr, r);
        break;
    default:
        keep_up(o, r);
        break;
    }
}

void operator_note_taken(Operator *o)
{
    for (unsigned i = 0; i < o->nr_clients; i++) {
        o->held[i] = client_bytes(o->clients[i]);
    }
}

void operator_check_laws(Operator *o)
{
    test_check_laws_of(o->clients, o->nr_clients, o->held);
}
