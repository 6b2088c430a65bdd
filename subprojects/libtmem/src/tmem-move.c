/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: moving what the index consists of to other slots
 */
#include <string.h>

#include "tmem-move.h"

static TmemNode *node_at(const TmemIndex *index, TmemRef ref)
{
    return tmem_arena_ptr(index->arena, ref);
}

/* A slot for @bytes in the place of that at @ref; 0 if none is as small. */
static TmemRef other_slot(TmemIndex *index, TmemRef ref, size_t bytes)
{
    TmemArena *arena = index->arena;
    TmemSegment *seg = &arena->segments[tmem_arena_segment_of(arena, ref)];
    TmemRef to = tmem_heap_alloc_inside(seg->heap, seg->space, bytes, false);

    if (to && tmem_arena_slot_bytes(arena, to) >
              tmem_arena_slot_bytes(arena, ref)) {
        tmem_heap_free(arena, to);
        to = 0;
    }
    return to;
}

bool tmem_move_record(TmemIndex *index, TmemNode *node, unsigned pos)
{
    TmemEntry entry = *tmem_node_entry(index, node, pos);
    TmemRef ref = tmem_index_slot(index, node, pos, entry);
    uint32_t bytes = TMEM_RECORD_HEADER + tmem_entry_len(entry);
    TmemRef to = ref ? other_slot(index, ref, bytes) : 0;
    void *from_record, *to_record;
    TmemDelta delta = {};

    if (!to) {
        return false;
    }
    from_record = tmem_arena_ptr(index->arena, ref);
    to_record = tmem_arena_ptr(index->arena, to);
    *tmem_record_checksum(to_record) = *tmem_record_checksum(from_record);
    tmem_record_set_tag(to_record, tmem_record_tag(from_record));
    memcpy(tmem_record_data(to_record), tmem_record_data(from_record),
           tmem_entry_len(entry));
    /* Generation, age and damage stay what they are. */
    tmem_index_exchange(index, node, pos, entry - ref + to, &delta);
    tmem_pool_apply(node->pool, &delta);
    __atomic_fetch_add(&node->pool->shared.moved, 1, __ATOMIC_RELAXED);
    return true;
}

bool tmem_move_array(TmemIndex *index, TmemNode *node)
{
    TmemArray *from = tmem_arena_ptr(index->arena, node->entries);
    unsigned nr = __builtin_popcountll(node->bitmap);
    unsigned capacity = tmem_index_capacity(nr);
    TmemRef ref = node->entries, to = 0;
    TmemDelta delta = {
        .index_bytes = -(int64_t)tmem_arena_slot_bytes(index->arena, ref),
    };

    if (capacity == 1) {
        node->entries = from->entry[0];
    } else {
        TmemArray *array;

        to = other_slot(index, ref, tmem_index_array_bytes(capacity));
        if (!to) {
            return false;
        }
        array = tmem_arena_ptr(index->arena, to);
        memcpy(array->entry, from->entry, nr * sizeof(TmemEntry));
        tmem_owner_write(array, tmem_owner_read(from));
        delta.index_bytes += tmem_arena_slot_bytes(index->arena, to);
        node->entries = to;
    }
    node->capacity = capacity;
    tmem_heap_free(index->arena, ref);
    tmem_pool_apply(node->pool, &delta);
    return true;
}

/* The hash chain: whatever led to @ref leads to @to. */
static void relink_chain(TmemIndex *index, TmemShard *shard, TmemNode *node,
                         TmemRef ref, TmemRef to)
{
    uint64_t hash = tmem_index_node_hash(index, node, NULL);
    TmemRef *link = tmem_shard_chain(shard, tmem_shard_bucket(shard, hash));

    while (*link != ref) {
        link = &node_at(index, *link)->next;
    }
    *link = to;
}

/* The list that the node is on: neighbours, or the @first and @last of it. */
static void relink_list(TmemIndex *index, const TmemNode *node, TmemRef to,
                        TmemRef *first, TmemRef *last)
{
    if (node->prev) {
        node_at(index, node->prev)->following = to;
    } else {
        *first = to;
    }
    if (node->following) {
        node_at(index, node->following)->prev = to;
    } else {
        *last = to;
    }
}

/*
 * Array and records name the node that they belong to: @node, which is going to
 * be the one at @to.
 */
static void reown(TmemIndex *index, TmemNode *node, TmemRef to)
{
    uint32_t shard = tmem_owner_shard(node->owner);

    if (node->capacity > 1) {
        tmem_owner_write(tmem_arena_ptr(index->arena, node->entries),
                         tmem_owner_make(TMEM_OWNER_ARRAY, shard, 0, to));
    }
    if (tmem_pool_id_space(node->pool->key) != TMEM_SPACE_EPHEMERAL) {
        return;
    }
    for (uint64_t left = node->bitmap; left; left &= left - 1) {
        unsigned pos = __builtin_ctzll(left);
        TmemRef record = tmem_index_slot(index, node, pos,
                                         *tmem_node_entry(index, node, pos));

        if (record) {
            tmem_owner_write(tmem_slot_owner(index->arena, record),
                             tmem_owner_make(TMEM_OWNER_RECORD, shard, pos,
                                             to));
        }
    }
}

bool tmem_move_node(TmemIndex *index, TmemShard *shard, TmemNode *node)
{
    TmemRef ref = tmem_owner_node(node->owner);
    TmemRef to = other_slot(index, ref, sizeof(*node));
    TmemPool *pool = node->pool;
    TmemNode *moved, *head = NULL;
    TmemDelta delta = {};

    if (!to) {
        return false;
    }
    moved = node_at(index, to);
    if (!node->is_head) {
        TmemKey key;

        /* While the chain, which may be the head's too, is whole. */
        tmem_index_key(index, pool, pool->hash_id, node->object,
                       node->base << TMEM_NODE_PAGES_SHIFT, &key);
        head = tmem_index_find_head(index, &key);
    }
    relink_chain(index, shard, node, ref, to);
    if (node->is_head) {
        /* Neighbours on the pool's list are of other shards. */
        tmem_lock(&pool->lock);
        relink_list(index, node, to, &pool->objects, &pool->objects_last);
    } else {
        TmemRef first = head->sibling_first, last = head->sibling_last;

        relink_list(index, node, to, &first, &last);
        head->sibling_first = first;
        head->sibling_last = last;
    }
    memcpy((uint8_t *)moved + sizeof(moved->owner),
           (uint8_t *)node + sizeof(node->owner),
           sizeof(*node) - sizeof(node->owner));
    if (node->is_head) {
        tmem_unlock(&pool->lock);
    }
    tmem_owner_write(moved, tmem_owner_make(TMEM_OWNER_NODE, shard->nr, 0,
                                            to));
    reown(index, node, to);
    delta.index_bytes = (int64_t)tmem_arena_slot_bytes(index->arena, to) -
                        (int64_t)tmem_arena_slot_bytes(index->arena, ref);
    tmem_heap_free(index->arena, ref);
    tmem_pool_apply(pool, &delta);
    return true;
}
