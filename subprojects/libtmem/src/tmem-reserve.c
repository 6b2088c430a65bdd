/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: what the minimums of pools reserve in their client
 *
 * A minimum counts slots, a client's limit whole steps of segments.  So a
 * reserve is larger than what it is for: a step for each of some classes that
 * the pool has to begin, and a 16th for what lies between.
 */
#include "tmem-error.h"
#include "tmem-reserve.h"
#include "tmem-share.h"
#include "tmem-store.h"

/* Steps that a pool has begun and not filled. */
#define BEGUN_STEPS     4

/* What a client does not use of the segments it has. */
#define HOLES_SHIFT     TMEM_HOLES_SHIFT

static uint64_t held_bytes(const TmemPool *pool)
{
    return MAX(__atomic_load_n(&pool->quota.bytes, __ATOMIC_RELAXED), 0);
}

/* What a minimum promises comes out of no other. */
static bool is_below(const TmemPool *pool, uint64_t bytes)
{
    return held_bytes(pool) + bytes <=
           __atomic_load_n(&pool->quota.min_bytes, __ATOMIC_RELAXED);
}

static bool is_persistent(const TmemPool *pool)
{
    return tmem_pool_id_kind(pool->key) == TMEM_POOL_PERSISTENT;
}

/*
 * Of what cannot be evicted; an ephemeral pool counts with all of its minimum,
 * as its pages make way for persistent ones.
 */
typedef struct Needs {
    uint64_t unused;        /* of minimums of siblings */
    uint64_t used;          /* by persistent pages, in slots */
} Needs;

static Needs needs_of(TmemClient *client, const TmemPool *except)
{
    uint64_t step = 1ull << client->store->arena.step_shift;
    Needs needs = {};

    tmem_lock(&client->lock);
    needs.used = tmem_client_persistent_bytes_locked(client);
    for (uint32_t slot = client->limited; slot != TMEM_POOL_SLOT_NONE;
         slot = client->pools[slot].limited_next) {
        const TmemPool *pool = &client->pools[slot];
        uint64_t min_bytes = pool->quota.min_bytes;
        uint64_t held = is_persistent(pool) ? held_bytes(pool) : 0;

        if (pool != except && held < min_bytes) {
            needs.unused += min_bytes - held +
                            ((min_bytes - held) >> HOLES_SHIFT) +
                            BEGUN_STEPS * step;
        }
    }
    tmem_unlock(&client->lock);
    return needs;
}

TmemReserved tmem_reserve_check(TmemClient *client, const TmemPool *pool,
                                uint64_t bytes)
{
    TmemHeap *heap = &client->heap;
    uint64_t pinned, ceiling, want;
    Needs needs;

    if (!__atomic_load_n(&client->nr_minimums, __ATOMIC_RELAXED) ||
        tmem_heap_takes_over(heap) || (pool && is_below(pool, bytes))) {
        return TMEM_RESERVED_FREE;
    }
    needs = needs_of(client, pool);
    if (!needs.unused) {
        return TMEM_RESERVED_FREE;
    }
    ceiling = tmem_share_ceiling(heap, &pinned);
    /* A slot may open a segment's next step, and one of the index another. */
    want = needs.unused + bytes + (2ull << heap->arena->step_shift);
    if (pinned + want <= ceiling) {
        return TMEM_RESERVED_FREE;
    }
    needs.used += __atomic_load_n(&heap->charged_bytes, __ATOMIC_RELAXED) +
                  __atomic_load_n(&client->purse.bytes, __ATOMIC_RELAXED);
    ceiling -= ceiling >> HOLES_SHIFT;
    return needs.used + want <= ceiling ? TMEM_RESERVED_INSIDE :
                                          TMEM_RESERVED_NONE;
}

uint64_t tmem_reserve_minimums_locked(const TmemClient *client,
                                      const TmemPool *except)
{
    uint64_t sum = 0;

    for (uint32_t slot = client->limited; slot != TMEM_POOL_SLOT_NONE;
         slot = client->pools[slot].limited_next) {
        if (&client->pools[slot] != except) {
            sum += client->pools[slot].quota.min_bytes;
        }
    }
    return sum;
}

bool tmem_reserve_max_ok_locked(const TmemClient *client, uint64_t max_bytes,
                                GError **errp)
{
    uint64_t sum = tmem_reserve_minimums_locked(client, NULL);

    return !max_bytes || sum <= max_bytes ||
           tmem_error_set(errp, "client '%s': a maximum of %" G_GUINT64_FORMAT
                          " bytes is below the %" G_GUINT64_FORMAT " bytes "
                          "that the minimums of its pools come to",
                          client->name, max_bytes, sum);
}
