/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: eviction of ephemeral pages
 */
#include <sched.h>

#include "tmem-store.h"

/* Segments that one decision may pass over. */
#define PASS_OVER_MAX   16

/*
 * Records that go with nodes and arrays before the rest of the segment is left
 * to the next time: their memory is likely to be enough for whoever asked.
 */
#define RECORDS_MAX     1024

/* What tmem_evict_own() looks at and drops in one call, at most. */
#define OWN_POOLS_MAX   TMEM_CLIENT_POOLS_DEFAULT
#define OWN_OBJECTS_MAX 64
#define OWN_PAGES_MAX   64      /* of an object */

static uint32_t second_chance_pick_locked(TmemArena *arena)
{
    for (int i = 0; i < PASS_OVER_MAX; i++) {
        uint32_t nr = tmem_arena_order_oldest_locked(arena);

        if (nr == TMEM_SEGMENT_NONE ||
            !__atomic_exchange_n(&arena->segments[nr].hits, 0,
                                 __ATOMIC_RELAXED)) {
            return nr;
        }
        tmem_arena_order_renew_locked(arena, nr);
    }
    /* All were in use: then the oldest of them must go. */
    return tmem_arena_order_oldest_locked(arena);
}

const TmemEvictPolicy tmem_evict_policy_second_chance = {
    .name = "second-chance",
    .pick_locked = second_chance_pick_locked,
};

/* Shard lock held: books the pages of @pool that were evicted. */
static void book_evicted(TmemPool *pool, const TmemDelta *delta)
{
    tmem_pool_apply(pool, delta);
    __atomic_fetch_add(&pool->shared.evicted, -delta->pages,
                       __ATOMIC_RELAXED);
    tmem_client_charge(pool->client, delta->data_bytes + delta->index_bytes);
}

/*
 * Shard lock held: drops what the slot at @ref is part of.  Returns how many
 * records went.
 */
static uint32_t evict_slot(TmemStore *store, TmemShard *shard, TmemRef ref,
                       uint64_t owner)
{
    TmemIndex *index = &store->index;
    TmemNode *node = tmem_arena_ptr(&store->arena, tmem_owner_node(owner));
    TmemPool *pool = node->pool;
    unsigned pos = tmem_owner_pos(owner);
    TmemDelta delta = {};

    if (tmem_owner_type(owner) == TMEM_OWNER_RECORD) {
        g_assert(tmem_entry_ref(*tmem_node_entry(index, node, pos)) == ref);
        tmem_index_remove(index, shard, node, pos, &delta);
    } else {
        tmem_index_remove_node(index, shard, node, &delta);
    }
    book_evicted(pool, &delta);
    return -(delta.pages_compressed + delta.pages_raw);
}

TmemEvicted tmem_evict_segment(TmemStore *store)
{
    TmemArena *arena = &store->arena;
    TmemVictim victim;
    uint32_t nr, nr_records = 0, i;
    bool of_index;

    tmem_assert_unlocked();
    tmem_lock(&arena->lock);
    nr = store->evict_policy->pick_locked(arena);
    if (nr == TMEM_SEGMENT_NONE) {
        bool others = arena->nr_victims;

        tmem_unlock(&arena->lock);
        return others ? TMEM_EVICTED_BUSY : TMEM_EVICTED_NONE;
    }
    of_index = arena->segments[nr].space == TMEM_SPACE_EPHEMERAL_INDEX;
    tmem_arena_victim_begin(arena, nr, &victim);

    for (i = 0; i < victim.nr_slots; i++) {
        TmemRef ref = victim.first + (uint64_t)i * victim.slot_units;
        void *slot = tmem_arena_ptr(arena, ref);
        uint64_t owner = tmem_owner_read(slot);
        TmemShard *shard;

        if (!owner) {
            continue;
        }
        if (of_index && nr_records >= RECORDS_MAX) {
            break;
        }
        /*
         * Without the lock the word may be that of a page which is just going.
         * With the lock of the shard it names, it is the truth if it still
         * names that shard.
         */
        shard = &store->index.shards[tmem_owner_shard(owner)];
        tmem_lock(&shard->lock);
        owner = tmem_owner_read(slot);
        if (owner && tmem_owner_shard(owner) == shard->nr) {
            nr_records += evict_slot(store, shard, ref, owner);
        }
        tmem_unlock(&shard->lock);
    }
    return tmem_arena_victim_end(arena, &victim, i == victim.nr_slots) ?
           TMEM_EVICTED_FREED : TMEM_EVICTED_BUSY;
}

