/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: summing counters
 */
#include <string.h>

#include "tmem-policy.h"
#include "tmem-store.h"
#include "tmem-trust.h"

/* Levels of different tallies are read one by one: never show less than 0. */
static void clamp_levels(TmemPoolStats *stats)
{
#define CLAMP_LEVEL(name, kind, unit, text)                                   \
    if ((int64_t)stats->name < 0) {                                           \
        stats->name = 0;                                                      \
    }
    TMEM_POOL_LEVELS(CLAMP_LEVEL)
#undef CLAMP_LEVEL
}

static void sum_pool_locked(TmemClient *client, uint32_t slot,
                            TmemPoolStats *sum)
{
    tmem_tally_sum(sum, &client->pools[slot].shared);
    for (GList *l = client->contexts; l; l = l->next) {
        TmemContext *ctx = l->data;

        tmem_tally_sum(sum, &ctx->tallies[slot]);
    }
}

static void sum_counters(TmemClientStats *sum, const TmemClientCounters *from)
{
#define SUM(name, kind, unit, text)                                           \
    sum->name += __atomic_load_n(&from->name, __ATOMIC_RELAXED);
    TMEM_CLIENT_COUNTERS(SUM)
#undef SUM
}

static uint64_t pinned_bytes(TmemClient *client)
{
    TmemArena *arena = &client->store->arena;
    uint64_t bytes;

    tmem_lock(&arena->lock);
    bytes = client->heap.pinned_bytes;
    tmem_unlock(&arena->lock);
    return bytes;
}

static void get_group_levels(TmemClient *client, TmemClientStats *stats)
{
    TmemTrustLevels levels;

    if (client->heap.trust) {
        tmem_trust_levels(client->heap.trust, &levels);
        stats->group_pages = levels.contents;
        stats->group_references = levels.references;
        stats->group_data_bytes = levels.data_bytes;
        stats->group_saved_bytes = levels.saved_bytes;
    }
}

void tmem_client_get_stats(TmemClient *client, TmemClientStats *stats)
{
    memset(stats, 0, sizeof(*stats));
    tmem_lock(&client->lock);
    sum_counters(stats, &client->gone);
    for (GList *l = client->contexts; l; l = l->next) {
        sum_counters(stats, &((TmemContext *)l->data)->counters);
    }
    tmem_tally_sum(&stats->total, &client->destroyed);
    for (uint32_t slot = client->first; slot != TMEM_POOL_SLOT_NONE;
         slot = client->pools[slot].next) {
        sum_pool_locked(client, slot, &stats->total);
    }
    stats->pools = client->nr_pools;
    tmem_unlock(&client->lock);

    clamp_levels(&stats->total);
    get_group_levels(client, stats);
    stats->bytes = tmem_heap_bytes(&client->heap);
    stats->bytes_peak = __atomic_load_n(&client->heap.bytes_peak,
                                        __ATOMIC_RELAXED);
    stats->pinned_bytes = pinned_bytes(client);
    stats->max_bytes = __atomic_load_n(&client->heap.max_bytes,
                                       __ATOMIC_RELAXED);
    stats->credit = __atomic_load_n(&client->purse.credit, __ATOMIC_RELAXED);
    stats->credit_bytes = __atomic_load_n(&client->purse.bytes,
                                          __ATOMIC_RELAXED);
    if (!stats->max_bytes) {
        stats->max_bytes = client->store->size_bytes;
    }
}

void tmem_client_get_latency(TmemClient *client, TmemLatencyStats *latency)
{
    memset(latency, 0, sizeof(*latency));
    tmem_lock(&client->lock);
    tmem_latency_sum(latency, &client->gone_latency);
    for (GList *l = client->contexts; l; l = l->next) {
        tmem_latency_sum(latency, &((TmemContext *)l->data)->hist.latency);
    }
    tmem_unlock(&client->lock);
}

void tmem_client_get_sizes(TmemClient *client, TmemSizeStats *sizes)
{
    TmemHeld sum = {};

    tmem_lock(&client->lock);
    tmem_held_sum(&sum, &client->held);
    for (GList *l = client->contexts; l; l = l->next) {
        tmem_held_sum(&sum, &((TmemContext *)l->data)->held);
    }
    tmem_unlock(&client->lock);
    *sizes = sum.sizes;
    for (unsigned i = 0; i < TMEM_SIZE_BUCKETS; i++) {
        if ((int64_t)sizes->held[i] < 0) {
            sizes->held[i] = 0;
        }
    }
}

