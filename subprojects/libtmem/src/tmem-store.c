/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: the store
 */
#include <string.h>

#include "tmem-clock.h"
#include "tmem-error.h"
#include "tmem-fault.h"
#include "tmem-os.h"
#include "tmem-policy.h"
#include "tmem-store.h"

/* References have TMEM_REF_BITS bits of TMEM_UNIT bytes. */
#define STORE_SIZE_MAX  (1ull << (TMEM_REF_BITS + TMEM_UNIT_SHIFT - 1))

/* --- Names --- */

const char *tmem_status_str(TmemStatus status)
{
    static const char *const name[] = {
        [TMEM_STATUS_OK] = "ok",
        [TMEM_STATUS_MISS] = "miss",
        [TMEM_STATUS_NOSPC] = "nospc",
        [TMEM_STATUS_QUOTA] = "quota",
        [TMEM_STATUS_REFUSED] = "refused",
        [TMEM_STATUS_FROZEN] = "frozen",
        [TMEM_STATUS_IO] = "io",
        [TMEM_STATUS_NOPOOL] = "nopool",
        [TMEM_STATUS_UNSUPP] = "unsupp",
        [TMEM_STATUS_INVAL] = "inval",
        [TMEM_STATUS_PERM] = "perm",
    };

    return (unsigned)status < G_N_ELEMENTS(name) ? name[status] : "unknown";
}

/* --- Life --- */

/* SplitMix64, to stretch a test's seed. */
static uint64_t split_mix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static bool make_seeds(uint64_t seed, uint64_t seeds[3], GError **errp)
{
    if (!seed) {
        return tmem_os_random(seeds, 3 * sizeof(seeds[0])) ||
               tmem_error_set(errp, "the kernel gives no random numbers");
    }
    for (int i = 0; i < 3; i++) {
        seeds[i] = split_mix(&seed);
    }
    return true;
}

/* What can be for a store of that size. */
static bool check_policy(const TmemPolicy *policy, uint64_t size_bytes,
                         GError **errp)
{
    if (!tmem_policy_check(policy, errp)) {
        return false;
    }
    return policy->pressure.floor_bytes <= size_bytes ||
           tmem_error_set(errp, "the floor of ephemeral data under pressure, %"
                          G_GUINT64_FORMAT " bytes, is more than the store's "
                          "size of %" G_GUINT64_FORMAT " bytes",
                          policy->pressure.floor_bytes, size_bytes);
}

static bool check_config(const TmemStoreConfig *config, GError **errp)
{
    if (config->size_bytes < TMEM_STORE_SIZE_MIN) {
        return tmem_error_set(errp, "a store of %" G_GUINT64_FORMAT " bytes "
                              "is too small; it needs at least %u KiB",
                              config->size_bytes, TMEM_STORE_SIZE_MIN >> 10);
    }
    if (config->policy && !check_policy(config->policy, config->size_bytes,
                                        errp)) {
        return false;
    }
    if (config->size_bytes > STORE_SIZE_MAX) {
        return tmem_error_set(errp, "a store of %" G_GUINT64_FORMAT " GiB is "
                              "too large; at most %llu GiB are possible",
                              config->size_bytes >> 30, STORE_SIZE_MAX >> 30);
    }
    return true;
}

TmemStore *tmem_store_new(const TmemStoreConfig *config, GError **errp)
{
    TmemStore *store;
    uint64_t seeds[3];

    if (!check_config(config, errp) ||
        !make_seeds(config->seed, seeds, errp)) {
        return NULL;
    }
    /* The shards want their cache lines to themselves. */
    store = TMEM_FAULT("store") ? NULL :
            tmem_os_reserve(sizeof(TmemStore));
    if (!store) {
        tmem_error_set(errp, "no memory for a store");
        return NULL;
    }
    store->size_bytes = config->size_bytes;
    store->next_generation = seeds[2];
    tmem_policy_init(&store->policy);
    if (config->policy) {
        store->policy = *config->policy;
    }
    store->codec = tmem_codec_pack(&store->policy.codec);
    tmem_clock_init();
    tmem_lock_init(&store->policy_lock, TMEM_RANK_POLICY);
    store->evict_policy = &tmem_evict_policy_probation;
    if (!tmem_arena_init(&store->arena, config->size_bytes, errp)) {
        goto err_store;
    }
    if (!tmem_index_init(&store->index, &store->arena, seeds, errp)) {
        goto err_arena;
    }
    tmem_ghosts_init(&store->ghosts, &store->index);
    tmem_admit_set_locked(store, &store->policy.admission);
    tmem_lock_init(&store->groups_lock, TMEM_RANK_GROUPS);
    tmem_lock_init(&store->clients_lock, TMEM_RANK_CLIENTS);
    tmem_event_init(store);
    tmem_upkeep_init(store);
    if (!tmem_upkeep_set_policy(store, &store->policy, errp)) {
        tmem_store_free(store);
        return NULL;
    }
    return store;

err_arena:
    tmem_arena_destroy(&store->arena);
err_store:
    tmem_os_release(store, sizeof(*store));
    return NULL;
}

void tmem_store_free(TmemStore *store)
{
    if (!store) {
        return;
    }
    g_assert(!store->clients);
    tmem_upkeep_destroy(store);
    tmem_event_destroy(store);
    tmem_lock_destroy(&store->clients_lock);
    tmem_lock_destroy(&store->groups_lock);
    tmem_lock_destroy(&store->policy_lock);
    tmem_ghosts_destroy(&store->ghosts);
    tmem_index_destroy(&store->index);
    tmem_arena_destroy(&store->arena);
    tmem_os_release(store, sizeof(*store));
}

/* --- Policy --- */

bool tmem_store_set_policy(TmemStore *store, const TmemPolicy *policy,
                           GError **errp)
{
    if (!check_policy(policy, store->size_bytes, errp)) {
        return false;
    }
    tmem_upkeep_lock_policy(store);
    if (!tmem_upkeep_set_policy(store, policy, errp)) {
        tmem_upkeep_unlock_policy(store);
        return false;
    }
    tmem_lock(&store->policy_lock);
    store->policy = *policy;
    __atomic_store_n(&store->codec, tmem_codec_pack(&policy->codec),
                     __ATOMIC_RELAXED);
    tmem_admit_set_locked(store, &policy->admission);
    tmem_unlock(&store->policy_lock);
    tmem_upkeep_unlock_policy(store);
    tmem_admit_make_fit(store);
    tmem_upkeep_wake(store);
    return true;
}

void tmem_store_get_policy(TmemStore *store, TmemPolicy *policy)
{
    tmem_lock(&store->policy_lock);
    *policy = store->policy;
    tmem_unlock(&store->policy_lock);
}

uint64_t tmem_store_generation(TmemStore *store)
{
    uint64_t generation;

    do {
        generation = __atomic_fetch_add(&store->next_generation, 1,
                                        __ATOMIC_RELAXED);
        generation &= TMEM_POOL_GEN_MASK;
    } while (!generation);
    return generation;
}
