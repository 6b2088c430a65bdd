/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: emptying sparse segments by moving what is in them
 */
#include "tmem-compact.h"
#include "tmem-move.h"
#include "tmem-share.h"
#include "tmem-store.h"
#include "tmem-trust.h"

/*
 * A pass is worth it if this part of what is used comes free, or anything at
 * all where less than this part is left.
 */
#define GAIN_SHIFT      6

/* What one hold of a shard's lock moves: about what a store copies. */
#define MOVES_MAX       4

/* What one hold of the list of clients looks at, and marks at most. */
#define CLASSES_MAX     64
#define MARKS_MAX       (4 * TMEM_DRAIN_MAX)

/* --- Marking --- */

static void next_round(TmemCompact *c, TmemCompactPhase phase)
{
    c->round++;
    c->phase = phase;
}

void tmem_compact_begin(TmemCompact *c, TmemStore *store)
{
    next_round(c, TMEM_COMPACT_MARKING);
    c->nr_marked = 0;
    c->nr_left = 0;
    c->has_moved = false;
    c->tight = tmem_share_available(&store->arena) <
               tmem_arena_budget_bytes(&store->arena) >> GAIN_SHIFT;
}

/* A pass goes through all of the index, whatever it finds to move there. */
static void judge_pass(TmemCompact *c)
{
    if (c->nr_left * 2 <= c->nr_marked) {
        c->nr_fruitless = 0;
    } else if (c->nr_fruitless < TMEM_COMPACT_PUT_OFF_MAX) {
        c->nr_fruitless++;
    }
}

void tmem_compact_end(TmemCompact *c)
{
    next_round(c, TMEM_COMPACT_UNMARKING);
}

/* Clients locked: one that this round has not been through. */
static TmemHeap *find_heap(const TmemCompact *c, const TmemStore *store)
{
    for (GList *l = store->clients; l; l = l->next) {
        TmemHeap *heap = &((TmemClient *)l->data)->heap;

        if (heap->drain_round != c->round) {
            return heap;
        }
    }
    return NULL;
}

/* Clients locked: some classes of the heap. */
static void slice_of_heap(TmemCompact *c, TmemHeap *heap)
{
    uint32_t nr_classes = heap->arena->nr_classes;
    uint32_t end = TMEM_SPACE__MAX * nr_classes;
    bool marking = c->phase == TMEM_COMPACT_MARKING;
    uint32_t nr = 0;

    for (int i = 0; i < CLASSES_MAX && nr < MARKS_MAX; i++) {
        uint32_t at = heap->drain_next;
        uint32_t now = marking ?
            tmem_heap_drain(heap, at / nr_classes, at % nr_classes) :
            tmem_heap_drain_end(heap, at / nr_classes, at % nr_classes);

        nr += now;
        if (now == TMEM_DRAIN_MAX) {
            continue;
        }
        if (++heap->drain_next == end) {
            heap->drain_next = 0;
            heap->drain_round = c->round;
            break;
        }
    }
    if (marking) {
        c->nr_marked += nr;
        c->tight |= tmem_heap_near_limit(heap, GAIN_SHIFT);
    } else {
        c->nr_left += nr;
    }
}

static bool is_worth_it(const TmemCompact *c, const TmemArena *arena)
{
    return c->tight || (c->nr_marked << arena->segment_shift) >=
                       tmem_arena_used_bytes(arena) >> GAIN_SHIFT;
}

void tmem_compact_slice(TmemCompact *c, TmemStore *store)
{
    TmemHeap *heap;

    tmem_lock(&store->clients_lock);
    heap = find_heap(c, store);
    if (heap) {
        slice_of_heap(c, heap);
    }
    tmem_unlock(&store->clients_lock);
    if (heap) {
        return;
    }
    if (c->phase == TMEM_COMPACT_UNMARKING || !c->nr_marked) {
        if (c->has_moved) {
            judge_pass(c);
        }
        c->phase = TMEM_COMPACT_IDLE;
    } else if (is_worth_it(c, &store->arena)) {
        c->phase = TMEM_COMPACT_MOVING;
        c->has_moved = true;
    } else {
        tmem_compact_end(c);
    }
}

/* --- Moving --- */

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
        TmemRef ref = tmem_index_slot(index, node, pos,
                                      *tmem_node_entry(index, node, pos));

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

uint32_t tmem_compact_nr_shards(TmemStore *store)
{
    uint32_t nr = store->index.nr_shards;

    tmem_lock(&store->clients_lock);
    for (GList *l = store->clients; l; l = l->next) {
        nr += ((TmemClient *)l->data)->heap.trust ? TMEM_TRUST_SHARDS_MAX : 0;
    }
    tmem_unlock(&store->clients_lock);
    return nr;
}

bool tmem_compact_contents(TmemStore *store, uint32_t nr, uint32_t bucket)
{
    TmemTrust *trust = NULL;
    uint32_t nr_group = nr / TMEM_TRUST_SHARDS_MAX;

    tmem_lock(&store->clients_lock);
    for (GList *l = store->clients; l && !trust; l = l->next) {
        trust = ((TmemClient *)l->data)->heap.trust;
        if (trust && nr_group) {
            nr_group--;
            trust = NULL;
        }
    }
    tmem_unlock(&store->clients_lock);
    nr %= TMEM_TRUST_SHARDS_MAX;
    return trust && nr < trust->nr_shards &&
           tmem_trust_compact(trust, nr, bucket);
}
