/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: emptying sparse segments by moving what is in them
 */
#include "tmem-compact.h"
#include "tmem-move.h"
#include "tmem-share.h"
#include "tmem-store.h"

/*
 * A pass is worth it if this part of what is used comes free, or anything at
 * all where less than this part is left.
 */
#define GAIN_SHIFT      6

/* What one hold of a shard's lock moves: about what a store copies. */
#define MOVES_MAX       4

/* Sets @tight if someone is likely to be refused for lack of memory. */
static uint64_t mark_all(TmemStore *store, bool *tight)
{
    uint64_t nr = 0;

    *tight = tmem_share_available(&store->arena) <
             store->size_bytes >> GAIN_SHIFT;

    tmem_lock(&store->clients_lock);
    for (GList *l = store->clients; l; l = l->next) {
        TmemClient *client = l->data;

        *tight |= tmem_heap_near_limit(&client->heap, GAIN_SHIFT);
        for (int space = 0; space < TMEM_SPACE__MAX; space++) {
            uint32_t marked = 0, before;

            /* A few segments of each class at a time. */
            do {
                before = marked;
                marked = tmem_heap_drain(&client->heap, space);
            } while (marked > before);
            nr += marked;
        }
    }
    tmem_unlock(&store->clients_lock);
    return nr;
}

void tmem_compact_end(TmemStore *store)
{
    tmem_lock(&store->clients_lock);
    for (GList *l = store->clients; l; l = l->next) {
        TmemClient *client = l->data;

        for (int space = 0; space < TMEM_SPACE__MAX; space++) {
            tmem_heap_drain_end(&client->heap, space);
        }
    }
    tmem_unlock(&store->clients_lock);
}

bool tmem_compact_begin(TmemStore *store)
{
    TmemArena *arena = &store->arena;
    bool tight;
    uint64_t nr = mark_all(store, &tight);

    if (nr && (tight || (nr << arena->segment_shift) >=
                        tmem_arena_used_bytes(arena) >> GAIN_SHIFT)) {
        return true;
    }
    tmem_compact_end(store);
    return false;
}

/* Shard locked: moves some of what @node has.  Returns how much. */
static unsigned move_node(TmemStore *store, TmemShard *shard, TmemNode *node)
{
    TmemArena *arena = &store->arena;
    TmemIndex *index = &store->index;
    unsigned nr = 0;

    if (node->capacity > 1 && tmem_arena_draining(arena, node->entries)) {
        nr += tmem_move_array(index, node);
    }
    for (uint64_t left = node->bitmap; left && nr < MOVES_MAX;
         left &= left - 1) {
        unsigned pos = __builtin_ctzll(left);
        TmemRef ref = tmem_entry_ref(*tmem_node_entry(index, node, pos));

        if (ref && tmem_arena_draining(arena, ref)) {
            nr += tmem_move_record(index, node, pos);
        }
    }
    if (nr < MOVES_MAX &&
        tmem_arena_draining(arena, tmem_owner_node(node->owner))) {
        nr += tmem_move_node(index, shard, node);
    }
    return nr;
}

bool tmem_compact_bucket(TmemStore *store, TmemShard *shard, uint32_t bucket)
{
    unsigned nr;
    bool exists;

    do {
        TmemRef ref = 0;

        nr = 0;
        tmem_lock(&shard->lock);
        exists = bucket < shard->nr_buckets;
        if (exists) {
            ref = *tmem_shard_chain(shard, bucket);
        }
        while (ref && nr < MOVES_MAX) {
            TmemNode *node = tmem_arena_ptr(&store->arena, ref);

            ref = node->next;
            nr += move_node(store, shard, node);
        }
        tmem_unlock(&shard->lock);
    } while (nr >= MOVES_MAX);
    tmem_arena_trim(&store->arena);
    return exists;
}