#ifdef TMEM_DEBUG
static void (*between)(void *opaque);
static void *between_opaque;

void tmem_stats_set_between(void (*func)(void *opaque), void *opaque)
{
    between = func;
    between_opaque = opaque;
}
#endif

static void call_between(void)
{
#ifdef TMEM_DEBUG
    if (between) {
        between(between_opaque);
    }
#endif
}

static uint64_t sum_persistent(const TmemClient *client,
                               uint64_t (*part)(const TmemTurnover *turnover))
{
    uint64_t sum = part(&client->persistent);

    for (const GList *l = client->contexts; l; l = l->next) {
        call_between();
        sum += part(&((TmemContext *)l->data)->persistent);
    }
    return sum;
}

uint64_t tmem_client_persistent_pages_locked(const TmemClient *client)
{
    uint64_t went = sum_persistent(client, tmem_turnover_went);

    call_between();
    /* Only now: see TmemTurnover. */
    return sum_persistent(client, tmem_turnover_came) - went;
}

static uint64_t sum_bytes(const TmemClient *client,
                          uint64_t (*part)(const TmemTurnover *turnover))
{
    uint64_t sum = part(&client->persistent_bytes);

    for (const GList *l = client->contexts; l; l = l->next) {
        sum += part(&((TmemContext *)l->data)->persistent_bytes);
    }
    return sum;
}

uint64_t tmem_client_persistent_bytes_locked(const TmemClient *client)
{
    uint64_t went = sum_bytes(client, tmem_turnover_went);

    /* Only now, as above. */
    return sum_bytes(client, tmem_turnover_came) - went;
}

uint64_t tmem_client_persistent_pages(TmemClient *client)
{
    uint64_t pages;

    /* Whoever comes later with the lock sees what was counted before. */
    tmem_lock(&client->lock);
    pages = tmem_client_persistent_pages_locked(client);
    tmem_unlock(&client->lock);
    return pages;
}

/* As one would ask for it: the default level is none. */
static TmemCodecChoice as_given(TmemCodecChoice codec)
{
    TmemCodecChoice plain = { .compressor = codec.compressor };

    return codec.level == tmem_codec_level(&plain) ? plain : codec;
}

void tmem_client_foreach_pool(TmemClient *client, TmemPoolFunc *func,
                              void *opaque)
{
    tmem_lock(&client->lock);
    for (uint32_t slot = client->first; slot != TMEM_POOL_SLOT_NONE;
         slot = client->pools[slot].next) {
        const TmemPool *pool = &client->pools[slot];
        TmemPoolInfo info = {
            .id = __atomic_load_n(&pool->id, __ATOMIC_RELAXED),
            .kind = tmem_pool_id_kind(pool->key),
            .page_shift = TMEM_PAGE_SHIFT,
            .has_codec = __atomic_load_n(&pool->codec, __ATOMIC_RELAXED),
            .codec = tmem_pool_codec(client->store, pool),
        };

        if (info.id) {
            info.codec = as_given(info.codec);
            tmem_quota_limits_locked(pool, &info.limits);
            info.shared = pool->group;
            if (pool->group) {
                memcpy(info.uuid, pool->group->uuid, sizeof(info.uuid));
            }
            sum_pool_locked(client, slot, &info.stats);
            clamp_levels(&info.stats);
            func(&info, opaque);
        }
    }
    tmem_unlock(&client->lock);
}

void tmem_store_get_stats(TmemStore *store, TmemStoreStats *stats)
{
#define LOAD(name, kind, unit, text)                                          \
    stats->name = __atomic_load_n(&store->upkeep.counters.name,               \
                                  __ATOMIC_RELAXED);
    TMEM_STORE_COUNTERS(LOAD)
#undef LOAD
    stats->size_bytes = store->size_bytes;
    stats->clients = __atomic_load_n(&store->nr_clients, __ATOMIC_RELAXED);
    stats->waiting_doors = __atomic_load_n(&store->waiting.doors,
                                           __ATOMIC_RELAXED);
    stats->waiting_pages = __atomic_load_n(&store->waiting.pages,
                                           __ATOMIC_RELAXED);
    stats->waiting_bytes = __atomic_load_n(&store->waiting.bytes,
                                           __ATOMIC_RELAXED);
    tmem_arena_levels(&store->arena, &stats->used_bytes,
                      &stats->overhead_bytes);
}