bool tmem_evict_for(TmemStore *store, TmemEvictTries *tries)
{
    switch (tmem_evict_segment(store)) {
    case TMEM_EVICTED_FREED:
        return ++tries->freed < TMEM_EVICT_ATTEMPTS;
    case TMEM_EVICTED_BUSY:
        /* The others are about to finish; let them. */
        sched_yield();
        return ++tries->busy < TMEM_EVICT_BUSY_MAX;
    default:
        return false;
    }
}

/* --- Within the limit of a client --- */

/*
 * The key of the oldest object in an ephemeral pool of the client, if any: in
 * the pool of the last time, or in the one after it if @turn.
 */
static bool find_own(TmemClient *client, bool turn, uint64_t *id,
                     TmemKey *key)
{
    TmemStore *store = client->store;
    TmemRef ref = 0;

    tmem_lock(&client->lock);
    client->evict_slot += turn;
    for (uint32_t i = 0; !ref && i < MIN(client->nr_slots, OWN_POOLS_MAX);
         i++, client->evict_slot += !ref) {
        uint32_t slot = client->evict_slot % client->nr_slots;
        TmemPool *pool = &client->pools[slot];

        /* A pool that is being destroyed is in use and has no id. */
        *id = __atomic_load_n(&pool->id, __ATOMIC_RELAXED);
        if (!*id || tmem_pool_id_kind(*id) != TMEM_POOL_EPHEMERAL) {
            continue;
        }
        tmem_lock(&pool->lock);
        ref = pool->objects;
        if (ref) {
            const TmemNode *head = tmem_arena_ptr(&store->arena, ref);

            tmem_index_key(&store->index, pool, *id, head->object, 0, key);
        }
        tmem_unlock(&pool->lock);
    }
    tmem_unlock(&client->lock);
    return ref;
}

/* Drops pages of the key's object.  Returns how many bytes that gave. */
static uint64_t evict_own_object(TmemStore *store, TmemKey *key, uint64_t id,
                                 uint64_t bytes)
{
    TmemPool *pool = key->pool;
    TmemDelta delta = {};
    int64_t freed = 0;

    tmem_lock(&key->shard->lock);
    for (int i = 0; i < OWN_PAGES_MAX && freed < (int64_t)bytes &&
         tmem_pool_is(pool, id); i++) {
        TmemNode *head = tmem_index_find_head(&store->index, key);

        if (!head) {
            break;
        }
        tmem_index_remove(&store->index, key->shard, head,
                          __builtin_ctzll(head->bitmap), &delta);
        freed = -(delta.data_bytes + delta.index_bytes);
    }
    if (delta.pages) {
        book_evicted(pool, &delta);
    }
    tmem_unlock(&key->shard->lock);
    return freed;
}

bool tmem_evict_own(TmemClient *client, uint64_t bytes,
                    TmemEvictTries *tries)
{
    uint64_t freed = 0, id;
    TmemKey key;

    tmem_assert_unlocked();
    for (int i = 0; i < OWN_OBJECTS_MAX && freed < bytes &&
         find_own(client, !i, &id, &key); i++) {
        freed += evict_own_object(client->store, &key, id, bytes - freed);
    }
    return freed && ++tries->own < TMEM_EVICT_OWN_MAX;
}
