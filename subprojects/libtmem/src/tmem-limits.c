/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: what an operator asks of the memory of clients
 */
#include "tmem-reserve.h"
#include "tmem-store.h"

bool tmem_client_change_limits(TmemClient *client, const TmemLimits *limits,
                               GError **errp)
{
    TmemArena *arena = &client->store->arena;
    bool ok;

    tmem_assert_unlocked();
    /* Neither may minimums of pools be raised meanwhile. */
    tmem_lock(&client->lock);
    tmem_lock(&arena->lock);
    ok = tmem_share_check_locked(arena, &client->heap, client->name, limits,
                                 errp) &&
         tmem_reserve_max_ok_locked(client, limits->max_bytes, errp);
    if (ok) {
        tmem_share_set_locked(&client->heap, limits);
    }
    tmem_unlock(&arena->lock);
    tmem_unlock(&client->lock);
    return ok;
}

void tmem_client_evict_to_limits(TmemClient *client)
{
    tmem_assert_unlocked();
    tmem_evict_to_limit(client);
    tmem_arena_trim(&client->store->arena);
    tmem_event_freed(client);
}

bool tmem_client_set_limits(TmemClient *client, const TmemLimits *limits,
                            GError **errp)
{
    if (!tmem_client_change_limits(client, limits, errp)) {
        return false;
    }
    tmem_client_evict_to_limits(client);
    return true;
}

void tmem_client_get_limits(TmemClient *client, TmemLimits *limits)
{
    TmemArena *arena = &client->store->arena;

    tmem_lock(&arena->lock);
    limits->min_bytes = client->heap.min_bytes;
    limits->max_bytes = client->heap.max_bytes ? client->heap.max_bytes :
                                                 arena->size_bytes;
    limits->weight = client->heap.weight;
    tmem_unlock(&arena->lock);
}

uint64_t tmem_store_evict(TmemStore *store, uint64_t bytes)
{
    uint64_t returned;

    tmem_assert_unlocked();
    returned = tmem_evict_bytes(store, NULL, bytes, true);
    tmem_upkeep_tell_freed(store);
    return returned;
}

uint64_t tmem_client_evict(TmemClient *client, uint64_t bytes)
{
    uint64_t returned;

    tmem_assert_unlocked();
    returned = tmem_evict_bytes(client->store, &client->heap, bytes,
                                true);
    tmem_event_freed(client);
    return returned;
}
